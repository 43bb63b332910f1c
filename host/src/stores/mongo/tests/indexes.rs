//! The indexes that are made, beside those that are there.

use mongodb::{IndexModel, options::IndexOptions};

use super::*;

/// Waits until something is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(60), wait).await.is_ok(), "it never came to this: {what}");
}

fn index(keys: Document, unique: bool) -> IndexModel {
    IndexModel::builder().keys(keys).options(IndexOptions::builder().unique(unique).build()).build()
}

async fn names(of: &mongodb::Collection<Document>) -> Vec<String> {
    let mut names = of.list_index_names().await.unwrap_or_default();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_index_of_the_platforms_own_does() {
    let Some(place) = Place::new("an index that is there") else { return };
    let foreign = place.foreign("tenants").await;
    foreign.create_index(index(doc! { "tenantId": 1 }, true)).await.unwrap();
    foreign.insert_one(seed()).await.unwrap();
    let store = place.store();
    assert_eq!(store.tenant(&id("acme")).await.unwrap().unwrap().revision, 1);
    assert_eq!(names(&foreign).await, ["_id_", "tenantId_1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_not_unique_stays_beside_ours() {
    let Some(place) = Place::new("an index that does not do") else { return };
    let foreign = place.foreign("tenants").await;
    foreign.create_index(index(doc! { "tenantId": 1 }, false)).await.unwrap();
    foreign.insert_one(seed()).await.unwrap();
    // Twice: ours is there the second time.
    for _ in 0..2 {
        let store = place.store();
        assert_eq!(store.tenant(&id("acme")).await.unwrap().unwrap().revision, 1);
        assert_eq!(names(&foreign).await, ["_id_", "tenantId_1", "tenon_tenantId"]);
    }
    assert!(foreign.insert_one(seed()).await.is_err(), "it is unique");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_can_not_be_made_is_named() {
    let Some(place) = Place::new("tenants that are there twice") else { return };
    let foreign = place.foreign("tenants").await;
    foreign.insert_many([seed(), seed()]).await.unwrap();
    let store = place.store();
    let Err(StoreError::Unavailable(problem)) = store.tenant(&id("acme")).await else { panic!("it was made") };
    assert_eq!(problem.to_string(), "index `tenantId_1` of collection `tenants` can't be made");
    foreign.delete_one(doc! {}).await.unwrap();
    assert!(store.tenant(&id("acme")).await.unwrap().is_some(), "it is tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_under_a_running_host_gets_its_indexes_again() {
    let Some(place) = Place::new("a database that is dropped") else { return };
    let store = place.store();
    let (tell, mut changes) = mpsc::unbounded_channel();
    let listener: ChangeListener = Arc::new(move |change| drop(tell.send(change)));
    let _watching = store.watch(listener).unwrap();
    told(&mut changes, StoreChange::Everything).await;
    if !store.link.server().await.unwrap().has_transactions {
        println!("SKIPPED: a standalone server tells of no drop");
        return;
    }
    let at = CollectionKey { tenant: id("acme"), module: "m".parse().unwrap(), model: "M".to_owned() };
    for collection in ["tenants", "moduleDocuments", "moduleDeliveries"] {
        store.create_tenant(contract::tenant(&collection.to_lowercase())).await.unwrap();
        store.insert(&at, &ModelFields::default(), collection, b"{}".to_vec()).await.unwrap();
        store.set_wake(&id("acme"), &"tasks".parse().unwrap(), collection, 5, None).await.unwrap();
        let foreign = place.foreign(collection).await;
        let before = names(&foreign).await;
        foreign.drop().await.unwrap();
        until(collection, async || names(&foreign).await == before).await;
        told(&mut changes, StoreChange::Everything).await;
    }
}
