//! The cache that hosts share, and what is made of one that is wrong or goes away.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::{JoinHandle, JoinSet},
};

use super::{
    super::{News, SharedCache, SharedCacheSettings, Tiered, shared_cache::Entry},
    Logged,
    faulty::{Faulty, Manner},
    id, kept, until,
};
use crate::stores::{SqliteStore, Store, StoreChange, StoreError, TenantData, TenantDocument, contract};

fn cache(test: &str, prefix: &str) -> Option<SharedCache> {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        println!("SKIPPED: {test}: TEST_REDIS_URL names no server; `cargo xtask test` starts one");
        return None;
    };
    Some(cache_at(url, prefix))
}

fn cache_at(url: String, prefix: &str) -> SharedCache {
    let lifetime = Duration::from_secs(60);
    let settings = SharedCacheSettings { url, prefix: prefix.to_owned(), lifetime };
    SharedCache::new(settings, &Handle::current()).unwrap()
}

/// A host on a cache, a cache of the test's own beside it, and what the host tells.
struct Site {
    _folder: tempfile::TempDir,
    prefix: String,
    truth: Arc<Faulty>,
    tiered: Tiered,
    cache: SharedCache,
    told: UnboundedReceiver<StoreChange>,
}

impl Site {
    /// `None` where there is no server.
    async fn start(what: &str) -> Option<Self> {
        let prefix = format!("test-{}[*]:", uuid::Uuid::now_v7());
        let (cache, its) = (cache(what, &prefix)?, cache(what, &prefix)?);
        let folder = tempfile::tempdir().unwrap();
        let truth = Faulty::open(folder.path());
        let (tell, told) = unbounded_channel();
        let last_good = Some(kept(folder.path()));
        let tiered = Tiered::start(Arc::clone(&truth) as _, Some(its), last_good, &Handle::current());
        tiered.listen(Arc::new(move |change| drop(tell.send(change))));
        tokio::spawn(cache.follow(Arc::new(|_| {})));
        until("both have the cache", async || {
            cache.is_reached() && tiered.figures().shared.is_some_and(|shared| shared.reached)
        })
        .await;
        Some(Self { _folder: folder, prefix, truth, tiered, cache, told })
    }

    /// Tenant `acme` with its first revision, in the cache.
    async fn acme(&self) -> Arc<TenantDocument> {
        let acme = self.tiered.create_tenant(contract::tenant("acme")).await.unwrap();
        self.until_cached(&Entry::Document(Arc::clone(&acme))).await;
        acme
    }

    async fn until_cached(&self, entry: &Entry) {
        until("the cache has it", async || self.cache.get(&id("acme")).await == *entry).await;
    }

    async fn until_told(&mut self, wanted: &StoreChange) {
        let waiting = async { while self.told.recv().await.expect("more").ne(wanted) {} };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it is told");
    }
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
    until("the newest is in the cache", async || cache.get(&id("acme")).await == Entry::Document(Arc::clone(&second)))
        .await;
    // What is older never takes its place.
    cache.set(&created, News::Read).await;
    assert_eq!(other.tenant_nearby(&id("acme")).await.unwrap().as_deref(), Some(&*second));
    assert_eq!(other.figures().shared.unwrap().counted.hits, 1);
    assert_eq!(other.figures().truth.hits, 0);
    one.delete_tenant(&id("acme"), 2, TenantData::Refuse).await.unwrap();
    until("the deletion is in the cache", async || cache.get(&id("acme")).await == Entry::Deleted).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_gone_does_not_come_back_from_the_cache() {
    let Some(site) = Site::start("a cache that has what was deleted").await else { return };
    let acme = site.acme().await;
    let on_disk = site.tiered.inner.last_good.as_ref().unwrap().kept();
    until("it is on the disk", async || on_disk.tenant(&acme.id).await.unwrap().is_some()).await;
    // By whoever does not tell the cache.
    site.truth.store.delete_tenant(&acme.id, 1, TenantData::Refuse).await.unwrap();
    assert!(matches!(site.cache.get(&acme.id).await, Entry::Document(_)), "nobody has noticed");
    assert!(site.tiered.tenant(&acme.id).await.unwrap().is_none());
    assert_eq!(site.cache.get(&acme.id).await, Entry::Deleted);
    assert!(site.tiered.tenant_nearby(&acme.id).await.unwrap().is_none());
    until("it is off the disk", async || on_disk.tenant(&acme.id).await.unwrap().is_none()).await;
    // One that was made since is another.
    let again = site.tiered.create_tenant(contract::tenant("acme")).await.unwrap();
    site.until_cached(&Entry::Document(Arc::clone(&again))).await;
    site.cache.bury(&acme.id, 1).await;
    assert_eq!(site.cache.get(&acme.id).await, Entry::Document(again));
    site.tiered.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_deleted_is_not_read_from_the_disk() {
    let Some(site) = Site::start("a deletion that the disk has not heard of").await else { return };
    let acme = site.acme().await;
    let on_disk = site.tiered.inner.last_good.as_ref().unwrap().kept();
    until("it is on the disk", async || on_disk.tenant(&acme.id).await.unwrap().is_some()).await;
    site.truth.calls(Manner::Refuses);
    site.cache.delete(&acme.id, 2).await;
    site.until_cached(&Entry::Deleted).await;
    assert!(matches!(site.tiered.tenant_nearby(&acme.id).await, Err(StoreError::Unavailable(_))));
    site.tiered.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_have_been_carried_out_leaves_nothing_older_in_the_cache() {
    let Some(site) = Site::start("writes without an answer").await else { return };
    let acme = site.acme().await;
    site.truth.calls(Manner::DoesAndRefuses);
    assert!(site.tiered.replace_tenant((*acme).clone()).await.is_err());
    site.until_cached(&Entry::Nothing).await;
    site.truth.calls(Manner::Answers);
    let second = site.tiered.tenant_nearby(&acme.id).await.unwrap().unwrap();
    assert_eq!(second.revision, 2);
    site.until_cached(&Entry::Document(second)).await;
    site.truth.calls(Manner::DoesAndRefuses);
    assert!(site.tiered.delete_tenant(&acme.id, 2, TenantData::Refuse).await.is_err());
    site.until_cached(&Entry::Nothing).await;
    site.truth.calls(Manner::Answers);
    assert!(site.tiered.tenant_nearby(&acme.id).await.unwrap().is_none());
    site.tiered.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_answered_is_compared_with_the_truth() {
    let Some(mut site) = Site::start("a cache that is behind").await else { return };
    let acme = site.acme().await;
    // By a host that can't reach the cache; and nothing else tells of it.
    site.truth.store.replace_tenant((*acme).clone()).await.unwrap();
    assert_eq!(site.tiered.tenant_nearby(&acme.id).await.unwrap().unwrap().revision, 1);
    site.until_told(&StoreChange::Tenant { id: acme.id.clone(), revision: 2 }).await;
    site.truth.store.delete_tenant(&acme.id, 2, TenantData::Refuse).await.unwrap();
    assert!(site.tiered.tenant_nearby(&acme.id).await.unwrap().is_some());
    site.until_told(&StoreChange::Tenant { id: acme.id.clone(), revision: 2 }).await;
    site.until_cached(&Entry::Deleted).await;
    site.tiered.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_read_from_the_truth() {
    let Some(site) = Site::start("forgetting what the cache has").await else { return };
    let acme = site.acme().await;
    let wrong = TenantDocument { revision: 99, ..(*acme).clone() };
    let other = contract::tenant("other");
    // Its prefix is what this one's would be as a pattern.
    let neighbour = cache("", &site.prefix.replace("[*]", "*")).unwrap();
    tokio::spawn(neighbour.follow(Arc::new(|_| {})));
    until("the neighbour has the cache", async || neighbour.is_reached()).await;
    neighbour.set(&acme, News::Read).await;
    for only in [Some(&acme.id), None] {
        site.cache.set(&wrong, News::Read).await;
        site.cache.set(&other, News::Read).await;
        assert_eq!(site.tiered.tenant_nearby(&acme.id).await.unwrap().unwrap().revision, 99);
        site.tiered.forget_nearby(only).await.unwrap();
        assert_eq!(site.tiered.tenant_nearby(&acme.id).await.unwrap().unwrap().revision, 1);
        let is_left = matches!(site.cache.get(&other.id).await, Entry::Document(_));
        assert_eq!(is_left, only.is_some());
    }
    assert!(matches!(neighbour.get(&acme.id).await, Entry::Document(_)), "it is another's");
    site.tiered.close().await;
}

/// Passes connections on to the server for as long as it runs; with its end all of them break.
async fn pass_on(port: u16, to: SocketAddr) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passing = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut to = TcpStream::connect(to).await?;
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    (port, passing)
}

#[tokio::test]
async fn a_cache_whose_connection_breaks_is_told_of_in_the_log() {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        println!("SKIPPED: a broken connection: TEST_REDIS_URL names no server; `cargo xtask test` starts one");
        return;
    };
    let (logged, _guard) = Logged::start();
    let address = url.trim_start_matches("redis://").split('/').next().unwrap().parse().unwrap();
    let (port, passing) = pass_on(0, address).await;
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let cache = cache_at(format!("redis://127.0.0.1:{port}/"), "test-broken:");
    let last_good = Some(kept(folder.path()));
    let tiered = Tiered::start(Arc::clone(&truth) as _, Some(cache), last_good, &Handle::current());
    until("the cache is there", async || tiered.figures().shared.unwrap().reached).await;
    passing.abort();
    until("it is told of", async || logged.lines(&["WARN", "the shared cache is away"]) == 1).await;
    assert!(!tiered.figures().shared.unwrap().reached);
    let (_, passing) = pass_on(port, address).await;
    until("the cache is back", async || tiered.figures().shared.unwrap().reached).await;
    assert_eq!(logged.lines(&["the shared cache is away"]), 1);
    tiered.close().await;
    passing.abort();
}
