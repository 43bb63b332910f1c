//! What imports and deletions leave behind that did not come to their end, and what can't be written at all.

use super::*;
use crate::stores::{Delivered, Importer, MovedDelivery, Moving, Record, Stands};

fn held() -> Record {
    let what = Delivered::Wake { key: "later".to_owned() };
    let module = "tasks".parse().unwrap();
    Record::Delivery(MovedDelivery { tenant: id("acme"), module, what, failures: 0, stands: Stands::Waiting(Some(5)) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_import_held_back_of_a_tenant_that_is_there_is_released_by_the_next() {
    let Some(place) = Place::new("deliveries that are held back") else { return };
    let store: Arc<MongoStore> = Arc::new(place.store());
    let records = vec![held(), Record::Tenant(Arc::new(contract::tenant("acme")))];
    for record in records.clone() {
        store.import(record).await.unwrap();
    }
    // As a host leaves it that is killed behind the tenant, on a server without transactions; and then it is changed.
    let foreign = place.foreign("moduleDeliveries").await;
    let hold = doc! { "$set": { "claimedUntil": crate::stores::moving::HELD_UNTIL } };
    foreign.update_many(doc! {}, hold).await.unwrap();
    let tenant = store.tenant(&id("acme")).await.unwrap().unwrap();
    let changed = TenantDocument { name: "Changed".to_owned(), ..TenantDocument::clone(&tenant) };
    store.replace_tenant(changed).await.unwrap();
    let mut importer = Importer::new(Arc::clone(&store) as Arc<dyn Store>);
    for record in records {
        importer.take(record).await.unwrap();
    }
    assert_eq!(importer.finish().await.unwrap().refused.len(), 1);
    let request = crate::stores::ClaimRequest { now: 20, until: 30, limit: 9, per_tenant: 9 };
    assert_eq!(store.claim_due(request).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_many_documents_goes_whole() {
    let Some(place) = Place::new("the purge of a large tenant") else { return };
    let store = place.store();
    store.create_tenant(contract::tenant("acme")).await.unwrap();
    let foreign = place.foreign("moduleDocuments").await;
    let many = |tenant: &'static str| (0..1200).map(move |number| doc! { "_id": format!("{tenant}/m/M/{number}") });
    foreign.insert_many(many("acme").chain(many("acme2"))).await.unwrap();
    store.delete_tenant(&id("acme"), 1, TenantData::Purge).await.unwrap();
    assert_eq!(foreign.count_documents(doc! {}).await.unwrap(), 1200, "the other one's");
    // As a host leaves it that is killed meanwhile.
    foreign.insert_many(many("acme")).await.unwrap();
    store.create_tenant(contract::tenant("acme")).await.unwrap();
    assert_eq!(foreign.count_documents(doc! {}).await.unwrap(), 1200);
    let server = store.link.server().await.unwrap();
    tenants::clear(&server, &id("acme2")).await.unwrap();
    store.create_tenant(contract::tenant("acme2")).await.unwrap();
    foreign.insert_many(many("acme2")).await.unwrap();
    tenants::clear(&server, &id("acme2")).await.unwrap();
    assert_eq!(foreign.count_documents(doc! {}).await.unwrap(), 1200, "nothing of a tenant that is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_never_takes_is_refused_and_not_away() {
    let Some(place) = Place::new("what is too large for the database") else { return };
    let event = NewEvent {
        tenant: id("acme"),
        publisher: "herald".parse().unwrap(),
        name: "large".to_owned(),
        event_id: "large".to_owned(),
        body: vec![b'1'; 17 << 20],
        published_at: 10,
        subscribers: vec!["tasks".parse().unwrap()],
        most_waiting: 10,
    };
    let refused = place.store().publish(event, None).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
