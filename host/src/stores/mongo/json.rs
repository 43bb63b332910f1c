//! Tenant documents between BSON and JSON, and the stamp by which Tenon knows its own writes.
//!
//! Types that JSON lacks, such as a foreign program's object ids and dates, are carried as MongoDB's extended JSON and
//! become again what they were. The times that Tenon knows are dates in the database.

use bson::{Bson, DateTime, Document};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::stores::{FieldProblem, TenantDocument, TenantDocumentError};

/// Where Tenon keeps what is for itself in a tenant's document: the stamp, and whether the tenant was deleted.
pub(super) const OURS: &str = "tenon";

/// A tenant's document as JSON, without what is the database's or for Tenon itself.
pub(super) fn to_json(document: &Document) -> Map<String, Value> {
    let fields = document.iter().filter(|(name, _)| !matches!(name.as_str(), "_id" | OURS));
    let mut json: Map<String, Value> =
        fields.map(|(name, value)| (name.clone(), value.clone().into_relaxed_extjson())).collect();
    json.get_mut("updatedAt").map(plain_time);
    for module in json.get_mut("enabledModules").and_then(Value::as_array_mut).into_iter().flatten() {
        module.get_mut("enabledAt").map(plain_time);
    }
    json
}

/// `{"$date": "…"}` as the text alone.
fn plain_time(value: &mut Value) {
    if let Some(text @ Value::String(_)) = value.get_mut("$date") {
        *value = text.take();
    }
}

/// The document of a tenant, with its stamp.
pub(super) fn from_tenant(tenant: &TenantDocument) -> Result<Document, StoreError> {
    let mut document = Document::new();
    for (name, value) in tenant.to_json() {
        if name != "_id" && name != OURS {
            document.insert(name, to_bson(value));
        }
    }
    if let Some(name) = unfit_name(&document) {
        let problem = FieldProblem { field: name.replace('\0', "\\0"), problem: "has a name with a NUL".to_owned() };
        let tenant = Some(tenant.id.to_string());
        return Err(StoreError::Tenant(TenantDocumentError { tenant, problems: vec![problem] }));
    }
    let dated = |document: &mut Document, name: &str, time: Option<jiff::Timestamp>| {
        if let Some(time) = time {
            document.insert(name, DateTime::from_millis(time.as_millisecond()));
        }
    };
    dated(&mut document, "updatedAt", tenant.updated_at);
    if let Ok(modules) = document.get_array_mut("enabledModules") {
        for (module, enabled) in modules.iter_mut().zip(&tenant.enabled_modules) {
            if let Some(module) = module.as_document_mut() {
                dated(module, "enabledAt", enabled.enabled_at);
            }
        }
    }
    let stamp = stamp(&document);
    document.insert(OURS, bson::doc! { "stamp": stamp });
    Ok(document)
}

/// Extended JSON becomes what it stands for, where that comes back as the same JSON; else an object stays one.
fn to_bson(value: Value) -> Bson {
    match value {
        Value::Array(items) => Bson::Array(items.into_iter().map(to_bson).collect()),
        Value::Object(members) => {
            if members.keys().any(|name| name.starts_with('$'))
                && let Ok(meant) = Bson::try_from(members.clone())
                && !matches!(meant, Bson::Document(_))
                && meant.clone().into_relaxed_extjson() == Value::Object(members.clone())
            {
                return meant;
            }
            Bson::Document(members.into_iter().map(|(name, value)| (name, to_bson(value))).collect())
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Bson::Int64(whole),
            // Above 2^63 there are only floats.
            (None, float) => Bson::Double(float.unwrap_or_default()),
        },
        Value::String(text) => Bson::String(text),
        Value::Bool(value) => Bson::Boolean(value),
        Value::Null => Bson::Null,
    }
}

/// BSON has no names with a NUL.
fn unfit_name(document: &Document) -> Option<&str> {
    fn in_value(value: &Bson) -> Option<&str> {
        match value {
            Bson::Document(inner) => unfit_name(inner),
            Bson::Array(items) => items.iter().find_map(in_value),
            _ => None,
        }
    }
    document.iter().find_map(|(name, value)| if name.contains('\0') { Some(name.as_str()) } else { in_value(value) })
}

/// A hash over all of a document but its `_id` and what is for Tenon itself. The order of members does not count.
pub(super) fn stamp(document: &Document) -> String {
    let mut hash = Sha256::new();
    add(&mut hash, &Value::Object(to_json(document)));
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            hash.update(format!("{{{}", members.len()));
            for (name, value) in members {
                hash.update(Value::from(name.as_str()).to_string());
                add(hash, value);
            }
        }
        Value::Array(items) => {
            hash.update(format!("[{}", items.len()));
            items.iter().for_each(|item| add(hash, item));
        }
        scalar => hash.update(format!(",{scalar}")),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Decimal128, doc, oid::ObjectId};
    use serde_json::json;

    use super::*;

    #[test]
    fn types_that_json_lacks_come_back() {
        let mut foreign = doc! {
            "_id": ObjectId::new(), "tenantId": "a", "owner": ObjectId::new(), "born": DateTime::from_millis(1_234),
            "price": "1.10".parse::<Decimal128>().unwrap(), "updatedAt": DateTime::from_millis(5_678), "none": null,
            "enabledModules": [{ "moduleId": "tasks", "enabledAt": DateTime::from_millis(9), "by": ObjectId::new() }],
            "featureFlags": { "a.b": 1_i64, "$x": 2.0 },
        };
        let tenant = TenantDocument::from_json(to_json(&foreign)).unwrap();
        assert_eq!(tenant.updated_at.unwrap().as_millisecond(), 5_678);
        let written = from_tenant(&tenant).unwrap();
        foreign.remove("_id");
        for (name, value) in &foreign {
            if name != "enabledModules" {
                assert_eq!(written.get(name), Some(value), "{name}");
            }
        }
        let module =
            |document: &Document| document.get_array("enabledModules").unwrap()[0].as_document().unwrap().clone();
        assert_eq!(module(&written).get("by"), module(&foreign).get("by"));
        assert_eq!(module(&written).get("enabledAt"), module(&foreign).get("enabledAt"));
    }

    #[test]
    fn what_only_looks_like_extended_json_stays_json() {
        for value in [json!({ "$numberLong": "5" }), json!({ "$oid": "x" }), json!({ "$date": 1, "a": [{ "$": 1.5 }] })]
        {
            assert_eq!(to_bson(value.clone()).into_relaxed_extjson(), value);
        }
    }

    #[test]
    fn the_stamp_tells_every_change_but_none_of_order() {
        let stamp = |document: Document| stamp(&document);
        let one = stamp(doc! { "a": 1, "b": { "c": [1, 2], "d": "x" } });
        assert_eq!(
            one,
            stamp(doc! { "b": { "d": "x", "c": [1_i64, 2] }, "_id": 7, "a": 1, "tenon": { "stamp": "y" } })
        );
        for other in [
            doc! { "a": 1, "b": { "c": [2, 1], "d": "x" } },
            doc! { "a": "1", "b": { "c": [1, 2], "d": "x" } },
            doc! { "a": 1, "b": { "c": [1, 2], "d": "x" }, "e": null },
            doc! { "a": 1, "b": { "c": [1, 2] }, "d": "x" },
        ] {
            assert_ne!(one, stamp(other));
        }
    }

    #[test]
    fn a_name_with_a_nul_is_refused() {
        let json = json!({ "tenantId": "a", "settings": { "tasks": { "x": [{ "a\0": 1 }] } } });
        let Value::Object(json) = json else { unreachable!("it is one") };
        let refused = from_tenant(&TenantDocument::from_json(json).unwrap()).unwrap_err();
        assert!(matches!(refused, StoreError::Tenant(_)));
    }
}
