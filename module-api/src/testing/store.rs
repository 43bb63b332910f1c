//! A store in memory with the rules of the real ones: revisions, unique fields, declared models, limits of ids and
//! values. Nothing is durable, and nothing fails unless a test says so.

use std::collections::BTreeMap;

use abi_stable::std_types::{ROption, RString, RVec};
use serde_json::Value;

use crate::abi::{
    FAILURE_EXISTS, FAILURE_MISSING, FAILURE_MISUSE, FAILURE_NOT_UNIQUE, FAILURE_REVISION, FAILURE_STORE_UNAVAILABLE,
    RawDocument, RawDocuments, RawFailure, RawStoreOp, STORE_DELETE, STORE_FIND, STORE_GET, STORE_INSERT, STORE_PUT,
};

use super::{
    find::find,
    key::Key,
    manifest::{Fields, Manifest},
};

const MAX_ID_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 4096;

/// The documents of one tenant and module.
#[derive(Debug, Default)]
pub(super) struct MemoryStore {
    /// By model, then by id.
    collections: BTreeMap<String, BTreeMap<String, Stored>>,
    /// Every question is answered with "unavailable".
    pub(super) is_away: bool,
}

/// One document.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) revision: u64,
    /// As the module wrote it.
    pub(super) body: Vec<u8>,
    /// By declared field, where the document has something searchable there.
    pub(super) keys: BTreeMap<String, Key>,
}

type Answer<T> = Result<T, RawFailure>;

impl MemoryStore {
    /// Carries out a module's wish.
    pub(super) fn act(&mut self, manifest: &Manifest, op: RawStoreOp) -> Answer<RawDocuments> {
        if self.is_away {
            return refuse(FAILURE_STORE_UNAVAILABLE, "the store is unavailable");
        }
        let model = op.model.into_string();
        let Some(fields) = manifest.models.get(&model) else {
            let declared: Vec<&str> = manifest.models.keys().map(String::as_str).collect();
            let known = declared.join(", ");
            return refuse(
                FAILURE_MISUSE,
                format!("model `{model}` is not declared in the manifest; declared are: {known}"),
            );
        };
        let (id, body) = (op.id.into_string(), op.body.into_vec());
        let documents = self.collections.entry(model.clone()).or_default();
        match op.kind {
            STORE_GET => {
                Ok(answer(documents.get(&id).map(|stored| document(&id, stored.revision, &stored.body)), None))
            }
            STORE_INSERT => {
                if !(1..=MAX_ID_BYTES).contains(&id.len()) || id.contains('\0') {
                    return refuse(FAILURE_MISUSE, "a document id has 1 to 256 bytes and no NUL");
                }
                let keys = keys(&body, fields)?;
                if documents.contains_key(&id) {
                    return refuse(FAILURE_EXISTS, format!("`{id}` exists already"));
                }
                check_unique(documents, fields, &id, &keys)?;
                let written = document(&id, 1, &[]);
                documents.insert(id, Stored { revision: 1, body, keys });
                Ok(answer(Some(written), None))
            }
            STORE_PUT => {
                let keys = keys(&body, fields)?;
                let revision = revision_of(documents, &id, op.revision)? + 1;
                check_unique(documents, fields, &id, &keys)?;
                let written = document(&id, revision, &[]);
                documents.insert(id, Stored { revision, body, keys });
                Ok(answer(Some(written), None))
            }
            STORE_DELETE => {
                revision_of(documents, &id, op.revision)?;
                documents.remove(&id);
                Ok(answer(None, None))
            }
            STORE_FIND => {
                let found = find(&model, fields, documents, &body).or_else(|text| refuse(FAILURE_MISUSE, text))?;
                let page = found.ids.iter().filter_map(|id| {
                    let stored = documents.get(id)?;
                    Some(document(id, stored.revision, &stored.body))
                });
                Ok(answer(page, found.next))
            }
            other => refuse(FAILURE_MISUSE, format!("there is no store operation {other}")),
        }
    }

    /// All documents of a model in the order of their ids: id, revision, body.
    pub(super) fn all(&self, model: &str) -> Vec<(String, u64, Value)> {
        let documents = self.collections.get(model).into_iter().flatten();
        // What is stored was checked to be JSON.
        let value = |stored: &Stored| serde_json::from_slice(&stored.body).unwrap_or_default();
        documents.map(|(id, stored)| (id.clone(), stored.revision, value(stored))).collect()
    }
}

fn document(id: &str, revision: u64, body: &[u8]) -> RawDocument {
    RawDocument { id: RString::from(id), revision, body: RVec::from(body.to_vec()) }
}

fn answer(documents: impl IntoIterator<Item = RawDocument>, next: Option<String>) -> RawDocuments {
    let next = next.map_or(ROption::RNone, |next| ROption::RSome(RString::from(next)));
    RawDocuments { documents: documents.into_iter().collect(), next }
}

pub(super) fn failure(kind: u32, message: impl Into<String>) -> RawFailure {
    let message = RString::from(message.into());
    RawFailure { kind, status: 0, code: RString::new(), message, place: RString::new() }
}

fn refuse<T>(kind: u32, message: impl Into<String>) -> Answer<T> {
    Err(failure(kind, message))
}

fn revision_of(documents: &BTreeMap<String, Stored>, id: &str, expected: u64) -> Answer<u64> {
    match documents.get(id) {
        None => refuse(FAILURE_MISSING, format!("`{id}` does not exist")),
        Some(stored) if stored.revision != expected => {
            refuse(FAILURE_REVISION, format!("expected revision {expected}, found {}", stored.revision))
        }
        Some(stored) => Ok(stored.revision),
    }
}

/// What can be searched for in a document.
fn keys(body: &[u8], fields: &Fields) -> Answer<BTreeMap<String, Key>> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(body)
        .or_else(|error| refuse(FAILURE_MISUSE, format!("a document must be a JSON object: {error}")))?;
    let mut keys = BTreeMap::new();
    for field in fields.searchable() {
        let Some(key) = object.get(field).and_then(Key::of) else { continue };
        if let Key::Text(text) = &key
            && text.len() > MAX_VALUE_BYTES
        {
            let bytes = text.len();
            let text =
                format!("searchable field `{field}` holds {bytes} bytes, at most {MAX_VALUE_BYTES} are possible");
            return refuse(FAILURE_MISUSE, text);
        }
        keys.insert(field.to_owned(), key);
    }
    Ok(keys)
}

fn check_unique(
    documents: &BTreeMap<String, Stored>,
    fields: &Fields,
    id: &str,
    keys: &BTreeMap<String, Key>,
) -> Answer<()> {
    for (field, key) in keys.iter().filter(|(field, _)| fields.unique.contains(field)) {
        if documents.iter().any(|(other, stored)| other != id && stored.keys.get(field) == Some(key)) {
            let text = format!("another document has this value in unique field `{field}`");
            return Err(RawFailure { code: RString::from(field.as_str()), ..failure(FAILURE_NOT_UNIQUE, text) });
        }
    }
    Ok(())
}
