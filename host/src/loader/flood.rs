//! How much each tenant's use of a module may write to the log. What is more is dropped and counted; how much it was is
//! told once a second, by the watchdog.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::roll::Use;

/// What all uses of modules have in common.
#[derive(Debug)]
pub(super) struct LogLimit {
    /// Lines in a second for each use.
    lines: u32,
    /// Seconds by the watchdog's ticks: a clock that costs nothing to read.
    second: AtomicU64,
    /// Of whom lines were dropped in this second.
    flooding: Mutex<Vec<Arc<Use>>>,
}

/// What one use of a module wrote in the second that it wrote in last.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    number: u64,
    lines: u32,
    dropped: u64,
}

impl LogLimit {
    pub(super) fn new(lines: u32) -> Self {
        Self { lines, second: AtomicU64::new(0), flooding: Mutex::default() }
    }

    /// Whether a line may be written in the name of `user`; one that may not is counted.
    pub(super) fn admits(&self, user: &Arc<Use>) -> bool {
        let now = self.second.load(Ordering::Relaxed);
        let mut written = user.written.second();
        if written.number != now {
            (written.number, written.lines) = (now, 0);
        }
        if written.lines < self.lines {
            written.lines += 1;
            return true;
        }
        written.dropped += 1;
        let is_first = written.dropped == 1;
        drop(written);
        if is_first {
            self.flooding().push(Arc::clone(user));
        }
        false
    }

    fn flooding(&self) -> MutexGuard<'_, Vec<Arc<Use>>> {
        self.flooding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A second is over: everybody may write again. Gives those who wrote too much, with the number of lines dropped.
    pub(super) fn next_second(&self) -> Vec<(Arc<Use>, u64)> {
        self.second.fetch_add(1, Ordering::Relaxed);
        let flooding = std::mem::take(&mut *self.flooding());
        flooding
            .into_iter()
            .map(|user| (Arc::clone(&user), std::mem::take(&mut user.written.second().dropped)))
            .collect()
    }

    /// As [`LogLimit::next_second`], and tells operators.
    pub(super) fn tell(&self) {
        for (user, dropped) in self.next_second() {
            let (tenant, module, limit) = (&*user.tenant, &*user.module, self.lines);
            // Lines of a thread of the module's own are in no tenant's name.
            let tenant = (!tenant.is_empty()).then_some(tenant);
            tracing::warn!(
                tenant,
                module,
                dropped,
                limit,
                "lines of a module were dropped: it writes too many a second"
            );
        }
    }
}

impl Written {
    fn second(&self) -> MutexGuard<'_, Second> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_too_much_is_cut_short_until_the_next_second_and_nobody_else_is() {
        let limit = LogLimit::new(3);
        let (loud, quiet) = (Arc::new(Use::new("acme", "loud")), Arc::new(Use::new("acme", "quiet")));
        let admitted = |user| (0..10).filter(|_| limit.admits(user)).count();
        assert_eq!((admitted(&loud), admitted(&quiet)), (3, 3));
        assert!(!limit.admits(&loud));
        let mut told: Vec<_> =
            limit.next_second().into_iter().map(|(user, dropped)| (user.module.to_string(), dropped)).collect();
        told.sort();
        assert_eq!(told, [("loud".to_owned(), 8), ("quiet".to_owned(), 7)]);
        assert!(limit.admits(&loud));
        assert!(limit.next_second().is_empty());
    }
}
