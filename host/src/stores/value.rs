//! Searchable values as byte strings whose bytewise order is the order of the values. Refuses nothing:
//! what can't be searched (null, arrays, objects) never becomes a [`Scalar`].

use super::Scalar;

const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

/// The tag that follows the last one: above every encoded value.
const END: u8 = TEXT + 1;

/// A value as bytes: a tag for its type, so that types never mix, then
///
/// - a boolean as one byte,
/// - a number as the greatest float that is not above it, in eight bytes whose order is the floats', and what is
///   missing to the number itself in two more. A plain float would take neighbours above 2^53 for equal; this way
///   every `i64` keeps its place, between the floats too,
/// - a text as its UTF-8.
pub(super) fn encode(value: &Scalar) -> Vec<u8> {
    match value {
        Scalar::Bool(value) => vec![BOOL, u8::from(*value)],
        Scalar::Int(value) => number(floor(*value), i128::from(*value)),
        Scalar::Float(value) => number(*value, *value as i128),
        Scalar::Text(value) => text(value),
    }
}

/// A text, or the prefix of one, as bytes.
pub(super) fn text(value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + value.len());
    bytes.push(TEXT);
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// The lowest byte string above all that begin with this one, an encoded text. UTF-8 has no byte 255, so the last
/// byte can always be raised.
pub(super) fn after_prefix(mut encoded: Vec<u8>) -> Vec<u8> {
    if let Some(last) = encoded.last_mut() {
        *last += 1;
    }
    encoded
}

/// Inclusive lower and exclusive upper bound of all values that have the type of this one.
pub(super) fn bounds_of_type(encoded: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let tag = encoded.first().copied().unwrap_or(END);
    (vec![tag], vec![tag + 1])
}

/// Inclusive lower and exclusive upper bound of all values.
pub(super) fn bounds_of_all() -> (Vec<u8>, Vec<u8>) {
    (vec![BOOL], vec![END])
}

/// The greatest float that is not above an integer.
fn floor(value: i64) -> f64 {
    let nearest = value as f64;
    if nearest as i128 > i128::from(value) { nearest.next_down() } else { nearest }
}

fn number(floor: f64, exact: i128) -> Vec<u8> {
    // Zero has two floats, and one value.
    let floor = if floor == 0.0 { 0.0 } else { floor };
    let bits = floor.to_bits();
    let ordered = if floor.is_sign_negative() { !bits } else { bits | (1 << 63) };
    // Floats of at most 2^63 lie at most 2^10 apart. A float is its own floor, and a cast to an integer would only
    // lose its fraction on both sides, or its size.
    let rest = (exact - floor as i128) as u16;
    let mut bytes = Vec::with_capacity(11);
    bytes.push(NUMBER);
    bytes.extend_from_slice(&ordered.to_be_bytes());
    bytes.extend_from_slice(&rest.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// The order of numbers by value, done the slow way.
    fn compare(left: &Scalar, right: &Scalar) -> Ordering {
        match (left, right) {
            (Scalar::Int(left), Scalar::Int(right)) => left.cmp(right),
            (Scalar::Float(left), Scalar::Float(right)) => left.partial_cmp(right).unwrap(),
            (Scalar::Int(left), Scalar::Float(right)) => {
                let whole = right.floor();
                let other = if whole >= 1e30 { i128::MAX } else { whole as i128 };
                i128::from(*left).cmp(&other).then(if *right > whole { Ordering::Less } else { Ordering::Equal })
            }
            (Scalar::Float(_), Scalar::Int(_)) => compare(right, left).reverse(),
            _ => unreachable!("only numbers are made"),
        }
    }

    fn any_number() -> impl Strategy<Value = Scalar> {
        let edge = prop_oneof![Just(1i64 << 53), Just(-(1i64 << 53)), Just(i64::MAX), Just(i64::MIN), Just(0)];
        let near = (edge, -3000i64..3000).prop_map(|(edge, step)| edge.saturating_add(step));
        prop_oneof![
            any::<i64>().prop_map(Scalar::Int),
            near.clone().prop_map(Scalar::Int),
            near.prop_map(|value| Scalar::Float(value as f64)),
            any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Scalar::Float),
            (-5.0f64..5.0).prop_map(Scalar::Float),
        ]
    }

    proptest! {
        #[test]
        fn numbers_are_ordered_by_value(left in any_number(), right in any_number()) {
            prop_assert_eq!(encode(&left).cmp(&encode(&right)), compare(&left, &right), "{:?} {:?}", left, right);
        }

        #[test]
        fn texts_are_ordered_bytewise(left in ".*", right in ".*") {
            let ordering = encode(&Scalar::Text(left.clone())).cmp(&encode(&Scalar::Text(right.clone())));
            prop_assert_eq!(ordering, left.as_bytes().cmp(right.as_bytes()));
        }

        #[test]
        fn a_prefix_bounds_exactly_what_begins_with_it(
            prefix in "[a-c\u{7f}-\u{81}\u{10ffff}]{0,3}",
            value in "[a-c\u{7f}-\u{81}\u{10ffff}]{0,5}",
        ) {
            let encoded = text(&value);
            let inside = encoded >= text(&prefix) && encoded < after_prefix(text(&prefix));
            prop_assert_eq!(inside, value.starts_with(&prefix));
        }
    }

    #[test]
    fn types_never_mix_and_zero_is_one_value() {
        let ordered = [
            Scalar::Bool(false),
            Scalar::Bool(true),
            Scalar::Float(f64::MIN),
            Scalar::Int(i64::MAX - 1),
            Scalar::Int(i64::MAX),
            Scalar::Float(i64::MAX as f64),
            Scalar::Text(String::new()),
        ];
        assert!(ordered.windows(2).all(|pair| encode(&pair[0]) < encode(&pair[1])));
        assert_eq!(encode(&Scalar::Float(-0.0)), encode(&Scalar::Int(0)));
        let (from, to) = bounds_of_all();
        assert!(ordered.iter().all(|value| encode(value) >= from && encode(value) < to));
    }
}
