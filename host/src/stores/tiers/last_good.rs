//! What was last known of tenants, flag definitions and marks, on this host's disk: a host that starts while the store
//! is away serves all tenants that it knew. Documents of modules are not kept here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    names::TenantId,
    stores::{
        FlagSets, Mark, Marks, SqliteStore, Store, StoreChange, StoreError, StoredDefinitions, TenantDocument,
        TenantPage,
    },
};

/// How many milliseconds lie between two notes that the truth was there.
const SEEN_EVERY: i64 = 5_000;

/// What was last known, kept in a folder.
#[derive(Debug)]
pub struct LastGood {
    kept: SqliteStore,
    waiting: Mutex<Waiting>,
    news: Notify,
    copied_at: AtomicI64,
    /// Its time says until when all that the truth had is here; a host that starts without it reads it.
    seen: PathBuf,
    /// Whether all that the truth had was here at some time, as that note says of an earlier host.
    was_whole: bool,
    seen_at: AtomicI64,
    written_at: AtomicI64,
    /// How many readings of definitions have begun.
    readings: AtomicU64,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Waiting {
    tenants: BTreeMap<TenantId, Wanted>,
    /// All tenants are to be compared.
    everything: bool,
    marks: Newest<Vec<Mark>>,
    /// The marks have to be read.
    read_marks: bool,
    definitions: Newest<Option<StoredDefinitions>>,
    /// The number of the latest reading of definitions that has ended.
    last_reading: u64,
    /// Some of it was taken out and is not written yet.
    is_in_hand: bool,
}

impl Waiting {
    /// Whether all that is known to be in the truth is on the disk.
    fn is_empty(&self) -> bool {
        let is_news = self.marks.is_new || self.definitions.is_new || self.read_marks;
        !(self.is_in_hand || self.everything || is_news) && self.tenants.is_empty()
    }
}

/// What was taken out to be written.
#[derive(Debug, Default)]
pub(super) struct InHand {
    pub(super) tenants: BTreeMap<TenantId, Wanted>,
    pub(super) marks: Option<Arc<Vec<Mark>>>,
    pub(super) read_marks: bool,
    pub(super) definitions: Option<Arc<Option<StoredDefinitions>>>,
}

impl InHand {
    pub(super) fn is_some(&self) -> bool {
        let is_news = self.marks.is_some() || self.definitions.is_some() || self.read_marks;
        is_news || !self.tenants.is_empty()
    }
}

/// What is to become of a tenant.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The newest document that is known.
    pub(super) newest: Option<Arc<TenantDocument>>,
    /// It has to be read: there is one of this revision, or it is gone with it. 0 where that is not known.
    pub(super) read: Option<u64>,
}

impl Wanted {
    /// An older document never takes the place of a newer one.
    pub(super) fn keep(&mut self, document: Arc<TenantDocument>) {
        self.read = self.read.filter(|least| *least == 0 || *least > document.revision);
        if self.newest.as_ref().is_none_or(|it| it.revision < document.revision) {
            self.newest = Some(document);
        }
    }

    pub(super) fn want(&mut self, revision: u64) {
        let is_known = |it: &Arc<TenantDocument>| revision != 0 && it.revision >= revision;
        if !self.newest.as_ref().is_some_and(is_known) {
            self.read = Some(match self.read {
                Some(0) => 0,
                read if revision != 0 => read.unwrap_or(0).max(revision),
                _ => 0,
            });
        }
    }
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
        let was_whole = time.is_some();
        // What comes into a new copy is no older than this.
        let seen_at = time.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now);
        let (news, copied_at) = (Notify::new(), AtomicI64::new(0));
        Ok(Self {
            kept,
            waiting,
            news,
            copied_at,
            seen,
            was_whole,
            seen_at: AtomicI64::new(seen_at.as_millisecond()),
            written_at: AtomicI64::new(0),
            readings: AtomicU64::new(0),
        })
    }

    /// The truth is there. What it has is here too, unless some of it is still to be written.
    pub(super) fn seen(&self) {
        if self.waiting().is_empty() {
            self.up_to(Timestamp::now().as_millisecond());
        }
    }

    /// What the truth had then is here; nothing where some of it still waits to be copied. Written down now and then, for a
    /// host that starts without the truth.
    pub(super) fn up_to(&self, at: i64) {
        if self.waiting().everything {
            return;
        }
        let at = at.max(self.seen_at.fetch_max(at, Ordering::Relaxed));
        if at - self.written_at.load(Ordering::Relaxed) < SEEN_EVERY {
            return;
        }
        self.written_at.store(at, Ordering::Relaxed);
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or_default());
        let written = std::fs::File::create(&self.seen).and_then(|file| file.set_modified(time));
        if let Err(error) = written {
            tracing::warn!(path = %self.seen.display(), %error, "until when tenants are kept can't be written down");
        }
    }

    /// Until when all that the truth had is here, in milliseconds since the Unix epoch.
    pub(super) fn seen_at(&self) -> i64 {
        self.seen_at.load(Ordering::Relaxed)
    }

    /// A tenant as it was last known.
    pub(super) async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
        let newest = self.waiting().tenants.get(id).and_then(|wanted| wanted.newest.clone());
        match newest {
            Some(document) => Ok(Some(document)),
            None => self.kept.tenant(id).await,
        }
    }

    /// Whether all that the truth had was here at some time. Else that something is not here says nothing.
    pub(super) fn is_whole(&self) -> bool {
        self.was_whole || self.copied_at().is_some()
    }

    /// A page of all tenants as they were last known; `None` where not all were ever known.
    pub(super) async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Option<TenantPage>, StoreError> {
        if self.is_whole() { self.kept.tenants(after, limit).await.map(Some) } else { Ok(None) }
    }

    /// The definitions of flags as the truth last said, or as they were before this host started; `None` where that was
    /// never known.
    pub(super) async fn definitions(&self) -> Result<Option<Option<StoredDefinitions>>, StoreError> {
        let newest = self.waiting().definitions.found.clone();
        match newest {
            Some(found) => Ok(Some(Option::clone(&found))),
            None => Ok(Some(self.kept.definitions().await?).filter(|found| found.is_some() || self.is_whole())),
        }
    }

    /// The marks, likewise.
    pub(super) async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        let newest = self.waiting().marks.found.clone();
        match newest {
            Some(marks) => Ok(marks.to_vec()),
            None => self.kept.marks().await,
        }
    }

    /// What is on the disk.
    pub(super) fn kept(&self) -> &SqliteStore {
        &self.kept
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is to be done.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Keeps a document; an older one never takes the place of a newer one.
    pub(super) fn keep(&self, document: Arc<TenantDocument>) {
        self.waiting().tenants.entry(document.id.clone()).or_default().keep(document);
        self.news.notify_one();
    }

    /// Notes what is to be looked at.
    pub(super) fn note(&self, change: StoreChange) {
        match change {
            StoreChange::Tenant { id, revision } => self.waiting().tenants.entry(id).or_default().want(revision),
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

    /// The marks were changed in the truth, by this host.
    pub(super) fn change_marks(&self, change: impl FnOnce(&mut Vec<Mark>)) {
        let mut waiting = self.waiting();
        match waiting.marks.found.as_deref().cloned() {
            Some(mut marks) => {
                change(&mut marks);
                waiting.marks.keep(&marks);
            }
            None => waiting.read_marks = true,
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// The number of a reading of definitions that begins now.
    pub(super) fn begin_reading(&self) -> u64 {
        self.readings.fetch_add(1, Ordering::Relaxed)
    }

    /// The definitions of flags as they are in the truth, by a reading of this number. Of two answers that come in the wrong
    /// order the higher stays; that there are none is believed where no later reading has found some.
    pub(super) fn keep_definitions(&self, found: &Option<StoredDefinitions>, reading: u64) {
        let mut waiting = self.waiting();
        if found.is_none() && reading < waiting.last_reading {
            return;
        }
        waiting.last_reading = waiting.last_reading.max(reading);
        let known = waiting.definitions.found.as_deref().and_then(Option::as_ref).map(|known| known.revision);
        let is_older = found.as_ref().zip(known).is_some_and(|(found, known)| found.revision < known);
        if !is_older && waiting.definitions.keep(found) {
            self.news.notify_one();
        }
    }

    /// Whether all is to be compared, which whoever asks does now.
    pub(super) fn take_everything(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.is_in_hand |= waiting.everything;
        std::mem::take(&mut waiting.everything)
    }

    /// Takes out what is to be written.
    pub(super) fn take(&self) -> InHand {
        let mut waiting = self.waiting();
        let in_hand = InHand {
            tenants: std::mem::take(&mut waiting.tenants),
            marks: waiting.marks.take(),
            read_marks: std::mem::take(&mut waiting.read_marks),
            definitions: waiting.definitions.take(),
        };
        waiting.is_in_hand |= in_hand.is_some();
        in_hand
    }

    /// What was taken out is written, but for this.
    pub(super) fn put_back(&self, left: InHand) {
        let mut waiting = self.waiting();
        waiting.is_in_hand = false;
        waiting.read_marks |= left.read_marks;
        waiting.marks.is_new |= left.marks.is_some();
        waiting.definitions.is_new |= left.definitions.is_some();
        for (id, Wanted { newest, read }) in left.tenants {
            let wanted = waiting.tenants.entry(id).or_default();
            if let Some(revision) = read {
                wanted.want(revision);
            }
            if let Some(document) = newest {
                wanted.keep(document);
            }
        }
    }

    pub(super) fn is_everything_wanted(&self) -> bool {
        self.waiting().everything
    }

    /// All was compared.
    pub(super) fn copied(&self, at: i64) {
        self.copied_at.store(at, Ordering::Relaxed);
    }

    /// When all was last compared, in milliseconds since the Unix epoch.
    pub(super) fn copied_at(&self) -> Option<i64> {
        Some(self.copied_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    pub(super) async fn close(&self) {
        self.kept.close().await;
    }
}
