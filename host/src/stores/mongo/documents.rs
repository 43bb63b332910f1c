//! Reading and writing documents. A document carries its entries, so one write keeps both.

use bson::{Binary, Document, doc, spec::BinarySubtype};
use mongodb::{ClientSession, action::Action};

use super::{
    StoreError,
    failure::{is_duplicate, unfit},
    key,
    schema::{COLLECTIONS, DOCUMENTS},
    server::Server,
    tenants::{from_whole, whole},
};
use crate::stores::{
    CollectionKey, ModelFields, StoredDocument,
    entries::{self, Entry, normal},
};

/// How often a write is tried again where what refused it has gone meanwhile.
const TRIES: usize = 20;

/// A document that is to be written.
pub(super) struct Draft {
    /// What the collection's keys begin with.
    pub(super) collection: String,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    pub(super) fields: ModelFields,
}

/// The entries that a draft is written with.
pub(super) struct Ready {
    entries: Vec<String>,
    unique: Vec<String>,
    by: String,
}

impl Draft {
    pub(super) fn new(at: &CollectionKey, fields: &ModelFields, id: &str, body: Vec<u8>) -> Self {
        Self { collection: key::of_collection(at), id: id.to_owned(), body, fields: normal(fields) }
    }

    fn key(&self) -> String {
        format!("{}{}", self.collection, self.id)
    }

    /// The entries to write. While one version of a module takes over from another, both write, each with its own
    /// fields: a document then gets the entries of those fields and of the ones that the collection is indexed by.
    fn with_entries(&self, indexed: &ModelFields) -> Result<Ready, StoreError> {
        let mut both = indexed.clone();
        if both != self.fields {
            both.unique.extend_from_slice(&self.fields.unique);
            both.index.extend_from_slice(&self.fields.index);
            both = normal(&both);
        }
        let made: Vec<Entry> = entries::entries(&self.body, &both)?;
        let (entries, unique) = key::entries(&self.collection, &made);
        Ok(Ready { entries, unique, by: key::by(&self.collection, &both) })
    }

    /// All fields of the stored document but its key and revision, and those that are to be missing.
    fn stored(&self, ready: &Ready) -> (Document, Document) {
        let body = Binary { subtype: BinarySubtype::Generic, bytes: self.body.clone() };
        let mut set = doc! {
            "body": body, "bytes": self.body.len() as i64, "by": &ready.by, "entries": &ready.entries,
        };
        // Not an empty list: that would be a value, which only one document could have.
        if ready.unique.is_empty() {
            return (set, doc! { "unique": "" });
        }
        set.insert("unique", &ready.unique);
        (set, doc! {})
    }
}

/// One document.
pub(super) async fn get(server: &Server, at: &CollectionKey, id: &str) -> Result<Option<StoredDocument>, StoreError> {
    let collection = key::of_collection(at);
    let found = server.collection(DOCUMENTS).find_one(doc! { "_id": format!("{collection}{id}") });
    let found = found.projection(doc! { "revision": 1, "body": 1 }).await?;
    found.map(|found| read(&collection, found)).transpose()
}

/// A stored document as it goes out.
pub(super) fn read(collection: &str, mut found: Document) -> Result<StoredDocument, StoreError> {
    let key = found.get_str("_id").map_err(unfit)?.to_owned();
    let id = key.strip_prefix(collection).unwrap_or(&key).to_owned();
    let revision = from_whole(found.get_i64("revision").map_err(unfit)?);
    match found.remove("body") {
        Some(bson::Bson::Binary(body)) => Ok(StoredDocument { id, revision, body: body.bytes }),
        _ => Err(unfit(format!("document {key}"))),
    }
}

/// A new document.
pub(super) async fn insert(server: &Server, draft: &Draft) -> Result<u64, StoreError> {
    insert_as(server, draft, 1).await
}

/// As [`insert`], with a revision that the document had elsewhere.
pub(super) async fn insert_as(server: &Server, draft: &Draft, revision: u64) -> Result<u64, StoreError> {
    for _ in 0..TRIES {
        match insert_with(server, None, draft, revision).await {
            Ok(written) => return Ok(settle(server, draft, written).await),
            Err(problem) => explain(server, draft, problem, WriteSort::Insert).await?,
        }
    }
    Err(contended())
}

/// A document of revision `expected`, replaced.
pub(super) async fn put(server: &Server, draft: &Draft, expected: u64) -> Result<u64, StoreError> {
    for _ in 0..TRIES {
        match put_in(server, None, draft, expected).await {
            Ok(written) => return Ok(settle(server, draft, written).await),
            Err(problem) => explain(server, draft, problem, WriteSort::Put).await?,
        }
    }
    Err(contended())
}

/// A document of revision `expected`, deleted; its entries go with it.
pub(super) async fn delete(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
    id: &str,
    expected: u64,
) -> Result<(), StoreError> {
    let key = format!("{collection}{id}");
    let filter = doc! { "_id": &key, "revision": whole(expected) };
    let mut session = session;
    let write =
        server.collection(DOCUMENTS).delete_one(filter).optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
    if write.deleted_count > 0 { Ok(()) } else { Err(mismatch(server, session, &key, id, expected).await?) }
}

/// The revision that a document was written with, and its entries.
pub(super) type Written = (u64, Ready);

/// One attempt to insert. A refusal by a unique index is for [`explain`], outside of the transaction, which it ended.
pub(super) async fn insert_in(
    server: &Server,
    session: Option<&mut ClientSession>,
    draft: &Draft,
) -> Result<Written, StoreError> {
    insert_with(server, session, draft, 1).await
}

async fn insert_with(
    server: &Server,
    session: Option<&mut ClientSession>,
    draft: &Draft,
    revision: u64,
) -> Result<Written, StoreError> {
    let mut session = session;
    let indexed = indexed_or(server, session.as_deref_mut(), &draft.collection, &draft.fields).await?;
    let ready = draft.with_entries(&indexed)?;
    let mut document = doc! { "_id": draft.key(), "revision": whole(revision) };
    document.extend(draft.stored(&ready).0);
    server.collection(DOCUMENTS).insert_one(document).optional(session, |w, s| w.session(s)).await?;
    Ok((revision, ready))
}

/// One attempt to replace; see [`insert_in`].
pub(super) async fn put_in(
    server: &Server,
    session: Option<&mut ClientSession>,
    draft: &Draft,
    expected: u64,
) -> Result<Written, StoreError> {
    let mut session = session;
    let indexed = indexed_or(server, session.as_deref_mut(), &draft.collection, &draft.fields).await?;
    let ready = draft.with_entries(&indexed)?;
    let (mut set, unset) = draft.stored(&ready);
    set.insert("revision", whole(expected.saturating_add(1)));
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    let filter = doc! { "_id": draft.key(), "revision": whole(expected) };
    let collection = server.collection(DOCUMENTS);
    let write = collection.update_one(filter, update).optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
    if write.matched_count == 0 {
        return Err(mismatch(server, session, &draft.key(), &draft.id, expected).await?);
    }
    Ok((expected + 1, ready))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteSort {
    Insert,
    Put,
}

/// Why a unique index refused a write; `Ok` where what was in its way has gone, so that it can be tried again.
pub(super) async fn explain(
    server: &Server,
    draft: &Draft,
    problem: StoreError,
    sort: WriteSort,
) -> Result<(), StoreError> {
    if !is_duplicate(&problem) {
        return Err(problem);
    }
    let (collection, key) = (server.collection(DOCUMENTS), draft.key());
    if sort == WriteSort::Insert
        && collection.find_one(doc! { "_id": &key }).projection(doc! { "_id": 1 }).await?.is_some()
    {
        return Err(StoreError::Exists(draft.id.clone()));
    }
    let indexed = indexed(server, None, &draft.collection).await?.unwrap_or_default();
    let ready = draft.with_entries(&indexed)?;
    let taken = doc! { "unique": { "$in": &ready.unique }, "_id": { "$ne": key } };
    let Some(other) = collection.find_one(taken).projection(doc! { "unique": 1 }).await? else { return Ok(()) };
    let theirs: Vec<&str> = other.get_array("unique").map_err(unfit)?.iter().filter_map(bson::Bson::as_str).collect();
    let own = draft.fields.unique.iter().chain(&draft.fields.index);
    let field = own.chain(&indexed.unique).find(|field| {
        let of_field = key::of_field(&draft.collection, field);
        ready.unique.iter().any(|entry| entry.starts_with(&of_field) && theirs.contains(&entry.as_str()))
    });
    field.map_or(Ok(()), |field| Err(StoreError::NotUnique { field: field.clone() }))
}

/// Looks whether another host has begun to index the collection by other fields since a document's entries were made,
/// and then gives it those, too. Where these are refused the document stays as it is, and the next reindex says why. The
/// document is written, so nothing that goes wrong here is told of it: a reindex finds what lacks entries.
pub(super) async fn settle(server: &Server, draft: &Draft, written: Written) -> u64 {
    let revision = written.0;
    if let Err(problem) = try_to_settle(server, draft, written).await {
        let error = &problem as &dyn std::error::Error;
        tracing::warn!(document = draft.key(), error, "whether a document has all its entries is not known");
    }
    revision
}

async fn try_to_settle(server: &Server, draft: &Draft, (revision, mut ready): Written) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let indexed = indexed_or(server, None, &draft.collection, &draft.fields).await?;
        let Ok(wanted) = draft.with_entries(&indexed) else { break };
        if wanted.by == ready.by {
            break;
        }
        let (set, unset) = draft.stored(&wanted);
        let filter = doc! { "_id": draft.key(), "revision": whole(revision) };
        let update = if unset.is_empty() {
            doc! { "$set": set }
        } else {
            doc! { "$set": set, "$unset": unset }
        };
        match server.collection(DOCUMENTS).update_one(filter, update).await.map_err(StoreError::from) {
            Err(problem) if is_duplicate(&problem) => break,
            // Who has written since has looked for themselves.
            Ok(write) if write.matched_count == 0 => break,
            outcome => outcome.map(drop)?,
        }
        ready = wanted;
    }
    Ok(())
}

/// A collection's row.
pub(super) struct Row {
    /// By what it is indexed.
    pub(super) fields: ModelFields,
    /// What a reindex that has begun wants it to be indexed by, as [`key::by`] has it; it has not written yet.
    pub(super) wish: Option<String>,
}

pub(super) async fn row(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
) -> Result<Option<Row>, StoreError> {
    let found = server.collection(COLLECTIONS).find_one(doc! { "_id": collection });
    let Some(found) = found.optional(session, |f, s| f.session(s)).await? else { return Ok(None) };
    let names = |list: &str| -> Result<Vec<String>, StoreError> {
        let items = found.get_array(list).map_err(unfit)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| unfit(list))).collect()
    };
    let fields = ModelFields { unique: names("unique")?, index: names("index")? };
    Ok(Some(Row { fields, wish: found.get_str("wish").ok().map(str::to_owned) }))
}

/// By what a collection is indexed; `None` where it never had a document.
pub(super) async fn indexed(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
) -> Result<Option<ModelFields>, StoreError> {
    Ok(row(server, session, collection).await?.map(|row| row.fields))
}

/// As [`indexed`]; a collection that has no document yet is indexed by `fields` from now on.
async fn indexed_or(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
    fields: &ModelFields,
) -> Result<ModelFields, StoreError> {
    let mut session = session;
    loop {
        if let Some(indexed) = indexed(server, session.as_deref_mut(), collection).await? {
            return Ok(indexed);
        }
        let first = doc! { "_id": collection, "unique": &fields.unique, "index": &fields.index };
        let write = server.collection(COLLECTIONS).insert_one(first);
        match write.optional(session.as_deref_mut(), |w, s| w.session(s)).await.map_err(StoreError::from) {
            Err(problem) if is_duplicate(&problem) && session.is_none() => {}
            outcome => outcome.map(drop)?,
        }
    }
}

/// Why no document of the expected revision was there.
async fn mismatch(
    server: &Server,
    session: Option<&mut ClientSession>,
    key: &str,
    id: &str,
    expected: u64,
) -> Result<StoreError, StoreError> {
    let found = server.collection(DOCUMENTS).find_one(doc! { "_id": key }).projection(doc! { "revision": 1 });
    Ok(match found.optional(session, |f, s| f.session(s)).await? {
        Some(found) => {
            let found = from_whole(found.get_i64("revision").map_err(unfit)?);
            // It has come to be what was expected in this moment; whoever asks again will be right.
            StoreError::Revision { expected, found }
        }
        None => StoreError::Missing(id.to_owned()),
    })
}

fn contended() -> StoreError {
    StoreError::Unavailable("what a unique field refuses comes and goes all the time".into())
}
