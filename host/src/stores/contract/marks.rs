//! Marks: set, replaced, cleared for one or for all.

use std::sync::Arc;

use super::tenant;
use crate::stores::{Mark, MarkKind, Store, TenantData};

fn mark(module: &str, hash: &str, tenant: Option<&str>, kind: MarkKind) -> Mark {
    Mark {
        module: module.parse().unwrap(),
        hash: hash.repeat(64),
        tenant: tenant.map(|id| id.parse().unwrap()),
        kind,
        version: "1.2.0".to_owned(),
        reason: "it panicked".to_owned(),
        marked_at: 1_000,
    }
}

pub(super) async fn are_found_in_order_and_replaced(store: Arc<dyn Store>) {
    assert_eq!(store.marks().await.unwrap(), Vec::new());
    let all = mark("hr-core", "a", None, MarkKind::Bad);
    let one = mark("hr-core", "a", Some("acme"), MarkKind::Bad);
    let quarantined = mark("hr-core", "a", Some("acme"), MarkKind::Quarantined);
    let other = mark("tasks", "b", None, MarkKind::Bad);
    for mark in [&other, &quarantined, &one, &all] {
        store.set_mark(mark.clone()).await.unwrap();
    }
    assert_eq!(store.marks().await.unwrap(), [all.clone(), one.clone(), quarantined.clone(), other.clone()]);
    let again = Mark { reason: "it panicked again".to_owned(), marked_at: 2_000, ..one };
    store.set_mark(again.clone()).await.unwrap();
    assert_eq!(store.marks().await.unwrap(), [all, again, quarantined, other]);
}

pub(super) async fn are_cleared_for_one_or_for_all(store: Arc<dyn Store>) {
    let all = mark("hr-core", "a", None, MarkKind::Bad);
    let one = mark("hr-core", "a", Some("acme"), MarkKind::Bad);
    let other = mark("tasks", "a", Some("acme"), MarkKind::Bad);
    for mark in [&all, &one, &other] {
        store.set_mark(mark.clone()).await.unwrap();
    }
    let module = all.module.clone();
    assert_eq!(store.clear_marks(&module, Some(&"beta".parse().unwrap())).await.unwrap(), 0);
    assert_eq!(store.clear_marks(&module, one.tenant.as_ref()).await.unwrap(), 1);
    assert_eq!(store.marks().await.unwrap(), [all.clone(), other.clone()]);
    store.set_mark(one).await.unwrap();
    assert_eq!(store.clear_marks(&module, None).await.unwrap(), 2);
    assert_eq!(store.marks().await.unwrap(), [other]);
}

pub(super) async fn go_with_their_tenant(store: Arc<dyn Store>) {
    let document = store.create_tenant(tenant("acme")).await.unwrap();
    let all = mark("hr-core", "a", None, MarkKind::Bad);
    store.set_mark(all.clone()).await.unwrap();
    store.set_mark(mark("hr-core", "a", Some("acme"), MarkKind::Bad)).await.unwrap();
    store.delete_tenant(&document.id, document.revision, TenantData::Refuse).await.unwrap();
    assert_eq!(store.marks().await.unwrap(), [all]);
}
