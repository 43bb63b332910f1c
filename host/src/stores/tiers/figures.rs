//! What was found where.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Inner;

/// How often something was found in one place, and how often not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Found.
    pub hits: u64,
    /// Not found, or not reached.
    pub misses: u64,
}

/// What was found where since the start, and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierFigures {
    /// The cache that hosts share; `None` where there is none.
    pub shared: Option<SharedFigures>,
    /// First looks at tenants that went to the store.
    pub truth: Counted,
    /// What was last known, on this host's disk; `None` where nothing is kept.
    pub last_good: Option<LastGoodFigures>,
}

/// The cache that hosts share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedFigures {
    /// Whether the last try reached it.
    pub reached: bool,
    /// Tenants that were looked for in it.
    pub counted: Counted,
}

/// What is kept on this host's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastGoodFigures {
    /// Tenants that were looked for in it, while the store was away.
    pub counted: Counted,
    /// When all tenants were last compared with the store, in milliseconds since the Unix epoch; `None`: not since the
    /// host's start.
    pub copied_at: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) shared: Counter,
    pub(super) truth: Counter,
    pub(super) last_good: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counter {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    fn counted(&self) -> Counted {
        Counted { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }
}

impl Inner {
    pub(super) fn figures(&self) -> TierFigures {
        let shared = self.shared.as_ref();
        let last_good = self.last_good.as_ref();
        TierFigures {
            shared: shared
                .map(|it| SharedFigures { reached: it.is_reached(), counted: self.counters.shared.counted() }),
            truth: self.counters.truth.counted(),
            last_good: last_good
                .map(|it| LastGoodFigures { counted: self.counters.last_good.counted(), copied_at: it.copied_at() }),
        }
    }
}
