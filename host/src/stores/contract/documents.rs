//! Single documents: conditional writes, what is kept, and that collections are apart.

use std::sync::Arc;

use super::{StoreError, at, fields, people};
use crate::stores::{Store, StoredDocument};

pub(super) async fn inserted_replaced_deleted(store: Arc<dyn Store>) {
    let (at, fields) = (people(), fields("email", "name"));
    assert_eq!(store.get(&at, "1").await.unwrap(), None);
    assert_eq!(store.insert(&at, &fields, "1", br#"{"name":"a"}"#.to_vec()).await.unwrap(), 1);
    let found = store.get(&at, "1").await.unwrap();
    assert_eq!(found, Some(StoredDocument { id: "1".into(), revision: 1, body: br#"{"name":"a"}"#.to_vec() }));
    assert_eq!(store.put(&at, &fields, "1", br#"{"name":"b"}"#.to_vec(), 1).await.unwrap(), 2);
    assert_eq!(store.put(&at, &fields, "1", br#"{"name":"c"}"#.to_vec(), 2).await.unwrap(), 3);
    let found = store.get(&at, "1").await.unwrap();
    assert_eq!(found, Some(StoredDocument { id: "1".into(), revision: 3, body: br#"{"name":"c"}"#.to_vec() }));
    store.delete(&at, "1", 3).await.unwrap();
    assert_eq!(store.get(&at, "1").await.unwrap(), None);
    assert_eq!(store.insert(&at, &fields, "1", b"{}".to_vec()).await.unwrap(), 1, "begins anew");
}

pub(super) async fn refused_by_revision_or_absence(store: Arc<dyn Store>) {
    let (at, none) = (people(), fields("", ""));
    let body = || b"{}".to_vec();
    assert!(matches!(store.put(&at, &none, "1", body(), 1).await, Err(StoreError::Missing(id)) if id == "1"));
    assert!(matches!(store.delete(&at, "1", 1).await, Err(StoreError::Missing(id)) if id == "1"));
    store.insert(&at, &none, "1", body()).await.unwrap();
    assert!(matches!(store.insert(&at, &none, "1", body()).await, Err(StoreError::Exists(id)) if id == "1"));
    store.put(&at, &none, "1", body(), 1).await.unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        let put = store.put(&at, &none, "1", br#"{"a":1}"#.to_vec(), wrong).await;
        assert!(matches!(put, Err(StoreError::Revision { expected, found: 2 }) if expected == wrong));
        let delete = store.delete(&at, "1", wrong).await;
        assert!(matches!(delete, Err(StoreError::Revision { expected, found: 2 }) if expected == wrong));
    }
    assert_eq!(store.get(&at, "1").await.unwrap().unwrap().body, b"{}");
}

pub(super) async fn kept_byte_for_byte(store: Arc<dyn Store>) {
    let body = " {\"z\":1.50,\n\"a\": \"\\u00e4\\u0000\", \"n\": 123456789012345678901234567890, \"z\": 1e2}\t";
    store.insert(&people(), &fields("", "z"), "ä\n'\"%_", body.as_bytes().to_vec()).await.unwrap();
    let found = store.get(&people(), "ä\n'\"%_").await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.body.as_slice()), ("ä\n'\"%_", body.as_bytes()));
}

pub(super) async fn only_objects_are_stored(store: Arc<dyn Store>) {
    let (at, none) = (people(), fields("", ""));
    store.insert(&at, &none, "1", b"{}".to_vec()).await.unwrap();
    for body in [&b""[..], b"[]", b"null", b"{", b"{}{}", b"{\"a\":}", b"{\"a\":\"\xff\"}"] {
        let insert = store.insert(&at, &none, "2", body.to_vec()).await;
        assert!(matches!(insert, Err(StoreError::NotAnObject(_))), "{body:?}");
        let put = store.put(&at, &none, "1", body.to_vec(), 1).await;
        assert!(matches!(put, Err(StoreError::NotAnObject(_))), "{body:?}");
    }
    assert_eq!(store.get(&at, "1").await.unwrap().unwrap().revision, 1);
    assert_eq!(store.get(&at, "2").await.unwrap(), None);
}

pub(super) async fn ids_have_limits(store: Arc<dyn Store>) {
    let (at, none) = (people(), fields("", ""));
    let longest = "ä".repeat(128);
    store.insert(&at, &none, &longest, b"{}".to_vec()).await.unwrap();
    assert_eq!(store.get(&at, &longest).await.unwrap().unwrap().id, longest);
    let too_long = format!("{longest}x");
    for bad in ["", "a\0", &too_long] {
        assert!(matches!(store.insert(&at, &none, bad, b"{}".to_vec()).await, Err(StoreError::DocumentId)));
        assert_eq!(store.get(&at, bad).await.unwrap(), None);
        assert!(matches!(store.put(&at, &none, bad, b"{}".to_vec(), 1).await, Err(StoreError::Missing(_))));
        assert!(matches!(store.delete(&at, bad, 1).await, Err(StoreError::Missing(_))));
    }
}

pub(super) async fn collections_do_not_mix(store: Arc<dyn Store>) {
    let none = fields("", "");
    let places = [
        at("acme", "hr-core", "Person"),
        at("Acme", "hr-core", "Person"),
        at("acme", "hr", "Person"),
        at("acme", "hr-core", "person"),
        at("acme", "hr-core", "Person2"),
    ];
    for (number, place) in places.iter().enumerate() {
        let body = format!("{{\"place\":{number}}}").into_bytes();
        assert_eq!(store.insert(place, &none, "1", body).await.unwrap(), 1);
    }
    store.put(&places[0], &none, "1", b"{}".to_vec(), 1).await.unwrap();
    store.delete(&places[1], "1", 1).await.unwrap();
    for (number, place) in places.iter().enumerate().skip(2) {
        let found = store.get(place, "1").await.unwrap().unwrap();
        assert_eq!((found.revision, found.body), (1, format!("{{\"place\":{number}}}").into_bytes()));
    }
}

pub(super) async fn large_bodies_are_kept(store: Arc<dyn Store>) {
    let body = format!("{{\"text\":\"{}\",\"name\":\"end\"}}", "x".repeat(2 << 20)).into_bytes();
    let fields = fields("", "name");
    store.insert(&people(), &fields, "large", body.clone()).await.unwrap();
    assert!(store.get(&people(), "large").await.unwrap().unwrap().body == body);
    super::check(&*store, &fields, serde_json::json!({ "equal": [["name", "end"]] }), &["large"]).await;
}

pub(super) async fn larger_ones_are_refused(store: Arc<dyn Store>) {
    const MOST: usize = 8 << 20;
    let body = |bytes: usize| format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - 11)).into_bytes();
    let none = fields("", "");
    assert_eq!(store.insert(&people(), &none, "1", body(MOST)).await.unwrap(), 1);
    let refused = [
        store.insert(&people(), &none, "2", body(MOST + 1)).await,
        store.put(&people(), &none, "1", body(MOST + 1), 1).await,
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(StoreError::TooLarge { bytes, limit: MOST }) if bytes == MOST + 1),
            "{refused:?}"
        );
    }
    assert_eq!(store.get(&people(), "2").await.unwrap(), None);
}

pub(super) async fn answers(store: Arc<dyn Store>) {
    store.ping().await.unwrap();
}
