//! Everything as it is: read page by page, and written with the revisions that it had elsewhere.

use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};
use futures_util::TryStreamExt;

use super::{
    StoreError, definitions,
    deliveries::{self, Kept, TAKEN_BACK, new_numbers},
    documents::{self, Draft},
    events,
    failure::{is_duplicate, unfit},
    key, marks,
    schema::{COLLECTIONS, DEFINITIONS, DELIVERIES, DOCUMENTS},
    server::Server,
    tenants::{self, whole},
};
use crate::names::TenantId;
use crate::stores::{
    CollectionKey, Delivered, ModelFields, StoredDefinitions, StoredDocument, TenantDocument,
    entries::{entries_of_new, normal},
    moving::{HELD_UNTIL, Imported, MovedDelivery, PAGE_BYTES, Record, Stands, body_bytes, is_same},
};

pub(super) async fn collections(
    server: &Server,
    after: Option<&CollectionKey>,
    limit: usize,
) -> Result<Vec<(CollectionKey, ModelFields)>, StoreError> {
    let after = after.map(key::of_collection).unwrap_or_default();
    let found = server.collection(COLLECTIONS).find(doc! { "_id": { "$gt": after } }).sort(doc! { "_id": 1 });
    let found: Vec<Document> = found.limit(at_most(limit)).await?.try_collect().await?;
    let mut collections = Vec::with_capacity(found.len());
    for document in found {
        let id = document.get_str("_id").map_err(unfit)?;
        let at = key::to_collection(id).ok_or_else(|| unfit(format!("collection {id}")))?;
        let fields = documents::indexed(server, None, id).await?.unwrap_or_default();
        collections.push((at, fields));
    }
    Ok(collections)
}

pub(super) async fn page(
    server: &Server,
    at: &CollectionKey,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StoredDocument>, StoreError> {
    let collection = key::of_collection(at);
    let from = format!("{collection}{}", after.unwrap_or_default());
    let filter = doc! { "_id": { "$gt": from, "$lt": key::end_of(&collection) } };
    let found = server.collection(DOCUMENTS).find(filter).sort(doc! { "_id": 1 }).limit(at_most(limit));
    let mut found = found.projection(doc! { "revision": 1, "body": 1 }).await?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes <= PAGE_BYTES
        && let Some(document) = found.try_next().await?
    {
        let document = documents::read(&collection, document)?;
        bytes += document.body.len();
        page.push(document);
    }
    Ok(page)
}

pub(super) async fn waiting(
    server: &Server,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, MovedDelivery)>, StoreError> {
    let filter = doc! { "_id": { "$gt": after }, "again": { "$ne": TAKEN_BACK } };
    let mut found = server.collection(DELIVERIES).find(filter).sort(doc! { "_id": 1 }).limit(at_most(limit)).await?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes <= PAGE_BYTES
        && let Some(found) = found.try_next().await?
    {
        let Kept { id, tenant, module, what, failures } = deliveries::read(&found)?;
        bytes += body_bytes(&what);
        let again = found.get_i64("again").ok();
        let stands = match found.get_i64("diedAt") {
            Ok(at) => Stands::Dead { at, error: found.get_str("error").unwrap_or_default().to_owned() },
            Err(_) => Stands::Waiting(again.or_else(|| found.get_i64("due").ok())),
        };
        let failures = if again.is_some() { 0 } else { failures };
        page.push((id, MovedDelivery { tenant, module, what, failures, stands }));
    }
    Ok(page)
}

pub(super) async fn import(server: &Server, record: Record) -> Result<Imported, StoreError> {
    match record {
        Record::Definitions(found) => define(server, &found).await,
        Record::Mark(mark) => marks::set(server, &mark).await.map(|()| Imported::Written),
        Record::Collection(at, fields) => collection(server, &at, &normal(&fields)).await,
        Record::Document(at, document) => put(server, &at, &document).await,
        Record::Delivery(delivery) => deliver(server, &delivery).await,
        Record::Tenant(document) => tenant(server, &document).await,
    }
}

async fn define(server: &Server, new: &StoredDefinitions) -> Result<Imported, StoreError> {
    if let Some(found) = definitions::definitions(server).await? {
        let is_same = found.text == new.text;
        return if is_same { Ok(Imported::There) } else { Err(StoreError::Exists("another set of flags".to_owned())) };
    }
    let first = definitions::put(server, Some(&new.text), 0).await?;
    let at = new.updated_at.map_or_else(DateTime::now, |at| DateTime::from_millis(at.as_millisecond()));
    let as_it_was = doc! { "$set": { "revision": whole(new.revision.max(first)), "updatedAt": at } };
    server.collection(DEFINITIONS).update_one(doc! { "revision": whole(first) }, as_it_was).await?;
    Ok(Imported::Written)
}

async fn collection(server: &Server, at: &CollectionKey, fields: &ModelFields) -> Result<Imported, StoreError> {
    let id = key::of_collection(at);
    match documents::indexed(server, None, &id).await? {
        Some(found) if found == *fields => Ok(Imported::There),
        Some(_) => Err(StoreError::Exists(format!("collection {}", at.model))),
        None => {
            let new = doc! { "_id": id, "unique": &fields.unique, "index": &fields.index };
            server.collection(COLLECTIONS).insert_one(new).await?;
            Ok(Imported::Written)
        }
    }
}

async fn put(server: &Server, at: &CollectionKey, new: &StoredDocument) -> Result<Imported, StoreError> {
    let fields = documents::indexed(server, None, &key::of_collection(at)).await?.unwrap_or_default();
    entries_of_new(&new.body, &fields)?;
    let draft = Draft::new(at, &fields, &new.id, new.body.clone());
    match documents::insert_as(server, &draft, new.revision).await {
        Err(StoreError::Exists(_)) if documents::get(server, at, &new.id).await?.as_ref() == Some(new) => {
            Ok(Imported::There)
        }
        Err(StoreError::Exists(id)) => Err(StoreError::Exists(format!("document `{id}` of {}", at.model))),
        outcome => outcome.map(|_| Imported::Written),
    }
}

async fn deliver(server: &Server, new: &MovedDelivery) -> Result<Imported, StoreError> {
    let (tenant, module) = (new.tenant.as_str(), new.module.as_str());
    let mut written = doc! { "tenant": tenant, "module": module };
    match &new.what {
        Delivered::Event { publisher, event_id, .. } => {
            written.extend(doc! { "publisher": publisher.as_str(), "eventId": event_id });
        }
        Delivered::Wake { key } => drop(written.insert("key", key)),
    }
    let mut same = written.clone();
    match &new.stands {
        Stands::Dead { at, .. } => drop(same.insert("diedAt", *at)),
        Stands::Waiting(_) => drop(same.insert("diedAt", doc! { "$exists": false })),
    }
    let collection = server.collection(DELIVERIES);
    if collection.find_one(same).await?.is_some() {
        return Ok(Imported::There);
    }
    written.extend(doc! {
        "_id": new_numbers(server, 1).await?, "failures": i64::from(new.failures), "fence": 0_i64,
    });
    let mut queue = None;
    if let Delivered::Event { publisher, name, body, published_at, .. } = &new.what {
        let body = Binary { subtype: BinarySubtype::Generic, bytes: body.clone() };
        written.extend(doc! { "name": name, "body": body, "publishedAt": *published_at });
        queue = Some((events::queue(tenant, module, publisher.as_str()), events::waits(tenant, publisher.as_str())));
    }
    match (&new.stands, &new.what, &queue) {
        (Stands::Dead { at, error }, ..) => written.extend(doc! { "diedAt": *at, "error": error }),
        (Stands::Waiting(_), _, Some((queue, waits))) => {
            written.extend(doc! { "queue": queue, "waits": waits, "claimedUntil": HELD_UNTIL });
        }
        (Stands::Waiting(due), Delivered::Wake { key }, None) => written.extend(doc! {
            "wake": format!("{tenant}/{module}/{key}"), "due": due.unwrap_or_default(), "claimedUntil": HELD_UNTIL,
        }),
        (Stands::Waiting(_), Delivered::Event { .. }, None) => {}
    }
    match collection.insert_one(written).await.map_err(StoreError::from) {
        Err(problem) if is_duplicate(&problem) => return Ok(Imported::There),
        outcome => outcome.map(drop)?,
    }
    if let (Stands::Waiting(_), Some((queue, _))) = (&new.stands, queue) {
        events::promote(server, &queue).await?;
    }
    Ok(Imported::Written)
}

/// See [`Moving::prepare`](crate::stores::Moving::prepare).
pub(super) async fn prepare(server: &Server, id: &TenantId) -> Result<bool, StoreError> {
    if tenants::is_there(server, None, id).await? {
        tenants::release(server, None, id).await?;
        return Ok(true);
    }
    tenants::clear(server, id).await?;
    Ok(false)
}

async fn tenant(server: &Server, new: &TenantDocument) -> Result<Imported, StoreError> {
    let Some(found) = tenants::tenant(server, &new.id).await? else {
        tenants::create_as(server, new.clone(), new.revision).await?;
        return Ok(Imported::Written);
    };
    // What is held under somebody else's tenant is not let go.
    if !is_same(&found, new) {
        return Err(StoreError::Exists("the tenant".to_owned()));
    }
    // Where it was created and the import was cut off before this.
    tenants::release(server, None, &new.id).await?;
    Ok(Imported::There)
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
