//! Comparisons and arithmetic: what JSONLogic's own implementation, and flagd, make of attributes that are missing or of
//! another type.

use serde_json::{Value, json};

use super::definitions::{context, defined};
use crate::flags::{Definitions, Reason};

/// A flag that is `"true"` or `"false"` by a condition, and `"null"` where it is neither.
fn by(rule: Value) -> Definitions {
    defined(json!({ "a": {
        "state": "ENABLED", "variants": { "true": "t", "false": "f", "null": "n" }, "defaultVariant": "null", "targeting": rule,
    } }))
}

fn comes_to(rule: Value, said: Value) -> String {
    let definitions = by(rule.clone());
    let found = definitions.evaluate("a", &context(said.clone())).unwrap();
    assert_eq!(found.error, None, "{rule} {said}");
    found.variant.unwrap().to_owned()
}

/// `x` and `y` of the context where a side is missing in the list, as the engine must not know them beforehand.
fn compare(operator: &str, sides: &Value) -> String {
    let sides = sides.as_array().unwrap();
    let names = ["x", "y", "z"];
    let said: serde_json::Map<_, _> =
        names.iter().zip(sides).map(|(name, side)| ((*name).to_owned(), side.clone())).collect();
    let vars: Vec<Value> = names.iter().take(sides.len()).map(|name| json!({ "var": name })).collect();
    let computed = comes_to(json!({ operator: vars }), Value::Object(said.clone()));
    // The same with a side or two written out.
    let mixed: Vec<Value> = [vec![vars[0].clone()], sides[1..].to_vec()].concat();
    assert_eq!(comes_to(json!({ operator: mixed }), Value::Object(said)), computed, "{operator} {sides:?}");
    computed
}

#[test]
fn what_is_not_there_is_equal_to_nothing_else() {
    for (sides, is_equal) in [
        (json!([null, null]), true),
        (json!([null, 0]), false),
        (json!([null, ""]), false),
        (json!([null, false]), false),
        (json!([null, true]), false),
        (json!([0, null]), false),
        (json!(["", null]), false),
        (json!([false, null]), false),
        (json!([1, 1.0]), true),
        (json!([1, 2]), false),
        (json!([1, "1"]), true),
        (json!(["1", 1]), true),
        (json!([1, " 1.0 "]), true),
        (json!(["1", "1.0"]), false),
        (json!([0, ""]), true),
        (json!([0, " "]), true),
        (json!([16, "0x10"]), true),
        (json!([5, "0b101"]), true),
        (json!([8, "0O10"]), true),
        (json!([1000, "1e3"]), true),
        (json!([0, "0x"]), false),
        (json!([1, "1_000"]), false),
        (json!([1, "one"]), false),
        (json!([1, "inf"]), false),
        (json!([1, true]), true),
        (json!([true, "1"]), true),
        (json!([true, "true"]), false),
        (json!([false, 0]), true),
        (json!([false, ""]), true),
        (json!([false, "false"]), false),
        (json!(["acme", "acme"]), true),
        (json!(["acme", "Acme"]), false),
        (json!(["nan", "nan"]), true),
        (json!([[], 0]), false),
        (json!([[1], 1]), false),
        (json!([{}, "[object Object]"]), false),
        (json!([1, "1", true]), true),
        (json!([1, "1", 2]), false),
    ] {
        assert_eq!(compare("==", &sides), is_equal.to_string(), "{sides}");
        if sides.as_array().unwrap().len() == 2 {
            assert_eq!(compare("!=", &sides), (!is_equal).to_string(), "{sides}");
        }
    }
    // As people write it: "on where no payment has failed" is nobody's of whom nothing is known.
    let no_failure = json!({ "==": [{ "var": "failedPayments" }, 0] });
    assert_eq!(comes_to(no_failure.clone(), json!({})), "false");
    assert_eq!(comes_to(no_failure, json!({ "failedPayments": 0 })), "true");
    assert_eq!(comes_to(json!({ "==": [{ "var": "plan" }, ""] }), json!({})), "false");
    assert_eq!(comes_to(json!({ "!=": [{ "var": "beta" }, false] }), json!({})), "true");
    assert_eq!(comes_to(json!({ "==": [{ "var": "plan" }, null] }), json!({})), "true");
    assert_eq!(comes_to(json!({ "==": [{ "var": "plan" }] }), json!({ "plan": 0 })), "false");
    // Elements of lists as well.
    for (member, expected, is_found) in [
        ("plan", json!(null), "true"),
        ("plan", json!(0), "false"),
        ("name", json!("ann"), "true"),
        ("age", json!("7"), "true"),
    ] {
        for operator in ["some", "all"] {
            let rule = json!({ operator: [{ "var": "list" }, { "==": [{ "var": member }, expected] }] });
            assert_eq!(
                comes_to(rule, json!({ "list": [{ "name": "ann", "age": 7 }] })),
                is_found,
                "{member} {expected}"
            );
        }
    }
}

#[test]
fn what_can_t_be_compared_is_neither_less_nor_more() {
    // Which of `<`, `<=`, `>` and `>=` hold.
    for (sides, expected) in [
        (json!([1, 2]), "1100"),
        (json!([2, 2.0]), "0101"),
        (json!([3, 2]), "0011"),
        (json!(["10", 9]), "0011"),
        (json!(["10", "9"]), "1100"),
        (json!(["a", "b"]), "1100"),
        (json!([null, 18]), "1100"),
        (json!([null, 0]), "0101"),
        (json!(["", 1]), "1100"),
        (json!([true, 0]), "0011"),
        (json!(["unknown", 18]), "0000"),
        (json!([18, "unknown"]), "0000"),
        (json!([[1], 18]), "0000"),
        (json!([{ "years": 20 }, 18]), "0000"),
        (json!(["Infinity", 18]), "0011"),
        (json!(["-Infinity", 18]), "1100"),
        (json!(["infinity", 18]), "0000"),
        // Between.
        (json!([1, 2, 3]), "1100"),
        (json!([1, 1, 3]), "0100"),
        (json!([1, 5, 3]), "0000"),
        (json!([3, "2", 1]), "0011"),
        (json!([1, "two", 3]), "0000"),
    ] {
        let found: String = ["<", "<=", ">", ">="]
            .map(|operator| if compare(operator, &sides) == "true" { '1' } else { '0' })
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{sides}");
    }
}

#[test]
fn what_can_t_be_calculated_is_no_number() {
    for (rule, said, expected) in [
        (json!({ "==": [{ "/": [{ "var": "x" }, 2] }, 2] }), json!({ "x": 4 }), "true"),
        (json!({ "==": [{ "/": [{ "var": "x" }, 2] }, 2] }), json!({ "x": "4" }), "true"),
        (json!({ "==": [{ "%": [{ "var": "x" }, 2] }, 1] }), json!({ "x": 7 }), "true"),
        (json!({ "==": [{ "%": [{ "var": "x" }, 2] }, -1] }), json!({ "x": -7 }), "true"),
        (json!({ ">=": [{ "%": [{ "var": "x" }, 2] }, 0] }), json!({ "x": "seven" }), "false"),
        (json!({ "<": [{ "/": [1, { "var": "x" }] }, 0] }), json!({ "x": 0 }), "false"),
        (json!({ ">": [{ "/": [1, { "var": "x" }] }, 0] }), json!({ "x": 0 }), "true"),
        (json!({ "/": [{ "var": "x" }, 0] }), json!({ "x": 1 }), "null"),
        (json!({ "%": [{ "var": "x" }, 0] }), json!({ "x": 1 }), "null"),
        (json!({ "/": [{ "var": "x" }] }), json!({ "x": 2 }), "null"),
        (json!({ "==": [{ "/": [{ "var": "x" }, 2, 2] }, 2] }), json!({ "x": 8 }), "true"),
        (json!({ "==": [{ "-": [{ "var": "x" }, 2, 1] }, 4] }), json!({ "x": "7" }), "true"),
        (json!({ "==": [{ "-": [{ "var": "x" }] }, -7] }), json!({ "x": 7 }), "true"),
        (json!({ "<": [{ "-": [{ "var": "x" }, 2] }, 4] }), json!({ "x": "seven" }), "false"),
        (json!({ "==": [{ "max": [{ "var": "x" }, 2] }, 3] }), json!({ "x": 3 }), "true"),
        (json!({ "==": [{ "max": [{ "var": "x" }, 2] }, 2] }), json!({}), "true"),
        (json!({ "==": [{ "min": [1, { "var": "x" }, 2] }, 1] }), json!({ "x": "one" }), "false"),
        (json!({ "==": [{ "min": { "var": "x" } }, 1] }), json!({ "x": [3, 1, 2] }), "true"),
        (json!({ "max": { "var": "x" } }), json!({ "x": [] }), "null"),
    ] {
        assert_eq!(comes_to(rule.clone(), said.clone()), expected, "{rule} {said}");
    }
}

#[test]
fn later_branches_have_their_chance_whatever_an_attribute_is() {
    let rule = json!({ "if": [
        { ">=": [{ "var": "age" }, 18] }, "true",
        { "==": [{ "%": [{ "var": "age" }, 2] }, 1] }, "true",
        { "in": [{ "var": "plan" }, ["gold"]] }, "false", null,
    ] });
    for age in [json!("unknown"), json!([1]), json!({}), json!("NaN")] {
        assert_eq!(comes_to(rule.clone(), json!({ "age": age, "plan": "gold" })), "false");
        assert_eq!(comes_to(rule.clone(), json!({ "age": age })), "null");
    }
}

#[test]
fn no_operator_is_broken_by_an_attribute_of_another_type() {
    let attributes = [
        json!(null),
        json!(true),
        json!(-1.5),
        json!(0),
        json!(""),
        json!("text"),
        json!([]),
        json!(["a", 1, null]),
        json!({}),
        json!({ "a": [1] }),
    ];
    let operators = [
        "var",
        "missing",
        "missing_some",
        "if",
        "==",
        "===",
        "!=",
        "!==",
        ">",
        ">=",
        "<",
        "<=",
        "%",
        "/",
        "*",
        "+",
        "-",
        "!",
        "!!",
        "and",
        "or",
        "max",
        "min",
        "merge",
        "cat",
        "substr",
        "in",
        "sem_ver",
        "starts_with",
        "ends_with",
    ];
    let x = || json!({ "var": "x" });
    let y = || json!({ "var": "y" });
    let broken = |rule: Value| {
        let definitions = by(json!({ "if": [{ "===": [rule, "surely not"] }, "true", "false"] }));
        let mut found = Vec::new();
        for one in &attributes {
            for other in &attributes {
                let said = json!({ "x": one, "y": other, "targetingKey": "ann" });
                let evaluation = definitions.evaluate("a", &context(said.clone())).unwrap();
                if evaluation.reason == Reason::Error {
                    found.push(format!("{said}: {:?}", evaluation.error));
                }
            }
        }
        found
    };
    let mut all = Vec::new();
    for operator in operators {
        for arguments in
            [json!([x(), y()]), json!([x(), y(), x()]), json!([x(), 2]), json!([2, x()]), json!([x()]), x()]
        {
            // Mistakes of whoever wrote the rule.
            let is_short = arguments.as_array().is_none_or(|sides| sides.len() < 2);
            if is_short && ["if", "and", "or", "===", "!=="].contains(&operator) {
                continue;
            }
            let rule = json!({ operator: arguments });
            let found = broken(rule.clone());
            if let Some(first) = found.first() {
                all.push(format!("{rule}: {} of 100, {first}", found.len()));
            }
        }
    }
    for operator in ["map", "filter", "all", "none", "some", "reduce"] {
        for body in [
            json!({ "var": "" }),
            json!({ ">": [{ "var": "" }, 1] }),
            json!({ "+": [{ "var": "current" }, { "var": "accumulator" }] }),
            y(),
        ] {
            let rule = json!({ operator: [x(), body] });
            if let Some(first) = broken(rule.clone()).first() {
                all.push(format!("{rule}: {first}"));
            }
        }
    }
    for rule in [
        json!({ "fractional": [x(), ["true", 50], ["false", 50]] }),
        json!({ "fractional": [["true", x()], ["false", y()]] }),
        json!({ "fractional": [[x(), 1], [y(), 1]] }),
    ] {
        if let Some(first) = broken(rule.clone()).first() {
            all.push(format!("{rule}: {first}"));
        }
    }
    assert_eq!(all, Vec::<String>::new(), "{}", all.join("\n"));
}
