//! Many at once: of those that can't all be right, one is.

use std::{future::Future, sync::Arc, task::Poll};

use super::{StoreError, fields, people, tenant};
use crate::stores::Store;

const MANY: usize = 100;

/// Runs many at once; returns the reasons of those that failed, and checks that exactly one did not.
async fn one_wins<F>(attempt: impl Fn(usize) -> F) -> Vec<StoreError>
where
    F: Future<Output = Result<u64, StoreError>> + Send + 'static,
{
    let attempts: Vec<_> = (0..MANY).map(|number| tokio::spawn(attempt(number))).collect();
    let mut refused = Vec::new();
    for attempt in attempts {
        refused.extend(attempt.await.unwrap().err());
    }
    assert_eq!(refused.len(), MANY - 1);
    refused
}

pub(super) async fn one_put_of_a_revision_wins(store: Arc<dyn Store>) {
    let all = fields("", "n");
    store.insert(&people(), &all, "1", b"{}".to_vec()).await.unwrap();
    for expected in 1..4 {
        let refused = one_wins(|number| {
            let (store, all) = (store.clone(), all.clone());
            let body = format!("{{\"n\":{number}}}").into_bytes();
            async move { store.put(&people(), &all, "1", body, expected).await }
        })
        .await;
        let later = |each: &StoreError| matches!(each, StoreError::Revision { found, .. } if *found == expected + 1);
        assert!(refused.iter().all(later));
        let found = store.get(&people(), "1").await.unwrap().unwrap();
        assert_eq!(found.revision, expected + 1);
        // The entries are the winner's.
        let n: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
        super::check(&*store, &all, serde_json::json!({ "order_by": "n" }), &["1"]).await;
        super::check(&*store, &all, serde_json::json!({ "equal": [["n", n["n"]]] }), &["1"]).await;
    }
}

pub(super) async fn one_insert_of_an_id_wins(store: Arc<dyn Store>) {
    let refused = one_wins(|_| {
        let store = store.clone();
        async move { store.insert(&people(), &fields("", ""), "1", b"{}".to_vec()).await }
    })
    .await;
    assert!(refused.iter().all(|each| matches!(each, StoreError::Exists(_))));
}

pub(super) async fn one_insert_of_a_unique_value_wins(store: Arc<dyn Store>) {
    let unique = fields("email", "");
    let refused = one_wins(|number| {
        let (store, unique) = (store.clone(), unique.clone());
        async move { store.insert(&people(), &unique, &number.to_string(), br#"{"email":"a@x"}"#.to_vec()).await }
    })
    .await;
    assert!(refused.iter().all(|each| matches!(each, StoreError::NotUnique { .. })));
    let all = store.find(&people(), &unique, &super::Find::default()).await.unwrap();
    assert_eq!(all.documents.len(), 1);
}

pub(super) async fn one_creation_of_a_tenant_wins(store: Arc<dyn Store>) {
    let refused = one_wins(|_| {
        let store = store.clone();
        async move { store.create_tenant(tenant("acme")).await.map(|tenant| tenant.revision) }
    })
    .await;
    assert!(refused.iter().all(|each| matches!(each, StoreError::Exists(_))));
}

pub(super) async fn one_write_of_definitions_wins(store: Arc<dyn Store>) {
    for expected in 0..3 {
        let refused = one_wins(|number| {
            let store = store.clone();
            async move { store.put_definitions(Some(number.to_string()), expected).await }
        })
        .await;
        assert!(refused.iter().all(|each| matches!(each, StoreError::Revision { .. })));
        assert_eq!(store.definitions().await.unwrap().unwrap().revision, expected + 1);
    }
}

/// Futures that are polled once and dropped: what was handed over is written whole, with its entries, or not at all.
pub(super) async fn a_dropped_write_is_whole_or_absent(store: Arc<dyn Store>) {
    let all = fields("", "name");
    for number in 0..MANY {
        let (at, id) = (people(), format!("{number:03}"));
        let mut insert = store.insert(&at, &all, &id, br#"{"name":"x"}"#.to_vec());
        std::future::poll_fn(|context| {
            let _ = insert.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }
    // Behind all of them where writes form a queue; elsewhere some may still be under way.
    store.insert(&people(), &all, "last", br#"{"name":"x"}"#.to_vec()).await.unwrap();
    let by_id = || super::walk(&*store, &all, super::Find::default(), 200);
    let mut before = by_id().await;
    loop {
        let by_name = super::walk(&*store, &all, super::question(serde_json::json!({ "order_by": "name" })), 200).await;
        let after = by_id().await;
        if before == after {
            assert_eq!(before, by_name);
            return;
        }
        before = after;
    }
}
