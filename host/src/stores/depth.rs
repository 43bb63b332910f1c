//! How deep a value in a tenant's document may be.

use serde_json::Value;

/// The most arrays and objects inside each other that a flag's value, or the settings of a module, may have. What is
/// stored must be readable again, also inside of an answer: readers of JSON give up at 128. Nobody needs as many.
pub const MAX_VALUE_DEPTH: usize = 64;

/// How many arrays and objects are inside each other; 0 for anything else.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_deepest_part_counts() {
        assert_eq!([json!(1), json!([]), json!({"a": [1, {}], "b": 2})].map(|value| depth(&value)), [0, 1, 3]);
    }
}
