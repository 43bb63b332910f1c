//! Comparisons and arithmetic as JSONLogic's own implementation, and flagd, have them. The engine's take a missing attribute
//! for `""`, `0` and `false`, and make an error of the whole rule out of one attribute of another type; here what can't be
//! compared is not equal, not less and not more, and what can't be calculated is no number.

use datalogic_rs::DataValue;
use serde_json::Value;

use super::operators::Evaluate;

/// The operators: what rules call them, what they are called for the engine, which would take its own otherwise.
pub(super) const OPERATORS: [(&str, &str, Evaluate); 11] = [
    ("==", "tenon.equal", |args, arena| arena.alloc(DataValue::Bool(are_equal(args)))),
    ("!=", "tenon.unequal", |args, arena| arena.alloc(DataValue::Bool(!are_equal(args.get(..2).unwrap_or(args))))),
    ("<", "tenon.less", |args, arena| arena.alloc(in_order(args, |one, other| one < other, |one, other| one < other))),
    ("<=", "tenon.at_most", |args, arena| {
        arena.alloc(in_order(args, |one, other| one <= other, |one, other| one <= other))
    }),
    (">", "tenon.more", |args, arena| arena.alloc(in_order(args, |one, other| one > other, |one, other| one > other))),
    (">=", "tenon.at_least", |args, arena| {
        arena.alloc(in_order(args, |one, other| one >= other, |one, other| one >= other))
    }),
    ("-", "tenon.difference", |args, arena| arena.alloc(difference(args))),
    ("/", "tenon.divided", |args, arena| arena.alloc(calculated(args, |one, other| one / other))),
    ("%", "tenon.remainder", |args, arena| arena.alloc(calculated(args, |one, other| one % other))),
    ("max", "tenon.most", |args, arena| arena.alloc(chosen(args, |one, other| one > other))),
    ("min", "tenon.least", |args, arena| arena.alloc(chosen(args, |one, other| one < other))),
];

/// What an operator of a rule is called for the engine; `None`: as in the rule.
pub(super) fn engine_name(operator: &str, arguments: &Value) -> Option<&'static str> {
    match (operator, arguments) {
        // The engine's own are faster, and come to the same where nothing has to be converted.
        ("==", Value::Array(sides)) if has_plain_side(sides) => Some("==="),
        ("!=", Value::Array(sides)) if has_plain_side(sides) => Some("!=="),
        _ => OPERATORS.iter().find(|(name, ..)| *name == operator).map(|(_, engine_name, _)| *engine_name),
    }
}

/// Whether one of two sides is written out and equal to nothing but itself: `null`, or a text that is no number.
fn has_plain_side(sides: &[Value]) -> bool {
    let is_plain = |side: &Value| match side {
        Value::Null => true,
        Value::String(text) => text_as_number(text).is_nan(),
        _ => false,
    };
    sides.len() == 2 && sides.iter().any(is_plain)
}

static NULL: DataValue<'static> = DataValue::Null;

/// Whether each is equal to the first. What is left out is `null`.
fn are_equal(args: &[&DataValue<'_>]) -> bool {
    let Some((first, others)) = args.split_first() else { return true };
    if others.is_empty() { is_equal(first, &NULL) } else { others.iter().all(|other| is_equal(first, other)) }
}

fn is_equal(one: &DataValue<'_>, other: &DataValue<'_>) -> bool {
    match (one, other) {
        (DataValue::Null, DataValue::Null) => true,
        (DataValue::Null, _) | (_, DataValue::Null) => false,
        (DataValue::String(one), DataValue::String(other)) => one == other,
        _ => number(one) == number(other),
    }
}

/// Whether each is in order with the next one; two texts by their characters, all else as numbers.
fn in_order<'a>(
    args: &[&DataValue<'_>],
    texts: fn(&str, &str) -> bool,
    numbers: fn(f64, f64) -> bool,
) -> DataValue<'a> {
    let are = args.windows(2).all(|pair| match pair {
        [DataValue::String(one), DataValue::String(other)] => texts(one, other),
        [one, other] => numbers(number(one), number(other)),
        _ => true,
    });
    DataValue::Bool(are && args.len() > 1)
}

/// Of one value alone its negative.
fn difference<'a>(args: &[&'a DataValue<'a>]) -> DataValue<'a> {
    match args {
        [DataValue::Array(_)] | [] | [_, _, ..] => calculated(args, |one, other| one - other),
        [value] => DataValue::from_f64(-number(value)),
    }
}

/// From the left to the right; of one list its elements.
fn calculated<'a>(args: &[&DataValue<'_>], step: fn(f64, f64) -> f64) -> DataValue<'a> {
    let result = match args {
        [DataValue::Array(items)] => items.iter().map(number).reduce(step),
        [_] => None,
        _ => args.iter().map(|arg| number(arg)).reduce(step),
    };
    DataValue::from_f64(result.unwrap_or(f64::NAN))
}

/// The one number that is before all others; of one list its elements. No number where one of them is none, `null` where
/// there are none.
fn chosen<'a>(args: &[&DataValue<'_>], is_before: fn(f64, f64) -> bool) -> DataValue<'a> {
    let better = |one: f64, other: f64| {
        if one.is_nan() || is_before(one, other) { one } else { other }
    };
    let found = match args {
        [DataValue::Array(items)] => items.iter().map(number).reduce(better),
        _ => args.iter().map(|arg| number(arg)).reduce(better),
    };
    found.map_or(DataValue::Null, DataValue::from_f64)
}

/// A value as a number (`ToNumber` of ECMAScript); lists and objects are none.
fn number(value: &DataValue<'_>) -> f64 {
    match value {
        DataValue::Number(number) => number.as_f64(),
        DataValue::Null => 0.0,
        DataValue::Bool(is_one) => f64::from(*is_one),
        DataValue::String(text) => text_as_number(text),
        _ => f64::NAN,
    }
}

fn text_as_number(text: &str) -> f64 {
    let text = text.trim();
    let based = |digits: &str, base: u32| {
        let is_good = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
        // Beyond 64 bits nobody writes them.
        is_good.then(|| u64::from_str_radix(digits, base).ok()).flatten().map_or(f64::NAN, |number| number as f64)
    };
    match text.as_bytes() {
        [] => 0.0,
        [b'0', b'x' | b'X', ..] => based(&text[2..], 16),
        [b'0', b'o' | b'O', ..] => based(&text[2..], 8),
        [b'0', b'b' | b'B', ..] => based(&text[2..], 2),
        bytes if bytes.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)) => {
            text.parse().unwrap_or(f64::NAN)
        }
        b"Infinity" | b"+Infinity" => f64::INFINITY,
        b"-Infinity" => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}
