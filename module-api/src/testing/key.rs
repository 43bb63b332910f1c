//! Searchable values in the order in which every store has them: booleans, then numbers by value, then texts
//! bytewise. Types never mix.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value that can be searched for. The order of the variants and of their fields is the order of the values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Key {
    Bool(bool),
    Number {
        /// The greatest float that is not above the number, in an order that is the floats'.
        floor: u64,
        /// What is missing to the number: above 2^53 several integers have one float.
        rest: u16,
    },
    Text(String),
}

impl Key {
    /// The key of a JSON value; `None` for null, lists and objects, which can't be searched for.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Some(Self::number(floor(whole), i128::from(whole))),
                (None, Some(float)) => Some(Self::number(float, float as i128)),
                (None, None) => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn number(floor: f64, exact: i128) -> Self {
        // Zero has two floats, and one value.
        let floor = if floor == 0.0 { 0.0 } else { floor };
        let bits = floor.to_bits();
        let ordered = if floor.is_sign_negative() { !bits } else { bits | (1 << 63) };
        Self::Number { floor: ordered, rest: (exact - floor as i128) as u16 }
    }

    /// Whether both are booleans, numbers or texts.
    pub(super) fn has_type_of(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether it is a text that begins so.
    pub(super) fn begins_with(&self, prefix: &str) -> bool {
        matches!(self, Self::Text(text) if text.starts_with(prefix))
    }
}

/// The greatest float that is not above an integer.
fn floor(value: i64) -> f64 {
    let nearest = value as f64;
    if nearest as i128 > i128::from(value) { nearest.next_down() } else { nearest }
}
