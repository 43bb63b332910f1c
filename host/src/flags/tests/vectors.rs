//! The published vectors: what flagd's own tests say of buckets, versions and texts, and a property of roll-outs.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::definitions::{context, defined};
use crate::flags::{Definitions, Reason};

fn variant(definitions: &Definitions, flag: &str, said: Value) -> Option<String> {
    let found = definitions.evaluate(flag, &context(said)).unwrap();
    assert_eq!(found.error, None);
    found.variant.map(str::to_owned)
}

fn is(definitions: &Definitions, flag: &str, said: Value, expected: &str) {
    assert_eq!(variant(definitions, flag, said.clone()).as_deref(), Some(expected), "{flag} {said}");
}

fn suits() -> Value {
    json!({ "clubs": "c", "diamonds": "d", "hearts": "h", "spades": "s", "wild": "w" })
}

fn quarters(by: Value) -> Value {
    json!({ "fractional": [by, ["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]] })
}

#[test]
fn buckets_are_those_of_flagd_v2() {
    let by_flag = quarters(json!({ "cat": [{ "var": "$flagd.flagKey" }, { "var": "user.name" }] }));
    let by_seed = quarters(json!({ "cat": ["shared-seed", { "var": "user.name" }] }));
    let suit =
        |rule: &Value| json!({ "state": "ENABLED", "variants": suits(), "defaultVariant": "wild", "targeting": rule });
    let definitions = defined(json!({
        "fractional-flag": suit(&by_flag),
        "shared-a": suit(&by_seed),
        "shared-b": suit(&by_seed),
        "fractional-flag-shorthand": {
            "state": "ENABLED", "variants": { "heads": "h", "tails": "t", "draw": "d" }, "defaultVariant": "draw",
            "targeting": { "fractional": [["heads"], ["tails", 1]] },
        },
        "edges": {
            "state": "ENABLED", "variants": { "lower": 0, "upper": 1, "fallback": 2 }, "defaultVariant": "fallback",
            "targeting": { "fractional": [{ "var": "targetingKey" }, ["lower", 50], ["upper", 50]] },
        },
        "hundred": {
            "state": "ENABLED", "defaultVariant": "none",
            "variants": { "low": 0, "user1": 1, "jon": 2, "flag-user": 3, "none": 4 },
            "targeting": { "fractional": [
                { "var": "targetingKey" }, ["low", 36], ["jon", 1], ["low", 19], ["flag-user", 1], ["low", 19], ["user1", 1], ["low", 23],
            ] },
        },
    }));
    for (name, expected) in
        [("jack", "hearts"), ("queen", "spades"), ("ten", "clubs"), ("nine", "diamonds"), ("3", "clubs")]
    {
        is(&definitions, "fractional-flag", json!({ "user": { "name": name } }), expected);
    }
    for (name, expected) in [("seven", "hearts"), ("eight", "diamonds"), ("nine", "clubs"), ("two", "spades")] {
        is(&definitions, "shared-a", json!({ "user": { "name": name } }), expected);
        is(&definitions, "shared-b", json!({ "user": { "name": name } }), expected);
    }
    is(&definitions, "fractional-flag-shorthand", json!({ "targetingKey": "jon@company.com" }), "heads");
    is(&definitions, "fractional-flag-shorthand", json!({ "targetingKey": "jane@company.com" }), "tails");
    // Hashes of 0, 1, 2^31 - 1, 2^31 and 2^32 - 1.
    for (key, expected) in
        [("ejOoVL", "lower"), ("bY9fO-", "lower"), ("SI7p-", "lower"), ("6LvT0", "upper"), ("ceQdGm", "upper")]
    {
        is(&definitions, "edges", json!({ "targetingKey": key }), expected);
    }
    for (key, expected) in [("jon@company.com", "jon"), ("user1", "user1"), ("flag-user", "flag-user")] {
        is(&definitions, "hundred", json!({ "targetingKey": key }), expected);
    }
}

#[test]
fn without_a_key_or_a_weight_the_default_variant_holds() {
    let flag = |rule: Value| json!({ "state": "ENABLED", "variants": { "one": 1, "two": 2, "none": 0 }, "defaultVariant": "none", "targeting": rule });
    let definitions = defined(json!({
        "shorthand": flag(json!({ "fractional": [["one", 50], ["two", 50]] })),
        "by-name": flag(json!({ "fractional": [{ "var": "name" }, ["one", 50], ["two", 50]] })),
        "zero": flag(json!({ "fractional": [["one", 0], ["two", 0]] })),
        "negative": flag(json!({ "fractional": [["one", -50], ["two", 100]] })),
        "single": flag(json!({ "fractional": [["one", 1]] })),
        "computed": flag(json!({ "fractional": [["one", { "/": [{ "var": "n" }, 2] }], ["two", 0]] })),
        "whole": flag(json!({ "fractional": [["one", 10.0], ["two", 0]] })),
        "nothing": flag(json!({ "fractional": [[null, 1]] })),
        "chosen": flag(json!({ "fractional": [{ "var": "key" }, ["one", 0], ["two", 100]] })),
        "named-by-rule": flag(json!({ "fractional": [[{ "if": [{ "var": "beta" }, "two", "one"] }, 1]] })),
    }));
    let default = |flag: &str, said: Value| {
        let found = definitions.evaluate(flag, &context(said)).unwrap();
        assert_eq!((found.variant, found.reason, found.error), (Some("none"), Reason::Default, None), "{flag}");
    };
    for said in [json!({}), json!({ "targetingKey": "" }), json!({ "targetingKey": null })] {
        default("shorthand", said.clone());
        default("by-name", said);
    }
    let said = || json!({ "targetingKey": "user-1" });
    is(
        &definitions,
        "by-name",
        said(),
        &variant(&definitions, "by-name", json!({ "targetingKey": "user-1" })).unwrap(),
    );
    default("zero", said());
    default("nothing", said());
    is(&definitions, "negative", said(), "two");
    is(&definitions, "single", said(), "one");
    is(&definitions, "whole", said(), "one");
    is(&definitions, "named-by-rule", said(), "one");
    is(&definitions, "named-by-rule", json!({ "targetingKey": "user-1", "beta": true }), "two");
    // A client can't bring a bucket of its own.
    is(&definitions, "chosen", json!({ "key": "k" }), "two");
    default("chosen", json!({ "targetingKey": "user-1", "key": ["one", 100] }));
    default("chosen", json!({ "targetingKey": "user-1", "key": 7 }));
    // A weight that came out broken is no weight of 1.
    is(&definitions, "computed", json!({ "targetingKey": "user-1", "n": 4 }), "one");
    default("computed", json!({ "targetingKey": "user-1", "n": 3 }));
    default("computed", json!({ "targetingKey": "user-1", "n": 1e12 }));
}

#[test]
fn a_switch_can_be_rolled_out_by_its_values() {
    let definitions = defined(json!({ "new": {
        "state": "ENABLED", "variants": { "true": true, "false": false }, "defaultVariant": "false",
        "targeting": { "fractional": [{ "var": "targetingKey" }, [true, 50], [false, 50]] },
    } }));
    is(&definitions, "new", json!({ "targetingKey": "ejOoVL" }), "true");
    is(&definitions, "new", json!({ "targetingKey": "ceQdGm" }), "false");
}

#[test]
fn buckets_are_named_and_weighed_by_rules() {
    let premium = |then: Value, other: Value| json!({ "if": [{ "==": [{ "var": "tier" }, "premium"] }, then, other] });
    let by_key = |buckets: [Value; 2]| json!({ "fractional": [{ "var": "targetingKey" }, buckets[0], buckets[1]] });
    let flag = |rule: Value| {
        let names = ["premium", "standard", "red", "green", "blue", "big", "small", "fallback"];
        let variants: Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), json!(name))).collect();
        json!({ "state": "ENABLED", "variants": variants, "defaultVariant": "fallback", "targeting": rule })
    };
    let condition = |no: u32, yes: u32| json!({ "if": [{ "fractional": [[false, no], [true, yes]] }, "big", "small"] });
    let definitions = defined(json!({
        "named-by-if": flag(by_key([json!([premium(json!("premium"), json!("standard")), 50]), json!(["standard", 50])])),
        "named-by-var": flag(by_key([json!([{ "var": "color" }, 50]), json!(["blue", 50])])),
        "weighed": flag(by_key([json!(["red", premium(json!(100), json!(0))]), json!(["blue", 10])])),
        "yes": flag(condition(0, 100)),
        "no": flag(condition(100, 0)),
        "zero": flag(json!({ "if": [{ "fractional": [[0, 1]] }, "big", "small"] })),
        "nothing": flag(json!({ "if": [{ "===": [{ "fractional": [[null, 1]] }, null] }, "small", "big"] })),
    }));
    let jon = "jon@company.com";
    for (key, tier, name, weight) in [
        (jon, "premium", "premium", "red"),
        (jon, "basic", "standard", "blue"),
        ("user1", "premium", "standard", "red"),
        ("user1", "basic", "standard", "blue"),
    ] {
        let said = json!({ "targetingKey": key, "tier": tier });
        is(&definitions, "named-by-if", said.clone(), name);
        is(&definitions, "weighed", said, weight);
    }
    for (key, color, expected) in [(jon, "red", "red"), (jon, "green", "green"), ("user1", "red", "blue")] {
        is(&definitions, "named-by-var", json!({ "targetingKey": key, "color": color }), expected);
    }
    for color in ["yellow", ""] {
        let said = context(json!({ "targetingKey": jon, "color": color }));
        assert_eq!(
            definitions.evaluate("named-by-var", &said).unwrap().reason,
            Reason::Error,
            "{color}: the caller's default"
        );
    }
    is(&definitions, "named-by-var", json!({ "targetingKey": jon }), "fallback");
    for (name, expected) in [("yes", "big"), ("no", "small"), ("zero", "small"), ("nothing", "small")] {
        is(&definitions, name, json!({ "targetingKey": "some-targeting-key" }), expected);
    }
}

#[test]
fn versions_and_texts_are_compared_as_flagd_does() {
    let version = |op: &str, to: &str| json!({ "sem_ver": [{ "var": "version" }, op, to] });
    let words =
        json!({ "equal": 0, "greater": 1, "lesser": 2, "minor": 3, "major": 4, "prefix": 5, "postfix": 6, "none": 7 });
    let flag =
        |rule: Value| json!({ "state": "ENABLED", "variants": words, "defaultVariant": "none", "targeting": rule });
    let definitions = defined(json!({
        "equal-greater-lesser": flag(json!({ "if": [
            version("=", "2.0.0"), "equal", version(">", "2.0.0"), "greater", version("<", "2.0.0"), "lesser", null,
        ] })),
        "minor-major": flag(json!({ "if": [version("~", "3.0.0"), "minor", version("^", "3.0.0"), "major", "none"] })),
        "bad-operator": flag(json!({ "if": [version("?", "3.0.0"), "equal", { "==": [version("?", "1.0.0"), null] }, "none", "major"] })),
        "start-end": flag(json!({ "if": [
            { "starts_with": [{ "var": "id" }, "abc"] }, "prefix",
            { "ends_with": [{ "var": "id" }, "xyz"] }, "postfix", "none",
        ] })),
        "no-text": flag(json!({ "if": [{ "===": [{ "starts_with": [{ "var": "id" }, "1"] }, null] }, "none", "prefix"] })),
        "three": flag(json!({ "if": [{ "===": [{ "ends_with": ["a", "b", "c"] }, null] }, "none", "postfix"] })),
    }));
    for (version, expected) in [
        ("2.0.0", "equal"),
        ("v2.0.0", "equal"),
        ("V2", "equal"),
        ("2.0.0+build.5", "equal"),
        ("2.1.0", "greater"),
        ("1.9.0", "lesser"),
        ("2.0.0-alpha", "lesser"),
        ("2.0.0.0", "none"),
    ] {
        is(&definitions, "equal-greater-lesser", json!({ "version": version }), expected);
    }
    is(&definitions, "equal-greater-lesser", json!({ "version": 2 }), "equal");
    is(&definitions, "equal-greater-lesser", json!({ "version": 2.5 }), "greater");
    is(&definitions, "equal-greater-lesser", json!({}), "none");
    for (version, expected) in [("3.0.1", "minor"), ("3.1.0", "major"), ("4.0.0", "none")] {
        is(&definitions, "minor-major", json!({ "version": version }), expected);
    }
    is(&definitions, "bad-operator", json!({ "version": "3.0.0" }), "none");
    for (id, expected) in [("abcdef", "prefix"), ("uvwxyz", "postfix"), ("abcxyz", "prefix"), ("lmnopq", "none")] {
        is(&definitions, "start-end", json!({ "id": id }), expected);
    }
    is(&definitions, "no-text", json!({ "id": 123 }), "none");
    is(&definitions, "no-text", json!({ "id": "123" }), "prefix");
    is(&definitions, "three", json!({}), "none");
}

fn two_buckets(first: u32, total: u32) -> Definitions {
    let buckets = json!([["new", first], ["old", total - first]]);
    let mut flag = Map::new();
    flag.insert("state".into(), "ENABLED".into());
    flag.insert("variants".into(), json!({ "new": "n", "old": "o" }));
    flag.insert("targeting".into(), json!({ "fractional": buckets }));
    defined(json!({ "rollout": flag }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn raising_the_first_weight_of_a_constant_total_only_adds_users(
        total in 1..=100_000_u32,
        low in 0.0..=1.0_f64,
        more in 0.0..=1.0_f64,
        users in prop::collection::vec("[a-z0-9@.]{1,20}", 50),
    ) {
        let before = (f64::from(total) * low) as u32;
        let after = before + (f64::from(total - before) * more) as u32;
        let (narrow, wide) = (two_buckets(before, total), two_buckets(after, total));
        for user in users {
            let who = json!({ "targetingKey": user });
            let had = variant(&narrow, "rollout", who.clone()).as_deref() == Some("new");
            let has = variant(&wide, "rollout", who).as_deref() == Some("new");
            prop_assert!(has || !had, "{user} lost it between {before} and {after} of {total}");
        }
    }
}
