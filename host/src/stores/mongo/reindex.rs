//! Making the entries of a collection anew. No transaction: one could neither hold a large collection nor live as long as it
//! takes, and would be in the way of whoever writes meanwhile.
//!
//! 1. A reindex says in the collection's row what it wishes. Whoever wants other fields takes the wish away, and so ends it,
//!    also one whose caller has given up.
//! 2. All documents are checked; nothing is written where one can't have the entries.
//! 3. The row names the new fields, if the wish still stands there. From here on whoever writes gives their documents
//!    these entries, too.
//! 4. Documents with other entries get theirs, some at a time, each if it still has the revision that was read. Before
//!    each step the row is read again: the documents are made what it says, by whomever it was changed.
//! 5. A value that came between 2 and 3 and is not unique has the row put back, and the documents with it.

use std::collections::HashSet;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    documents::{self, Row, row},
    failure::{DUPLICATE_KEY, unfit},
    key,
    schema::{COLLECTIONS, DOCUMENTS},
    server::Server,
};
use crate::stores::{ModelFields, entries};

/// How many documents are updated by one command.
const AT_ONCE: usize = 500;

/// How many bytes of entries one command has, but for its last document. A command has 48 MB at most; a guess.
const BYTES_AT_ONCE: usize = 1 << 20;

/// How often documents are gone through again because of a value that was there twice for a moment.
const TRIES: usize = 20;

/// Selects documents with other entries.
fn others(collection: &str, by: &str) -> Document {
    doc! { "$or": [
        { "by": { "$gte": collection, "$lt": by } },
        { "by": { "$gt": by, "$lt": key::end_of(collection) } },
    ] }
}

/// Makes all entries of a collection those of `fields`, which are in their normal form. Where all are so already, as is
/// mostly the case, two reads say it.
pub(super) async fn reindex(server: &Server, collection: &str, fields: &ModelFields) -> Result<(), StoreError> {
    let wish = key::by(collection, fields);
    let before = loop {
        let Some(Row { fields: found, wish: other }) = row(server, None, collection).await? else {
            // There has never been a document, and so there is no entry that could be wrong.
            return Ok(());
        };
        if found == *fields {
            if other.is_some_and(|other| other != wish) && !end_others(server, collection, fields).await? {
                // In this moment it got what it wished.
                continue;
            }
            let others = others(collection, &wish);
            if server.collection(DOCUMENTS).find_one(others).projection(doc! { "_id": 1 }).await?.is_none() {
                return Ok(());
            }
        }
        break found;
    };
    if before != *fields {
        take_the_row(server, collection, fields, &wish).await?;
    }
    for _ in 0..TRIES {
        match follow_the_row(server, collection).await {
            Ok(Followed::To(now)) if now == *fields => return Ok(()),
            Ok(Followed::To(_)) => return Err(superseded()),
            // A document that came after the check has a value that can't be, or had it for a moment.
            Ok(Followed::Duplicate) | Err(StoreError::ValueTooLong { .. }) => {
                if let Err(problem) = check(server, collection, fields).await {
                    put_back(server, collection, fields, &before).await;
                    return Err(problem);
                }
            }
            Err(problem) => return Err(problem),
        }
    }
    put_back(server, collection, fields, &before).await;
    Err(StoreError::Unavailable("what a unique field refuses comes and goes all the time".into()))
}

/// Has the row name the fields, once all documents have been found to be able to have their entries.
async fn take_the_row(server: &Server, collection: &str, fields: &ModelFields, wish: &str) -> Result<(), StoreError> {
    let rows = server.collection(COLLECTIONS);
    rows.update_one(doc! { "_id": collection }, doc! { "$set": { "wish": wish } }).await?;
    if let Err(problem) = check(server, collection, fields).await {
        rows.update_one(doc! { "_id": collection, "wish": wish }, doc! { "$unset": { "wish": "" } }).await?;
        return Err(problem);
    }
    let own = doc! { "_id": collection, "wish": wish };
    let write = rows.update_one(own, doc! { "$set": as_stored(fields), "$unset": { "wish": "" } }).await?;
    if write.matched_count > 0 {
        return Ok(());
    }
    // Another host may have been here with the same wish.
    let now = documents::indexed(server, None, collection).await?;
    if now.is_some_and(|now| now == *fields) { Ok(()) } else { Err(superseded()) }
}

fn superseded() -> StoreError {
    StoreError::Unavailable("the collection is being indexed by other fields".into())
}

fn as_stored(fields: &ModelFields) -> Document {
    doc! { "unique": &fields.unique, "index": &fields.index }
}

/// Takes away what another reindex wishes, if the row still names these fields.
async fn end_others(server: &Server, collection: &str, fields: &ModelFields) -> Result<bool, StoreError> {
    let mut own = doc! { "_id": collection };
    own.extend(as_stored(fields));
    let write = server.collection(COLLECTIONS).update_one(own, doc! { "$unset": { "wish": "" } }).await?;
    Ok(write.matched_count > 0)
}

/// Has the collection indexed as it was, unless somebody else has changed that since.
async fn put_back(server: &Server, collection: &str, fields: &ModelFields, before: &ModelFields) {
    let outcome = async {
        let mut own = doc! { "_id": collection };
        own.extend(as_stored(fields));
        let write = server.collection(COLLECTIONS).update_one(own, doc! { "$set": as_stored(before) }).await?;
        if write.matched_count > 0
            && let Followed::Duplicate = follow_the_row(server, collection).await?
        {
            tracing::error!(collection, "documents that have a unique value of another stay without entries");
        }
        Ok::<(), StoreError>(())
    };
    if let Err(problem) = outcome.await {
        let error = &problem as &dyn std::error::Error;
        tracing::error!(collection, error, "a collection is indexed as it was only by the next start of its module");
    }
}

enum Followed {
    /// All documents have the entries of these fields, which the row names.
    To(ModelFields),
    /// One could not have them, as another one has a value that is to be unique.
    Duplicate,
}

/// Gives all documents the entries that the row says, until both agree.
async fn follow_the_row(server: &Server, collection: &str) -> Result<Followed, StoreError> {
    let mut fields = documents::indexed(server, None, collection).await?.unwrap_or_default();
    'again: loop {
        let by = key::by(collection, &fields);
        let found = server.collection(DOCUMENTS).find(others(collection, &by));
        let mut found = found.projection(doc! { "revision": 1, "body": 1 }).await?;
        let mut is_over = false;
        while !is_over {
            let (mut updates, mut bytes) = (Vec::new(), 0);
            while updates.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
                let Some(document) = found.try_next().await? else {
                    is_over = true;
                    break;
                };
                let (update, length) = update(collection, document, &fields, &by)?;
                updates.push(update);
                bytes += length;
            }
            let now = documents::indexed(server, None, collection).await?.unwrap_or_default();
            if now != fields {
                fields = now;
                continue 'again;
            }
            if !updates.is_empty() && !write(server, updates).await? {
                return Ok(Followed::Duplicate);
            }
        }
        // What was written just now may have been too late.
        let now = documents::indexed(server, None, collection).await?.unwrap_or_default();
        if now == fields {
            return Ok(Followed::To(fields));
        }
        fields = now;
    }
}

/// What gives a document its entries, and about how large it is.
fn update(
    collection: &str,
    mut found: Document,
    fields: &ModelFields,
    by: &str,
) -> Result<(Document, usize), StoreError> {
    let key = found.remove("_id").ok_or_else(|| unfit("a document without a key"))?;
    let revision = found.get_i64("revision").map_err(unfit)?;
    let made = entries::entries(found.get_binary_generic("body").map_err(unfit)?, fields)?;
    let (entries, unique) = key::entries(collection, &made);
    let bytes = entries.iter().chain(&unique).map(String::len).sum();
    let mut set = doc! { "entries": entries, "by": by };
    let change = if unique.is_empty() {
        doc! { "$set": set, "$unset": { "unique": "" } }
    } else {
        set.insert("unique", unique);
        doc! { "$set": set }
    };
    // Whoever has written it meanwhile has looked for themselves.
    Ok((doc! { "q": { "_id": key, "revision": revision }, "u": change }, bytes))
}

/// Whether all updates could be made; `false` where a value is not unique.
async fn write(server: &Server, updates: Vec<Document>) -> Result<bool, StoreError> {
    let command = doc! {
        "update": DOCUMENTS.as_str(), "updates": updates, "ordered": false, "writeConcern": { "w": "majority", "j": true },
    };
    let outcome = server.database.run_command(command).await?;
    let refused = outcome.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
    let is_duplicate = |error: &Bson| {
        error.as_document().is_some_and(|error| error.get_i32("code").is_ok_and(|code| code == DUPLICATE_KEY))
    };
    match refused.iter().find(|error| !is_duplicate(error)) {
        Some(other) => Err(StoreError::Unavailable(format!("entries can't be written: {other}").into())),
        None => Ok(refused.is_empty()),
    }
}

/// Why some document can't have the entries. Reads one document at a time, and keeps a part of a hash of each value that
/// is to be unique: of sixteen bytes, so that no two values share one.
async fn check(server: &Server, collection: &str, fields: &ModelFields) -> Result<(), StoreError> {
    let all = doc! { "_id": { "$gte": collection, "$lt": key::end_of(collection) } };
    let mut found = server.collection(DOCUMENTS).find(all).projection(doc! { "body": 1 }).await?;
    let mut taken: HashSet<[u8; 16]> = HashSet::new();
    while let Some(document) = found.try_next().await? {
        let made = entries::entries(document.get_binary_generic("body").map_err(unfit)?, fields)?;
        for entry in made.iter().filter(|entry| entry.unique) {
            let mut hash = Sha256::new_with_prefix(&entry.field);
            hash.update([0]);
            hash.update(&entry.value);
            let mut part = [0; 16];
            part.copy_from_slice(&hash.finalize()[..16]);
            if !taken.insert(part) {
                return Err(StoreError::NotUnique { field: entry.field.clone() });
            }
        }
    }
    Ok(())
}
