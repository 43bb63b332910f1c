//! Damage to JSON: as text, or in its values and names alone.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::edits::{self, Edit};

/// Damage to a body.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    /// It is hardly JSON any more.
    Text(Vec<Edit>),
    /// It stays JSON.
    Json(Vec<Twist>),
}

impl Damage {
    /// A body after its damage.
    ///
    /// # Panics
    ///
    /// Where it was no JSON before.
    pub(super) fn of(&self, body: &str) -> Vec<u8> {
        match self {
            Self::Text(edits) => edits::damaged(body, edits),
            Self::Json(twists) => {
                let mut body: Value = serde_json::from_str(body).expect("a good body");
                twists.iter().for_each(|twist| twist.apply(&mut body));
                body.to_string().into_bytes()
            }
        }
    }
}

/// Both kinds of damage, equally often; `pieces` are for the text.
pub(super) fn damage(pieces: &[&str]) -> BoxedStrategy<Damage> {
    prop_oneof![edits::text(pieces).prop_map(Damage::Text), vec(twist(), 1..4).prop_map(Damage::Json)].boxed()
}

/// Damage that leaves JSON to be JSON.
#[derive(Debug, Clone)]
pub(super) enum Twist {
    /// Another value in the place of one.
    Replace(usize, Value),
    /// Another name for a member, or one more.
    Rename(usize, String),
    Remove(usize),
    /// A value inside of so many arrays.
    Bury(usize, usize),
}

/// A value of the tree that is counted in `left`.
fn node<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| node(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| node(member, left)),
        _ => None,
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

impl Twist {
    fn apply(&self, body: &mut Value) {
        let (Self::Replace(at, _) | Self::Rename(at, _) | Self::Remove(at) | Self::Bury(at, _)) = self;
        let mut left = at % size(body);
        let Some(found) = node(body, &mut left) else { return };
        match (self, &mut *found) {
            (Self::Replace(_, new), _) => *found = new.clone(),
            (Self::Bury(_, depth), _) => *found = (0..*depth).fold(found.take(), |inner, _| Value::Array(vec![inner])),
            (Self::Rename(_, name), Value::Object(members)) => {
                let first = members.keys().next().cloned();
                let value = first.and_then(|first| members.remove(&first)).unwrap_or_default();
                members.insert(name.clone(), value);
            }
            (Self::Remove(_), Value::Object(members)) => {
                let last = members.keys().next_back().cloned();
                last.and_then(|last| members.remove(&last));
            }
            (Self::Rename(..) | Self::Remove(_), _) => *found = Value::Null,
        }
    }
}

fn twist() -> BoxedStrategy<Twist> {
    let words = vec![
        "",
        "a",
        "acme",
        "*",
        "^1",
        "24:00",
        "shared",
        "\u{0}",
        "\u{202e}x",
        "https://a.b",
        "env:X",
        "id",
        "name",
        "e.f",
    ];
    let numbers = [json!(0), json!(-1), json!(u64::MAX), json!(i64::MIN), json!(1e300), json!(0.1), json!(65_536)];
    let mut values = vec![json!(null), json!(true), json!(false), json!([]), json!({}), json!([[]]), json!({"": {}})];
    values.extend(numbers);
    values.extend(words.iter().map(|word| json!(word)));
    values.extend([json!("x".repeat(5_000)), json!(vec!["https://a.example"; 300]), json!(vec![0; 300])]);
    let name =
        prop_oneof![3 => select(words.clone()).prop_map(str::to_owned), 1 => "[ -~]{0,9}", 1 => Just("n".repeat(400))];
    prop_oneof![
        6 => (any::<usize>(), select(values)).prop_map(|(at, value)| Twist::Replace(at, value)),
        2 => (any::<usize>(), name).prop_map(|(at, name)| Twist::Rename(at, name)),
        2 => any::<usize>().prop_map(Twist::Remove),
        1 => (any::<usize>(), select(&[1_usize, 2, 100, 126, 127, 128, 1_000][..])).prop_map(|(at, depth)| Twist::Bury(at, depth)),
    ]
    .boxed()
}
