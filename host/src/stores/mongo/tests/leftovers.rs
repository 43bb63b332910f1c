//! What deletions leave behind that did not come to their end, and what can't be written at all.

use super::*;

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
