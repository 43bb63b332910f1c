//! What is wrong with candidates as a set: each can be read, but some could not be enabled by any tenant. They
//! stay candidates, since the next file may repair it.

use std::sync::Arc;

use super::{
    candidate::Candidate,
    finding::{Finding, text},
    graph::find_cycle,
    listing::Catalog,
};
use crate::names::ModuleName;

/// What keeps a candidate from running in this catalog.
#[derive(Debug, Clone)]
pub struct CandidateProblem {
    /// Which one.
    pub candidate: Arc<Candidate>,
    /// `MODULE_DEPENDENCY_MISSING`, `MODULE_VERSION_UNSATISFIABLE`, `DEPENDENCY_NOT_OFFERED` or
    /// `MODULE_CIRCULAR_DEPENDENCY`, with its text.
    pub finding: Finding,
}

impl Catalog {
    /// All that is wrong with the candidates as a set, by name and newest version first. Optional dependencies
    /// that are absent or don't fit are nothing wrong; a circle through one is.
    pub fn problems(&self) -> Vec<CandidateProblem> {
        let judged = self.all().flat_map(|candidate| {
            self.findings(candidate)
                .into_iter()
                .map(|finding| CandidateProblem { candidate: candidate.clone(), finding })
        });
        judged.collect()
    }

    fn findings(&self, candidate: &Candidate) -> Vec<Finding> {
        let mut findings = Vec::new();
        let absent: Vec<_> =
            candidate.manifest.required().map(|(name, _)| name).filter(|it| self.get(it.as_str()).is_empty()).collect();
        if !absent.is_empty() {
            findings.push(text::dependency_missing(&candidate.name, absent));
        }
        for (name, range) in candidate.manifest.required() {
            let versions = self.get(name.as_str());
            let mut fitting = versions.iter().filter(|it| range.matches(&it.version)).peekable();
            match fitting.peek() {
                None if versions.is_empty() => {}
                None => findings.push(text::needs(
                    (&candidate.name, &candidate.version),
                    (name, range),
                    versions.iter().map(|it| &it.version),
                )),
                Some(newest) => {
                    let newest = Arc::clone(newest);
                    if !fitting.any(|it| it.manifest.offers_to(&candidate.name)) {
                        let offered = newest.manifest.provides_to.iter().flatten();
                        findings.push(text::not_offered((name, &newest.version), &candidate.name, offered));
                    }
                }
            }
        }
        // Of other names the newest version counts: it is the one that is chosen if nothing speaks against it.
        let edges = |name: &ModuleName| {
            let newest = self.get(name.as_str()).first().map(|newest| &newest.manifest);
            let manifest = if *name == candidate.name { Some(&candidate.manifest) } else { newest };
            manifest.into_iter().flat_map(|it| it.dependencies.keys()).collect()
        };
        findings.extend(find_cycle(&candidate.name, edges).map(text::circular));
        findings
    }
}
