//! The contract, against a real server. Each test has a database of its own, which goes when it ends.

mod indexes;
mod leftovers;
mod reindexing;

use std::{sync::Arc, time::Duration};

use bson::{DateTime, Document, doc, oid::ObjectId};
use mongodb::Client;

use super::*;
use crate::stores::{
    ChangeListener, CollectionKey, Deliveries, FlagSets, Mark, MarkKind, Marks, ModelFields, NewEvent, Store,
    StoreChange, TenantData, TenantStatus, contract,
};

const VARIABLE: &str = "TEST_MONGODB_URI";

/// A database of its own on the server that the tests are to use.
struct Place {
    uri: String,
    name: String,
}

impl Place {
    /// `None`, and says so, where there is no server.
    fn new(test: &str) -> Option<Self> {
        let Ok(server) = std::env::var(VARIABLE) else {
            println!("SKIPPED: {test}: {VARIABLE} names no server; `cargo xtask test` starts one");
            return None;
        };
        let name = format!("tenon-test-{}", uuid::Uuid::now_v7().simple());
        let (base, options) = server.split_once('?').map_or((server.as_str(), None), |(base, rest)| (base, Some(rest)));
        let authority = base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let uri = format!("{authority}/{name}{}", options.map(|rest| format!("?{rest}")).unwrap_or_default());
        Some(Self { uri, name })
    }

    /// Patient: the machine may be busy, and these tests are about other things.
    fn store(&self) -> MongoStore {
        let patient = Duration::from_secs(120);
        let often = Duration::from_millis(20);
        let settings = MongoSettings { answer_within: patient, carry_out_within: patient, look_every: often };
        MongoStore::open(&self.uri, settings).unwrap()
    }

    /// As another program would come to the tenants.
    async fn foreign(&self, collection: &str) -> mongodb::Collection<Document> {
        Client::with_uri_str(&self.uri).await.unwrap().database(&self.name).collection(collection)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (uri, name) = (self.uri.clone(), self.name.clone());
        // Inside the test's runtime one can't block on another.
        let drop_it = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { Client::with_uri_str(&uri).await.unwrap().database(&name).drop().await.unwrap() });
        };
        thread::spawn(drop_it).join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_contract() {
    if Place::new("the contract of stores, for MongoDB").is_none() {
        return;
    }
    contract::all(async || {
        let place = Place::new("").unwrap();
        let store: Arc<dyn Store> = Arc::new(place.store());
        (store, place)
    })
    .await;
}

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

/// As the platform's own program would write it.
fn seed() -> Document {
    doc! {
        "_id": ObjectId::new(), "tenantId": "acme", "name": "Acme", "status": "active", "owner": ObjectId::new(),
        "enabledModules": [{ "moduleId": "tasks", "enabledAt": DateTime::now(), "enabledBy": "admin" }],
        "featureFlags": { "theme": "dark", "limit": 3 }, "settings": {}, "plan": { "seats": 3, "since": DateTime::now() },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_database_works_and_keeps_what_it_has() {
    let Some(place) = Place::new("an existing database of tenants") else { return };
    let (foreign, before) = (place.foreign("tenants").await, seed());
    foreign.insert_one(&before).await.unwrap();
    foreign.insert_one(doc! { "note": "no tenant" }).await.unwrap();
    foreign.insert_one(doc! { "note": "nor this" }).await.unwrap();
    foreign.insert_one(doc! { "tenantId": "odd", "status": 7 }).await.unwrap();
    let store = place.store();
    let page = store.tenants(None, 10).await.unwrap();
    assert_eq!((page.tenants.len(), page.unreadable.len()), (1, 1));
    let tenant = Arc::clone(&page.tenants[0]);
    assert_eq!((tenant.revision, tenant.enabled_modules[0].version.to_string().as_str()), (1, "*"));
    assert_eq!(store.tenant(&tenant.id).await.unwrap(), Some(Arc::clone(&tenant)));
    let changed = TenantDocument { status: TenantStatus::Suspended, ..TenantDocument::clone(&tenant) };
    assert_eq!(store.replace_tenant(changed).await.unwrap().revision, 2);
    let after = foreign.find_one(doc! { "tenantId": "acme" }).await.unwrap().unwrap();
    for field in ["_id", "owner", "plan", "name"] {
        let value = |document: &Document| document.get(field).cloned().unwrap().into_relaxed_extjson();
        assert_eq!(value(&after), value(&before), "{field}");
    }
    assert_eq!(after.get("owner"), before.get("owner"), "its type is kept");
    let enabled = |document: &Document| {
        document.get_array("enabledModules").unwrap()[0].as_document().unwrap().get_datetime("enabledAt").cloned()
    };
    assert_eq!(enabled(&after).unwrap(), enabled(&before).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_write_is_one_step_of_the_revision_however_many_see_it() {
    let Some(place) = Place::new("foreign writes to tenants") else { return };
    let foreign = place.foreign("tenants").await;
    let stores: Vec<Arc<MongoStore>> = (0..3).map(|_| Arc::new(place.store())).collect();
    let created = stores[0].create_tenant(contract::tenant("acme")).await.unwrap();
    let mut last = created.revision;
    let one = || doc! { "tenantId": "acme" };
    for round in 0..4 {
        match round {
            0 => drop(foreign.update_one(one(), doc! { "$set": { "name": "Foreign" } }).await.unwrap()),
            1 => drop(foreign.update_one(one(), doc! { "$unset": { "revision": "" } }).await.unwrap()),
            2 => drop(foreign.update_one(one(), doc! { "$set": { "revision": 1, "note": true } }).await.unwrap()),
            // Revision and stamp are gone.
            _ => drop(foreign.replace_one(one(), seed_without_id()).await.unwrap()),
        }
        let stale = TenantDocument { revision: last, ..TenantDocument::clone(&created) };
        let readers = (0..12).map(|number| {
            let (store, stale) = (Arc::clone(&stores[number % 3]), stale.clone());
            tokio::spawn(async move {
                if number == 5 {
                    // It was read before the foreign write, which it must not undo.
                    let refused = store.replace_tenant(stale).await;
                    assert!(matches!(refused, Err(StoreError::Revision { .. })), "{refused:?}");
                }
                store.tenant(&id("acme")).await.unwrap().unwrap().revision
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap(), last + 1, "round {round}");
        }
        last += 1;
    }
    let now = stores[1].tenant(&id("acme")).await.unwrap().unwrap();
    assert_eq!((now.name.as_str(), now.revision), ("Acme", last));
    assert_eq!(stores[1].adopt(&id("acme")).await.unwrap(), Some(now), "nothing is left to do");
}

fn seed_without_id() -> Document {
    let mut seed = seed();
    seed.remove("_id");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_keeps_its_document_and_its_revision() {
    let Some(place) = Place::new("tombstones of tenants") else { return };
    let (foreign, store) = (place.foreign("tenants").await, place.store());
    foreign.insert_one(seed()).await.unwrap();
    let first = foreign.find_one(doc! {}).await.unwrap().unwrap();
    let revision = store.tenant(&id("acme")).await.unwrap().unwrap().revision;
    store.delete_tenant(&id("acme"), revision, TenantData::Refuse).await.unwrap();
    let tombstone = foreign.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!((tombstone.get("_id"), tombstone.get_i64("revision").ok()), (first.get("_id"), Some(2)));
    assert!(!tombstone.contains_key("name") && !tombstone.contains_key("plan"));
    assert!(store.tenants(None, 10).await.unwrap().tenants.is_empty());
    // Whether somebody removes the tombstone, or writes a tenant over it, revisions go on.
    foreign.delete_many(doc! {}).await.unwrap();
    assert_eq!(store.tenant(&id("acme")).await.unwrap(), None);
    assert_eq!(store.create_tenant(contract::tenant("acme")).await.unwrap().revision, 3);
    store.delete_tenant(&id("acme"), 3, TenantData::Refuse).await.unwrap();
    foreign.replace_one(doc! {}, seed_without_id()).await.unwrap();
    assert_eq!(store.tenant(&id("acme")).await.unwrap().unwrap().revision, 5);
}

/// What a listener is told, and no other: waits for it.
async fn told(changes: &mut mpsc::UnboundedReceiver<StoreChange>, wanted: StoreChange) {
    let mut others = Vec::new();
    let wait = async {
        while let Some(change) = changes.recv().await {
            if change == wanted {
                return;
            }
            others.push(change);
        }
    };
    let outcome = timeout(Duration::from_secs(30), wait).await;
    assert!(outcome.is_ok(), "{wanted:?} was not told of, but {others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_others_are_told_of_by_a_stream_and_by_looking() {
    for by_stream in [true, false] {
        let Some(place) = Place::new("changes by others") else { return };
        let (store, other, foreign) = (place.store(), place.store(), place.foreign("tenants").await);
        let (tell, mut changes) = mpsc::unbounded_channel();
        let listener: ChangeListener = Arc::new(move |change| drop(tell.send(change)));
        let watching = other.watch_by(listener, by_stream).unwrap();
        told(&mut changes, StoreChange::Everything).await;
        let acme = |revision| StoreChange::Tenant { id: id("acme"), revision };
        store.create_tenant(contract::tenant("acme")).await.unwrap();
        told(&mut changes, acme(1)).await;
        let one = || doc! { "tenantId": "acme" };
        foreign.update_one(one(), doc! { "$set": { "name": "Foreign" } }).await.unwrap();
        told(&mut changes, acme(2)).await;
        assert_eq!(store.tenant(&id("acme")).await.unwrap().unwrap().revision, 2);
        foreign.update_one(one(), doc! { "$set": { "status": "no such" } }).await.unwrap();
        told(&mut changes, acme(3)).await;
        assert!(matches!(store.tenant(&id("acme")).await, Err(StoreError::Tenant(_))));
        foreign.update_one(one(), doc! { "$set": { "status": "active" } }).await.unwrap();
        told(&mut changes, acme(3)).await;
        store.put_definitions(Some("{}".to_owned()), 0).await.unwrap();
        told(&mut changes, StoreChange::Definitions).await;
        let mark = Mark {
            module: "tasks".parse().unwrap(),
            hash: "a".repeat(64),
            tenant: None,
            kind: MarkKind::Bad,
            version: "1.0.0".to_owned(),
            reason: "it panicked".to_owned(),
            marked_at: 1,
        };
        store.set_mark(mark).await.unwrap();
        told(&mut changes, StoreChange::Marks).await;
        store.set_wake(&id("acme"), &"tasks".parse().unwrap(), "k", 5, None).await.unwrap();
        told(&mut changes, StoreChange::Deliveries).await;
        store.delete_tenant(&id("acme"), 3, TenantData::Refuse).await.unwrap();
        told(&mut changes, acme(4)).await;
        foreign.delete_one(one()).await.unwrap();
        told(&mut changes, StoreChange::Everything).await;
        drop(watching);
        while changes.recv().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_lost_its_head_gets_another() {
    let Some(place) = Place::new("queues without a head") else { return };
    let event = |name: &str| NewEvent {
        tenant: id("acme"),
        publisher: "herald".parse().unwrap(),
        name: name.to_owned(),
        event_id: name.to_owned(),
        body: b"1".to_vec(),
        published_at: 10,
        subscribers: vec!["tasks".parse().unwrap()],
        most_waiting: 10,
    };
    let store = place.store();
    for name in ["first", "second"] {
        store.publish(event(name), None).await.unwrap();
    }
    // As a host leaves it that is killed between the deletion of the head and the promotion of the next.
    let foreign = place.foreign("moduleDeliveries").await;
    assert_eq!(foreign.delete_many(doc! { "head": { "$exists": true } }).await.unwrap().deleted_count, 1);
    let request = crate::stores::ClaimRequest { now: 20, until: 30, limit: 9, per_tenant: 9 };
    let claimed = store.claim_due(request).await.unwrap();
    assert_eq!(claimed.len(), 1, "{claimed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_missed_a_reindex_gets_its_entries_by_the_next() {
    let Some(place) = Place::new("documents with entries of other fields") else { return };
    let store = place.store();
    let at = CollectionKey { tenant: id("acme"), module: "m".parse().unwrap(), model: "M".to_owned() };
    let by_a = ModelFields { unique: Vec::new(), index: vec!["a".to_owned()] };
    store.insert(&at, &by_a, "1", br#"{"a":1}"#.to_vec()).await.unwrap();
    let foreign = place.foreign("moduleDocuments").await;
    let lost = doc! { "$set": { "by": "acme/m/M/0", "entries": [] } };
    foreign.update_many(doc! {}, lost).await.unwrap();
    let ask = crate::stores::Find { order_by: Some("a".to_owned()), ..crate::stores::Find::default() };
    assert!(store.find(&at, &by_a, &ask).await.unwrap().documents.is_empty());
    store.reindex(&at, &by_a).await.unwrap();
    assert_eq!(store.find(&at, &by_a, &ask).await.unwrap().documents.len(), 1);
}

#[tokio::test]
async fn what_names_no_database_is_refused_and_a_server_that_is_away_is_said_to_be() {
    for uri in ["mongodb://127.0.0.1:1", "mongodb://127.0.0.1:1/", "http://127.0.0.1:1/x", ""] {
        assert!(matches!(MongoStore::open(uri, MongoSettings::default()), Err(StoreError::Unavailable(_))), "{uri}");
    }
    // Nothing listens there: the port is bound, and given up again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = MongoStore::open(&format!("mongodb://127.0.0.1:{port}/x"), MongoSettings::default()).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.marks().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.definitions().await, Err(StoreError::Unavailable(_))));
    store.close().await;
    let closed = store.tenant(&id("acme")).await.unwrap_err();
    assert_eq!(std::error::Error::source(&closed).unwrap().to_string(), "the store is closed");
}
