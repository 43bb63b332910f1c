//! A reindex that is abandoned, or in whose way something is.

use super::{indexes::until, *};
use crate::stores::Find;

fn collection() -> CollectionKey {
    CollectionKey { tenant: id("acme"), module: "m".parse().unwrap(), model: "M".to_owned() }
}

fn by(field: &str) -> ModelFields {
    ModelFields { unique: Vec::new(), index: vec![field.to_owned()] }
}

async fn count(store: &MongoStore, field: &str) -> usize {
    let ask = Find { order_by: Some(field.to_owned()), limit: 200, ..Find::default() };
    store.find(&collection(), &by(field), &ask).await.unwrap().documents.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_caller_has_given_up_ends_when_other_fields_are_wanted() {
    let Some(place) = Place::new("abandoned reindexes") else { return };
    let (abandoned, store) = (place.store(), place.store());
    const MANY: i32 = 150;
    for number in 0..MANY {
        let body = serde_json::json!({ "a": number, "b": number }).to_string().into_bytes();
        store.insert(&collection(), &by("a"), &format!("{number}"), body).await.unwrap();
    }
    let row = place.foreign("moduleCollections").await;
    for _ in 0..5 {
        let (at, other) = (collection(), by("b"));
        let mut begun = abandoned.reindex(&at, &other);
        std::future::poll_fn(|context| {
            let _ = begun.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
        drop(begun);
        until("the other one has begun", async || {
            let now = row.find_one(doc! {}).await.unwrap().unwrap();
            now.contains_key("wish") || now.get_array("index").unwrap()[0].as_str() == Some("b")
        })
        .await;
        store.reindex(&collection(), &by("a")).await.unwrap();
        // What it wrote in the same moment it puts right itself.
        until("all documents are found again", async || count(&store, "a").await == 150).await;
    }
    abandoned.close().await;
    let now = row.find_one(doc! {}).await.unwrap().unwrap();
    assert!(!now.contains_key("wish") && now.get_array("index").unwrap()[0].as_str() == Some("a"), "{now}");
    assert_eq!(count(&store, "a").await, 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_come_to_an_end_is_taken_back() {
    let Some(place) = Place::new("a unique value that comes in between") else { return };
    let store = place.store();
    let wanted = ModelFields { unique: vec!["b".to_owned()], index: vec!["a".to_owned()] };
    for number in 0..3 {
        let body = serde_json::json!({ "a": number, "b": number }).to_string().into_bytes();
        store.insert(&collection(), &by("a"), &format!("{number}"), body).await.unwrap();
    }
    // In the way of one document's unique entry, where no check of the collection sees it.
    let server = store.link.server().await.unwrap();
    let name = key::of_collection(&collection());
    let value = crate::stores::entries::entries(br#"{"b":1}"#, &wanted).unwrap();
    let entry = key::entries(&name, &value).1.remove(0);
    let blocker = doc! { "_id": "zzz", "unique": [entry] };
    let foreign = place.foreign("moduleDocuments").await;
    foreign.insert_one(blocker).await.unwrap();
    let refused = reindex::reindex(&server, &name, &wanted).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(count(&store, "a").await, 3);
    let row = place.foreign("moduleCollections").await.find_one(doc! {}).await.unwrap().unwrap();
    assert!(row.get_array("unique").unwrap().is_empty() && !row.contains_key("wish"), "{row}");
    assert_eq!(foreign.count_documents(doc! { "unique": { "$exists": true } }).await.unwrap(), 1, "the blocker's");
    foreign.delete_one(doc! { "_id": "zzz" }).await.unwrap();
    store.reindex(&collection(), &wanted).await.unwrap();
}
