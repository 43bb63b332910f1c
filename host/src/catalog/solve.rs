//! The search behind `select`: one version for each of a set of modules, so that every range and every
//! `provides-to` between them holds and nothing is a circle. Knows no tenants and no texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    candidate::Candidate,
    graph::{dependencies_first, find_cycle},
};
use crate::names::ModuleName;

/// How many versions one search tries before it gives up. A guess: a set of 50 modules that fits takes 50 tries;
/// what needs more than this is a knot that an operator has to cut.
const MAX_TRIES: usize = 5_000;

/// The versions a module may have, newest first.
pub(super) type Domains = BTreeMap<ModuleName, Vec<Arc<Candidate>>>;
/// One version for each module.
pub(super) type Choice = BTreeMap<ModuleName, Arc<Candidate>>;

/// Whether the dependency of `dependent` on `dependency` is satisfied: by range and by `provides-to`.
pub(super) fn fits(dependent: &Candidate, dependency: &Candidate) -> bool {
    let wanted = dependent.manifest.dependencies.get(&dependency.name);
    wanted.is_some_and(|it| it.range.matches(&dependency.version)) && dependency.manifest.offers_to(&dependent.name)
}

/// The dependencies of a chosen candidate that are chosen too and fit.
pub(super) fn links<'c>(candidate: &'c Candidate, choice: &Choice) -> Vec<&'c ModuleName> {
    let linked = |name: &&ModuleName| choice.get(*name).is_some_and(|dependency| fits(candidate, dependency));
    candidate.manifest.dependencies.keys().filter(linked).collect()
}

/// Takes out versions that can't run whatever is chosen for the others, again and again, until none is left
/// to take out. A module with no version left is taken out itself.
pub(super) fn prune(domains: &mut Domains) {
    loop {
        let possible = |candidate: &Candidate| {
            candidate.manifest.required().all(|(name, _)| {
                domains.get(name).is_some_and(|versions| versions.iter().any(|version| fits(candidate, version)))
            })
        };
        let kept: Domains = domains
            .iter()
            .map(|(name, versions)| (name.clone(), versions.iter().filter(|it| possible(it)).cloned().collect()))
            .filter(|(_, versions): &(_, Vec<_>)| !versions.is_empty())
            .collect();
        let counted = |domains: &Domains| domains.values().map(Vec::len).sum::<usize>();
        let settled = counted(&kept) == counted(domains);
        *domains = kept;
        if settled {
            return;
        }
    }
}

/// Splits modules into groups that have nothing to do with each other.
pub(super) fn components(domains: &Domains) -> Vec<Domains> {
    let mut neighbours: BTreeMap<&ModuleName, BTreeSet<&ModuleName>> = BTreeMap::new();
    for name in domains.keys() {
        for other in edges(domains, name) {
            neighbours.entry(name).or_default().insert(other);
            neighbours.entry(other).or_default().insert(name);
        }
    }
    let mut left: BTreeSet<&ModuleName> = domains.keys().collect();
    let mut groups = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut group = Domains::new();
        let mut ahead = vec![first];
        while let Some(name) = ahead.pop() {
            group.insert(name.clone(), domains[name].clone());
            ahead.extend(neighbours.get(name).into_iter().flatten().filter(|other| left.remove(*other)));
        }
        groups.push(group);
    }
    groups
}

/// The modules in the order in which they are added one by one: what any version of one depends on first.
pub(super) fn adding_order(domains: &Domains) -> Vec<ModuleName> {
    let names: BTreeSet<&ModuleName> = domains.keys().collect();
    dependencies_first(&names, |name| edges(domains, name)).into_iter().cloned().collect()
}

/// What any of a module's versions depends on, as far as it takes part.
fn edges<'d>(domains: &'d Domains, name: &ModuleName) -> Vec<&'d ModuleName> {
    let versions = domains.get(name).into_iter().flatten();
    let named: BTreeSet<_> = versions.flat_map(|it| it.manifest.dependencies.keys()).collect();
    named.into_iter().filter(|name| domains.contains_key(*name)).collect()
}

/// Chooses a version of every module, or says `None`. Dependents are chosen first, each as new as can be, and
/// what they need follows them. An optional dependency that takes part is held to its range if that is
/// possible for all at once, else none is; it then counts as absent where it does not fit.
pub(super) fn solve(domains: &Domains) -> Option<Choice> {
    search(domains, Optional::Held).or_else(|| search(domains, Optional::Loose))
}

#[derive(Clone, Copy, PartialEq)]
enum Optional {
    Held,
    Loose,
}

fn search(domains: &Domains, optional: Optional) -> Option<Choice> {
    let mut order = adding_order(domains);
    order.reverse();
    let mut search = Search { order, all: domains, optional, tries: 0, choice: Choice::new() };
    search.step(0, domains).then_some(search.choice)
}

struct Search<'d> {
    order: Vec<ModuleName>,
    all: &'d Domains,
    optional: Optional,
    tries: usize,
    choice: Choice,
}

impl Search<'_> {
    /// Chooses for the modules from place `at` on. `open` has what is still possible for each.
    fn step(&mut self, at: usize, open: &Domains) -> bool {
        let Some(name) = self.order.get(at).cloned() else { return !self.is_circular() };
        for candidate in open.get(&name).into_iter().flatten() {
            self.tries += 1;
            if self.tries > MAX_TRIES {
                return false;
            }
            let Some(narrowed) = self.narrowed(candidate, open) else { continue };
            self.choice.insert(name.clone(), candidate.clone());
            if self.step(at + 1, &narrowed) {
                return true;
            }
            self.choice.remove(&name);
        }
        false
    }

    /// What remains possible for the others once this candidate is chosen; `None` if nothing does for one of
    /// them. Holds both ways: what it depends on, and what depends on it.
    fn narrowed(&self, chosen: &Candidate, open: &Domains) -> Option<Domains> {
        let takes_part = chosen.manifest.required().all(|(name, _)| open.contains_key(name));
        if !takes_part {
            return None;
        }
        let mut narrowed = open.clone();
        for (name, versions) in &mut narrowed {
            if *name == chosen.name {
                versions.retain(|version| version.version == chosen.version);
            } else {
                versions.retain(|other| self.holds(chosen, other) && self.holds(other, chosen));
            }
            if versions.is_empty() {
                return None;
            }
        }
        Some(narrowed)
    }

    /// Whether nothing that `dependent` declares speaks against `dependency`.
    fn holds(&self, dependent: &Candidate, dependency: &Candidate) -> bool {
        let Some(wanted) = dependent.manifest.dependencies.get(&dependency.name) else { return true };
        let possible = || self.all[&dependency.name].iter().any(|version| fits(dependent, version));
        let counts = !wanted.optional || (self.optional == Optional::Held && possible());
        !counts || fits(dependent, dependency)
    }

    fn is_circular(&self) -> bool {
        let edges = |name: &ModuleName| {
            self.choice.get(name).map(|candidate| links(candidate, &self.choice)).unwrap_or_default()
        };
        self.choice.keys().any(|name| find_cycle(name, edges).is_some())
    }
}
