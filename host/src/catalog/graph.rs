//! Questions about dependencies by name: pure functions over a graph, whatever it was made from. Versions play
//! no part here.
//!
//! An edge is an edge: a required and an optional dependency both come before the module that names them, and
//! a circle may run through either.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::text;
use crate::names::ModuleName;

/// Which module names which others. A name that is only depended on is not in the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DependencyGraph {
    modules: BTreeMap<ModuleName, Edges>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Edges {
    required: BTreeSet<ModuleName>,
    optional: BTreeSet<ModuleName>,
}

/// Whether a module can be enabled beside those that are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// It is known, all it needs is enabled, and nothing of it is a circle.
    pub can_enable: bool,
    /// What it needs, directly or through others, and is not enabled; dependencies first.
    pub missing_dependencies: Vec<ModuleName>,
    /// Its own optional dependencies that are enabled, by name.
    pub optional_present: Vec<ModuleName>,
    /// Its own optional dependencies that are not, by name.
    pub optional_absent: Vec<ModuleName>,
    /// The same for people.
    pub message: String,
}

/// Whether a module can be disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabling {
    /// No other enabled module requires it.
    pub can_disable: bool,
    /// The enabled modules that require it themselves, by name.
    pub dependent_modules: Vec<ModuleName>,
    /// The same for people.
    pub message: String,
}

/// Whether all that a module needs is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// It is known, so is all it needs, and nothing of it is a circle.
    pub valid: bool,
    /// The same for people.
    pub message: String,
}

/// A circle: the names along it, the first one again at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", text::circular(.0).text)]
pub struct Cycle(pub Vec<ModuleName>);

impl DependencyGraph {
    /// Adds a module, or replaces what it depends on.
    pub fn insert(
        &mut self,
        name: ModuleName,
        required: impl IntoIterator<Item = ModuleName>,
        optional: impl IntoIterator<Item = ModuleName>,
    ) {
        let edges = Edges { required: required.into_iter().collect(), optional: optional.into_iter().collect() };
        self.modules.insert(name, edges);
    }

    /// Whether a module can be enabled while `enabled` are.
    pub fn resolve_dependencies(&self, name: &ModuleName, enabled: &[ModuleName]) -> Resolution {
        let enabled: BTreeSet<_> = enabled.iter().collect();
        let Some(edges) = self.modules.get(name) else {
            return Resolution {
                can_enable: false,
                missing_dependencies: Vec::new(),
                optional_present: Vec::new(),
                optional_absent: Vec::new(),
                message: text::not_found(name).text,
            };
        };
        let tree = self.get_dependency_tree(name);
        let (optional_present, optional_absent) =
            edges.optional.iter().cloned().partition(|optional| enabled.contains(optional));
        let present = |it: &ModuleName| it == name || enabled.contains(it) || tree.contains(it);
        let cycle = find_cycle(name, |from| self.edges(from).filter(|to| present(to)).collect());
        let missing: Vec<_> = tree.iter().filter(|needed| !enabled.contains(needed)).cloned().collect();
        let message = match &cycle {
            Some(cycle) => text::circular(cycle).text,
            None if missing.is_empty() => format!("All dependencies of {name} are enabled"),
            None => text::dependency_missing(name, &missing).text,
        };
        Resolution {
            can_enable: missing.is_empty() && cycle.is_none(),
            missing_dependencies: missing,
            optional_present,
            optional_absent,
            message,
        }
    }

    /// Whether a module can be disabled while `enabled` are.
    pub fn can_disable_module(&self, name: &ModuleName, enabled: &[ModuleName]) -> Disabling {
        let requires = |dependent: &ModuleName| {
            dependent != name && self.modules.get(dependent).is_some_and(|edges| edges.required.contains(name))
        };
        let dependents: BTreeSet<_> = enabled.iter().filter(|dependent| requires(dependent)).cloned().collect();
        let message = if dependents.is_empty() {
            format!("No enabled module requires {name}")
        } else {
            text::has_dependents(name, &dependents).text
        };
        Disabling { can_disable: dependents.is_empty(), dependent_modules: dependents.into_iter().collect(), message }
    }

    /// Those of `enabled` that could not run without a module, directly or through others, dependents first:
    /// the order in which to disable them before it.
    pub fn dependents_of(&self, name: &ModuleName, enabled: &[ModuleName]) -> Vec<ModuleName> {
        let mut found: BTreeSet<&ModuleName> = BTreeSet::new();
        let mut ahead = vec![name];
        while let Some(needed) = ahead.pop() {
            for dependent in enabled.iter().filter(|it| *it != name && !found.contains(it)).collect::<Vec<_>>() {
                if self.modules.get(dependent).is_some_and(|edges| edges.required.contains(needed)) {
                    found.insert(dependent);
                    ahead.push(dependent);
                }
            }
        }
        let mut order = self.ordered(&found, |from| self.edges(from).collect());
        order.reverse();
        order
    }

    /// A circle that a module is on or depends on; the first one met when dependencies are followed by name.
    pub fn detect_circular_dependencies(&self, name: &ModuleName) -> Option<Vec<ModuleName>> {
        find_cycle(name, |from| self.edges(from).collect())
    }

    /// All that a module requires, directly or through others, dependencies first, ties by name. Names that are
    /// not in the graph are there too; optional dependencies are not. Members of a circle come last, by name.
    pub fn get_dependency_tree(&self, name: &ModuleName) -> Vec<ModuleName> {
        let required = |from: &ModuleName| self.modules.get(from).into_iter().flat_map(|edges| &edges.required);
        let mut found: BTreeSet<&ModuleName> = BTreeSet::new();
        let mut ahead: Vec<&ModuleName> = required(name).collect();
        while let Some(next) = ahead.pop() {
            if next != name && found.insert(next) {
                ahead.extend(required(next));
            }
        }
        self.ordered(&found, |from| required(from).collect())
    }

    /// Whether a module and all it requires are in the graph, without a circle.
    pub fn validate_dependencies(&self, name: &ModuleName) -> Validation {
        let missing: Vec<_> =
            self.get_dependency_tree(name).into_iter().filter(|needed| !self.modules.contains_key(needed)).collect();
        let message = if !self.modules.contains_key(name) {
            text::not_found(name).text
        } else if let Some(cycle) = self.detect_circular_dependencies(name) {
            text::circular(cycle).text
        } else if !missing.is_empty() {
            text::dependency_missing(name, &missing).text
        } else {
            return Validation { valid: true, message: format!("All dependencies of {name} are available") };
        };
        Validation { valid: false, message }
    }

    /// The given names, each once and no others, in the order to load them: what one depends on comes before it,
    /// optional or not, ties by name.
    ///
    /// # Errors
    ///
    /// A circle among the given names.
    pub fn get_load_order(&self, names: &[ModuleName]) -> Result<Vec<ModuleName>, Cycle> {
        let names: BTreeSet<_> = names.iter().collect();
        for name in &names {
            if let Some(cycle) = find_cycle(name, |from| self.edges(from).filter(|to| names.contains(to)).collect()) {
                return Err(Cycle(cycle));
            }
        }
        Ok(self.ordered(&names, |from| self.edges(from).collect()))
    }

    /// All edges of a module, by name.
    fn edges<'g>(&'g self, from: &ModuleName) -> impl Iterator<Item = &'g ModuleName> {
        self.modules.get(from).into_iter().flat_map(|edges| edges.required.union(&edges.optional))
    }

    fn ordered<'g>(
        &'g self,
        names: &BTreeSet<&'g ModuleName>,
        edges: impl Fn(&ModuleName) -> Vec<&'g ModuleName>,
    ) -> Vec<ModuleName> {
        dependencies_first(names, edges).into_iter().cloned().collect()
    }
}

/// The names with those they have edges to before them, ties by name; members of circles, and what comes after
/// them, last by name.
pub(super) fn dependencies_first<'g>(
    names: &BTreeSet<&'g ModuleName>,
    edges: impl Fn(&ModuleName) -> Vec<&'g ModuleName>,
) -> Vec<&'g ModuleName> {
    let mut waiting: BTreeMap<&ModuleName, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&ModuleName, Vec<&'g ModuleName>> = BTreeMap::new();
    for name in names {
        let before: BTreeSet<_> = edges(name).into_iter().filter(|to| names.contains(to)).collect();
        waiting.insert(name, before.len());
        for to in before {
            dependents.entry(to).or_default().push(name);
        }
    }
    let mut ready: BTreeSet<&'g ModuleName> = names.iter().copied().filter(|name| waiting[name] == 0).collect();
    let mut order = Vec::with_capacity(names.len());
    while let Some(name) = ready.pop_first() {
        waiting.remove(name);
        order.push(name);
        for dependent in dependents.remove(name).unwrap_or_default() {
            if let Some(left) = waiting.get_mut(dependent) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    order.extend(names.iter().copied().filter(|name| waiting.contains_key(name)));
    order
}

/// A circle reachable from `start`, its first name again at its end; edges are followed in the order given.
pub(super) fn find_cycle<'g>(
    start: &'g ModuleName,
    edges: impl Fn(&ModuleName) -> Vec<&'g ModuleName>,
) -> Option<Vec<ModuleName>> {
    // An own stack: a chain of modules may be longer than a thread's stack is deep.
    let mut done: BTreeSet<&ModuleName> = BTreeSet::new();
    let mut path: Vec<(&ModuleName, std::vec::IntoIter<&ModuleName>)> = vec![(start, edges(start).into_iter())];
    let mut on_path: BTreeSet<&ModuleName> = BTreeSet::from([start]);
    while let Some((name, ahead)) = path.last_mut() {
        let Some(next) = ahead.next() else {
            done.insert(name);
            on_path.remove(name);
            path.pop();
            continue;
        };
        if on_path.contains(next) {
            let circle = path.iter().map(|(name, _)| *name).skip_while(|name| *name != next);
            return Some(circle.chain([next]).cloned().collect());
        }
        if !done.contains(next) {
            on_path.insert(next);
            path.push((next, edges(next).into_iter()));
        }
    }
    None
}
