//! Whether a store that is not on this machine can be reached, and how far what a host knows may be behind it.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Whether the truth can be reached, and since when what a host knows may be behind it. Cheap to read.
#[derive(Debug)]
pub struct Reach {
    /// Whether the last try reached the truth.
    reached: AtomicBool,
    /// Milliseconds since the Unix epoch; 0 while nothing is behind.
    behind_since: AtomicI64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { reached: AtomicBool::new(true), behind_since: AtomicI64::new(0) }
    }
}

impl Reach {
    /// Whether the last try reached the truth.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// For how many seconds what this host knows may have been behind the truth; `None` while it is not.
    pub fn seconds_behind(&self) -> Option<u64> {
        // The clock is not read while all is well: this is asked for each answer.
        match self.behind_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(u64::try_from((now_millis() - since) / 1000).unwrap_or(0)),
        }
    }

    /// Since when, in milliseconds since the Unix epoch.
    pub fn behind_since(&self) -> Option<i64> {
        Some(self.behind_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    /// A try did not reach the truth; whether that is news. `seen_at` is when it was last there, in milliseconds since
    /// the Unix epoch; now, where that is not known.
    pub fn lost(&self, seen_at: Option<i64>) -> bool {
        let since = seen_at.unwrap_or_else(now_millis).max(1);
        // Before the other: who sees that it is reached again must not find it up to date.
        let _ = self.behind_since.compare_exchange(0, since, Ordering::AcqRel, Ordering::Relaxed);
        self.reached.swap(false, Ordering::AcqRel)
    }

    /// A try has reached the truth again; whether that is news. What is known may still be behind.
    pub fn found(&self) -> bool {
        !self.reached.swap(true, Ordering::AcqRel)
    }

    /// All that is known was compared with the truth, from a moment on in which it had been behind `since` then: what
    /// was missed later is still to be compared.
    pub fn caught_up(&self, since: Option<i64>) {
        if let Some(since) = since.filter(|_| self.is_reached()) {
            let _ = self.behind_since.compare_exchange(since, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_behind_until_it_was_compared() {
        let reach = Reach::default();
        assert!(reach.is_reached() && reach.seconds_behind().is_none());
        assert!(reach.lost(Some(now_millis() - 9_500)) && !reach.lost(None));
        assert!(reach.seconds_behind().unwrap() >= 9);
        assert!(!reach.is_reached() && reach.seconds_behind().is_some());
        let since = reach.behind_since();
        reach.caught_up(since);
        assert!(reach.seconds_behind().is_some(), "nothing was compared while the truth was away");
        assert!(reach.found() && !reach.found());
        reach.caught_up(None);
        assert!(reach.seconds_behind().is_some(), "what was compared had begun before");
        reach.caught_up(since);
        assert!(reach.seconds_behind().is_none() && reach.behind_since().is_none());
    }
}
