//! Flag definitions: conditional writes, and that their revision goes on.

use std::sync::Arc;

use super::StoreError;
use crate::stores::Store;

const TEXT: &str = "{\"flags\": {} } \u{e4}\n";

pub(super) async fn are_kept_as_written(store: Arc<dyn Store>) {
    assert_eq!(store.definitions().await.unwrap(), None);
    assert_eq!(store.put_definitions(Some(TEXT.to_owned()), 0).await.unwrap(), 1);
    let found = store.definitions().await.unwrap().unwrap();
    assert_eq!((found.revision, &*found.text), (1, TEXT));
    let written = found.updated_at.unwrap();
    assert!(written <= jiff::Timestamp::now());
    assert_eq!(store.put_definitions(Some("no JSON".to_owned()), 1).await.unwrap(), 2);
    let found = store.definitions().await.unwrap().unwrap();
    assert_eq!((found.revision, &*found.text), (2, "no JSON"), "the store doesn't read them");
    assert!(found.updated_at.unwrap() >= written);
}

pub(super) async fn are_replaced_by_revision_only(store: Arc<dyn Store>) {
    let put = |text: Option<&str>, expected| {
        let (store, text) = (Arc::clone(&store), text.map(str::to_owned));
        async move { store.put_definitions(text, expected).await }
    };
    for (text, expected) in [(Some("{}"), 1), (None, 0), (None, 1)] {
        assert!(matches!(put(text, expected).await, Err(StoreError::Missing(_))), "{text:?} {expected}");
    }
    put(Some("{}"), 0).await.unwrap();
    put(Some("{}"), 1).await.unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        for text in [Some("x"), None] {
            let refused = put(text, wrong).await;
            assert!(matches!(refused, Err(StoreError::Revision { expected, found: 2 }) if expected == wrong));
        }
    }
    assert_eq!(&*store.definitions().await.unwrap().unwrap().text, "{}");
}

pub(super) async fn go_on_after_they_were_taken_away(store: Arc<dyn Store>) {
    store.put_definitions(Some("a".to_owned()), 0).await.unwrap();
    assert_eq!(store.put_definitions(None, 1).await.unwrap(), 2);
    assert_eq!(store.definitions().await.unwrap(), None);
    for expected in [1, 2, 3] {
        let refused = store.put_definitions(Some("b".to_owned()), expected).await;
        assert!(matches!(refused, Err(StoreError::Missing(_))), "nothing is there that could have revision {expected}");
    }
    assert_eq!(store.put_definitions(Some("b".to_owned()), 0).await.unwrap(), 3);
    let found = store.definitions().await.unwrap().unwrap();
    assert_eq!((found.revision, &*found.text), (3, "b"));
}

pub(super) async fn do_not_go_with_a_tenant(store: Arc<dyn Store>) {
    let document = store.create_tenant(super::tenant("acme")).await.unwrap();
    store.put_definitions(Some("a".to_owned()), 0).await.unwrap();
    store.delete_tenant(&document.id, document.revision, crate::stores::TenantData::Purge).await.unwrap();
    assert_eq!(store.definitions().await.unwrap().unwrap().revision, 1);
}
