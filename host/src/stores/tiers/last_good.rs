//! What was last known of tenants, flag definitions and marks, on this host's disk: a host that starts while the store
//! is away serves all tenants that it knew. Documents of modules are not kept here.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::Inner;
use crate::{
    names::TenantId,
    stores::{Mark, SqliteStore, Store, StoreChange, StoreError, StoredDefinitions, TenantDocument},
};

/// How many tenants are read and written at once.
const PAGE: usize = 200;

/// How long a copy that did not come about waits for the next try.
const RETRY: Duration = Duration::from_secs(1);

/// How many milliseconds lie between two notes that the truth was there.
const SEEN_EVERY: i64 = 5_000;

/// What was last known, kept in a folder.
#[derive(Debug)]
pub struct LastGood {
    kept: SqliteStore,
    waiting: Mutex<Waiting>,
    news: Notify,
    copied_at: AtomicI64,
    /// Its time says when the truth was last there; a host that starts without it reads it.
    seen: PathBuf,
    seen_at: AtomicI64,
    written_at: AtomicI64,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Waiting {
    /// The newest document of each tenant, or that it has to be read.
    tenants: BTreeMap<TenantId, Option<Arc<TenantDocument>>>,
    /// All tenants are to be compared.
    everything: bool,
    marks: Newest<Vec<Mark>>,
    definitions: Newest<Option<StoredDefinitions>>,
}

/// What the store said last; written where it is something else than before.
#[derive(Debug, Default)]
struct Newest<T> {
    found: Option<Arc<T>>,
    is_new: bool,
}

impl<T: PartialEq + Clone> Newest<T> {
    /// Whether it is news.
    fn keep(&mut self, found: &T) -> bool {
        let is_new = self.found.as_deref() != Some(found);
        if is_new {
            self.found = Some(Arc::new(found.clone()));
            self.is_new = true;
        }
        is_new
    }

    fn take(&mut self) -> Option<Arc<T>> {
        self.found.clone().filter(|_| std::mem::take(&mut self.is_new))
    }
}

impl LastGood {
    /// Opens or makes the copy in a folder.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        // At the start nobody knows what was missed.
        let waiting = Mutex::new(Waiting { everything: true, ..Waiting::default() });
        let kept = SqliteStore::open(folder)?;
        let seen = folder.join("seen");
        let time = std::fs::metadata(&seen).and_then(|metadata| metadata.modified()).ok();
        let seen_at = time.and_then(|time| Timestamp::try_from(time).ok()).map_or(0, Timestamp::as_millisecond);
        let (news, copied_at) = (Notify::new(), AtomicI64::new(0));
        Ok(Self {
            kept,
            waiting,
            news,
            copied_at,
            seen,
            seen_at: AtomicI64::new(seen_at),
            written_at: AtomicI64::new(0),
        })
    }

    /// The truth is there. Written down now and then, for a host that starts without it.
    pub(super) fn seen(&self) {
        let now = Timestamp::now().as_millisecond();
        self.seen_at.store(now, Ordering::Relaxed);
        if now - self.written_at.load(Ordering::Relaxed) < SEEN_EVERY {
            return;
        }
        self.written_at.store(now, Ordering::Relaxed);
        if let Err(error) = std::fs::File::create(&self.seen) {
            tracing::warn!(path = %self.seen.display(), %error, "when the store was last there can't be written down");
        }
    }

    /// When the truth was last there, in milliseconds since the Unix epoch.
    pub(super) fn seen_at(&self) -> Option<i64> {
        Some(self.seen_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// A tenant as it was last known.
    pub(super) async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
        let newest = self.waiting().tenants.get(id).cloned().flatten();
        match newest {
            Some(document) => Ok(Some(document)),
            None => self.kept.tenant(id).await,
        }
    }

    /// All else that was last known.
    pub(super) fn kept(&self) -> &SqliteStore {
        &self.kept
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a document; an older one never takes the place of a newer one.
    pub(super) fn keep(&self, document: Arc<TenantDocument>) {
        match self.waiting().tenants.entry(document.id.clone()) {
            Entry::Vacant(place) => drop(place.insert(Some(document))),
            // One that has to be read may be newer than this.
            Entry::Occupied(mut place) => {
                if place.get().as_ref().is_some_and(|it| it.revision < document.revision) {
                    place.insert(Some(document));
                }
            }
        }
        self.news.notify_one();
    }

    /// Notes what is to be looked at.
    pub(super) fn note(&self, change: StoreChange) {
        match change {
            StoreChange::Tenant { id, .. } => drop(self.waiting().tenants.insert(id, None)),
            StoreChange::Everything => self.waiting().everything = true,
            // Whoever reads these passes them on.
            StoreChange::Definitions | StoreChange::Marks | StoreChange::Deliveries => return,
        }
        self.news.notify_one();
    }

    /// The marks as they are in the truth.
    pub(super) fn keep_marks(&self, marks: &Vec<Mark>) {
        if self.waiting().marks.keep(marks) {
            self.news.notify_one();
        }
    }

    /// The definitions of flags as they are in the truth.
    pub(super) fn keep_definitions(&self, found: &Option<StoredDefinitions>) {
        if self.waiting().definitions.keep(found) {
            self.news.notify_one();
        }
    }

    /// When all was last compared, in milliseconds since the Unix epoch.
    pub(super) fn copied_at(&self) -> Option<i64> {
        Some(self.copied_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    pub(super) async fn close(&self) {
        self.kept.close().await;
    }
}

/// Keeps the copy up to date.
pub(super) async fn follow(inner: Arc<Inner>) {
    let Some(last_good) = &inner.last_good else { return };
    loop {
        let everything = inner.reach.is_reached() && std::mem::take(&mut last_good.waiting().everything);
        if everything {
            match copy_all(&inner, last_good).await {
                Ok(()) => last_good.copied_at.store(Timestamp::now().as_millisecond(), Ordering::Relaxed),
                Err(error) => {
                    last_good.waiting().everything = true;
                    tracing::debug!(%error, "tenants were not copied for a time without the store");
                }
            }
        }
        if let Err(error) = write(&inner, last_good).await {
            tracing::warn!(%error, "what is for a time without the store was not kept");
        }
        let is_left = last_good.waiting().everything;
        if is_left {
            // Until the store is back.
            let _ = tokio::time::timeout(RETRY, last_good.news.notified()).await;
        } else {
            last_good.news.notified().await;
        }
    }
}

/// Writes what waits; what can't be read now is read with the rest, once the store is back.
async fn write(inner: &Inner, last_good: &LastGood) -> Result<(), StoreError> {
    let (tenants, marks, definitions) = {
        let mut waiting = last_good.waiting();
        (std::mem::take(&mut waiting.tenants), waiting.marks.take(), waiting.definitions.take())
    };
    let (mut documents, mut gone) = (Vec::new(), Vec::new());
    for (id, document) in tenants {
        match document {
            Some(document) => documents.push(document),
            None => match inner.ask(inner.truth.tenant(&id)).await {
                Ok(Some(document)) => documents.push(document),
                Ok(None) => gone.push(id),
                // What was known before is better than nothing.
                Err(StoreError::Tenant(_)) => {}
                Err(_) => last_good.waiting().everything = true,
            },
        }
    }
    if !documents.is_empty() || !gone.is_empty() {
        last_good.kept.adopt(documents, gone).await?;
    }
    if let Some(marks) = marks {
        last_good.kept.adopt_marks(marks.to_vec()).await?;
    }
    if let Some(definitions) = definitions {
        last_good.kept.adopt_definitions(Option::clone(&definitions)).await?;
    }
    Ok(())
}

/// Reads all tenants, page by page, and writes those that differ. Those that are gone from the store go here too.
async fn copy_all(inner: &Inner, last_good: &LastGood) -> Result<(), StoreError> {
    let found = inner.ask(inner.truth.definitions()).await?;
    last_good.keep_definitions(&found);
    let marks = inner.ask(inner.truth.marks()).await?;
    last_good.keep_marks(&marks);
    let mut after: Option<TenantId> = None;
    loop {
        let page = inner.ask(inner.truth.tenants(after.as_ref(), PAGE)).await?;
        let until = page.tenants.last().map(|tenant| tenant.id.clone()).filter(|_| page.more);
        // What can't be understood there stays as it was here.
        let unreadable = page.unreadable.iter().filter_map(|it| it.tenant.as_deref()?.parse().ok()).collect();
        last_good.kept.adopt_page(after, until.clone(), page.tenants, unreadable).await?;
        match until {
            Some(until) => after = Some(until),
            None => return Ok(()),
        }
    }
}
