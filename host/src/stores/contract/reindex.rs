//! Other fields than before.

use std::sync::Arc;

use serde_json::json;

use super::{StoreError, at, check, fields, fill, people, question};
use crate::stores::{FindError, Store};

pub(super) async fn new_fields_can_be_searched(store: Arc<dyn Store>) {
    let documents = [("1", json!({ "a": 1, "b": 2 })), ("2", json!({ "a": 1 })), ("3", json!({ "b": [] }))];
    let (old, new) = (fields("", "a"), fields("", "a b"));
    fill(&*store, &people(), &old, &documents).await;
    let other = at("other", "hr-core", "Person");
    fill(&*store, &other, &old, &documents).await;
    let by_b = json!({ "equal": [["b", 2]] });
    let unready = store.find(&people(), &new, &question(by_b.clone())).await;
    assert!(matches!(unready, Err(StoreError::Find(FindError::NotIndexed { field, .. })) if field == "b"));
    store.reindex(&people(), &new).await.unwrap();
    check(&*store, &new, by_b.clone(), &["1"]).await;
    check(&*store, &new, json!({ "equal": [["a", 1]] }), &["1", "2"]).await;
    assert_eq!(store.get(&people(), "1").await.unwrap().unwrap().revision, 1, "documents are left alone");
    assert!(store.find(&other, &new, &question(by_b)).await.is_err(), "other collections are left alone");
}

pub(super) async fn dropped_fields_can_not(store: Arc<dyn Store>) {
    fill(&*store, &people(), &fields("u", "a"), &[("1", json!({ "a": 1, "u": 1 }))]).await;
    store.reindex(&people(), &fields("", "")).await.unwrap();
    let asked = store.find(&people(), &fields("", "a"), &question(json!({ "order_by": "a" }))).await;
    assert!(matches!(asked, Err(StoreError::Find(FindError::NotIndexed { .. }))));
    fill(&*store, &people(), &fields("", ""), &[("2", json!({ "u": 1 }))]).await;
    check(&*store, &fields("", ""), json!({}), &["1", "2"]).await;
}

pub(super) async fn violations_change_nothing(store: Arc<dyn Store>) {
    let old = fields("u", "a");
    let long = "x".repeat(5000);
    let documents =
        [("1", json!({ "a": 1, "u": 1 })), ("2", json!({ "a": 1, "u": 2 })), ("3", json!({ "long": long }))];
    fill(&*store, &people(), &old, &documents).await;
    let violated = store.reindex(&people(), &fields("a", "u")).await;
    assert!(matches!(violated, Err(StoreError::NotUnique { field }) if field == "a"));
    let too_long = store.reindex(&people(), &fields("", "long")).await;
    assert!(matches!(too_long, Err(StoreError::ValueTooLong { field, bytes: 5000, .. }) if field == "long"));
    check(&*store, &old, json!({ "equal": [["a", 1]] }), &["1", "2"]).await;
    let taken = store.insert(&people(), &old, "4", br#"{"u":2}"#.to_vec()).await;
    assert!(matches!(taken, Err(StoreError::NotUnique { field }) if field == "u"));
    // Once repaired, it goes through.
    store.delete(&people(), "2", 1).await.unwrap();
    store.reindex(&people(), &fields("a", "u")).await.unwrap();
}

pub(super) async fn new_unique_fields_hold(store: Arc<dyn Store>) {
    let (old, new) = (fields("", "a"), fields("a", ""));
    fill(&*store, &people(), &old, &[("1", json!({ "a": 1 })), ("2", json!({ "a": 2 }))]).await;
    store.reindex(&people(), &new).await.unwrap();
    let taken = store.insert(&people(), &new, "3", br#"{"a":1}"#.to_vec()).await;
    assert!(matches!(taken, Err(StoreError::NotUnique { field }) if field == "a"));
    check(&*store, &new, json!({ "equal": [["a", 2]] }), &["2"]).await;
}

pub(super) async fn uniqueness_can_be_given_up(store: Arc<dyn Store>) {
    let (old, new) = (fields("a", ""), fields("", "a"));
    fill(&*store, &people(), &old, &[("1", json!({ "a": 1 }))]).await;
    store.reindex(&people(), &new).await.unwrap();
    fill(&*store, &people(), &new, &[("2", json!({ "a": 1 }))]).await;
    check(&*store, &new, json!({ "equal": [["a", 1]] }), &["1", "2"]).await;
    let back = store.reindex(&people(), &old).await;
    assert!(matches!(back, Err(StoreError::NotUnique { .. })));
}

pub(super) async fn nothing_to_do(store: Arc<dyn Store>) {
    let all = fields("u", "a b");
    store.reindex(&people(), &all).await.unwrap();
    check(&*store, &all, json!({ "order_by": "a" }), &[]).await;
    fill(&*store, &people(), &all, &[("1", json!({ "a": 1, "u": 1 }))]).await;
    store.reindex(&people(), &all).await.unwrap();
    store.reindex(&people(), &fields("u", "a b u")).await.unwrap();
    check(&*store, &all, json!({ "order_by": "a" }), &["1"]).await;
}

/// The new version of a module has been indexed for; the old one still serves its last requests.
pub(super) async fn takeover_between_versions(store: Arc<dyn Store>) {
    let (old, new) = (fields("", "a"), fields("b", "a"));
    fill(&*store, &people(), &old, &[("1", json!({ "a": 1, "b": 1 }))]).await;
    store.reindex(&people(), &new).await.unwrap();
    fill(&*store, &people(), &old, &[("2", json!({ "a": 1, "b": 2 }))]).await;
    let taken = store.insert(&people(), &old, "3", br#"{"b":1}"#.to_vec()).await;
    assert!(matches!(taken, Err(StoreError::NotUnique { field }) if field == "b"), "the new version's rules hold");
    store.put(&people(), &old, "1", br#"{"a":1,"b":3}"#.to_vec(), 1).await.unwrap();
    check(&*store, &new, json!({ "equal": [["b", 2]] }), &["2"]).await;
    check(&*store, &new, json!({ "equal": [["b", 3]] }), &["1"]).await;
    check(&*store, &new, json!({ "equal": [["b", 1]] }), &[]).await;
    // The old version comes back, and what the new one has made unique is free again.
    store.reindex(&people(), &old).await.unwrap();
    fill(&*store, &people(), &old, &[("3", json!({ "a": 1, "b": 3 }))]).await;
    check(&*store, &old, json!({ "equal": [["a", 1]] }), &["1", "2", "3"]).await;
    // A version that writes before anything was indexed for it leaves nothing behind either.
    let early = fields("c", "");
    fill(&*store, &people(), &early, &[("4", json!({ "c": 1 }))]).await;
    store.reindex(&people(), &old).await.unwrap();
    fill(&*store, &people(), &old, &[("5", json!({ "c": 1 }))]).await;
    fill(&*store, &people(), &early, &[("6", json!({ "c": 2 }))]).await;
    let refused = store.reindex(&people(), &early).await;
    assert!(matches!(refused, Err(StoreError::NotUnique { field }) if field == "c"));
}

pub(super) async fn writers_go_on_meanwhile(store: Arc<dyn Store>) {
    const DOCUMENTS: usize = 600;
    let (old, new) = (fields("", "a"), fields("b", "a"));
    for number in 0..DOCUMENTS {
        let body = json!({ "a": number % 3, "b": number }).to_string().into_bytes();
        store.insert(&people(), &old, &format!("{number:03}"), body).await.unwrap();
    }
    let writing = {
        let (store, old) = (Arc::clone(&store), old.clone());
        tokio::spawn(async move {
            for round in 1..20_usize {
                let number = round * 30;
                let body = json!({ "a": 9, "b": DOCUMENTS + number }).to_string().into_bytes();
                store.put(&people(), &old, &format!("{number:03}"), body, 1).await.unwrap();
            }
        })
    };
    store.reindex(&people(), &new).await.unwrap();
    writing.await.unwrap();
    check(&*store, &new, json!({ "equal": [["b", DOCUMENTS + 30]] }), &["030"]).await;
    check(&*store, &new, json!({ "equal": [["b", 30]] }), &[]).await;
    check(&*store, &new, json!({ "equal": [["b", 31]] }), &["031"]).await;
    let nines = super::walk(&*store, &new, question(json!({ "equal": [["a", 9]] })), 200).await;
    assert_eq!(nines.len(), 19);
    let taken = store.insert(&people(), &new, "new", br#"{"b":599}"#.to_vec()).await;
    assert!(matches!(taken, Err(StoreError::NotUnique { field }) if field == "b"));
}
