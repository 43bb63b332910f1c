//! Tenants: conditional writes, tombstones, pages.

use std::sync::Arc;

use super::{StoreError, at, fields, tenant};
use crate::{
    names::TenantId,
    stores::{EnabledModule, Isolation, Store, TenantData},
};

pub(super) async fn created_is_found_as_it_was(store: Arc<dyn Store>) {
    let mut given = tenant("acme");
    given.revision = 99;
    given.enabled_modules = vec![EnabledModule {
        module: "tasks".parse().unwrap(),
        version: ">=1.2, <3".parse().unwrap(),
        isolation: Isolation::Library,
        enabled_at: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        enabled_by: Some("admin".to_owned()),
        unknown: serde_json::Map::from_iter([("note".to_owned(), "kept".into())]),
    }];
    assert_eq!(store.tenant(&given.id).await.unwrap(), None);
    let created = store.create_tenant(given.clone()).await.unwrap();
    given.revision = 1;
    assert_eq!(*created, given);
    assert_eq!(store.tenant(&given.id).await.unwrap(), Some(created));
    let again = store.create_tenant(tenant("acme")).await;
    assert!(matches!(again, Err(StoreError::Exists(id)) if id == "acme"));
    assert_eq!(store.tenant(&"Acme".parse().unwrap()).await.unwrap(), None, "ids differ by case");
}

pub(super) async fn replaced_by_revision_only(store: Arc<dyn Store>) {
    let mut document = tenant("acme");
    let missing = store.replace_tenant(document.clone()).await;
    assert!(matches!(missing, Err(StoreError::Missing(id)) if id == "acme"));
    document = store.create_tenant(document).await.unwrap().as_ref().clone();
    document.name = "New".to_owned();
    document.unknown.clear();
    let replaced = store.replace_tenant(document.clone()).await.unwrap();
    assert_eq!((replaced.revision, replaced.name.as_str()), (2, "New"));
    for wrong in [0, 1, 3, u64::MAX] {
        document.revision = wrong;
        let refused = store.replace_tenant(document.clone()).await;
        assert!(matches!(refused, Err(StoreError::Revision { expected, found: 2 }) if expected == wrong));
    }
    assert_eq!(store.tenant(&document.id).await.unwrap(), Some(replaced));
}

pub(super) async fn deleted_by_revision_only(store: Arc<dyn Store>) {
    let id: TenantId = "acme".parse().unwrap();
    let missing = store.delete_tenant(&id, 1, TenantData::Purge).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))));
    store.create_tenant(tenant("acme")).await.unwrap();
    let refused = store.delete_tenant(&id, 2, TenantData::Purge).await;
    assert!(matches!(refused, Err(StoreError::Revision { expected: 2, found: 1 })));
    assert!(store.tenant(&id).await.unwrap().is_some());
    store.delete_tenant(&id, 1, TenantData::Refuse).await.unwrap();
    assert_eq!(store.tenant(&id).await.unwrap(), None);
    for again in [1, 2] {
        let missing = store.delete_tenant(&id, again, TenantData::Refuse).await;
        assert!(matches!(missing, Err(StoreError::Missing(_))));
    }
    let mut document = tenant("acme");
    document.revision = 2;
    assert!(matches!(store.replace_tenant(document).await, Err(StoreError::Missing(_))));
}

pub(super) async fn revisions_outlive_a_tenant(store: Arc<dyn Store>) {
    let id: TenantId = "acme".parse().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let created = store.create_tenant(tenant("acme")).await.unwrap();
        assert!(created.revision > last, "{} after {last}", created.revision);
        let replaced = store.replace_tenant(created.as_ref().clone()).await.unwrap();
        assert_eq!(replaced.revision, created.revision + 1);
        store.delete_tenant(&id, replaced.revision, TenantData::Refuse).await.unwrap();
        // The tombstone has a revision of its own, which whoever is told of the deletion can order.
        last = replaced.revision + 1;
    }
    assert_eq!(store.create_tenant(tenant("other")).await.unwrap().revision, 1);
}

pub(super) async fn deleted_only_without_documents(store: Arc<dyn Store>) {
    let (id, none) = ("acme".parse().unwrap(), fields("", ""));
    let places = [at("acme", "tasks", "Task"), at("acme", "hr-core", "Person"), at("acme2", "tasks", "Task")];
    store.create_tenant(tenant("acme")).await.unwrap();
    for place in &places {
        store.insert(place, &none, "1", b"{}".to_vec()).await.unwrap();
    }
    let refused = store.delete_tenant(&id, 1, TenantData::Refuse).await;
    assert!(matches!(refused, Err(StoreError::HasData { documents: 2 })));
    assert_eq!(store.tenant(&id).await.unwrap().unwrap().revision, 1);
    for place in &places[..2] {
        store.delete(place, "1", 1).await.unwrap();
    }
    store.delete_tenant(&id, 1, TenantData::Refuse).await.unwrap();
}

pub(super) async fn purged_with_documents_of_no_one_else(store: Arc<dyn Store>) {
    let (id, unique) = ("acme".parse().unwrap(), fields("number", ""));
    let (own, other) = (at("acme", "tasks", "Task"), at("acme2", "tasks", "Task"));
    store.create_tenant(tenant("acme")).await.unwrap();
    for place in [&own, &other] {
        store.insert(place, &unique, "1", br#"{"number":1}"#.to_vec()).await.unwrap();
    }
    store.delete_tenant(&id, 1, TenantData::Purge).await.unwrap();
    assert_eq!(store.get(&own, "1").await.unwrap(), None);
    assert_eq!(store.get(&other, "1").await.unwrap().unwrap().revision, 1);
    let values = serde_json::json!({ "equal": [["number", 1]] });
    assert!(store.find(&own, &unique, &super::question(values.clone())).await.unwrap().documents.is_empty());
    assert_eq!(store.find(&other, &unique, &super::question(values)).await.unwrap().documents.len(), 1);
    // A later tenant of this id inherits nothing, no unique value either.
    store.create_tenant(tenant("acme")).await.unwrap();
    assert_eq!(store.insert(&own, &unique, "2", br#"{"number":1}"#.to_vec()).await.unwrap(), 1);
}

pub(super) async fn paged_in_bytewise_order(store: Arc<dyn Store>) {
    for id in ["b", "a", "B", "a.b", "10", "9", "a-b", "gone", "a_b"] {
        store.create_tenant(tenant(id)).await.unwrap();
    }
    store.delete_tenant(&"gone".parse().unwrap(), 1, TenantData::Refuse).await.unwrap();
    let expected = ["10", "9", "B", "a", "a-b", "a.b", "a_b", "b"];
    for limit in [1, 3, 8, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.tenants(after.as_ref(), limit).await.unwrap();
            assert!(page.tenants.len() <= limit && page.unreadable.is_empty());
            found.extend(page.tenants.iter().map(|tenant| tenant.id.to_string()));
            after = page.tenants.last().map(|tenant| tenant.id.clone());
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
    let beyond = store.tenants(Some(&"z".parse().unwrap()), 5).await.unwrap();
    assert!(beyond.tenants.is_empty() && !beyond.more);
    // After an id that is not there itself.
    let page = store.tenants(Some(&"a-c".parse().unwrap()), 1).await.unwrap();
    assert_eq!((page.tenants[0].id.as_str(), page.more), ("a.b", true));
}

pub(super) async fn revisions_are_told_together(store: Arc<dyn Store>) {
    for id in ["a", "b", "c"] {
        store.create_tenant(tenant(id)).await.unwrap();
    }
    let b = store.tenant(&"b".parse().unwrap()).await.unwrap().unwrap();
    store.replace_tenant((*b).clone()).await.unwrap();
    store.delete_tenant(&"c".parse().unwrap(), 1, TenantData::Refuse).await.unwrap();
    let ids: Vec<TenantId> = ["c", "b", "never", "a"].map(|id| id.parse().unwrap()).into();
    assert_eq!(store.tenant_revisions(&ids).await.unwrap(), [None, Some(2), None, Some(1)]);
    assert!(store.tenant_revisions(&[]).await.unwrap().is_empty());
    assert_eq!(store.tenant_nearby(&ids[1]).await.unwrap().unwrap().revision, 2);
}

/// A handler that ends after its tenant was deleted writes once more.
pub(super) async fn begin_with_nothing(store: Arc<dyn Store>) {
    let (id, module) = ("acme".parse().unwrap(), "tasks".parse().unwrap());
    let (place, other) = (at("acme", "tasks", "Task"), at("acme2", "tasks", "Task"));
    let (before, now) = (fields("number", ""), fields("", "name"));
    for round in 1..4 {
        let created = store.create_tenant(tenant("acme")).await.unwrap();
        assert_eq!(store.get(&place, "late").await.unwrap(), None);
        assert!(store.find(&place, &now, &super::question(serde_json::json!({}))).await.unwrap().documents.is_empty());
        assert_eq!(store.backlog().await.unwrap().waiting, 0);
        // What the collection was indexed by before is not known any more, either.
        assert_eq!(store.insert(&place, &now, "1", br#"{"number":1,"name":"a"}"#.to_vec()).await.unwrap(), 1);
        let by_name = super::question(serde_json::json!({ "equal": [["name", "a"]] }));
        assert_eq!(super::ids(&store.find(&place, &now, &by_name).await.unwrap()), ["1"], "round {round}");
        store.delete_tenant(&id, created.revision, TenantData::Purge).await.unwrap();
        store.insert(&place, &before, "late", br#"{"number":1}"#.to_vec()).await.unwrap();
        if round == 1 {
            store.insert(&other, &before, "late", br#"{"number":1}"#.to_vec()).await.unwrap();
        }
        store.set_wake(&id, &module, "late", 5, None).await.unwrap();
    }
    assert!(store.get(&other, "late").await.unwrap().is_some(), "nobody else's go");
}
