//! Choosing versions for a tenant, by example and against a search that tries everything.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use semver::VersionReq;

use super::{candidate, catalog, name};
use crate::{
    catalog::{Candidate, Catalog, Selection, Standing, Unjudged, select},
    names::ModuleName,
};

fn wants(texts: &[&str]) -> Vec<(ModuleName, VersionReq)> {
    let want = |text: &&str| {
        let (module, range) = text.split_once(' ').unwrap_or((text, "*"));
        (name(module), range.parse().unwrap())
    };
    texts.iter().map(want).collect()
}

/// A selection as text: what is chosen with its links, then the problems.
fn shown(selection: &Selection) -> String {
    let mut lines = Vec::new();
    for chosen in &selection.chosen {
        let links: Vec<_> = chosen.links.iter().map(ModuleName::as_str).collect();
        lines.push(format!("{} {} [{}]", chosen.candidate.name, chosen.candidate.version, links.join(", ")));
    }
    for problem in &selection.problems {
        lines.push(format!("{}: {}: {}", problem.module, problem.finding.code, problem.finding.text));
    }
    lines.join("\n")
}

fn check(candidates: &[Arc<Candidate>], wanted: &[&str], expected: &[&str]) {
    let catalog = catalog(candidates);
    let mut wanted = wants(wanted);
    assert_eq!(shown(&select(&wanted, &catalog, &Unjudged)), expected.join("\n"));
    wanted.reverse();
    assert_eq!(shown(&select(&wanted, &catalog, &Unjudged)), expected.join("\n"), "in another order");
}

#[test]
fn the_newest_that_fits_the_whole_set_wins() {
    let all = [
        candidate("hr-core", "1.0.0", "", &[]),
        candidate("hr-core", "1.4.0", "", &[]),
        candidate("hr-core", "2.0.0", "", &[]),
        candidate("tasks", "1.0.0", "", &[("hr-core", "^1")]),
        candidate("tasks", "1.2.0", "", &[("hr-core", "^1.2")]),
    ];
    check(&all, &["hr-core"], &["hr-core 2.0.0 []"]);
    check(&all, &["tasks", "hr-core"], &["hr-core 1.4.0 []", "tasks 1.2.0 [hr-core]"]);
    check(&all, &["tasks ~1.0", "hr-core =1.0.0"], &["hr-core 1.0.0 []", "tasks 1.0.0 [hr-core]"]);
    check(&all, &["tasks", "hr-core =1.0.0"], &["hr-core 1.0.0 []", "tasks 1.0.0 [hr-core]"]);
}

#[test]
fn what_cannot_run_says_why_and_the_others_run() {
    let all = [
        candidate("hr-core", "1.0.0", "provides-to = [\"tasks\", \"clinic\", \"late\"]", &[]),
        candidate("tasks", "1.0.0", "", &[("hr-core", "^1")]),
        candidate("clinic", "1.0.0", "", &[("hr-core", "^2")]),
        candidate("shop", "1.0.0", "", &[("hr-core", "^1")]),
        candidate("above", "1.0.0", "", &[("shop", "*"), ("absent", "*")]),
        candidate("late", "3.0.0", "", &[]),
    ];
    check(
        &all,
        &["tasks", "clinic", "shop", "above", "late ^4", "gone", "hr-core"],
        &[
            "hr-core 1.0.0 []",
            "tasks 1.0.0 [hr-core]",
            "above: MODULE_DEPENDENCY_MISSING: Cannot enable above: missing required dependencies: absent, shop",
            "clinic: MODULE_VERSION_UNSATISFIABLE: clinic 1.0.0 needs hr-core ^2; present: 1.0.0",
            "gone: MODULE_NOT_FOUND: Module not found in registry: gone",
            "late: MODULE_VERSION_UNSATISFIABLE: no version of late fits `^4`; present: 3.0.0",
            "shop: DEPENDENCY_NOT_OFFERED: hr-core 1.0.0 is not offered to shop: it provides to clinic, late, tasks only",
        ],
    );
    check(
        &all,
        &["tasks"],
        &["tasks: MODULE_DEPENDENCY_MISSING: Cannot enable tasks: missing required dependencies: hr-core"],
    );
}

#[test]
fn two_that_need_different_versions_cannot_both_run() {
    let all = [
        candidate("base", "1.0.0", "", &[]),
        candidate("base", "2.0.0", "", &[]),
        candidate("old", "1.0.0", "", &[("base", "^1")]),
        candidate("new", "1.0.0", "", &[("base", "^2")]),
    ];
    check(
        &all,
        &["old", "new", "base"],
        &[
            "base 2.0.0 []",
            "new 1.0.0 [base]",
            "old: MODULE_VERSION_UNSATISFIABLE: old 1.0.0 needs base ^1, but base 2.0.0 is chosen: new 1.0.0 needs ^2",
        ],
    );
}

#[test]
fn circles_are_reported_and_optional_ones_leave_somebody_running() {
    let required = [
        candidate("module-a", "1.0.0", "", &[("module-b", "*")]),
        candidate("module-b", "1.0.0", "", &[("module-a", "*")]),
        candidate("other", "1.0.0", "", &[]),
    ];
    check(
        &required,
        &["module-a", "module-b", "other"],
        &[
            "other 1.0.0 []",
            "module-a: MODULE_CIRCULAR_DEPENDENCY: Circular dependency detected: module-a -> module-b -> module-a",
            "module-b: MODULE_CIRCULAR_DEPENDENCY: Circular dependency detected: module-b -> module-a -> module-b",
        ],
    );
    let optional = [
        candidate("module-a", "1.0.0", "", &[("module-b", "?*")]),
        candidate("module-b", "1.0.0", "", &[("module-a", "*")]),
    ];
    check(
        &optional,
        &["module-a", "module-b"],
        &[
            "module-a 1.0.0 []",
            "module-b: MODULE_CIRCULAR_DEPENDENCY: Circular dependency detected: module-b -> module-a -> module-b",
        ],
    );
    // An older version without the dependency opens the circle.
    let opened = [&required[..], &[candidate("module-b", "0.9.0", "", &[])]].concat();
    check(&opened, &["module-a", "module-b"], &["module-b 0.9.0 []", "module-a 1.0.0 [module-b]"]);
}

#[test]
fn an_optional_dependency_is_held_to_its_range_or_counts_as_absent() {
    let mail_1 = candidate("mail", "1.0.0", "", &[]);
    let mail_2 = candidate("mail", "2.0.0", "", &[]);
    let clinic = candidate("clinic", "1.0.0", "", &[("mail", "?^1")]);
    let news = candidate("news", "1.0.0", "", &[("mail", "^2")]);
    check(
        &[mail_1.clone(), mail_2.clone(), clinic.clone()],
        &["clinic", "mail"],
        &["mail 1.0.0 []", "clinic 1.0.0 [mail]"],
    );
    check(&[mail_2.clone(), clinic.clone()], &["clinic", "mail"], &["clinic 1.0.0 []", "mail 2.0.0 []"]);
    check(
        &[mail_1, mail_2, clinic, news],
        &["clinic", "mail", "news"],
        &["clinic 1.0.0 []", "mail 2.0.0 []", "news 1.0.0 [mail]"],
    );
}

/// Versions from 1.1 on are bad.
struct FromOneOne {
    kept: Vec<Arc<Candidate>>,
}

impl Standing for FromOneOne {
    fn barred(&self, candidate: &Candidate) -> Option<String> {
        (candidate.version.minor >= 1).then(|| "marked bad: panicked 5 times".to_owned())
    }

    fn kept(&self, module: &ModuleName) -> Vec<Arc<Candidate>> {
        self.kept.iter().filter(|kept| kept.name == *module).cloned().collect()
    }
}

#[test]
fn a_version_that_is_kept_takes_the_place_of_those_that_are_barred() {
    let kept = vec![candidate("tasks", "1.0.5", "", &[]), candidate("tasks", "1.0.9", "", &[])];
    let standing = FromOneOne { kept };
    let with = |candidates: &[Arc<Candidate>], wanted: &str| {
        shown(&select(&wants(&[wanted]), &catalog(candidates), &standing))
    };
    let bad = candidate("tasks", "1.1.0", "", &[]);
    let good = candidate("tasks", "1.0.0", "", &[]);
    assert_eq!(with(std::slice::from_ref(&bad), "tasks"), "tasks 1.0.5 []", "the first of those that are kept");
    assert_eq!(with(std::slice::from_ref(&bad), "tasks =1.0.9"), "tasks 1.0.9 []");
    assert_eq!(with(&[bad, good], "tasks"), "tasks 1.0.0 []", "the folder goes first");
    let other = candidate("hr-core", "1.0.0", "", &[]);
    assert_eq!(
        with(&[other], "tasks"),
        "tasks: MODULE_NOT_FOUND: Module not found in registry: tasks",
        "what the folder does not have is not run"
    );
}

#[test]
fn barred_versions_are_passed_over_and_named() {
    let all = [candidate("tasks", "1.0.0", "", &[]), candidate("tasks", "1.1.0", "", &[])];
    let catalog = catalog(&all);
    let standing = FromOneOne { kept: Vec::new() };
    assert_eq!(shown(&select(&wants(&["tasks"]), &catalog, &standing)), "tasks 1.0.0 []");
    assert_eq!(
        shown(&select(&wants(&["tasks ^1.1"]), &catalog, &standing)),
        "tasks: MODULE_VERSION_UNSATISFIABLE: no version of tasks fits `^1.1`; \
         present: 1.1.0 (marked bad: panicked 5 times), 1.0.0"
    );
}

#[test]
fn a_knot_of_many_versions_is_given_up_in_time() {
    let mut all = Vec::new();
    let modules: Vec<String> = (0..30).map(|i| format!("m{i:02}")).collect();
    for (i, module) in modules.iter().enumerate() {
        for major in 1..6 {
            // Each wants the next in another major than the one after it does: nothing fits all the way.
            let range = format!("={}.0.0", (major + i) % 6 + 1);
            let next = modules[(i + 1) % 30].clone();
            all.push(candidate(module, &format!("{major}.0.0"), "", &[(&next, &format!("?{range}")), ("base", "*")]));
        }
    }
    all.push(candidate("base", "1.0.0", "", &[]));
    let catalog = catalog(&all);
    let mut wanted: Vec<_> = modules.iter().map(String::as_str).collect();
    wanted.push("base");
    let selection = select(&wants(&wanted), &catalog, &Unjudged);
    assert_eq!(selection.chosen.len() + selection.problems.len(), 31);
}

/// One version of one of five modules, and what it wants of those with a lower number, or of any.
type RandomVersion = (u8, u8, Vec<(u8, u8, u8)>, u8);

fn random_versions() -> impl Strategy<Value = Vec<RandomVersion>> {
    let wanted = prop::collection::vec((0_u8..5, 0_u8..4, 0_u8..3), 0..3);
    prop::collection::vec((0_u8..5, 1_u8..4, wanted, 0_u8..8), 1..12)
}

fn random_catalog(versions: &[RandomVersion]) -> Catalog {
    let module = |i: u8| format!("m{i}");
    let mut candidates: BTreeMap<(u8, u8), Arc<Candidate>> = BTreeMap::new();
    for (i, major, wanted, offer) in versions {
        // Mostly downwards, so that circles are there but not the rule.
        let target = |it: u8| if *offer == 7 { it } else { it % (i + 1) };
        let dependencies: BTreeMap<String, String> = wanted
            .iter()
            .map(|(to, range, kind)| {
                let range = if *range == 0 { "*".to_owned() } else { format!("^{range}") };
                (module(target(*to)), if *kind == 0 { format!("?{range}") } else { range })
            })
            .filter(|(to, _)| *to != module(*i))
            .collect();
        let dependencies: Vec<(&str, &str)> = dependencies.iter().map(|(to, range)| (&**to, &**range)).collect();
        let lines = if *offer == 0 { "provides-to = [\"m4\", \"m3\"]" } else { "" };
        let made = candidate(&module(*i), &format!("{major}.0.0"), lines, &dependencies);
        candidates.entry((*i, *major)).or_insert(made);
    }
    catalog(&candidates.into_values().collect::<Vec<_>>())
}

/// Whether a choice holds: required dependencies are there and fit, and links are no circle.
fn holds(choice: &BTreeMap<ModuleName, Arc<Candidate>>) -> bool {
    let fit = |one: &Candidate, other: &Candidate| {
        one.manifest.dependencies[&other.name].range.matches(&other.version) && other.manifest.offers_to(&one.name)
    };
    let met = choice
        .values()
        .all(|one| one.manifest.required().all(|(needed, _)| choice.get(needed).is_some_and(|other| fit(one, other))));
    let mut left: Vec<_> = choice.values().collect();
    loop {
        let before = left.len();
        let waits = |one: &Candidate, left: &[&Arc<Candidate>]| {
            left.iter().any(|it| one.manifest.dependencies.contains_key(&it.name) && fit(one, it))
        };
        let snapshot = left.clone();
        left.retain(|one| waits(one, &snapshot));
        if left.len() == before {
            break;
        }
    }
    met && left.is_empty()
}

/// Every way to choose one version of each name.
fn all_choices(catalog: &Catalog, names: &[ModuleName]) -> Vec<BTreeMap<ModuleName, Arc<Candidate>>> {
    let mut choices = vec![BTreeMap::new()];
    for name in names {
        let with = |choice: &BTreeMap<ModuleName, Arc<Candidate>>| {
            let add = |it: &Arc<Candidate>| {
                let mut more = choice.clone();
                more.insert(name.clone(), it.clone());
                more
            };
            catalog.get(name.as_str()).iter().map(add).collect::<Vec<_>>()
        };
        choices = choices.iter().flat_map(with).collect();
    }
    choices
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn selections_hold_are_as_large_as_can_be_and_do_not_depend_on_order(
        versions in random_versions(),
        order in Just((0_u8..5).collect::<Vec<_>>()).prop_shuffle(),
        kept in 1_usize..6,
    ) {
        let catalog = random_catalog(&versions);
        let mut shuffled = versions.clone();
        let mut unique = std::collections::BTreeSet::new();
        shuffled.retain(|version| unique.insert((version.0, version.1)));
        shuffled.reverse();
        let wanted: Vec<_> = order[..kept].iter().map(|i| (name(&format!("m{i}")), VersionReq::STAR)).collect();
        let mut sorted = wanted.clone();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        let selection = select(&wanted, &catalog, &Unjudged);
        prop_assert_eq!(shown(&selection), shown(&select(&sorted, &random_catalog(&shuffled), &Unjudged)));

        let chosen: BTreeMap<_, _> =
            selection.chosen.iter().map(|it| (it.candidate.name.clone(), it.candidate.clone())).collect();
        prop_assert!(holds(&chosen), "{}", shown(&selection));
        for (place, one) in selection.chosen.iter().enumerate() {
            for link in &one.links {
                prop_assert!(selection.chosen[..place].iter().any(|it| it.candidate.name == *link));
            }
            for (needed, _) in one.candidate.manifest.required() {
                prop_assert!(one.links.contains(needed));
            }
        }
        for (module, _) in &wanted {
            let failed = selection.problems.iter().any(|problem| problem.module == *module);
            prop_assert_ne!(failed, chosen.contains_key(module), "{}", shown(&selection));
        }

        // Nobody who was left out could have joined those who were taken up.
        for (module, _) in wanted.iter().filter(|(module, _)| !chosen.contains_key(module)) {
            let together: Vec<_> = chosen.keys().cloned().chain([module.clone()]).collect();
            let possible = all_choices(&catalog, &together).into_iter().any(|choice| holds(&choice));
            prop_assert!(!possible, "{} could have joined\n{}", module, shown(&selection));
        }
    }
}
