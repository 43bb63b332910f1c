//! What a tenant should run: its document read against the catalog.

use std::sync::Arc;

use serde_json::Value;

use super::{marks::Judge, plan::DesiredModule, snapshot::ModuleProblem};
use crate::{
    catalog::{self, Candidate, Catalog},
    flags::{FlagDefaults, FlagSet},
    names::ModuleName,
    stores::{Isolation, TenantDocument, TenantStatus},
};

/// The modules that can run, in load order, and those that can't.
#[derive(Debug, Clone)]
pub(super) struct Desire {
    pub(super) modules: Vec<(Arc<Candidate>, Isolation)>,
    pub(super) problems: Vec<ModuleProblem>,
    /// Of modules that can't run now, what they would be: events for them are kept.
    pub(super) dormant: Vec<Arc<Candidate>>,
}

/// Chooses a version for each enabled module, among those that `judge` has nothing against. A suspended tenant runs
/// nothing.
pub(super) fn desire(document: &TenantDocument, catalog: &Catalog, judge: &dyn Judge) -> Desire {
    if document.status == TenantStatus::Suspended {
        return Desire { modules: Vec::new(), problems: Vec::new(), dormant: Vec::new() };
    }
    let wants: Vec<_> =
        document.enabled_modules.iter().map(|enabled| (enabled.module.clone(), enabled.version.clone())).collect();
    let selection = catalog::select(&wants, catalog, judge);
    let isolation_of = |name: &ModuleName| {
        document
            .enabled_modules
            .iter()
            .find(|enabled| enabled.module == *name)
            .map_or(Isolation::Shared, |found| found.isolation)
    };
    let problem = |problem: catalog::SelectionProblem| ModuleProblem {
        module: problem.module,
        code: problem.finding.code,
        text: problem.finding.text,
    };
    let mut problems: Vec<_> = selection.problems.into_iter().map(problem).collect();
    // In which version they will run is not known: the newest says best what they want to hear of.
    let newest = |problem: &ModuleProblem| catalog.get(problem.module.as_str()).first().cloned();
    let mut dormant: Vec<_> = problems.iter().filter_map(newest).collect();
    dormant.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let mut modules = Vec::with_capacity(selection.chosen.len());
    for chosen in selection.chosen {
        let name = &chosen.candidate.name;
        // Its dependents run on: what they ask of it is refused.
        match judge.quarantined(&chosen.candidate) {
            Some(reason) => {
                dormant.push(Arc::clone(&chosen.candidate));
                problems.push(ModuleProblem {
                    module: name.clone(),
                    code: "MODULE_QUARANTINED",
                    text: format!("{name} {} is quarantined: {reason}", chosen.candidate.version),
                });
            }
            None => modules.push((Arc::clone(&chosen.candidate), isolation_of(name))),
        }
    }
    Desire { modules, problems, dormant }
}

impl Desire {
    /// In the terms of the plan; `prove` names the modules that need an instance at once.
    pub(super) fn for_plan(&self, prove: &[ModuleName]) -> Vec<DesiredModule> {
        self.modules
            .iter()
            .map(|(candidate, isolation)| DesiredModule {
                name: candidate.name.clone(),
                candidate: Arc::as_ptr(candidate) as usize,
                isolation: *isolation,
                prove: prove.contains(&candidate.name),
            })
            .collect()
    }

    /// What the modules chosen declare as flags, for checking values of the tenant.
    pub(super) fn declared(&self) -> FlagSet {
        let modules = self.modules.iter().map(|(candidate, _)| declared_by(candidate));
        FlagSet::compile(modules, std::iter::empty::<(String, Value)>())
    }
}

/// What a module declares as flags.
pub(super) fn declared_by(candidate: &Candidate) -> FlagDefaults {
    let features = candidate.manifest.features.iter().map(|(name, value)| (name.clone(), value.clone()));
    FlagDefaults::new(candidate.name.clone(), features)
}
