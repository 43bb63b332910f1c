//! Tenants. A deleted one leaves its document behind as a tombstone, without anything but its revision.
//!
//! Other programs may write these documents, too, and know nothing of revisions. Each write of Tenon's leaves a stamp, a
//! hash over the document, so any change by somebody else is seen: the stamp is wrong. Such a document is given the next
//! revision before anybody gets to see it. Whatever is written, Tenon compares the whole document with what it has
//! read: of two hosts one wins, and nothing that a foreign program wrote in between is lost.

use std::{collections::HashMap, sync::Arc};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{ClientSession, action::Action};

use super::{
    StoreError,
    failure::is_duplicate,
    json::{OURS, from_tenant, stamp, to_json},
    key,
    schema::{COLLECTIONS, DELIVERIES, DOCUMENTS, MARKS, Name, REVISIONS, TENANTS},
    server::Server,
};
use crate::{
    names::TenantId,
    stores::{TenantData, TenantDocument, TenantPage, moving::HELD_UNTIL},
};

/// How often a write is tried again whose document somebody else has just changed. Each time somebody got on.
const TRIES: usize = 50;

/// How many documents of each collection are removed by one commit. A guess.
const AT_ONCE: i64 = 500;

/// One tenant.
pub(super) async fn tenant(server: &Server, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
    Ok(current(server, id).await?.and_then(|current| current.tenant))
}

/// The revisions of tenants, without a look at the rest of their documents: what a foreign program wrote is given its
/// revision when the change is heard of, or the tenant is read.
pub(super) async fn revisions(server: &Server, ids: &[TenantId]) -> Result<Vec<Option<u64>>, StoreError> {
    let wanted: Vec<&str> = ids.iter().map(TenantId::as_str).collect();
    let filter = doc! { "tenantId": { "$in": wanted }, DELETED: { "$ne": true } };
    let fields = doc! { "_id": 0, "tenantId": 1, "revision": 1 };
    let mut found = server.collection(TENANTS).find(filter).projection(fields).await?;
    let mut revisions = HashMap::new();
    while let Some(document) = found.try_next().await? {
        let revision = document.get("revision").and_then(whole_number).unwrap_or(0);
        revisions.insert(document.get_str("tenantId").unwrap_or_default().to_owned(), revision);
    }
    Ok(ids.iter().map(|id| revisions.get(id.as_str()).copied()).collect())
}

/// A number that has no fraction, whatever type another program gave it.
fn whole_number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if number.fract() == 0.0 && *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}

/// A page of tenants.
pub(super) async fn tenants(server: &Server, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
    // Only texts are above a text; no id is empty.
    let filter = doc! { "tenantId": { "$gt": after.map_or("", TenantId::as_str) }, DELETED: { "$ne": true } };
    // One more than asked for, which says that there are more; and not a batch of hundreds for a page of ten.
    let batch = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    let all = server.collection(TENANTS).find(filter).sort(doc! { "tenantId": 1 });
    let mut found = all.batch_size(batch).await?;
    let mut page = TenantPage::default();
    while let Some(document) = found.try_next().await? {
        let tenant = match TenantDocument::from_json(to_json(&document)) {
            Ok(_) if page.tenants.len() == limit => {
                page.more = true;
                break;
            }
            Ok(tenant) if is_ours(&document) => Some(Arc::new(tenant)),
            Ok(tenant) => match self::tenant(server, &tenant.id).await {
                Err(StoreError::Tenant(problem)) => {
                    page.unreadable.push(problem);
                    None
                }
                adopted => adopted?,
            },
            Err(problem) => {
                page.unreadable.push(problem);
                None
            }
        };
        page.tenants.extend(tenant);
    }
    Ok(page)
}

/// A tenant's document as it is now, by Tenon's own hand.
pub(super) struct Current {
    document: Document,
    pub(super) revision: u64,
    /// Missing where it is a tombstone.
    pub(super) tenant: Option<Arc<TenantDocument>>,
}

const DELETED: &str = "tenon.deleted";

/// Reads a tenant's document; one that a foreign program wrote is given the next revision first.
pub(super) async fn current(server: &Server, id: &TenantId) -> Result<Option<Current>, StoreError> {
    let mut tries = 0;
    loop {
        let found = server.collection(TENANTS).find_one(doc! { "tenantId": id.as_str() }).await?;
        let Some(document) = found else { return Ok(None) };
        let mut tenant = TenantDocument::from_json(to_json(&document))?;
        if is_ours(&document) {
            let revision = tenant.revision;
            let is_deleted = is_deleted(&document);
            return Ok(Some(Current { document, revision, tenant: (!is_deleted).then(|| Arc::new(tenant)) }));
        }
        // Whatever revision it says it has: it may have been put back from a backup, or written without one.
        tenant.revision = tenant.revision.max(highest_revision(server, id).await?) + 1;
        // Field by field, so that what it holds besides keeps its types.
        let mut adopted = document.clone();
        adopted.remove(OURS);
        adopted.insert("revision", whole(tenant.revision));
        let update = doc! { "$set": { "revision": whole(tenant.revision), OURS: { "stamp": stamp(&adopted) } } };
        let changed = server.collection(TENANTS).update_one(exactly(&document), update).await?.matched_count;
        if changed > 0 {
            remember(server, id, tenant.revision).await?;
            tracing::info!(tenant = %id, revision = tenant.revision, "a foreign program's write was given a revision");
        }
        tries += 1;
        if tries == TRIES {
            return Err(contended(id));
        }
    }
}

/// What becomes of what lies under the id of a new tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It goes: a handler that ended after a deletion has left it, or an import that was cut off.
    Cleared,
    /// It is the tenant's, and what is to be delivered is held back no longer.
    Released,
}

/// Stores a new tenant, over the tombstone of an older one where there is one.
pub(super) async fn create(server: &Server, tenant: TenantDocument) -> Result<Arc<TenantDocument>, StoreError> {
    create_with(server, tenant, 1, Left::Cleared).await
}

/// Stores a tenant that was read elsewhere, whose documents are there already, with at least this revision.
pub(super) async fn create_as(
    server: &Server,
    tenant: TenantDocument,
    least: u64,
) -> Result<Arc<TenantDocument>, StoreError> {
    create_with(server, tenant, least, Left::Released).await
}

async fn create_with(
    server: &Server,
    mut tenant: TenantDocument,
    least: u64,
    left: Left,
) -> Result<Arc<TenantDocument>, StoreError> {
    let id = tenant.id.clone();
    for _ in 0..TRIES {
        let found = current(server, &id).await?;
        if found.as_ref().is_some_and(|found| found.tenant.is_some()) {
            return Err(StoreError::Exists(id.to_string()));
        }
        let last = found.as_ref().map_or(0, |found| found.revision).max(highest_revision(server, &id).await?);
        tenant.revision = least.max(last + 1);
        let (before, document) = (found.map(|found| found.document), from_tenant(&tenant)?);
        if left == Left::Cleared {
            clear(server, &id).await?;
        }
        let birth = server.together(|server, session| {
            let (before, document, id) = (before.clone(), document.clone(), id.clone());
            Box::pin(async move { bear(&server, session, before, document, &id, left).await })
        });
        let is_written = match birth.await {
            Err(problem) if is_duplicate(&problem) => false,
            outcome => outcome?,
        };
        if is_written {
            remember(server, &id, tenant.revision).await?;
            return Ok(Arc::new(TenantDocument::from_json(to_json(&document))?));
        }
    }
    Err(contended(&id))
}

/// Whether a new tenant's document was written, over nothing or the tombstone that was read before; and what was left
/// under its id is gone, or released.
async fn bear(
    server: &Server,
    session: Option<&mut ClientSession>,
    before: Option<Document>,
    document: Document,
    id: &TenantId,
    left: Left,
) -> Result<bool, StoreError> {
    let (mut session, tenants) = (session, server.collection(TENANTS));
    match before {
        Some(before) => {
            let write = tenants.replace_one(exactly(&before), document);
            if write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?.matched_count == 0 {
                return Ok(false);
            }
        }
        None => {
            let write = tenants.insert_one(document);
            write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
        }
    }
    match left {
        Left::Released => release(server, session, id).await?,
        // Where the tenant is visible already, what is there may be its own.
        Left::Cleared if session.is_none() => {}
        Left::Cleared => {
            for (collection, filter) in all_of(id) {
                let write = server.collection(collection).delete_many(filter);
                write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
            }
        }
    }
    Ok(true)
}

/// Lets be delivered what an import has held back.
pub(super) async fn release(
    server: &Server,
    session: Option<&mut ClientSession>,
    id: &TenantId,
) -> Result<(), StoreError> {
    let held = doc! { "tenant": id.as_str(), "claimedUntil": HELD_UNTIL };
    let write = server.collection(DELIVERIES).update_many(held, doc! { "$unset": { "claimedUntil": "" } });
    write.optional(session, |w, s| w.session(s)).await?;
    Ok(())
}

/// Removes what lies under the id of a tenant that is not there, so many at a time that no commit is too large. Nothing
/// happens where it is there.
pub(super) async fn clear(server: &Server, id: &TenantId) -> Result<(), StoreError> {
    while lies_under(server, id).await? {
        let some = server.together(|server, session| {
            let id = id.clone();
            Box::pin(async move { clear_some(&server, session, &id).await })
        });
        if !some.await? {
            break;
        }
    }
    Ok(())
}

async fn lies_under(server: &Server, id: &TenantId) -> Result<bool, StoreError> {
    for (collection, filter) in all_of(id) {
        if server.collection(collection).find_one(filter).projection(doc! { "_id": 1 }).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the tenant is not there, as it was in the same moment in which what is removed was there.
async fn clear_some(server: &Server, session: Option<&mut ClientSession>, id: &TenantId) -> Result<bool, StoreError> {
    let mut session = session;
    if is_there(server, session.as_deref_mut(), id).await? {
        return Ok(false);
    }
    for (collection, filter) in all_of(id) {
        let some = server.collection(collection).find(filter).projection(doc! { "_id": 1 }).limit(AT_ONCE);
        let mut ids = Vec::new();
        match session.as_deref_mut() {
            None => {
                let mut some = some.await?;
                while let Some(mut found) = some.try_next().await? {
                    ids.extend(found.remove("_id"));
                }
            }
            Some(session) => {
                let mut some = some.session(&mut *session).await?;
                while let Some(mut found) = some.next(&mut *session).await.transpose()? {
                    ids.extend(found.remove("_id"));
                }
            }
        }
        if !ids.is_empty() {
            let write = server.collection(collection).delete_many(doc! { "_id": { "$in": ids } });
            write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
        }
    }
    Ok(true)
}

/// Whether there is a tenant, be it one whose document can't be understood.
pub(super) async fn is_there(
    server: &Server,
    session: Option<&mut ClientSession>,
    id: &TenantId,
) -> Result<bool, StoreError> {
    let found = server.collection(TENANTS).find_one(doc! { "tenantId": id.as_str() });
    let found = found.optional(session, |f, s| f.session(s)).await?;
    Ok(found.is_some_and(|document| !is_ours(&document) || !is_deleted(&document)))
}

/// Replaces a tenant of the document's revision.
pub(super) async fn replace(server: &Server, mut tenant: TenantDocument) -> Result<Arc<TenantDocument>, StoreError> {
    let (id, expected) = (tenant.id.clone(), tenant.revision);
    for _ in 0..TRIES {
        let found = expect(server, &id, expected).await?;
        tenant.revision = expected + 1;
        let mut document = from_tenant(&tenant)?;
        if replace_exactly(server, &found.document, &mut document).await? {
            remember(server, &id, tenant.revision).await?;
            return Ok(Arc::new(TenantDocument::from_json(to_json(&document))?));
        }
    }
    Err(contended(&id))
}

/// The tenant as it is now, which has this revision.
pub(super) async fn expect(server: &Server, id: &TenantId, expected: u64) -> Result<Current, StoreError> {
    match current(server, id).await? {
        Some(found) if found.tenant.is_some() && found.revision == expected => Ok(found),
        Some(found) if found.tenant.is_some() => Err(StoreError::Revision { expected, found: found.revision }),
        _ => Err(StoreError::Missing(id.to_string())),
    }
}

/// Deletes a tenant, with its documents or not at all where it has some. It is gone when its tombstone is there; what it
/// has left goes after that, as much of it may be more than a commit can hold.
pub(super) async fn delete(server: &Server, id: &TenantId, revision: u64, data: TenantData) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let found = expect(server, id, revision).await?;
        let burial = server.together(|server, session| {
            let (document, id) = (found.document.clone(), id.clone());
            Box::pin(async move { bury(&server, session, &document, &id, revision + 1, data).await })
        });
        if burial.await? {
            remember(server, id, revision + 1).await?;
            if let Err(problem) = clear(server, id).await {
                let error = &problem as &dyn std::error::Error;
                tracing::error!(tenant = %id, error, "what a deleted tenant has left stays until one of its id is made");
            }
            return Ok(());
        }
    }
    Err(contended(id))
}

/// Whether the document was still as it had been read, and is a tombstone now.
async fn bury(
    server: &Server,
    session: Option<&mut ClientSession>,
    document: &Document,
    id: &TenantId,
    revision: u64,
    data: TenantData,
) -> Result<bool, StoreError> {
    let mut session = session;
    if data == TenantData::Refuse {
        let count = server.collection(DOCUMENTS).count_documents(of_tenant(id));
        let documents = count.optional(session.as_deref_mut(), |c, s| c.session(s)).await?;
        if documents > 0 {
            return Err(StoreError::HasData { documents });
        }
    }
    let mut tombstone = doc! { "tenantId": id.as_str(), "revision": whole(revision) };
    let stamp = stamp(&tombstone);
    tombstone.insert(OURS, doc! { "stamp": stamp, "deleted": true });
    let write = server.collection(TENANTS).replace_one(exactly(document), tombstone);
    Ok(write.optional(session, |w, s| w.session(s)).await?.matched_count > 0)
}

/// Notes a revision that a tenant has had. After the write: a host that is killed in between leaves the one before,
/// and a document that then comes back without a revision gets this one again, which every host takes for newer.
pub(super) async fn remember(server: &Server, id: &TenantId, revision: u64) -> Result<(), StoreError> {
    let update = doc! { "$max": { "revision": whole(revision) } };
    let mut tries = 0;
    loop {
        let write = server.collection(REVISIONS).update_one(doc! { "_id": id.as_str() }, update.clone()).upsert(true);
        match write.await.map_err(StoreError::from) {
            // Two wanted to be the first.
            Err(problem) if is_duplicate(&problem) && tries < TRIES => tries += 1,
            outcome => return outcome.map(drop),
        }
    }
}

/// The highest revision that a tenant has had.
pub(super) async fn highest_revision(server: &Server, id: &TenantId) -> Result<u64, StoreError> {
    let found = server.collection(REVISIONS).find_one(doc! { "_id": id.as_str() }).await?;
    Ok(found.and_then(|found| found.get_i64("revision").ok()).map_or(0, from_whole))
}

/// Selects what a tenant has in its modules' collections.
fn of_tenant(id: &TenantId) -> Document {
    let all = key::of_tenant(id);
    doc! { "_id": { "$gte": all.as_str(), "$lt": key::end_of(&all) } }
}

/// Selects all that a tenant has besides its document.
fn all_of(id: &TenantId) -> [(Name, Document); 4] {
    let by_field = doc! { "tenant": id.as_str() };
    [(DOCUMENTS, of_tenant(id)), (COLLECTIONS, of_tenant(id)), (DELIVERIES, by_field.clone()), (MARKS, by_field)]
}

/// Whether a document that is Tenon's is a tombstone.
fn is_deleted(document: &Document) -> bool {
    document.get_document(OURS).is_ok_and(|ours| ours.get_bool("deleted").unwrap_or(false))
}

/// Whether the last write was Tenon's.
pub(super) fn is_ours(document: &Document) -> bool {
    let found = document.get_document(OURS).ok().and_then(|ours| ours.get_str("stamp").ok());
    found.is_some_and(|found| found == stamp(document))
}

/// Selects a document that is as it was read, to the last field.
fn exactly(document: &Document) -> Document {
    let id = document.get("_id").cloned().unwrap_or(Bson::Null);
    doc! { "_id": id, "$expr": { "$eq": ["$$ROOT", { "$literal": document.clone() }] } }
}

async fn replace_exactly(server: &Server, old: &Document, new: &mut Document) -> Result<bool, StoreError> {
    Ok(server.collection(TENANTS).replace_one(exactly(old), &*new).await?.matched_count > 0)
}

fn contended(id: &TenantId) -> StoreError {
    StoreError::Unavailable(format!("tenant `{id}` is being written by others all the time").into())
}

/// BSON's integers have a sign. No revision grows beyond them, so one that doesn't fit is that of nothing.
pub(super) fn whole(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(-1)
}

/// See [`whole`].
pub(super) fn from_whole(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}
