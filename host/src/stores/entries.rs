//! What of a document is kept for searching: a skim over its text that looks at the declared fields only and checks
//! that the whole is a JSON object. Refuses values too long to be kept.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{ModelFields, Scalar, StoreError, value};

/// The longest text that a searchable field can hold. A page's cursor repeats the value it ends with, and has to fit
/// into a URL; the number itself is a choice.
pub(super) const MAX_VALUE_BYTES: usize = 4096;

/// One searchable value of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The top-level field it stands in.
    pub(super) field: String,
    /// As [`value::encode`] has it.
    pub(super) value: Vec<u8>,
    /// Whether no other document may have it.
    pub(super) unique: bool,
}

/// The most bytes that a document's body can have. MongoDB holds 16 MiB at most, with the entries and around them; what one
/// store takes, the other has to, so that all can move.
pub(super) const MAX_BODY_BYTES: usize = 8 << 20;

/// The entries of a document that is to be stored.
///
/// # Errors
///
/// As [`entries`], and [`StoreError::TooLarge`].
pub(super) fn entries_of_new(body: &[u8], fields: &ModelFields) -> Result<Vec<Entry>, StoreError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(StoreError::TooLarge { bytes: body.len(), limit: MAX_BODY_BYTES });
    }
    entries(body, fields)
}

/// The entries of a document, by field. Fields that are missing, null, arrays or objects have none. Of a key that
/// stands there twice, the last counts, as for most readers of JSON.
///
/// # Errors
///
/// [`StoreError::NotAnObject`] and [`StoreError::ValueTooLong`].
pub(super) fn entries(body: &[u8], fields: &ModelFields) -> Result<Vec<Entry>, StoreError> {
    let not_an_object = |problem: &dyn fmt::Display| StoreError::NotAnObject(problem.to_string());
    // What is skimmed over is not checked for UTF-8 by the parser.
    let body = std::str::from_utf8(body).map_err(|problem| not_an_object(&problem))?;
    let wanted: Vec<&str> = searchable(fields);
    let mut parser = serde_json::Deserializer::from_str(body);
    let found = parser.deserialize_map(Skim(&wanted)).map_err(|problem| not_an_object(&problem))?;
    parser.end().map_err(|problem| not_an_object(&problem))?;

    let mut entries = Vec::new();
    for (field, found) in wanted.into_iter().zip(found) {
        let Some(found) = found else { continue };
        if let Scalar::Text(text) = &found
            && text.len() > MAX_VALUE_BYTES
        {
            let (field, bytes) = (field.to_owned(), text.len());
            return Err(StoreError::ValueTooLong { field, bytes, limit: MAX_VALUE_BYTES });
        }
        let unique = fields.unique.iter().any(|unique| unique == field);
        entries.push(Entry { field: field.to_owned(), value: value::encode(&found), unique });
    }
    Ok(entries)
}

/// All fields that can be searched, sorted, without repeats.
pub(super) fn searchable(fields: &ModelFields) -> Vec<&str> {
    let mut all: Vec<&str> = fields.unique.iter().chain(&fields.index).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Sorted, without repeats, and no field on both lists, so that equal fields look equal.
pub(super) fn normal(fields: &ModelFields) -> ModelFields {
    let ModelFields { mut unique, mut index } = fields.clone();
    unique.sort_unstable();
    unique.dedup();
    index.retain(|field| !unique.contains(field));
    index.sort_unstable();
    index.dedup();
    ModelFields { unique, index }
}

/// Picks the wanted fields out of an object.
struct Skim<'a>(&'a [&'a str]);

impl<'de> Visitor<'de> for Skim<'_> {
    type Value = Vec<Option<Scalar>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.0.len()];
        while let Some(wanted) = map.next_key_seed(Key(self.0))? {
            match wanted {
                Some(index) => found[index] = map.next_value_seed(Searchable)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Which of the wanted fields a key is; compares without copying it.
#[derive(Clone, Copy)]
struct Key<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == key))
    }
}

/// A value, where it is one that can be searched for.
struct Searchable;

impl<'de> DeserializeSeed<'de> for Searchable {
    type Value = Option<Scalar>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Searchable {
    type Value = Option<Scalar>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Bool(value)))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Int(value)))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        // Beyond `i64` a question's number is read as a float too, so both sides meet.
        Ok(Some(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int)))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Float(value)))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Text(value.to_owned())))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> ModelFields {
        ModelFields { unique: vec!["email".into()], index: vec!["age".into(), "email".into(), "née".into()] }
    }

    #[test]
    fn declared_scalars_are_found_and_nothing_else() {
        let body = br#" {"other": {"age": 1}, "n\u00e9e": "x", "age": 7, "email": null, "age": [1, {}]} "#;
        let found = entries(body, &fields()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field.as_str(), found[0].unique), ("née", false));
        let found = entries(br#"{"email": "a@b", "age": 18446744073709551615}"#, &fields()).unwrap();
        assert_eq!(found[0].value, value::encode(&Scalar::Float(18_446_744_073_709_551_615.0)));
        assert!(found[1].unique);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "null", "1", "{", "{}x", r#"{"a":}"#, "{'a':1}", "{\"a\":[}"] {
            let refused = entries(body.as_bytes(), &fields());
            assert!(matches!(refused, Err(StoreError::NotAnObject(_))), "{body}");
        }
        assert!(matches!(entries(b"{\"a\":\"\xff\"}", &fields()), Err(StoreError::NotAnObject(_))));
    }

    #[test]
    fn a_text_too_long_to_search_is_refused_by_name() {
        let body = |bytes: usize| format!(r#"{{"free": "{}", "email": "{}"}}"#, "x".repeat(9999), "x".repeat(bytes));
        assert!(entries(body(MAX_VALUE_BYTES).as_bytes(), &fields()).is_ok());
        let refused = entries(body(MAX_VALUE_BYTES + 1).as_bytes(), &fields()).unwrap_err();
        assert_eq!(refused.to_string(), "searchable field `email` holds 4097 bytes, at most 4096 are possible");
    }
}
