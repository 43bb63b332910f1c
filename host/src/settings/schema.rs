//! Settings against the JSON Schema of a manifest. A field is secret where its schema says `writeOnly = true`.

use serde_json::{Map, Value};

use super::{FieldPath, HIDDEN, secrets::Reference};
use crate::stores::{MAX_VALUE_DEPTH, depth};

/// All that is wrong with settings, each with the place as a JSON Pointer; values are never repeated.
///
/// A secret field must be a reference, and is not looked at beyond that: what it stands for is not known here. Without a
/// schema everything is right that is not too deep to be kept.
///
/// # Errors
///
/// The list, never empty.
pub fn check(schema: Option<&Value>, settings: &Map<String, Value>) -> Result<(), Vec<String>> {
    // The settings themselves are an object too.
    if settings.values().any(|value| depth(value) >= MAX_VALUE_DEPTH) {
        let problem = format!("/: more than {MAX_VALUE_DEPTH} arrays and objects are inside each other");
        return Err(vec![problem]);
    }
    let Some(schema) = schema else { return Ok(()) };
    let secrets = secret_fields(schema);
    let mut problems = Vec::new();
    for path in &secrets {
        // Nothing but a text can be a reference, whatever the schema permits.
        let problem = match at(settings, path) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => Reference::read(text).err(),
            Some(_) => Reference::read("").err(),
        };
        problems.extend(problem.map(|problem| format!("{}: {problem}", pointer(path))));
    }
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        // Manifests are checked when they are read; this one was read by a version that knew better.
        Err(error) => return Err(vec![format!("the module's schema can't be used: {}", error.masked())]),
    };
    let settings = Value::Object(settings.clone());
    for error in validator.iter_errors(&settings) {
        let place = error.instance_path().to_string();
        let is_secret = !error.instance().is_null() && secrets.iter().any(|path| pointer(path) == place);
        if !is_secret {
            let place = if place.is_empty() { "/" } else { &*place };
            problems.push(format!("{place}: {}", error.masked_with("the value")));
        }
    }
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The fields that a schema marks as secret, in the objects that it describes by `properties`.
pub fn secret_fields(schema: &Value) -> Vec<FieldPath> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect(schema: &Value, path: &mut FieldPath, found: &mut Vec<FieldPath>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        path.push(name.clone());
        if property.get("writeOnly") == Some(&Value::Bool(true)) {
            found.push(path.clone());
        } else {
            collect(property, path, found);
        }
        path.pop();
    }
}

/// Settings as they may be shown: references stay, whatever else stands in a secret field is hidden.
pub fn redact(schema: Option<&Value>, settings: &Value) -> Value {
    let mut shown = settings.clone();
    for path in schema.map(secret_fields).unwrap_or_default() {
        if let Some(value) = at_mut(&mut shown, &path) {
            let is_reference = value.as_str().is_some_and(|text| Reference::read(text).is_ok());
            if !is_reference && !value.is_null() {
                *value = HIDDEN.into();
            }
        }
    }
    shown
}

/// Merges a patch into settings: an object goes into an object, null takes a field away, all else replaces it (RFC 7396).
pub fn merge(settings: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(settings.remove(name)),
            Value::Object(inner) => {
                let known = settings.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !known.is_object() {
                    *known = Value::Object(Map::new());
                }
                if let Value::Object(known) = known {
                    merge(known, inner);
                }
            }
            other => drop(settings.insert(name.clone(), other.clone())),
        }
    }
}

fn at<'a>(settings: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(settings.get(first)?, |value, name| value.get(name))
}

pub(super) fn at_mut<'a>(settings: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(settings, |value, name| value.get_mut(name))
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["server"],
            "properties": {
                "server": { "type": "string" },
                "port": { "type": "integer", "maximum": 65535 },
                "login": { "type": "object", "properties": {
                    "password": { "type": "string", "writeOnly": true, "minLength": 40 },
                } },
            },
        })
    }

    fn checked(settings: Value) -> Vec<String> {
        let Value::Object(settings) = settings else { unreachable!("tests give objects") };
        check(Some(&schema()), &settings).err().unwrap_or_default()
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        let checked = |settings: Value| check(None, settings.as_object().unwrap());
        assert_eq!(checked(nested(MAX_VALUE_DEPTH)), Ok(()));
        let problem = "/: more than 64 arrays and objects are inside each other".to_owned();
        assert_eq!(checked(nested(MAX_VALUE_DEPTH + 1)), Err(vec![problem]));
    }

    #[test]
    fn all_problems_come_at_once_with_their_places_and_without_values() {
        let good = json!({ "server": "mail", "port": 25, "login": { "password": "env:TENON_SECRET_MAIL" } });
        assert_eq!(checked(good), Vec::<String>::new());
        let problems = checked(json!({ "port": "hunter1", "more": "hunter2", "login": { "password": "hunter3" } }));
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.starts_with("/port: ")), "{problems:?}");
        let refused = "/login/password: is secret: give a reference, `env:TENON_SECRET_NAME` or `file:NAME`";
        assert!(problems.iter().any(|problem| problem == refused), "{problems:?}");
        assert!(!problems.iter().any(|problem| problem.contains("hunter")), "{problems:?}");
        let wrong = checked(json!({ "server": "mail", "login": { "password": 7 } }));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }

    #[test]
    fn without_a_schema_everything_goes() {
        assert_eq!(check(None, &Map::from_iter([("a".to_owned(), json!(1))])), Ok(()));
    }

    #[test]
    fn what_is_secret_and_no_reference_is_hidden() {
        let shown = |password: Value| redact(Some(&schema()), &json!({ "login": { "password": password } }));
        assert_eq!(shown(json!("hunter2")), json!({ "login": { "password": "***" } }));
        assert_eq!(shown(json!({ "deep": "hunter2" })), json!({ "login": { "password": "***" } }));
        assert_eq!(shown(json!("file:mail")), json!({ "login": { "password": "file:mail" } }));
        assert_eq!(redact(None, &json!({ "a": 1 })), json!({ "a": 1 }));
    }

    #[test]
    fn a_patch_is_merged() {
        let Value::Object(mut settings) = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 4 }) else { return };
        let Value::Object(patch) = json!({ "a": null, "b": { "c": null, "x": [1] }, "e": { "f": null, "g": 1 } })
        else {
            return;
        };
        merge(&mut settings, &patch);
        assert_eq!(Value::Object(settings), json!({ "b": { "d": 3, "x": [1] }, "e": { "g": 1 } }));
    }
}
