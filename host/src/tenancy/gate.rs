//! The gate of one instance: counts who is inside, refuses those over the limit, and tells when a closed one
//! is empty. A count and two named states; never a sleep.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The state bit of a closed gate; below it are the numbers of those inside: hooks of the host's own, then requests.
const CLOSED: u64 = 1 << 63;
/// One hook.
const HOOK: u64 = 1 << 32;
/// Where requests are counted.
const REQUESTS: u64 = HOOK - 1;

/// Counts leases of one instance.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// `CLOSED`, and the count.
    state: AtomicU64,
    /// The supervisor's tick at the last entry: how long the instance has been idle.
    last_tick: AtomicU32,
    /// Set once, when the drain deadline has passed.
    cut: AtomicBool,
    /// Wakes the one who drains.
    emptied: Notify,
    /// Wakes those still inside when they are cut.
    cut_notice: Notify,
}

/// Why a gate let nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As many are inside as may be.
    Full,
    /// The instance is being drained: its successor serves.
    Closed,
}

impl Gate {
    /// An open gate; `tick` is the supervisor's at this moment.
    pub(super) fn open(tick: u32) -> Self {
        Self { last_tick: AtomicU32::new(tick), ..Self::default() }
    }

    /// Lets one in. The caller leaves by [`Gate::leave`], exactly once.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; then nothing was counted.
    pub(super) fn enter(&self, limit: u32, tick: u32) -> Result<(), Refusal> {
        // Counts first and looks then: a drain that closes in between sees the count and waits.
        let before = self.state.fetch_add(1, Ordering::AcqRel);
        if before & CLOSED != 0 {
            self.leave();
            return Err(Refusal::Closed);
        }
        if before & REQUESTS >= u64::from(limit) {
            self.leave();
            return Err(Refusal::Full);
        }
        if self.last_tick.load(Ordering::Relaxed) != tick {
            self.last_tick.store(tick, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Lets one in that is no request: it takes nobody's place, and a drain waits for it all the same. The caller leaves
    /// by [`Gate::leave_hook`], exactly once.
    ///
    /// # Errors
    ///
    /// `Closed`; then nothing was counted.
    pub(super) fn enter_hook(&self) -> Result<(), Refusal> {
        if self.state.fetch_add(HOOK, Ordering::AcqRel) & CLOSED != 0 {
            self.leave_hook();
            return Err(Refusal::Closed);
        }
        Ok(())
    }

    /// One goes out.
    pub(super) fn leave(&self) {
        self.goes_out(1);
    }

    /// One goes out that came by [`Gate::enter_hook`].
    pub(super) fn leave_hook(&self) {
        self.goes_out(HOOK);
    }

    fn goes_out(&self, one: u64) {
        if self.state.fetch_sub(one, Ordering::AcqRel) == CLOSED | one {
            self.emptied.notify_one();
        }
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        if self.state.fetch_or(CLOSED, Ordering::AcqRel) == 0 {
            self.emptied.notify_one();
        }
    }

    /// Lets nobody in any more, if nobody is inside; says whether that was so.
    pub(super) fn close_if_empty(&self) -> bool {
        self.state.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes [`Gate::close_if_empty`] back. Those it refused ask the supervisor, and then come again.
    pub(super) fn reopen(&self) {
        self.state.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// How many are inside.
    pub(super) fn inside(&self) -> u64 {
        let state = self.state.load(Ordering::Acquire) & !CLOSED;
        (state & REQUESTS) + state / HOOK
    }

    /// The tick of the last entry.
    pub(super) fn last_tick(&self) -> u32 {
        self.last_tick.load(Ordering::Relaxed)
    }

    /// Completes when a closed gate is empty. One waiter.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub(super) async fn emptied(&self) {
        while self.state.load(Ordering::Acquire) != CLOSED {
            self.emptied.notified().await;
        }
    }

    /// Whether those inside are to give up.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Tells everybody inside to give up.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.cut_notice.notify_waiters();
    }

    /// Completes when those inside are to give up.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn was_cut(&self) {
        loop {
            // Registered before the look, so that a cut in between is not missed.
            let notice = self.cut_notice.notified();
            tokio::pin!(notice);
            notice.as_mut().enable();
            if self.is_cut() {
                return;
            }
            notice.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_lets_nobody_in_and_tells_when_it_is_empty() {
        let gate = Gate::default();
        assert_eq!(gate.enter(2, 7), Ok(()));
        assert_eq!(gate.enter(2, 7), Ok(()));
        assert_eq!(gate.enter(2, 7), Err(Refusal::Full));
        assert_eq!((gate.inside(), gate.last_tick()), (2, 7));
        gate.close();
        assert_eq!(gate.enter(2, 8), Err(Refusal::Closed));
        gate.leave();
        gate.leave();
        gate.emptied().await;
        assert_eq!(gate.inside(), 0);
    }

    #[tokio::test]
    async fn a_hook_gets_in_where_it_is_full_takes_no_place_and_is_waited_for() {
        let gate = Gate::default();
        assert_eq!((gate.enter(1, 0), gate.enter_hook(), gate.enter(1, 0)), (Ok(()), Ok(()), Err(Refusal::Full)));
        gate.leave();
        assert_eq!((gate.enter(1, 0), gate.inside()), (Ok(()), 2), "the hook is in nobody's place");
        gate.leave();
        assert!(!gate.close_if_empty());
        gate.close();
        assert_eq!(gate.enter_hook(), Err(Refusal::Closed));
        assert_eq!(gate.inside(), 1);
        gate.leave_hook();
        gate.emptied().await;
    }

    #[tokio::test]
    async fn an_empty_gate_is_emptied_by_closing_it() {
        let gate = Gate::default();
        gate.close();
        gate.emptied().await;
        gate.cut();
        gate.was_cut().await;
    }

    #[tokio::test]
    async fn only_an_empty_gate_closes_for_idleness_and_it_can_open_again() {
        let gate = Gate::default();
        assert_eq!(gate.enter(2, 0), Ok(()));
        assert!(!gate.close_if_empty());
        gate.leave();
        assert!(gate.close_if_empty());
        assert_eq!(gate.enter(2, 0), Err(Refusal::Closed));
        gate.reopen();
        assert_eq!(gate.enter(2, 0), Ok(()));
        gate.leave();
        assert!(gate.close_if_empty());
        gate.close();
        gate.emptied().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_inside_after_a_drain_whatever_the_interleaving() {
        for _ in 0..200 {
            let gate = std::sync::Arc::new(Gate::default());
            let entering: Vec<_> = (0..4)
                .map(|_| {
                    let gate = std::sync::Arc::clone(&gate);
                    tokio::spawn(async move {
                        while gate.enter(100, 0).is_ok() {
                            tokio::task::yield_now().await;
                            gate.leave();
                        }
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            gate.close();
            gate.emptied().await;
            for task in entering {
                task.await.unwrap();
            }
            assert_eq!(gate.inside(), 0);
        }
    }
}
