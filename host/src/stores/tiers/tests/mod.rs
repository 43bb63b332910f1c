//! The copy on the disk and what is before the truth, with an embedded store as the truth. The shared cache needs a
//! server: `TEST_REDIS_URL` names one.

mod away;
mod cache;
mod disk;
pub(crate) mod faulty;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{LastGood, Tiered};
use crate::{
    names::TenantId,
    stores::{FlagSets, Marks, SqliteStore, Store, StoreError, TenantData, contract},
};

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// What is logged on this thread, from warnings on: for tests that run on one thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let writer = logged.clone();
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        (logged, tracing::subscriber::set_default(log.with_writer(move || writer.clone()).finish()))
    }

    /// How many lines have all of this.
    fn lines(&self, parts: &[&str]) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kept(folder: &std::path::Path) -> LastGood {
    LastGood::open(&folder.join("last-good")).unwrap()
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
    until("all is kept", async || {
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
    assert!(matches!(tiered.marks().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(tiered.definitions().await, Err(StoreError::Unavailable(_))), "only what is in force there");
    assert!(tiered.marks_nearby().await.unwrap().is_empty());
    assert_eq!(tiered.definitions_nearby().await.unwrap().unwrap().revision, 1);
    assert_eq!(tiered.tenants(None, 10).await.unwrap().tenants.len(), 2);
    tiered.close().await;
    drop(tiered);

    // Another host process on the same folder, which never sees the truth.
    let away = Arc::new(SqliteStore::open(folder.path().join("another")).unwrap());
    away.close().await;
    let later = Tiered::start(away, None, Some(kept(folder.path())), &Handle::current());
    later.look().await;
    assert_eq!(later.tenant_nearby(&id("known")).await.unwrap().unwrap().revision, 4);
    assert_eq!(later.definitions_nearby().await.unwrap().unwrap().revision, 1);
    assert!(later.reach().unwrap().behind_since().unwrap() > 0);
    later.close().await;
}
