//! What lies between a host and a store that others share: a cache that hosts share, where there is one, and on this
//! host's disk what was last known of tenants, flags and marks. The store stays the truth: writes go to it alone, and
//! what was read elsewhere is for the first look at a tenant and for the time while the truth is away.

mod copying;
mod figures;
mod last_good;
mod pass_on;
mod probe;
mod proof;
mod shared_cache;
mod tenants;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};

pub use figures::{Counted, LastGoodFigures, SharedFigures, TierFigures};
pub use last_good::LastGood;
pub use shared_cache::{SharedCache, SharedCacheError, SharedCacheSettings};

use self::{figures::Counters, proof::Unproven};
use super::{ChangeListener, Reach, Store, StoreChange, StoreError};

/// A shared store with what lies before it.
pub struct Tiered {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    truth: Arc<dyn Store>,
    shared: Option<SharedCache>,
    last_good: Option<LastGood>,
    reach: Arc<Reach>,
    /// Somebody could not reach the truth: it is looked at now.
    doubt: Notify,
    /// The truth went away: who waits for its answer need not any more.
    lost: Notify,
    unproven: Unproven,
    listener: Mutex<Option<ChangeListener>>,
    counters: Counters,
    /// Where what nobody waits for is done.
    runtime: Handle,
}

/// The truth is known to be away, so it was not asked.
#[derive(Debug, thiserror::Error)]
#[error("the store could not be reached when it was last tried")]
struct Away;

/// The truth went away before it had answered. What it was to do may still be done.
#[derive(Debug, thiserror::Error)]
#[error("the store went away before it had answered")]
struct Lost;

impl Tiered {
    /// Puts a cache and a copy on the disk before a store. Tasks run on `runtime` until this is dropped.
    pub fn start(
        truth: Arc<dyn Store>,
        shared: Option<SharedCache>,
        last_good: Option<LastGood>,
        runtime: &Handle,
    ) -> Self {
        let inner = Arc::new(Inner {
            truth,
            shared,
            last_good,
            reach: Arc::default(),
            doubt: Notify::new(),
            lost: Notify::new(),
            unproven: Unproven::default(),
            listener: Mutex::default(),
            counters: Counters::default(),
            runtime: runtime.clone(),
        });
        let heard = Arc::downgrade(&inner);
        inner.truth.listen(Arc::new(move |change| tell(&heard, change)));
        let mut tasks = vec![runtime.spawn(probe::run(Arc::clone(&inner)))];
        if let Some(shared) = &inner.shared {
            let heard = Arc::downgrade(&inner);
            tasks.push(runtime.spawn(shared.follow(Arc::new(move |change| tell_from_cache(&heard, change)))));
        }
        if inner.last_good.is_some() {
            tasks.push(runtime.spawn(copying::follow(Arc::clone(&inner))));
        }
        tasks.push(runtime.spawn(proof::run(Arc::clone(&inner))));
        Self { inner, tasks }
    }

    /// Whether the truth is there, looked at now: before it the first answer would be a guess.
    pub async fn look(&self) {
        probe::look(&self.inner).await;
    }

    /// What was found where, and what there is.
    pub fn figures(&self) -> TierFigures {
        self.inner.figures()
    }

    /// Ends the tasks and closes the copy on the disk.
    pub async fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(last_good) = &self.inner.last_good {
            last_good.close().await;
        }
    }
}

impl Drop for Tiered {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered").field("reach", &self.inner.reach).finish_non_exhaustive()
    }
}

fn tell(inner: &Weak<Inner>, change: StoreChange) {
    if let Some(inner) = inner.upgrade() {
        inner.heard(change);
    }
}

/// The cache's word. What it may have missed is no reason to copy anything: the truth tells the same by itself.
fn tell_from_cache(inner: &Weak<Inner>, change: StoreChange) {
    let Some(inner) = inner.upgrade() else { return };
    match change {
        StoreChange::Everything => inner.pass_on(change),
        change => inner.heard(change),
    }
}

impl Inner {
    /// Something was changed in the truth.
    fn heard(&self, change: StoreChange) {
        if let Some(last_good) = &self.last_good {
            last_good.note(change.clone());
        }
        self.pass_on(change);
    }

    fn pass_on(&self, change: StoreChange) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener {
            listener(change);
        }
    }

    /// Asks the truth, unless it is known to be away. Its answer is not waited for any longer once it is.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        // Before the look, so that nothing is lost in between.
        let lost = self.lost.notified();
        if !self.reach.is_reached() {
            return Err(StoreError::Unavailable(Box::new(Away)));
        }
        let answer = tokio::select! {
            biased;
            answer = asking => answer,
            () = lost => return Err(StoreError::Unavailable(Box::new(Lost))),
        };
        if matches!(answer, Err(StoreError::Unavailable(_))) {
            self.doubt.notify_one();
        }
        answer
    }
}

/// Whether others are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It was there before.
    Read,
    /// This host has just written it.
    Written,
}
