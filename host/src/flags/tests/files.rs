//! Files that won't do: everything that is wrong is told, with its place.

use serde_json::{Map, Value, json};

use crate::flags::{Definitions, MAX_FILE_BYTES, Reason};

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
    assert_eq!(problems("[]"), ["the definitions must be an object with `flags`"]);
    assert_eq!(problems("{}"), ["`flags` must be an object of flags by key, or a list of flags each with its `key`"]);
    assert_eq!(
        problems("{\n  \"flags\": {,}\n}"),
        ["the definitions are no JSON: key must be a string at line 2 column 13"]
    );
    assert_eq!(
        problems(r#"{ "state": "ENABLED", "variants": { "a": 1 } }"#),
        [
            "this is one flag by itself; definitions have `flags`, an object of flags by key or a list of flags each with its `key`"
        ]
    );
    let twice = json!({ "state": "ENABLED", "variants": { "a": 1 }, "key": "a" });
    assert_eq!(problems(&json!({ "flags": [twice, twice] }).to_string()), ["flags[1]: flag `a` is defined twice"]);
    let large = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(problems(&large), [format!("the definitions have more than {MAX_FILE_BYTES} bytes")]);
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
        // A bucket that is computed as a whole could weigh anything.
        (
            json!({ "fractional": [["on", 1], { "if": [{ "var": "beta" }, ["on", 10.5]] }] }),
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
    let wide: Vec<Value> = (0..4_000).map(Value::from).collect();
    let many = "the rule has more than 4000 parts";
    assert!(refused(json!({ "in": [var("a"), wide] })).ends_with(many));
    assert_eq!(problems(&with_rule(json!({ "in": [var("a"), wide[..3_000]] }))), Vec::<String>::new());
    assert!(refused(json!({ "in": [var("a"), "x".repeat(600_000)] })).ends_with(many), "texts count by their length");
    // Each refers twice to the next one.
    let mut named = Map::new();
    for level in 0..40 {
        let next = json!({ "$ref": format!("r{}", level + 1) });
        named.insert(format!("r{level}"), json!({ "and": [next, next] }));
    }
    named.insert("r40".into(), var("a"));
    let file = json!({ "$evaluators": named, "flags": {} }).to_string();
    assert!(problems(&file).iter().any(|problem| problem.ends_with(many)), "{:?}", problems(&file));
    // Two that refer to each other, and one that refers to them.
    let named = json!({ "a": { "!": { "$ref": "b" } }, "b": { "!": { "$ref": "a" } }, "c": { "$ref": "a" } });
    assert_eq!(
        problems(&json!({ "$evaluators": named, "flags": {} }).to_string()),
        ["$evaluators.a.!.$ref: rule `a` refers to itself", "$evaluators.b.!.$ref: rule `b` refers to itself",]
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
    // The same, where nobody looks for it.
    let twice = json!({ "cat": [var("accumulator"), var("accumulator")] });
    for hidden in [json!({ "var": ["current.nothing", twice] }), json!({ "var": [{ "cat": ["", twice] }] })] {
        assert!(refused(json!({ "reduce": [var("list"), hidden, "x"] })).contains("uses `accumulator` twice"));
    }
}

/// Small files that would come to much.
#[test]
fn what_grows_is_cut_short() {
    // Computed weights within computed weights: each is there twice.
    let mut nested = json!({ "var": "n" });
    for _ in 0..20 {
        nested = json!({ "fractional": [["1", nested]] });
    }
    assert!(refused(nested).ends_with("the rule has more than 4000 parts"));
    // Each named rule is one operator round the one before.
    let mut named = Map::new();
    named.insert("r0".into(), var_list(50));
    for level in 1..10_000 {
        named.insert(format!("r{level}"), json!({ "!": { "$ref": format!("r{}", level - 1) } }));
    }
    let found = problems(&json!({ "$evaluators": named, "flags": {} }).to_string());
    assert!(found.iter().any(|problem| problem == "$evaluators.r100: the rule is nested deeper than 64"), "{found:?}");
    // One that is not deep by itself is too deep where it is referred to.
    let mut deep = json!({ "$ref": "r" });
    for _ in 0..40 {
        deep = json!({ "!": deep });
    }
    let file = |rule: &Value| json!({ "$evaluators": { "r": deep_list(40) }, "flags": { "a": { "state": "ENABLED", "variants": { "on": true }, "targeting": rule } } });
    assert_eq!(problems(&file(&deep).to_string()), ["flags.a.targeting: the rule is nested deeper than 64"]);
    assert_eq!(problems(&file(&json!({ "!": { "$ref": "r" } })).to_string()), Vec::<String>::new());
    // Many flags with one large rule each, which is written once.
    let flag = json!({ "state": "ENABLED", "variants": { "on": true }, "targeting": { "in": [{ "var": "a" }, { "$ref": "large" }] } });
    let flags: Map<String, Value> = (0..1_000).map(|number| (format!("f{number}"), flag.clone())).collect();
    let found = problems(&json!({ "$evaluators": { "large": var_list(3_900) }, "flags": flags }).to_string());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("the rules of the file have more than 1000000 parts"), "{found:?}");
    // A long name with thousands of mistakes below it.
    let mistakes: Vec<Value> = (0..3_000).map(|_| json!({ "no": 1 })).collect();
    let found = problems(&json!({ "$evaluators": { "x".repeat(1_000_000): mistakes }, "flags": {} }).to_string());
    assert_eq!((found.len(), found.last().unwrap().as_str()), (1_001, "there are 2000 problems more"));
    assert!(found.iter().all(|problem| problem.len() < 2_100));
}

#[test]
fn an_evaluation_takes_no_more_memory_than_it_may() {
    for (rule, initial) in [
        (json!({ "cat": [{ "var": "accumulator" }, "x".repeat(10_000)] }), json!("")),
        (json!({ "merge": [{ "var": "accumulator" }, (0..1_000).collect::<Vec<_>>()] }), json!([])),
    ] {
        let rule = json!({ "if": [{ "reduce": [{ "var": "list" }, rule, initial] }, "on"] });
        let definitions = Definitions::parse(with_rule(rule).as_bytes()).unwrap();
        let of = |length: usize| {
            let said = json!({ "list": vec![1; length] });
            let context = super::definitions::context(said);
            definitions.evaluate("a", &context).unwrap().reason
        };
        assert_eq!((of(5), of(490)), (Reason::TargetingMatch, Reason::Error));
    }
}

fn var_list(length: usize) -> Value {
    (0..length).map(Value::from).collect()
}

fn deep_list(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn a_rule_that_is_written_to_name_no_variant_is_refused() {
    let on = json!({ "var": "beta" });
    let no = "`zzz` is no variant; there are: on";
    for (rule, place) in [
        (json!({ "if": [on, "zzz", null] }), "if[1]"),
        (json!({ "if": [on, "on", on, "on", "zzz"] }), "if[4]"),
        (json!({ "if": [on, { "if": [on, "zzz"] }, "on"] }), "if[1].if[1]"),
        (json!({ "fractional": [["on", 9], ["zzz", 1]] }), "fractional[1][0]"),
        (json!({ "fractional": [on, ["on", 9], ["zzz"]] }), "fractional[2][0]"),
        (json!({ "fractional": [[{ "if": [on, "on", "zzz"] }, 1]] }), "fractional[0][0].if[2]"),
    ] {
        assert_eq!(refused(rule), format!("flags.a.targeting.{place}: {no}"));
    }
    let file = |state: &str| {
        let flag =
            json!({ "state": state, "variants": { "on": true }, "targeting": { "if": [on, { "$ref": "share" }] } });
        json!({ "$evaluators": { "share": { "fractional": [["zzz", 1]] } }, "flags": { "a": flag } }).to_string()
    };
    assert_eq!(problems(&file("ENABLED")), [format!("flags.a.targeting.if[1].$ref.fractional[0][0]: {no}")]);
    assert_eq!(problems(&file("DISABLED")), Vec::<String>::new(), "nobody asks it");
    // What a rule can't come to, what it computes, and what is no result.
    for fine in [
        json!({ "if": [false, "zzz", "on"] }),
        json!({ "if": [true, "on", "zzz"] }),
        json!({ "if": [{ "in": ["zzz", on] }, "on", null] }),
        json!({ "fractional": ["zzz", ["on", 1], ["zzz", 0]] }),
        json!({ "var": "zzz" }),
        json!({ "cat": ["zzz"] }),
    ] {
        assert_eq!(problems(&with_rule(fine)), Vec::<String>::new());
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    let flag = r#"{ "state": "ENABLED", "variants": { "on": true } }"#;
    let twice = |place: &str| vec![format!("{place}: is there twice")];
    assert_eq!(problems(&format!(r#"{{ "flags": {{ "a": {flag}, "b": {flag}, "a": {flag} }} }}"#)), twice("flags.a"));
    assert_eq!(problems(r#"{ "flags": {}, "flags": {} }"#), twice("flags"));
    let variants = r#"{ "flags": [{ "key": "a", "state": "ENABLED", "variants": { "on": true, "on": false } }] }"#;
    assert_eq!(problems(variants), twice("flags[0].variants.on"));
    let rules = r#"{ "$evaluators": { "r": { "var": "a" }, "r": { "var": "b" } }, "flags": {} }"#;
    assert_eq!(problems(rules), twice("$evaluators.r"));
    assert_eq!(problems(r#"{ "flags": {}, "$comment": "one", "$comment": "two" }"#), Vec::<String>::new());
}
