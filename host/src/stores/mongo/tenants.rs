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
    schema::{COLLECTIONS, DELIVERIES, DOCUMENTS, MARKS, REVISIONS, TENANTS},
    server::Server,
};
use crate::{
    names::TenantId,
    stores::{TenantData, TenantDocument, TenantPage},
};

/// How often a write is tried again whose document somebody else has just changed. Each time somebody got on.
const TRIES: usize = 50;

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
    let mut found = server.collection(TENANTS).find(filter).sort(doc! { "tenantId": 1 }).await?;
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
            let is_deleted = document.get_document(OURS).is_ok_and(|ours| ours.get_bool("deleted").unwrap_or(false));
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

/// Stores a new tenant, over the tombstone of an older one where there is one.
pub(super) async fn create(server: &Server, tenant: TenantDocument) -> Result<Arc<TenantDocument>, StoreError> {
    create_as(server, tenant, 1).await
}

/// As [`create`], with at least this revision.
pub(super) async fn create_as(
    server: &Server,
    mut tenant: TenantDocument,
    least: u64,
) -> Result<Arc<TenantDocument>, StoreError> {
    let id = tenant.id.clone();
    for _ in 0..TRIES {
        let found = current(server, &id).await?;
        if found.as_ref().is_some_and(|found| found.tenant.is_some()) {
            return Err(StoreError::Exists(id.to_string()));
        }
        let last = found.as_ref().map_or(0, |found| found.revision).max(highest_revision(server, &id).await?);
        tenant.revision = least.max(last + 1);
        let mut document = from_tenant(&tenant)?;
        let is_written = match found {
            Some(found) => replace_exactly(server, &found.document, &mut document).await?,
            None => match server.collection(TENANTS).insert_one(&document).await.map_err(StoreError::from) {
                Err(problem) if is_duplicate(&problem) => false,
                outcome => outcome.map(|_| true)?,
            },
        };
        if is_written {
            remember(server, &id, tenant.revision).await?;
            return Ok(Arc::new(TenantDocument::from_json(to_json(&document))?));
        }
    }
    Err(contended(&id))
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

/// Deletes a tenant, with its documents or not at all where it has some.
pub(super) async fn delete(server: &Server, id: &TenantId, revision: u64, data: TenantData) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let found = expect(server, id, revision).await?;
        let burial = server.together(|server, session| {
            let (document, id) = (found.document.clone(), id.clone());
            Box::pin(async move { bury(&server, session, &document, &id, revision + 1, data).await })
        });
        if burial.await? {
            return remember(server, id, revision + 1).await;
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
    let all = of_tenant(id);
    if data == TenantData::Refuse {
        let count = server.collection(DOCUMENTS).count_documents(all.clone());
        let documents = count.optional(session.as_deref_mut(), |c, s| c.session(s)).await?;
        if documents > 0 {
            return Err(StoreError::HasData { documents });
        }
    }
    // What is cut off after this is taken up by whoever asks for the deletion again.
    if !server.has_transactions && data == TenantData::Purge {
        server.collection(DOCUMENTS).delete_many(all.clone()).await?;
    }
    let mut tombstone = doc! { "tenantId": id.as_str(), "revision": whole(revision) };
    let stamp = stamp(&tombstone);
    tombstone.insert(OURS, doc! { "stamp": stamp, "deleted": true });
    let write = server.collection(TENANTS).replace_one(exactly(document), tombstone);
    if write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?.matched_count == 0 {
        return Ok(false);
    }
    let by_field = doc! { "tenant": id.as_str() };
    for (collection, filter) in
        [(DOCUMENTS, all.clone()), (COLLECTIONS, all), (DELIVERIES, by_field.clone()), (MARKS, by_field)]
    {
        let write = server.collection(collection).delete_many(filter);
        write.optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
    }
    Ok(true)
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
