//! What definitions come to: the order of resolution, the precedence over and under them, the stamp.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{module, two_modules};
use crate::{
    flags::{
        ContextError, Definitions, EvaluationContext, EvaluationError, FlagSet, FlagSource, MAX_CONTEXT_VALUES, Reason,
    },
    names::TenantId,
};

pub(super) const NOW: u64 = 1_700_000_040;

pub(super) fn defined(flags: Value) -> Definitions {
    let file = json!({ "flags": flags }).to_string();
    Definitions::parse(file.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

fn members(said: Value) -> Map<String, Value> {
    let Value::Object(said) = said else { panic!("a context is an object") };
    said
}

pub(super) fn context(said: Value) -> EvaluationContext {
    EvaluationContext::of_client(&tenant("acme"), members(said), NOW).unwrap()
}

fn switch(state: &str, default: Value, targeting: Value) -> Value {
    json!({ "state": state, "variants": { "on": true, "off": false }, "defaultVariant": default, "targeting": targeting })
}

fn set_of(flags: Value, overrides: Value, id: &str) -> FlagSet {
    two_modules(overrides).defined_by(&Arc::new(defined(flags)), &tenant(id), NOW)
}

#[test]
fn resolution_is_flagd_s() {
    let staff = json!({ "if": [{ "ends_with": [{ "var": "email" }, "@acme.example"] }, "on", null] });
    let definitions = defined(json!({
        "off": switch("DISABLED", json!("on"), json!({})),
        "plain": switch("ENABLED", json!("on"), json!({})),
        "open": switch("ENABLED", Value::Null, json!({})),
        "staff": switch("ENABLED", json!("off"), staff.clone()),
        "open-staff": switch("ENABLED", Value::Null, staff),
        "by-value": { "state": "ENABLED", "variants": { "true": true, "false": false }, "targeting": { "==": [{ "var": "n" }, 1] } },
        "by-number": { "state": "ENABLED", "variants": { "2": "two" }, "targeting": { "/": [{ "var": "n" }, 2] } },
        "no-variant": switch("ENABLED", json!("off"), json!({ "cat": ["no", "where"] })),
        "no-name": switch("ENABLED", json!("off"), json!({ "merge": [1, 2] })),
        "no-number": switch("ENABLED", json!("off"), json!({ "%": [1, 0] })),
    }));
    let check = |flag: &str, said: Value, expected: (Option<Value>, Option<&str>, Reason)| {
        let found = definitions.evaluate(flag, &context(said)).unwrap();
        assert_eq!((found.value.cloned(), found.variant, found.reason), expected, "{flag}");
        assert_eq!(found.error.is_some(), found.reason == Reason::Error, "{flag}");
    };
    assert_eq!(definitions.evaluate("nothing", &context(json!({}))), None);
    let staff = || json!({ "email": "ann@acme.example" });
    check("off", json!({}), (None, None, Reason::Disabled));
    check("plain", json!({}), (Some(json!(true)), Some("on"), Reason::Static));
    check("open", json!({}), (None, None, Reason::Default));
    check("staff", staff(), (Some(json!(true)), Some("on"), Reason::TargetingMatch));
    check("staff", json!({}), (Some(json!(false)), Some("off"), Reason::Default));
    check("open-staff", staff(), (Some(json!(true)), Some("on"), Reason::TargetingMatch));
    check("open-staff", json!({}), (None, None, Reason::Default));
    check("by-value", json!({ "n": 1 }), (Some(json!(true)), Some("true"), Reason::TargetingMatch));
    check("by-value", json!({ "n": [1] }), (Some(json!(false)), Some("false"), Reason::TargetingMatch));
    check("by-number", json!({ "n": 4 }), (Some(json!("two")), Some("2"), Reason::TargetingMatch));
    check("by-number", json!({ "n": 4.0 }), (Some(json!("two")), Some("2"), Reason::TargetingMatch));
    check("no-variant", json!({}), (None, None, Reason::Error));
    check("no-name", json!({}), (None, None, Reason::Error));
    check("no-number", json!({}), (Some(json!(false)), Some("off"), Reason::Default));
    let error = definitions.evaluate("no-variant", &context(json!({}))).unwrap().error;
    assert_eq!(
        error,
        Some(EvaluationError::NoVariant {
            flag: "no-variant".into(),
            named: "nowhere".into(),
            variants: "off, on".into()
        })
    );
}

#[test]
fn variants_are_of_every_type_and_metadata_is_laid_over_that_of_the_set() {
    let file = json!({
        "metadata": { "flagSetId": "web", "version": 3 },
        "flags": [
            { "key": "text", "state": "ENABLED", "variants": { "a": "x" }, "defaultVariant": "a", "metadata": { "version": 4, "owner": "ann" } },
            { "key": "number", "state": "ENABLED", "variants": { "a": 1, "b": 2.5 }, "defaultVariant": "b" },
            { "key": "object", "state": "ENABLED", "variants": { "a": { "list": [1, null] } }, "defaultVariant": "a" },
        ],
    });
    let definitions = Definitions::parse(file.to_string().as_bytes()).unwrap();
    let value = |flag: &str| definitions.evaluate(flag, &context(json!({}))).unwrap();
    assert_eq!(value("text").value, Some(&json!("x")));
    assert_eq!(value("number").value, Some(&json!(2.5)));
    assert_eq!(value("object").value, Some(&json!({ "list": [1, null] })));
    assert_eq!(*value("text").metadata, members(json!({ "flagSetId": "web", "version": 4, "owner": "ann" })));
    assert_eq!(*value("number").metadata, members(json!({ "flagSetId": "web", "version": 3 })));
    assert_eq!(*definitions.metadata(), members(json!({ "flagSetId": "web", "version": 3 })));
}

#[test]
fn rules_refer_to_named_rules_which_refer_to_others() {
    let file = json!({
        "$evaluators": {
            "staff": { "ends_with": [{ "var": "email" }, "@acme.example"] },
            "early": { "or": [{ "$ref": "staff" }, { "in": [{ "var": "plan" }, ["beta", "gold"]] }] },
        },
        "flags": { "new": switch("ENABLED", json!("off"), json!({ "if": [{ "$ref": "early" }, "on", "off"] })) },
    });
    let definitions = Definitions::parse(file.to_string().as_bytes()).unwrap();
    for (said, variant) in [
        (json!({ "email": "ann@acme.example" }), "on"),
        (json!({ "plan": "gold" }), "on"),
        (json!({ "plan": "free" }), "off"),
    ] {
        assert_eq!(definitions.evaluate("new", &context(said)).unwrap().variant, Some(variant));
    }
}

#[test]
fn the_host_says_who_the_tenant_is_and_what_time_it_is() {
    let definitions = defined(json!({
        "tenant": switch("ENABLED", json!("off"), json!({ "if": [{ "==": [{ "var": "tenantId" }, "acme"] }, "on", "off"] })),
        "time": switch("ENABLED", json!("off"), json!({ "if": [{ "==": [{ "var": "$flagd.timestamp" }, NOW] }, "on", "off"] })),
    }));
    let lies = json!({ "tenantId": "other", "$flagd": { "timestamp": 0, "flagKey": "x" } });
    assert_eq!(definitions.evaluate("tenant", &context(lies.clone())).unwrap().variant, Some("on"));
    assert_eq!(definitions.evaluate("time", &context(lies)).unwrap().variant, Some("on"));
    assert!(definitions.reads_time());
}

#[test]
fn whatever_reads_the_time_is_known_to() {
    let file = |rule: Value| {
        json!({
            "$evaluators": { "a-now": { "var": "" }, "b-ever": { "some": [{ "var": "list" }, { "$ref": "a-now" }] } },
            "flags": { "a": switch("ENABLED", json!("off"), json!({ "if": [rule, "on"] })) },
        })
    };
    for (rule, reads_time) in [
        (json!({ "var": "$flagd.timestamp" }), true),
        (json!({ "var": ["$flagd.timestamp", 0] }), true),
        (json!({ "var": [["$flagd", "timestamp"]] }), true),
        (json!({ "var": { "cat": ["$flagd", ".timestamp"] } }), true),
        (json!({ "var": "" }), true),
        (json!({ "var": [] }), true),
        (json!({ "var": true }), true),
        // The same named rule, in a list of the context and outside of it.
        (json!({ "$ref": "a-now" }), true),
        (json!({ "$ref": "b-ever" }), false),
        (json!({ "some": [{ "var": "list" }, { "$ref": "a-now" }] }), false),
        (json!({ "or": [{ "$ref": "b-ever" }, { "$ref": "a-now" }] }), true),
        (json!({ "var": "$flagd.flagKey" }), false),
        (json!({ "var": "plan" }), false),
        (json!({ "var": 1 }), false),
    ] {
        let definitions = Definitions::parse(file(rule.clone()).to_string().as_bytes()).unwrap();
        assert_eq!(definitions.reads_time(), reads_time, "{rule}");
    }
}

#[test]
fn a_context_has_bounds() {
    let many: Vec<usize> = (0..MAX_CONTEXT_VALUES).collect();
    let of = |said: Value| EvaluationContext::of_client(&tenant("acme"), members(said), NOW).map(drop);
    assert_eq!(of(json!({ "list": many })), Err(ContextError::TooLarge(MAX_CONTEXT_VALUES + 1)));
    assert_eq!(of(json!({ "targetingKey": 7 })), Err(ContextError::TargetingKey));
    assert_eq!(of(json!({ "targetingKey": null, "list": many[2..] })), Ok(()));
}

#[test]
fn the_tenant_decides_then_the_definition_then_the_module_then_the_caller() {
    let per_tenant = json!({ "if": [{ "==": [{ "var": "tenantId" }, "acme"] }, "on", null] });
    let flags = set_of(
        json!({
            "bulk-import": switch("ENABLED", json!("on"), json!({})),
            "photos": switch("DISABLED", json!("on"), json!({})),
            "quick-add": switch("ENABLED", Value::Null, json!({})),
            "theme": { "state": "ENABLED", "variants": { "dark": "d", "light": "l" }, "defaultVariant": "light" },
            "mine": switch("ENABLED", json!("off"), per_tenant.clone()),
            "set": switch("DISABLED", json!("off"), json!({})),
            "nobody": switch("ENABLED", Value::Null, json!({})),
            "broken": switch("ENABLED", json!("on"), json!({ "cat": ["no", "where"] })),
        }),
        json!({ "theme": "own", "set": true }),
        "acme",
    );
    let (core, tasks) = (module("hr-core"), module("tasks"));
    let seen = |flag: &str| {
        let answer = flags.for_module(&core, flag).unwrap();
        (answer.value.clone(), answer.source, answer.variant, answer.reason)
    };
    let definition = FlagSource::Definition;
    assert_eq!(seen("theme"), (json!("own"), FlagSource::Override, None, Reason::Static));
    assert_eq!(seen("set"), (json!(true), FlagSource::Override, None, Reason::Static), "above the kill switch");
    assert_eq!(
        seen("bulk-import"),
        (json!(true), definition, Some("on"), Reason::Static),
        "above the module's default"
    );
    assert_eq!(seen("mine"), (json!(true), definition, Some("on"), Reason::TargetingMatch));
    assert_eq!(seen("photos"), (json!(false), definition, None, Reason::Disabled), "off, though hr-core says on");
    assert_eq!(seen("nobody"), (Value::Null, definition, None, Reason::Default));
    assert_eq!(seen("broken"), (Value::Null, definition, None, Reason::Error));
    let left_open = flags.for_module(&tasks, "quick-add").unwrap();
    assert_eq!((left_open.value, left_open.source), (&json!(true), FlagSource::ModuleDefault(&tasks)));
    assert_eq!(flags.is_enabled(&core, "photos"), Some(false));
    assert!(!flags.is_feature_enabled("photos") && flags.is_feature_enabled("mine"));
    let names: Vec<_> = flags.list().into_iter().map(|answer| answer.name.to_owned()).collect();
    assert_eq!(names, ["broken", "bulk-import", "mine", "nobody", "photos", "quick-add", "set", "theme"]);
    let all =
        json!({ "bulk-import": true, "mine": true, "photos": false, "quick-add": true, "set": true, "theme": "own" });
    assert_eq!(Value::Object(flags.feature_flags()), all);
    // A module's own default is seen by that module only; another tenant has what the rule says of it.
    let other = set_of(json!({ "mine": switch("ENABLED", json!("off"), per_tenant) }), json!({}), "other");
    assert_eq!(other.for_module(&core, "mine").unwrap().reason, Reason::Default);
    assert_eq!(other.for_module(&core, "bulk-import").unwrap().value, &json!(false));
    assert_eq!(other.for_module(&tasks, "bulk-import").unwrap().value, &json!(true));
    assert!(!other.has_outcomes_of(&flags));
}

#[test]
fn a_user_gets_what_the_rule_says_of_them() {
    let staff = json!({ "if": [{ "ends_with": [{ "var": "email" }, "@acme.example"] }, "on", null] });
    let flags = set_of(
        json!({
            "photos": switch("DISABLED", json!("on"), json!({})),
            "quick-add": switch("ENABLED", Value::Null, staff),
            "broken": switch("ENABLED", json!("on"), json!({ "cat": ["no", "where"] })),
            "theme": { "state": "ENABLED", "variants": { "dark": "d" }, "defaultVariant": "dark", "metadata": { "owner": "ann" } },
        }),
        json!({ "rows": 20 }),
        "acme",
    );
    let user = context(json!({ "email": "ann@acme.example" }));
    let nobody = context(json!({}));
    let of = |flag: &str, who: &EvaluationContext| {
        let found = flags.evaluate(flag, who).unwrap();
        (found.value.cloned(), found.variant.map(str::to_owned), found.reason)
    };
    assert_eq!(of("quick-add", &user), (Some(json!(true)), Some("on".into()), Reason::TargetingMatch));
    assert_eq!(of("quick-add", &nobody), (Some(json!(true)), None, Reason::Default), "tasks' default");
    assert_eq!(of("photos", &user), (None, None, Reason::Disabled));
    assert_eq!(of("broken", &user), (None, None, Reason::Error));
    assert_eq!(of("rows", &user), (Some(json!(20)), None, Reason::Static));
    assert_eq!(of("bulk-import", &user), (Some(json!(false)), None, Reason::Default), "of the first module by name");
    assert_eq!(flags.evaluate("theme", &user).unwrap().metadata, Some(&members(json!({ "owner": "ann" }))));
    assert_eq!(flags.evaluate("nothing", &user), None);
    let all: Vec<_> =
        flags.names().filter_map(|name| flags.evaluate(name, &user)).map(|found| found.name.to_owned()).collect();
    assert_eq!(all, ["broken", "bulk-import", "photos", "quick-add", "rows", "theme"]);
}

#[test]
fn a_stamp_stands_for_tenant_context_and_values() {
    let plain = json!({ "a": switch("ENABLED", json!("on"), json!({})) });
    let timed = json!({ "a": switch("ENABLED", json!("on"), json!({ "if": [{ ">": [{ "var": "$flagd.timestamp" }, 5] }, "on"] })) });
    let acme = tenant("acme");
    let flags = set_of(plain.clone(), json!({}), "acme");
    let said = || json!({ "targetingKey": "u", "deep": { "a": 1, "b": 2 } });
    let stamp = flags.stamp(&acme, &context(said()));
    assert_eq!((stamp.len(), &flags.stamp(&acme, &context(said()))), (32, &stamp));
    let reordered = context(json!({ "deep": { "b": 2, "a": 1 }, "targetingKey": "u", "tenantId": "a lie" }));
    assert_eq!(flags.stamp(&acme, &reordered), stamp, "the order of members says nothing");
    let others = [
        flags.stamp(&tenant("other"), &context(said())),
        flags.stamp(&acme, &context(json!({ "targetingKey": "v" }))),
        set_of(plain.clone(), json!({ "a": false }), "acme").stamp(&acme, &context(said())),
        set_of(timed.clone(), json!({}), "acme").stamp(&acme, &context(said())),
        FlagSet::default().defined_by(&Arc::new(defined(plain)), &acme, NOW).stamp(&acme, &context(said())),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != stamp && !others[..index].contains(other), "{index}");
    }
    let at = |seconds| EvaluationContext::of_client(&acme, members(said()), seconds).unwrap();
    assert_eq!(flags.stamp(&acme, &at(NOW + 600)), stamp, "no rule reads the time");
    let timed = set_of(timed, json!({}), "acme");
    assert_eq!(timed.stamp(&acme, &at(NOW)), timed.stamp(&acme, &at(NOW + 19)), "within a minute");
    assert_ne!(timed.stamp(&acme, &at(NOW)), timed.stamp(&acme, &at(NOW + 60)));
}
