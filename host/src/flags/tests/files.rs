//! Files that won't do: everything that is wrong is told, with its place.

use serde_json::{Map, Value, json};

use crate::flags::{Definitions, MAX_FILE_BYTES};

fn problems(content: &str) -> Vec<String> {
    match Definitions::parse(content.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems().iter().map(ToString::to_string).collect(),
    }
}

fn with_rule(rule: Value) -> String {
    json!({ "flags": { "a": { "state": "ENABLED", "variants": { "on": true }, "targeting": rule } } }).to_string()
}

/// The only problem of a rule.
fn refused(rule: Value) -> String {
    let found = problems(&with_rule(rule));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let file = json!({
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "extra": 1,
        "metadata": { "list": [] },
        "$evaluators": { "bad": { "frobnicate": [] }, "round": { "!": [{ "$ref": "round" }] } },
        "flags": {
            "new-theme": { "state": "ENABLED", "variants": { "dark": "d", "light": "l" }, "defaultVariant": "drak" },
            "mixed": { "state": "on", "variants": { "a": true, "b": "text", "c": null } },
            "empty": { "state": "ENABLED", "variants": {}, "defaultVariant": "x", "targetting": {} },
            "big": { "state": "ENABLED", "variants": { "a": 9_007_199_254_740_993_u64 }, "metadata": { "x": null } },
            "rule": { "state": "ENABLED", "variants": { "a": 1 }, "defaultVariant": 1, "targeting": {
                "if": [{ "==": [{ "var": "$flagd.user" }, { "nope": 1 }] }, { "$ref": "missing" }, { "a": 1, "b": 2 }],
            } },
            "no-object": 7,
        },
    });
    insta::assert_snapshot!(problems(&file.to_string()).join("\n"), @r#"
    unknown member `extra`
    metadata.list: must be a boolean, a string or a number
    $evaluators.bad.frobnicate: there is no such operator
    $evaluators.round.![0].$ref: rule `round` refers to itself
    flags.big.variants.a: 9007199254740993 is beyond what all clients read alike, at most 2^53 - 1
    flags.big.metadata.x: must be a boolean, a string or a number
    flags.empty: unknown member `targetting`
    flags.empty.variants: must be an object with at least one variant
    flags.mixed.state: must be "ENABLED" or "DISABLED"
    flags.mixed.variants.b: is a string, and other variants are not: the first is a boolean
    flags.mixed.variants.c: must be a boolean, a string, a number or an object
    flags.new-theme.defaultVariant: `drak` is no variant; there are: dark, light
    flags.no-object: must be an object
    flags.rule.defaultVariant: must be the name of a variant, or null
    flags.rule.targeting.if[0].==[0].var: there is no `$flagd.user`: only `$flagd.flagKey` and `$flagd.timestamp`
    flags.rule.targeting.if[0].==[1].nope: there is no such operator
    flags.rule.targeting.if[1].$ref: there is no rule `missing` in `$evaluators`
    flags.rule.targeting.if[2]: must be one operator with its arguments, not 2 members
    "#);
    assert_eq!(problems("[]"), ["the file must be an object with `flags`"]);
    assert_eq!(problems("{}"), ["`flags` must be an object of flags by key"]);
    assert_eq!(problems("{\n  \"flags\": {,}\n}"), ["the file is no JSON: key must be a string at line 2 column 13"]);
    let twice = json!({ "state": "ENABLED", "variants": { "a": 1 }, "key": "a" });
    assert_eq!(problems(&json!({ "flags": [twice, twice] }).to_string()), ["flags[1]: flag `a` is defined twice"]);
    let large = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(problems(&large), [format!("the file has more than {MAX_FILE_BYTES} bytes")]);
}

#[test]
fn buckets_that_would_not_be_those_meant_are_refused() {
    for (rule, expected) in [
        (
            json!({ "fractional": [["on", 0.5]] }),
            "flags.a.targeting.fractional[0][1]: a weight must be a whole number, at most 2147483647",
        ),
        (
            json!({ "fractional": [["on", 2_147_483_648_u64]] }),
            "flags.a.targeting.fractional[0][1]: a weight must be a whole number, at most 2147483647",
        ),
        (
            json!({ "fractional": [["on", "10"]] }),
            "flags.a.targeting.fractional[0][1]: a weight must be a whole number, at most 2147483647",
        ),
        (
            json!({ "fractional": [["on", 2_147_483_647], ["on"]] }),
            "flags.a.targeting.fractional: the weights come to 2147483648, at most 2147483647 are permitted",
        ),
        (
            json!({ "fractional": [["on", 1, 2]] }),
            "flags.a.targeting.fractional[0]: must be a variant and its weight, as in [\"on\", 10]",
        ),
        (
            json!({ "fractional": ["key", "on"] }),
            "flags.a.targeting.fractional[1]: must be a bucket, as in [\"on\", 10]",
        ),
        (json!({ "fractional": [[["on"], 1]] }), "flags.a.targeting.fractional[0][0]: must be the name of a variant"),
        (
            json!({ "fractional": "on" }),
            "flags.a.targeting.fractional: must be a list of buckets, with or without what they are chosen by before them",
        ),
    ] {
        assert_eq!(refused(rule), expected);
    }
}

#[test]
fn rules_are_bounded() {
    let var = |path: &str| json!({ "var": path });
    let mut deep = var("a");
    for _ in 0..70 {
        deep = json!({ "!": deep });
    }
    assert!(refused(deep).ends_with("the rule is nested deeper than 64"));
    let wide: Vec<Value> = (0..2_000).map(Value::from).collect();
    assert!(refused(json!({ "in": [var("a"), wide] })).ends_with("parts, at most 2000 are permitted"));
    // Each refers twice to the next one.
    let mut named = Map::new();
    for level in 0..40 {
        let next = json!({ "$ref": format!("r{}", level + 1) });
        named.insert(format!("r{level}"), json!({ "and": [next, next] }));
    }
    named.insert("r40".into(), var("a"));
    let file = json!({ "$evaluators": named, "flags": {} }).to_string();
    assert!(
        problems(&file).iter().any(|problem| problem.ends_with("the rule has more than 2000 parts")),
        "{:?}",
        problems(&file)
    );
    // Lists within lists within lists.
    let inner =
        json!({ "some": [var("list"), { "some": [var("list"), { "some": [var("list"), { "==": [var(""), 1] }] }] }] });
    assert!(refused(inner).contains("steps with lists of 500 elements, at most 2000000 are permitted"));
    let two = json!({ "some": [var("groups"), { "some": [var("members"), { "==": [var(""), "ann"] }] }] });
    assert_eq!(problems(&with_rule(two)), Vec::<String>::new(), "lists within lists are what people have");
    // A text that doubles with each element.
    let doubling = json!({ "reduce": [var("list"), { "cat": [var("accumulator"), var("accumulator")] }, "x"] });
    assert!(refused(doubling).contains("uses `accumulator` twice"));
    let sum = json!({ "reduce": [var("list"), { "+": [var("accumulator"), var("current")] }, 0] });
    assert_eq!(problems(&with_rule(json!({ "if": [{ ">": [sum, 5] }, "on"] }))), Vec::<String>::new());
    assert!(refused(json!({ "map": [var("list")] })).contains("has 1 arguments, not 2"));
}
