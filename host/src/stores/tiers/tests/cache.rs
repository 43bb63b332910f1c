//! The cache that hosts share.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

use super::{
    super::{News, SharedCache, SharedCacheSettings, Tiered},
    id, until,
};
use crate::stores::{SqliteStore, Store, StoreChange, TenantData, contract};

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
async fn the_shared_cache_gives_what_another_host_has_read_and_tells_of_writes() {
    let prefix = format!("test-{}:", uuid::Uuid::now_v7());
    let Some(cache) = cache("the shared cache", &prefix) else { return };
    let cache_of = || super::cache::cache("the shared cache", &prefix);
    let folder = tempfile::tempdir().unwrap();
    let truth = Arc::new(SqliteStore::open(folder.path().join("truth")).unwrap());
    let [one, other] = [0, 1].map(|_| Tiered::start(Arc::clone(&truth) as _, cache_of(), None, &Handle::current()));
    let (tell, mut told) = unbounded_channel();
    other.listen(Arc::new(move |change| drop(tell.send(change))));
    until("both have the cache", async || {
        [&one, &other].iter().all(|it| it.figures().shared.is_some_and(|shared| shared.reached))
    })
    .await;
    let following = tokio::spawn(cache.follow(Arc::new(|_| {})));
    until("the test has the cache", async || cache.is_reached()).await;
    let created = one.create_tenant(contract::tenant("acme")).await.unwrap();
    let second = one.replace_tenant((*created).clone()).await.unwrap();
    until("the newest is in the cache", async || cache.get(&id("acme")).await.is_some_and(|found| *found == *second))
        .await;
    // What is older never takes its place.
    cache.set(&created, News::Read).await;
    assert_eq!(other.tenant_nearby(&id("acme")).await.unwrap().as_deref(), Some(&*second));
    assert_eq!(other.figures().shared.unwrap().counted.hits, 1);
    assert_eq!(other.figures().truth.hits, 0);
    one.delete_tenant(&id("acme"), 2, TenantData::Refuse).await.unwrap();
    until("the deletion is in the cache", async || cache.get(&id("acme")).await.is_none()).await;
    assert!(other.tenant_nearby(&id("acme")).await.unwrap().is_none());
    let mut revisions = Vec::new();
    while revisions.len() < 3 {
        let change = tokio::time::timeout(Duration::from_secs(30), told.recv()).await.expect("word of each write");
        if let Some(StoreChange::Tenant { revision, .. }) = change {
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
