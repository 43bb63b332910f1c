//! The six questions about dependencies by name, by example and by random graphs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{name, names};
use crate::{catalog::DependencyGraph, names::ModuleName};

/// A graph from lines such as `clinic: hr-core, ?email-service`.
fn graph(lines: &[&str]) -> DependencyGraph {
    let mut graph = DependencyGraph::default();
    for line in lines {
        let (module, list) = line.split_once(':').unwrap();
        let wanted = list.split(',').map(str::trim).filter(|it| !it.is_empty());
        let (optional, required): (Vec<&str>, Vec<&str>) = wanted.partition(|it| it.starts_with('?'));
        graph.insert(name(module), names(required), names(optional.into_iter().map(|it| &it[1..])));
    }
    graph
}

fn offices() -> DependencyGraph {
    graph(&["hr-core:", "tasks: hr-core", "clinic: hr-core, ?email-service", "email-service:"])
}

#[test]
fn a_module_can_be_enabled_when_all_it_requires_is() {
    let graph = offices();
    let good = graph.resolve_dependencies(&name("clinic"), &names(["hr-core"]));
    assert!(good.can_enable && good.missing_dependencies.is_empty());
    assert_eq!(good.optional_absent, names(["email-service"]));
    let with_mail = graph.resolve_dependencies(&name("clinic"), &names(["email-service", "hr-core"]));
    assert_eq!((with_mail.optional_present, with_mail.optional_absent), (names(["email-service"]), vec![]));

    let bad = graph.resolve_dependencies(&name("clinic"), &[]);
    assert!(!bad.can_enable);
    assert_eq!(bad.missing_dependencies, names(["hr-core"]));
    assert_eq!(bad.message, "Cannot enable clinic: missing required dependencies: hr-core");
    let unknown = graph.resolve_dependencies(&name("my-module"), &[]);
    assert!(!unknown.can_enable);
    assert_eq!(unknown.message, "Module not found in registry: my-module");
}

#[test]
fn what_is_missing_is_listed_through_all_levels_in_the_order_to_enable_it() {
    let graph = graph(&["top: middle, hr-core", "middle: base", "base:", "hr-core:"]);
    let resolution = graph.resolve_dependencies(&name("top"), &names(["hr-core"]));
    assert_eq!(resolution.message, "Cannot enable top: missing required dependencies: base, middle");
}

#[test]
fn a_module_can_be_disabled_when_no_enabled_one_requires_it() {
    let graph = offices();
    let bad = graph.can_disable_module(&name("hr-core"), &names(["tasks", "clinic"]));
    assert!(!bad.can_disable);
    assert_eq!(bad.dependent_modules, names(["clinic", "tasks"]));
    assert_eq!(bad.message, "Cannot disable hr-core: required by: clinic, tasks");
    assert!(graph.can_disable_module(&name("hr-core"), &names(["hr-core"])).can_disable);
    assert!(graph.can_disable_module(&name("email-service"), &names(["clinic", "hr-core"])).can_disable);
}

#[test]
fn dependents_come_in_the_order_to_disable_them() {
    let graph = graph(&["top: middle", "middle: base", "base:", "other: base", "mail: ?base"]);
    let enabled = names(["base", "mail", "middle", "other", "top"]);
    assert_eq!(graph.dependents_of(&name("base"), &enabled), names(["top", "other", "middle"]));
    assert_eq!(graph.dependents_of(&name("base"), &names(["base", "mail"])), vec![]);
}

#[test]
fn circles_are_found_with_their_path() {
    let graph = graph(&["module-a: module-b", "module-b: module-a", "outside: module-b", "alone: alone", "fine:"]);
    let path = |module| graph.detect_circular_dependencies(&name(module));
    assert_eq!(path("module-a").unwrap(), names(["module-a", "module-b", "module-a"]));
    assert_eq!(path("outside").unwrap(), names(["module-b", "module-a", "module-b"]));
    assert_eq!(path("alone").unwrap(), names(["alone", "alone"]));
    assert_eq!(path("fine"), None);
    assert_eq!(
        graph.validate_dependencies(&name("module-a")).message,
        "Circular dependency detected: module-a -> module-b -> module-a"
    );
    let cycle = graph.get_load_order(&names(["outside", "module-b", "module-a"])).unwrap_err();
    assert_eq!(cycle.to_string(), "Circular dependency detected: module-a -> module-b -> module-a");
    assert_eq!(graph.get_load_order(&names(["outside", "module-b"])).unwrap(), names(["module-b", "outside"]));
    let enabling = graph.resolve_dependencies(&name("module-a"), &names(["module-b"]));
    assert!(!enabling.can_enable);
}

#[test]
fn trees_have_required_ones_only_and_validation_speaks_of_what_is_absent() {
    let graph = graph(&["clinic: hr-core, ?email-service", "hr-core: base", "base:", "lost: gone, hr-core"]);
    assert_eq!(graph.get_dependency_tree(&name("clinic")), names(["base", "hr-core"]));
    assert!(graph.validate_dependencies(&name("clinic")).valid);
    let lost = graph.validate_dependencies(&name("lost"));
    assert_eq!(lost.message, "Cannot enable lost: missing required dependencies: gone");
    assert!(!graph.validate_dependencies(&name("gone")).valid);
}

#[test]
fn the_load_order_has_the_given_names_dependencies_first() {
    let graph = offices();
    let order = |given: &[&str]| graph.get_load_order(&names(given.iter().copied())).unwrap();
    assert_eq!(order(&["clinic", "tasks", "hr-core"]), names(["hr-core", "clinic", "tasks"]));
    assert_eq!(order(&["clinic", "tasks"]), names(["clinic", "tasks"]));
    assert_eq!(order(&["clinic", "hr-core", "email-service"]), names(["email-service", "hr-core", "clinic"]));
    assert_eq!(order(&["tasks", "unheard-of", "tasks"]), names(["tasks", "unheard-of"]));
}

#[test]
fn a_chain_longer_than_a_stack_is_deep_is_followed() {
    let mut graph = DependencyGraph::default();
    let link = |i: usize| name(&format!("m{i}"));
    for i in 0..20_000 {
        graph.insert(link(i), [link(i + 1)], []);
    }
    assert_eq!(graph.get_dependency_tree(&link(0)).len(), 20_000);
    assert_eq!(graph.detect_circular_dependencies(&link(0)), None);
    graph.insert(link(20_000), [link(0)], []);
    assert_eq!(graph.detect_circular_dependencies(&link(0)).unwrap().len(), 20_002);
}

/// Edges between at most nine modules, some of them optional; some seeds give circles, some don't.
type RandomEdges = Vec<(u8, u8, bool)>;

fn random_edges() -> impl Strategy<Value = RandomEdges> {
    let any_way = prop::collection::vec((0_u8..9, 0_u8..9, any::<bool>()), 0..14);
    let downwards = prop::collection::vec((1_u8..9, 0_u8..8, any::<bool>()), 0..24)
        .prop_map(|edges| edges.into_iter().map(|(from, to, optional)| (from, to % from, optional)).collect());
    prop_oneof![any_way, downwards]
}

fn node(number: u8) -> ModuleName {
    name(&format!("m{number}"))
}

fn random_graph(edges: &RandomEdges) -> DependencyGraph {
    let mut nodes: BTreeMap<u8, (Vec<ModuleName>, Vec<ModuleName>)> = (0..9).map(|i| (i, Default::default())).collect();
    for (from, to, optional) in edges {
        let (required, optionals) = nodes.get_mut(from).unwrap();
        if *optional {
            optionals.push(node(*to))
        } else {
            required.push(node(*to))
        };
    }
    let mut graph = DependencyGraph::default();
    for (from, (required, optional)) in nodes {
        graph.insert(node(from), required, optional);
    }
    graph
}

/// Who can be reached from whom in one step or more, by repeated multiplication: nothing like the code tested.
fn reaches(edges: impl Iterator<Item = (u8, u8)>) -> [[bool; 9]; 9] {
    let mut reach = [[false; 9]; 9];
    edges.for_each(|(from, to)| reach[usize::from(from)][usize::from(to)] = true);
    for middle in 0..9 {
        for from in 0..9 {
            for to in 0..9 {
                reach[from][to] |= reach[from][middle] && reach[middle][to];
            }
        }
    }
    reach
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn orders_are_topological_and_every_circle_is_found(
        edges in random_edges(),
        picked in prop::collection::btree_set(0_u8..9, 0..9),
    ) {
        let graph = random_graph(&edges);
        let within = |it: &&(u8, u8, bool)| picked.contains(&it.0) && picked.contains(&it.1);
        let reach = reaches(edges.iter().filter(within).map(|(from, to, _)| (*from, *to)));
        let circular = (0..9).any(|i| reach[i][i]);
        let given: Vec<_> = picked.iter().map(|i| node(*i)).collect();
        match graph.get_load_order(&given) {
            Ok(order) => {
                prop_assert!(!circular);
                let place = |i: u8| order.iter().position(|name| *name == node(i));
                prop_assert_eq!(order.len(), picked.len());
                for (from, to, _) in edges.iter().filter(within) {
                    prop_assert!(place(*to) < place(*from), "{} before {}", to, from);
                }
            }
            Err(cycle) => {
                prop_assert!(circular);
                prop_assert_eq!(cycle.0.first(), cycle.0.last());
                let known: BTreeSet<_> = edges.iter().map(|(from, to, _)| (node(*from), node(*to))).collect();
                for step in cycle.0.windows(2) {
                    prop_assert!(known.contains(&(step[0].clone(), step[1].clone())));
                }
            }
        }

        let everywhere = reaches(edges.iter().map(|(from, to, _)| (*from, *to)));
        let required = reaches(edges.iter().filter(|it| !it.2).map(|(from, to, _)| (*from, *to)));
        for i in 0..9_u8 {
            let at = usize::from(i);
            let on_or_before = everywhere[at][at] || (0..9).any(|j| everywhere[at][j] && everywhere[j][j]);
            prop_assert_eq!(graph.detect_circular_dependencies(&node(i)).is_some(), on_or_before);
            let expected: BTreeSet<_> = (0..9).filter(|j| *j != i && required[at][usize::from(*j)]).map(node).collect();
            let tree = graph.get_dependency_tree(&node(i));
            prop_assert_eq!(tree.len(), expected.len());
            prop_assert_eq!(tree.iter().cloned().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn answers_do_not_depend_on_the_order_of_what_is_given(edges in random_edges(), seed in any::<u64>()) {
        let mut shuffled = edges.clone();
        let mut given: Vec<_> = (0..9).map(node).collect();
        let sorted = given.clone();
        let mut state = seed | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, random(i + 1));
        }
        for i in (1..given.len()).rev() {
            given.swap(i, random(i + 1));
        }
        let (one, other) = (random_graph(&edges), random_graph(&shuffled));
        prop_assert_eq!(one.get_load_order(&sorted), other.get_load_order(&given));
        for module in &sorted {
            let enabled = &given[..5];
            let mut enabled_sorted = enabled.to_vec();
            enabled_sorted.sort();
            prop_assert_eq!(one.resolve_dependencies(module, &enabled_sorted), other.resolve_dependencies(module, enabled));
            prop_assert_eq!(one.can_disable_module(module, &enabled_sorted), other.can_disable_module(module, enabled));
            prop_assert_eq!(one.detect_circular_dependencies(module), other.detect_circular_dependencies(module));
            prop_assert_eq!(one.validate_dependencies(module), other.validate_dependencies(module));
        }
    }
}
