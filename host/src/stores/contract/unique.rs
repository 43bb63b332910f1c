//! Unique fields.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{StoreError, at, fields, people};
use crate::stores::Store;

async fn insert(store: &dyn Store, id: &str, body: Value) -> Result<u64, StoreError> {
    store.insert(&people(), &fields("email", "name"), id, body.to_string().into_bytes()).await
}

async fn put(store: &dyn Store, id: &str, body: Value, expected: u64) -> Result<u64, StoreError> {
    store.put(&people(), &fields("email", "name"), id, body.to_string().into_bytes(), expected).await
}

fn is_taken<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::NotUnique { field }) if field == "email")
}

pub(super) async fn kept_on_insert(store: Arc<dyn Store>) {
    insert(&*store, "1", json!({ "email": "a@x", "name": "A" })).await.unwrap();
    assert!(is_taken(insert(&*store, "2", json!({ "email": "a@x" })).await));
    insert(&*store, "2", json!({ "email": "A@x", "name": "A" })).await.unwrap();
    let taken_and_there = insert(&*store, "1", json!({ "email": "A@x" })).await;
    assert!(matches!(taken_and_there, Err(StoreError::Exists(_))), "that it is there comes first");
}

pub(super) async fn kept_on_put(store: Arc<dyn Store>) {
    insert(&*store, "1", json!({ "email": "a@x" })).await.unwrap();
    insert(&*store, "2", json!({ "email": "b@x" })).await.unwrap();
    assert!(is_taken(put(&*store, "2", json!({ "email": "a@x" }), 1).await));
    assert!(matches!(put(&*store, "2", json!({ "email": "a@x" }), 7).await, Err(StoreError::Revision { .. })));
    assert_eq!(put(&*store, "1", json!({ "email": "a@x", "name": "own value" }), 1).await.unwrap(), 2);
}

pub(super) async fn freed_by_delete_and_change(store: Arc<dyn Store>) {
    insert(&*store, "1", json!({ "email": "a@x" })).await.unwrap();
    store.delete(&people(), "1", 1).await.unwrap();
    insert(&*store, "2", json!({ "email": "a@x" })).await.unwrap();
    put(&*store, "2", json!({ "email": "b@x" }), 1).await.unwrap();
    insert(&*store, "3", json!({ "email": "a@x" })).await.unwrap();
    put(&*store, "2", json!({}), 2).await.unwrap();
    put(&*store, "3", json!({ "email": "b@x" }), 1).await.unwrap();
    assert!(is_taken(put(&*store, "2", json!({ "email": "b@x" }), 3).await));
}

pub(super) async fn not_for_missing_null_or_lists(store: Arc<dyn Store>) {
    for (id, body) in [
        ("1", json!({})),
        ("2", json!({})),
        ("3", json!({ "email": null })),
        ("4", json!({ "email": null })),
        ("5", json!({ "email": ["a@x"] })),
        ("6", json!({ "email": ["a@x"] })),
        ("7", json!({ "deep": { "email": "a@x" } })),
        ("8", json!({ "email": "a@x" })),
    ] {
        insert(&*store, id, body).await.unwrap();
    }
}

pub(super) async fn by_value_and_type(store: Arc<dyn Store>) {
    let apart =
        [json!(1), json!(true), json!("1"), json!("true"), json!(9_007_199_254_740_993_i64), json!(0), json!("")];
    for (id, value) in apart.iter().enumerate() {
        insert(&*store, &id.to_string(), json!({ "email": value })).await.unwrap();
    }
    assert!(is_taken(insert(&*store, "same", json!({ "email": 1.0 })).await));
    assert!(is_taken(insert(&*store, "same", json!({ "email": -0.0 })).await));
    insert(&*store, "next", json!({ "email": 9_007_199_254_740_992_i64 })).await.unwrap();
}

pub(super) async fn within_one_collection(store: Arc<dyn Store>) {
    let unique = fields("email", "");
    for place in
        [people(), at("other", "hr-core", "Person"), at("acme", "tasks", "Person"), at("acme", "hr-core", "Team")]
    {
        store.insert(&place, &unique, "1", br#"{"email":"a@x"}"#.to_vec()).await.unwrap();
    }
}

pub(super) async fn refused_writes_change_nothing(store: Arc<dyn Store>) {
    insert(&*store, "1", json!({ "email": "a@x", "name": "one" })).await.unwrap();
    insert(&*store, "2", json!({ "email": "b@x", "name": "two" })).await.unwrap();
    assert!(is_taken(insert(&*store, "3", json!({ "email": "a@x", "name": "three" })).await));
    assert!(is_taken(put(&*store, "2", json!({ "email": "a@x", "name": "three" }), 1).await));
    assert_eq!(store.get(&people(), "3").await.unwrap(), None);
    assert_eq!(store.get(&people(), "2").await.unwrap().unwrap().revision, 1);
    let all = fields("email", "name");
    super::check(&*store, &all, json!({ "equal": [["name", "three"]] }), &[]).await;
    super::check(&*store, &all, json!({ "equal": [["name", "two"], ["email", "b@x"]] }), &["2"]).await;
    assert!(is_taken(insert(&*store, "3", json!({ "email": "b@x" })).await), "still taken");
}

pub(super) async fn long_texts_are_refused(store: Arc<dyn Store>) {
    let text = |bytes: usize| "x".repeat(bytes);
    insert(&*store, "1", json!({ "name": text(4096), "free": text(9999) })).await.unwrap();
    let insert = insert(&*store, "2", json!({ "name": text(4097) })).await;
    assert!(matches!(insert, Err(StoreError::ValueTooLong { field, bytes: 4097, limit: 4096 }) if field == "name"));
    let put = put(&*store, "1", json!({ "email": text(5000) }), 1).await;
    assert!(matches!(put, Err(StoreError::ValueTooLong { field, .. }) if field == "email"));
    let longer = json!({ "equal": [["name", text(4097)]] });
    super::check(&*store, &fields("email", "name"), longer, &[]).await;
}
