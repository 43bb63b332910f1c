//! Fields of settings that a schema calls secret in a place where nobody would keep them so.

use serde_json::Value;

/// Where a schema says `writeOnly` in a place that the host does not look at, as JSON Pointers. It looks at `properties`
/// and those inside of these; what stands elsewhere would be kept and shown like anything else.
pub(super) fn unseen_secrets(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look_for_unseen(schema, true, &mut Vec::new(), &mut found);
    found
}

fn look_for_unseen(schema: &Value, is_seen: bool, path: &mut Vec<String>, found: &mut Vec<String>) {
    // Values, not schemas.
    const DATA: &[&str] = &["const", "default", "enum", "examples"];
    let members: Vec<(String, &Value)> = match schema {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), member)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        _ => return,
    };
    for (name, member) in members {
        path.push(name);
        match (path.last().map(String::as_str), member) {
            (Some("properties"), Value::Object(properties)) => {
                for (name, property) in properties {
                    path.push(name.clone());
                    let is_secret = property.get("writeOnly") == Some(&Value::Bool(true));
                    if is_secret && !is_seen {
                        found.push(pointer(path));
                    } else if !is_secret {
                        look_for_unseen(property, is_seen, path, found);
                    }
                    path.pop();
                }
            }
            (Some("writeOnly"), Value::Bool(true)) => found.push(pointer(&path[..path.len() - 1])),
            (Some(name), _) if DATA.contains(&name) => {}
            _ => look_for_unseen(member, false, path, found),
        }
        path.pop();
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_that_would_not_be_seen_are_found() {
        let seen = json!({ "properties": { "login": { "properties": { "password": { "writeOnly": true } } } } });
        assert_eq!(unseen_secrets(&seen), Vec::<String>::new());
        let secret = json!({ "type": "string", "writeOnly": true });
        let hidden = json!({
            "properties": {
                "seen": secret, "list": { "items": secret }, "example": { "examples": [{ "writeOnly": true }] },
                "writeOnly": { "type": "boolean" },
            },
            "allOf": [{ "properties": { "late": secret } }],
            "$defs": { "a/b": secret },
        });
        let mut found = unseen_secrets(&hidden);
        found.sort();
        assert_eq!(found, ["/$defs/a~1b", "/allOf/0/properties/late", "/properties/list/items"]);
        assert_eq!(unseen_secrets(&json!({ "writeOnly": true })), [""]);
    }
}
