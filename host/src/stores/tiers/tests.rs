//! The copy on the disk and what is before the truth, with an embedded store as the truth. The shared cache needs a
//! server: `TEST_REDIS_URL` names one.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{LastGood, SharedCache, SharedCacheSettings, Tiered};
use crate::{
    names::TenantId,
    stores::{FlagSets, Marks, SqliteStore, Store, StoreError, TenantData, contract},
};

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn kept(folder: &std::path::Path) -> LastGood {
    LastGood::open(&folder.join("last-good")).unwrap()
}

fn cache(test: &str, prefix: &str) -> Option<SharedCache> {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        println!("SKIPPED: {test}: TEST_REDIS_URL names no server; `cargo xtask test` starts one");
        return None;
    };
    let lifetime = Duration::from_secs(60);
    let settings = SharedCacheSettings { url, prefix: prefix.to_owned(), lifetime };
    Some(SharedCache::new(settings, &Handle::current()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store_as_any_other() {
    contract::all(async || {
        let folder = tempfile::tempdir().unwrap();
        let truth = Arc::new(SqliteStore::open(folder.path().join("truth")).unwrap());
        let tiered = Tiered::start(truth, None, Some(kept(folder.path())), &Handle::current());
        let store: Arc<dyn Store> = Arc::new(tiered);
        (store, folder)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_is_there_when_the_truth_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Arc::new(SqliteStore::open(folder.path().join("truth")).unwrap());
    // Before anybody looks: found by the first comparison.
    let before = truth.create_tenant(contract::tenant("before")).await.unwrap();
    truth.put_definitions(Some("{\"flags\":{}}".to_owned()), 0).await.unwrap();
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let mut known = tiered.create_tenant(contract::tenant("known")).await.unwrap();
    for _ in 0..3 {
        known = tiered.replace_tenant((*known).clone()).await.unwrap();
    }
    let gone = tiered.create_tenant(contract::tenant("gone")).await.unwrap();
    tiered.delete_tenant(&gone.id, gone.revision, TenantData::Refuse).await.unwrap();
    until("all is kept", || async {
        let kept = tiered.inner.last_good.as_ref().unwrap().kept();
        let (known, before, gone) =
            (kept.tenant(&id("known")).await, kept.tenant(&id("before")).await, kept.tenant(&id("gone")).await);
        known.unwrap().is_some_and(|it| it.revision == 4)
            && before.unwrap().is_some()
            && gone.unwrap().is_none()
            && kept.definitions().await.unwrap().is_some()
    })
    .await;
    assert!(tiered.figures().last_good.unwrap().copied_at.is_some());

    truth.close().await;
    tiered.look().await;
    assert!(tiered.reach().unwrap().seconds_behind().is_some());
    assert_eq!(tiered.tenant_nearby(&id("known")).await.unwrap().as_deref(), Some(&*known));
    assert_eq!(tiered.tenant_nearby(&id("before")).await.unwrap().as_deref(), Some(&*before));
    assert!(matches!(tiered.tenant_nearby(&id("gone")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(tiered.tenant(&id("known")).await, Err(StoreError::Unavailable(_))), "a change needs the truth");
    assert!(matches!(tiered.replace_tenant((*known).clone()).await, Err(StoreError::Unavailable(_))));
    assert!(tiered.marks().await.unwrap().is_empty());
    assert_eq!(tiered.definitions().await.unwrap().unwrap().revision, 1);
    assert_eq!(tiered.tenants(None, 10).await.unwrap().tenants.len(), 2);
    tiered.close().await;
    drop(tiered);

    // Another host process on the same folder, which never sees the truth.
    let away = Arc::new(SqliteStore::open(folder.path().join("another")).unwrap());
    away.close().await;
    let later = Tiered::start(away, None, Some(kept(folder.path())), &Handle::current());
    later.look().await;
    assert_eq!(later.tenant_nearby(&id("known")).await.unwrap().unwrap().revision, 4);
    assert!(later.reach().unwrap().behind_since().unwrap() > 0);
    later.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_cache_gives_what_another_host_has_read_and_tells_of_writes() {
    let prefix = format!("test-{}:", uuid::Uuid::now_v7());
    let Some(cache) = cache("the shared cache", &prefix) else { return };
    let cache_of = || super::tests::cache("the shared cache", &prefix);
    let folder = tempfile::tempdir().unwrap();
    let truth = Arc::new(SqliteStore::open(folder.path().join("truth")).unwrap());
    let [one, other] = [0, 1].map(|_| Tiered::start(Arc::clone(&truth) as _, cache_of(), None, &Handle::current()));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    other.listen(Arc::new(move |change| drop(tell.send(change))));
    until("both have the cache", || async {
        [&one, &other].iter().all(|it| it.figures().shared.is_some_and(|shared| shared.reached))
    })
    .await;
    let following = tokio::spawn(cache.follow(Arc::new(|_| {})));
    until("the test has the cache", || async { cache.is_reached() }).await;
    let created = one.create_tenant(contract::tenant("acme")).await.unwrap();
    let second = one.replace_tenant((*created).clone()).await.unwrap();
    until("the newest is in the cache", || async {
        cache.get(&id("acme")).await.is_some_and(|found| *found == *second)
    })
    .await;
    // What is older never takes its place.
    cache.set(&created, super::News::Read).await;
    assert_eq!(other.tenant_nearby(&id("acme")).await.unwrap().as_deref(), Some(&*second));
    assert_eq!(other.figures().shared.unwrap().counted.hits, 1);
    assert_eq!(other.figures().truth.hits, 0);
    one.delete_tenant(&id("acme"), 2, TenantData::Refuse).await.unwrap();
    until("the deletion is in the cache", || async { cache.get(&id("acme")).await.is_none() }).await;
    assert!(other.tenant_nearby(&id("acme")).await.unwrap().is_none());
    let mut revisions = Vec::new();
    while revisions.len() < 3 {
        let change = tokio::time::timeout(Duration::from_secs(30), told.recv()).await.expect("word of each write");
        if let Some(crate::stores::StoreChange::Tenant { revision, .. }) = change {
            revisions.push(revision);
        }
    }
    // Tasks of their own send them: whoever hears goes by the highest.
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3]);
    following.abort();
    for tiered in [one, other] {
        tiered.close().await;
    }
}
