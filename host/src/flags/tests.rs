//! Tests of room `flags`, through its public boundary.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::names::ModuleName;

mod definitions;
mod files;
mod javascript;
mod vectors;

fn module(name: &str) -> ModuleName {
    name.parse().unwrap()
}

fn flag(name: &str) -> FlagName {
    name.parse().unwrap()
}

/// hr-core and tasks both declare `bulk-import`, with different defaults.
fn two_modules(overrides: Value) -> FlagSet {
    let core = FlagDefaults::new(module("hr-core"), [("bulk-import", false), ("photos", true)]);
    let tasks = FlagDefaults::new(module("tasks"), [("quick-add", true), ("bulk-import", true)]);
    let Value::Object(overrides) = overrides else { panic!("overrides are an object") };
    FlagSet::compile([tasks, core], overrides)
}

#[test]
fn each_module_sees_its_own_default() {
    let flags = two_modules(json!({}));
    let (core, tasks) = (module("hr-core"), module("tasks"));
    assert_eq!(flags.is_enabled(&core, "bulk-import"), Some(false));
    assert_eq!(flags.is_enabled(&tasks, "bulk-import"), Some(true));
    assert_eq!(flags.is_enabled(&tasks, "photos"), None, "another module's flag");
    assert_eq!(flags.is_enabled(&module("clinic"), "photos"), None, "a module that declares nothing");
    assert_eq!(flags.for_module(&tasks, "quick-add").unwrap().source, FlagSource::ModuleDefault(&tasks));
}

#[test]
fn the_tenants_value_wins_for_every_module() {
    let flags = two_modules(json!({ "bulk-import": false, "quick-add": "yes", "theme": "dark" }));
    for name in ["hr-core", "tasks", "clinic"] {
        let answer = flags.for_module(&module(name), "bulk-import").unwrap();
        assert_eq!((answer.value, answer.source), (&json!(false), FlagSource::Override));
    }
    assert_eq!(flags.is_enabled(&module("tasks"), "quick-add"), Some(false), "only `true` is on");
    assert_eq!(flags.for_module(&module("tasks"), "theme").unwrap().value, "dark", "undeclared flags are seen too");
}

#[test]
fn the_tenant_as_a_whole_has_one_value_for_each_flag() {
    let flags = two_modules(json!({ "theme": "dark" }));
    let all = json!({ "bulk-import": false, "photos": true, "quick-add": true, "theme": "dark" });
    assert_eq!(Value::Object(flags.feature_flags()), all);
    assert!(flags.is_feature_enabled("quick-add"));
    assert!(!flags.is_feature_enabled("theme") && !flags.is_feature_enabled("unheard-of"));
    assert!(flags.get("unheard-of").is_none());
    let listed: Vec<_> = flags.list().iter().map(|a| format!("{} {} {:?}", a.name, a.value, a.source)).collect();
    insta::assert_snapshot!(listed.join("\n"), @r#"
    bulk-import false ModuleDefault(ModuleName("hr-core"))
    bulk-import true ModuleDefault(ModuleName("tasks"))
    photos true ModuleDefault(ModuleName("hr-core"))
    quick-add true ModuleDefault(ModuleName("tasks"))
    theme "dark" Override
    "#);
}

#[test]
fn assignments_are_json_where_they_can_be() {
    for (text, value) in [
        ("a=true", json!(true)),
        ("a=-3.5", json!(-3.5)),
        ("a=\"true\"", json!("true")),
        ("a= [1, {\"b\": null}] ", json!([1, { "b": null }])),
        ("a=dark", json!("dark")),
        ("a=True", json!("True")),
        ("a=007", json!("007")),
        ("a=x=y", json!("x=y")),
        ("a=", json!("")),
    ] {
        assert_eq!(parse_assignment(text).unwrap(), (flag("a"), value), "{text}");
    }
}

#[test]
fn bad_assignments_say_what_is_needed() {
    let long = "x".repeat(10_000) + "=1";
    let bad = ["a", "=1", "a b=1", "-a=1", "ä=1", "a\n", &long, "a=null", "a={b}", "a=\"b", "a=[1"];
    let errors: Vec<_> = bad.iter().map(|text| parse_assignment(text).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    `a` has no value: `FLAG=VALUE` is needed
    `` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    `a b` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    `-a` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    `ä` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    `a\n` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants
    the value of `a` must not be null; unset it instead
    the value of `a` begins like JSON, but is not: key must be a string at line 1 column 2
    the value of `a` begins like JSON, but is not: EOF while parsing a string at line 1 column 2
    the value of `a` begins like JSON, but is not: EOF while parsing a list at line 1 column 2
    "#);
}

#[test]
fn changes_are_applied_all_or_none() {
    let flags = two_modules(json!({}));
    let check = |name: &FlagName, value: &Value| flags.check(name, value);
    let set = |name: &str, value: Value| FlagChange::Set(flag(name), value);
    let mut own = BTreeMap::from([("old".to_owned(), json!(1))]);

    let changes = [set("bulk-import", json!(true)), set("theme", json!("dark")), FlagChange::Unset(flag("old"))];
    assert_eq!(apply_changes(&mut own, &changes, check), Ok(true));
    assert_eq!(apply_changes(&mut own, &changes, check), Ok(false), "nothing is different the second time");
    assert_eq!(json!(own), json!({ "bulk-import": true, "theme": "dark" }));

    let before = own.clone();
    let bad = [
        set("fine", json!(1)),
        set("bulk-import", json!("yes")),
        set("big", json!("x".repeat(MAX_VALUE_BYTES))),
        set("none", Value::Null),
        set("deep", (0..65).fold(json!(1), |inner, _| json!([inner]))),
    ];
    let errors = apply_changes(&mut own, &bad, check).unwrap_err();
    assert_eq!(own, before);
    assert!(errors.iter().all(|error| error.code() == "FLAG_INVALID"));
    insta::assert_snapshot!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"
    `bulk-import` must be `true` or `false`, as module hr-core declares it
    the value of `big` has 16386 bytes, at most 16384 are permitted
    the value of `none` must not be null; unset it instead
    the value of `deep` is too deep: at most 64 arrays and objects may be inside each other
    "#);
}

#[test]
fn a_tenant_has_a_bounded_number_of_values() {
    let full = (0..MAX_OVERRIDES).map(|n| (format!("f{n}"), json!(n))).collect::<BTreeMap<_, _>>();
    let mut own = full.clone();
    let add = FlagChange::Set(flag("one-more"), json!(1));
    let no_check = |_: &FlagName, _: &Value| Ok(());
    assert_eq!(apply_changes(&mut own, &[add], no_check), Err(vec![FlagError::TooMany(MAX_OVERRIDES + 1)]));
    own.extend([("from-elsewhere".into(), json!(1)), ("too".into(), json!(1))]);
    assert_eq!(apply_changes(&mut own, &[FlagChange::Unset(flag("too"))], no_check), Ok(true), "it may shrink");
}

proptest! {
    #[test]
    fn lookups_agree_with_a_plain_map(
        declared in prop::collection::vec(("[a-c]", prop::collection::vec(("[a-f]", any::<bool>()), 0..5)), 0..4),
        own in prop::collection::vec(("[a-f]", 0..3i32), 0..4),
        asked in "[a-f]",
        asking in "[a-c]",
    ) {
        let module_maps: BTreeMap<_, BTreeMap<_, _>> =
            declared.iter().map(|(name, flags)| (name.clone(), flags.iter().cloned().collect())).collect();
        let own_map: BTreeMap<_, _> = own.iter().cloned().collect();
        let flags = FlagSet::compile(declared.iter().map(|(name, f)| FlagDefaults::new(module(name), f.clone())), own);
        let expected = match own_map.get(&asked) {
            Some(value) => Some(json!(value)),
            None => module_maps.get(&asking).and_then(|map| map.get(&asked)).map(|value| json!(value)),
        };
        prop_assert_eq!(flags.for_module(&module(&asking), &asked).map(|answer| answer.value.clone()), expected);
    }
}
