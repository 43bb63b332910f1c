//! Which versions a tenant gets: of each module it enables the newest that fits its own range and what the
//! others need, and a reason for each module that can't run. The others still run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use semver::VersionReq;

use super::{
    candidate::Candidate,
    finding::{Finding, text},
    graph::{dependencies_first, find_cycle},
    listing::Catalog,
    solve::{Choice, Domains, adding_order, components, fits, links, prune, solve},
};
use crate::names::ModuleName;

/// What a tenant's modules come to.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// What runs, dependencies first, ties by name.
    pub chosen: Vec<Chosen>,
    /// What doesn't run and why, by name; at least one for each module that is not chosen.
    pub problems: Vec<SelectionProblem>,
}

/// A module that runs for the tenant.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Which version.
    pub candidate: Arc<Candidate>,
    /// The dependencies it may call, by name: all required ones, and the optional ones that run in a version
    /// that fits.
    pub links: Vec<ModuleName>,
}

/// Why a module that the tenant enables can't run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectionProblem {
    /// Which.
    pub module: ModuleName,
    /// Code and text.
    pub finding: Finding,
}

/// What the host knows about single versions beyond their manifests.
pub trait Standing {
    /// The reason why a version may not run, such as that it was marked bad.
    fn barred(&self, candidate: &Candidate) -> Option<String>;

    /// Versions of a module whose files are gone and that can still run, those to be preferred first. They are chosen
    /// only where the folder has the module and none of its versions may run.
    fn kept(&self, module: &ModuleName) -> Vec<Arc<Candidate>>;
}

/// Nothing is known: every version in the folder may run, and none beyond them can.
#[derive(Debug, Clone, Copy)]
pub struct Unjudged;

impl Standing for Unjudged {
    fn barred(&self, _: &Candidate) -> Option<String> {
        None
    }

    fn kept(&self, _: &ModuleName) -> Vec<Arc<Candidate>> {
        Vec::new()
    }
}

/// Chooses for a tenant that enables `wants`, each with the range its document has, among versions in good standing.
///
/// Pure: the same wants in any order, from the same candidates in any order, give the same result. If not all
/// can run, modules are taken up one by one, dependencies first, ties by name, and whatever can't join those
/// already taken up is left out.
pub fn select(wants: &[(ModuleName, VersionReq)], catalog: &Catalog, standing: &dyn Standing) -> Selection {
    let mut ranges: BTreeMap<ModuleName, Vec<&VersionReq>> = BTreeMap::new();
    for (name, range) in wants {
        ranges.entry(name.clone()).or_default().push(range);
    }
    let permitted: Domains = ranges
        .iter()
        .map(|(name, ranges)| {
            let in_range = |it: &&Arc<Candidate>| ranges.iter().all(|range| range.matches(&it.version));
            let may_run = |it: &Arc<Candidate>| standing.barred(it).is_none();
            let versions = catalog.get(name.as_str());
            let mut fitting: Vec<_> = versions.iter().filter(in_range).filter(|it| may_run(it)).cloned().collect();
            if fitting.is_empty() && !versions.is_empty() {
                fitting = standing.kept(name).into_iter().filter(|it| in_range(&it) && may_run(it)).collect();
            }
            (name.clone(), fitting)
        })
        .collect();
    let mut possible = permitted.clone();
    prune(&mut possible);
    let choice: Choice = components(&possible).iter().flat_map(solve_most).collect();

    let names: BTreeSet<&ModuleName> = choice.keys().collect();
    let order = dependencies_first(&names, |name| links(&choice[name], &choice));
    let chosen = order.into_iter().map(|name| {
        let candidate = choice[name].clone();
        let links = links(&candidate, &choice).into_iter().cloned().collect();
        Chosen { candidate, links }
    });
    let chosen = chosen.collect();
    let explain = Explain { ranges: &ranges, permitted: &permitted, catalog, standing, choice: &choice };
    let left_out = ranges.keys().filter(|name| !choice.contains_key(*name));
    let problems = left_out.flat_map(|name| {
        let findings = explain.findings(name).into_iter();
        findings.map(|finding| SelectionProblem { module: name.clone(), finding })
    });
    Selection { chosen, problems: problems.collect() }
}

/// All modules of a group if they can run together, else as many as can join one after the other.
fn solve_most(group: &Domains) -> Choice {
    if let Some(choice) = solve(group) {
        return choice;
    }
    let with = |taken: &Domains, more: &[&ModuleName]| {
        let mut together = taken.clone();
        together.extend(more.iter().map(|name| ((*name).clone(), group[*name].clone())));
        solve(&together).map(|choice| (together, choice))
    };
    let (mut taken, mut choice) = (Domains::new(), Choice::new());
    let mut left = adding_order(group);
    // What waits for something later in the order, in some version of it, gets another turn.
    loop {
        let before = left.len();
        left.retain(|name| match with(&taken, &[name]) {
            Some(joined) => {
                (taken, choice) = joined;
                false
            }
            None => true,
        });
        if left.len() == before {
            break;
        }
    }
    let rest: Vec<_> = left.iter().collect();
    with(&taken, &rest).map_or(choice, |(_, choice)| choice)
}

/// Finds the words for what was left out. Speaks of the newest permitted version of a module.
struct Explain<'s> {
    ranges: &'s BTreeMap<ModuleName, Vec<&'s VersionReq>>,
    permitted: &'s Domains,
    catalog: &'s Catalog,
    standing: &'s dyn Standing,
    choice: &'s Choice,
}

impl Explain<'_> {
    fn findings(&self, name: &ModuleName) -> Vec<Finding> {
        let versions = self.catalog.get(name.as_str());
        if versions.is_empty() {
            return vec![text::not_found(name)];
        }
        let Some(newest) = self.permitted[name].first() else { return vec![self.nothing_permitted(name, versions)] };
        // What runs has no circle in itself: a dependency of it that runs in a version that does not fit is none.
        let edges = |name: &ModuleName| -> Vec<&ModuleName> {
            let running = self.choice.get(name);
            let candidate = running.or_else(|| self.permitted.get(name)?.first());
            let counts = |dependency: &ModuleName| match (running, self.choice.get(dependency)) {
                (Some(dependent), Some(chosen)) => fits(dependent, chosen),
                _ => self.permitted.contains_key(dependency),
            };
            let dependencies = candidate.into_iter().flat_map(|it| it.manifest.dependencies.keys());
            dependencies.filter(|name| counts(name)).collect()
        };
        if let Some(cycle) = find_cycle(name, edges) {
            return vec![text::circular(cycle)];
        }
        let not_running = |name: &&ModuleName| !self.choice.contains_key(*name);
        // A module that would run if this one asked for less is not missing: its version is the problem.
        let unmet: Vec<_> = newest.manifest.required().map(|(name, _)| name).filter(not_running).collect();
        let mut findings = Vec::new();
        if !unmet.is_empty() {
            findings.push(text::dependency_missing(name, unmet));
        }
        for (dependency, range) in newest.manifest.required() {
            if let Some(chosen) = self.choice.get(dependency).filter(|chosen| !fits(newest, chosen)) {
                findings.push(self.unfit(newest, (dependency, range), chosen));
            }
        }
        if findings.is_empty() {
            let text = format!("no version of {name} fits together with the tenant's other modules");
            findings.push(text::version_unsatisfiable(text));
        }
        findings
    }

    /// The tenant's range, or the host's decisions, leave no version.
    fn nothing_permitted(&self, name: &ModuleName, versions: &[Arc<Candidate>]) -> Finding {
        let ranges = text::joined(self.ranges[name].iter().map(|range| format!("`{range}`")), " and ");
        let stated = versions.iter().map(|it| match self.standing.barred(it) {
            Some(reason) => format!("{} ({reason})", it.version),
            None => it.version.to_string(),
        });
        let present = text::joined(stated, ", ");
        text::version_unsatisfiable(format!("no version of {name} fits {ranges}; present: {present}"))
    }

    /// A dependency runs, but not in a version that will do.
    fn unfit(
        &self,
        candidate: &Candidate,
        (dependency, range): (&ModuleName, &VersionReq),
        chosen: &Candidate,
    ) -> Finding {
        let permitted = &self.permitted[dependency];
        let in_range: Vec<_> = permitted.iter().filter(|it| range.matches(&it.version)).collect();
        let Some(newest) = in_range.first() else {
            let versions = permitted.iter().map(|it| &it.version);
            return text::needs((&candidate.name, &candidate.version), (dependency, range), versions);
        };
        if !in_range.iter().any(|it| it.manifest.offers_to(&candidate.name)) {
            let offered = newest.manifest.provides_to.iter().flatten();
            return text::not_offered((dependency, &newest.version), &candidate.name, offered);
        }
        let others = self.choice.values().filter_map(|other| {
            let wanted = other.manifest.dependencies.get(dependency).filter(|_| other.name != candidate.name)?;
            Some(format!("{} {} needs {}", other.name, other.version, wanted.range))
        });
        let others = text::joined(others, ", ");
        let because = if others.is_empty() { String::new() } else { format!(": {others}") };
        text::version_unsatisfiable(format!(
            "{} {} needs {dependency} {range}, but {dependency} {} is chosen{because}",
            candidate.name, candidate.version, chosen.version
        ))
    }
}
