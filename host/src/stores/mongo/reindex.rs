//! Making the entries of a collection anew. All is checked before anything is written; where there are transactions, both
//! is one commit.

use std::collections::HashSet;

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{ClientSession, action::Action};

use super::{
    StoreError,
    documents::{self, indexed},
    failure::{is_duplicate, unfit},
    key,
    schema::{COLLECTIONS, DOCUMENTS},
    server::Server,
};
use crate::stores::{ModelFields, entries};

/// How many documents are updated by one command.
const AT_ONCE: usize = 500;

/// How often it is begun again because of writes in between.
const TRIES: usize = 20;

/// Whether the collection has exactly the entries of `fields`, which are in their normal form.
pub(super) async fn is_indexed(server: &Server, collection: &str, fields: &ModelFields) -> Result<bool, StoreError> {
    match indexed(server, None, collection).await? {
        // There has never been a document, and so there is no entry that could be wrong.
        None => Ok(true),
        Some(found) if found != *fields => Ok(false),
        Some(_) => {
            let by = key::by(collection, fields);
            let others = doc! { "$or": [
                { "by": { "$gte": collection, "$lt": &by } },
                { "by": { "$gt": &by, "$lt": key::end_of(collection) } },
            ] };
            let other = server.collection(DOCUMENTS).find_one(others).projection(doc! { "_id": 1 }).await?;
            Ok(other.is_none())
        }
    }
}

/// Makes all entries of a collection those of `fields`, which are in their normal form.
pub(super) async fn reindex(server: &Server, collection: &str, fields: &ModelFields) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        if is_indexed(server, collection, fields).await? {
            return Ok(());
        }
        let attempt = server.together(|server, session| {
            let (collection, fields) = (collection.to_owned(), fields.clone());
            Box::pin(async move { attempt(&server, session, &collection, &fields).await })
        });
        match attempt.await {
            // A document that came after the check has one of the values. The next check sees it.
            Err(problem) if is_duplicate(&problem) => {}
            outcome => outcome?,
        }
    }
    Err(StoreError::Unavailable("the collection is being written all the time".into()))
}

async fn attempt(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
    fields: &ModelFields,
) -> Result<(), StoreError> {
    let mut session = session;
    let updates = check(server, session.as_deref_mut(), collection, fields).await?;
    // From here on whoever writes gives their documents these entries, too.
    let wanted = doc! { "unique": &fields.unique, "index": &fields.index };
    let row = server.collection(COLLECTIONS).update_one(doc! { "_id": collection }, doc! { "$set": wanted });
    row.optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
    for some in updates.chunks(AT_ONCE) {
        let mut command = doc! { "update": DOCUMENTS.as_str(), "updates": some.to_vec() };
        if session.is_none() {
            command.insert("writeConcern", doc! { "w": "majority", "j": true });
        }
        let run = server.database.run_command(command);
        let outcome = run.optional(session.as_deref_mut(), |c, s| c.session(s)).await?;
        if let Ok(refused) = outcome.get_array("writeErrors")
            && !refused.is_empty()
        {
            return Err(StoreError::Unavailable(format!("entries can't be written: {refused:?}").into()));
        }
    }
    Ok(())
}

/// The updates that are needed, or why some document can't have the entries.
async fn check(
    server: &Server,
    session: Option<&mut ClientSession>,
    collection: &str,
    fields: &ModelFields,
) -> Result<Vec<Document>, StoreError> {
    let all = doc! { "_id": { "$gte": collection, "$lt": key::end_of(collection) } };
    let by = key::by(collection, fields);
    let (mut updates, mut taken) = (Vec::new(), HashSet::new());
    let mut add = |found: Document| -> Result<(), StoreError> {
        let key = found.get_str("_id").map_err(unfit)?.to_owned();
        let is_done = found.get_str("by").is_ok_and(|found| found == by);
        let document = documents::read(collection, found)?;
        let made = entries::entries(&document.body, fields)?;
        let (entries, unique) = key::entries(collection, &made);
        let with_names = made.iter().filter(|entry| entry.unique).zip(&unique);
        for (entry, name) in with_names {
            if !taken.insert(name.clone()) {
                return Err(StoreError::NotUnique { field: entry.field.clone() });
            }
        }
        if !is_done {
            let mut set = doc! { "entries": entries, "by": &by };
            let change = if unique.is_empty() {
                doc! { "$set": set, "$unset": { "unique": "" } }
            } else {
                set.insert("unique", unique);
                doc! { "$set": set }
            };
            // Whoever has written it meanwhile has looked for themselves.
            let revision = super::tenants::whole(document.revision);
            updates.push(doc! { "q": { "_id": key, "revision": revision }, "u": change });
        }
        Ok(())
    };
    let find = server.collection(DOCUMENTS).find(all);
    match session {
        None => {
            let mut found = find.await?;
            while let Some(document) = found.try_next().await? {
                add(document)?;
            }
        }
        Some(session) => {
            let mut found = find.session(&mut *session).await?;
            while let Some(document) = found.next(session).await.transpose()? {
                add(document)?;
            }
        }
    }
    Ok(updates)
}
