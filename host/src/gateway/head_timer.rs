//! Ends connections whose clients take too long over a request's head, to within one tick of a clock that the
//! accept loop keeps. hyper asks for a timer before each head: a timer of the runtime would be registered and taken
//! back, under a lock, for every request. Not for timing anything that needs to be exact.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use hyper::rt::{Sleep, Timer};

/// A slot in which nobody waits.
const NEVER: u64 = u64::MAX;

/// The clock of one accept loop, and whom it may have to wake.
#[derive(Debug)]
pub(super) struct HeadClock {
    shared: Arc<Shared>,
    slots: Vec<Arc<Slot>>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// The time of the last tick, in milliseconds since `start`.
    now: AtomicU64,
    /// Between two ticks.
    tick: Duration,
}

/// One connection's place: it waits for one head at a time.
#[derive(Debug)]
struct Slot {
    shared: Arc<Shared>,
    /// In milliseconds since the clock's start; [`NEVER`] while nobody waits.
    deadline: AtomicU64,
    waker: AtomicWaker,
}

/// The timer of one connection.
#[derive(Debug)]
pub(super) struct HeadTimer(Arc<Slot>);

struct HeadSleep(Arc<Slot>);

impl HeadClock {
    /// A clock for one timeout: waiting lasts an eighth longer at most, or a few milliseconds.
    pub(super) fn new(timeout: Duration) -> Self {
        let tick = (timeout / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let shared = Shared { start: Instant::now(), now: AtomicU64::new(0), tick };
        Self { shared: Arc::new(shared), slots: Vec::new() }
    }

    /// How often [`HeadClock::tick`] is to be called.
    pub(super) fn every(&self) -> Duration {
        self.shared.tick
    }

    /// A timer for a new connection.
    pub(super) fn timer(&mut self) -> HeadTimer {
        let (shared, deadline) = (Arc::clone(&self.shared), AtomicU64::new(NEVER));
        let slot = Arc::new(Slot { shared, deadline, waker: AtomicWaker::new() });
        self.slots.push(Arc::clone(&slot));
        HeadTimer(slot)
    }

    /// Wakes those who have waited too long and forgets connections that are gone.
    pub(super) fn tick(&mut self) {
        self.tick_at(self.shared.start.elapsed());
    }

    fn tick_at(&mut self, now: Duration) {
        let now = millis(now);
        self.shared.now.store(now, Ordering::Release);
        self.slots.retain(|slot| {
            if slot.deadline.load(Ordering::Acquire) <= now {
                slot.waker.wake();
            }
            Arc::strong_count(slot) > 1
        });
    }
}

impl Slot {
    fn wait_until(&self, deadline: Instant) {
        let deadline = deadline.saturating_duration_since(self.shared.start);
        // The clock may be a tick behind, and nobody is to be cut off early.
        self.deadline.store(millis(deadline.saturating_add(self.shared.tick)), Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.shared.now.load(Ordering::Acquire) >= self.deadline.load(Ordering::Acquire)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.wait_until(deadline);
        Box::pin(HeadSleep(Arc::clone(&self.0)))
    }

    fn now(&self) -> Instant {
        let shared = &self.0.shared;
        shared.start + Duration::from_millis(shared.now.load(Ordering::Acquire))
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.0.wait_until(deadline);
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.is_over() {
            return Poll::Ready(());
        }
        self.0.waker.register(cx.waker());
        // A tick between the look and the registration would wake nobody.
        if self.0.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        self.0.deadline.store(NEVER, Ordering::Release);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_too_long_is_woken_and_nobody_else() {
        let timeout = Duration::from_millis(80);
        let mut clock = HeadClock::new(timeout);
        assert_eq!(clock.every(), Duration::from_millis(10));
        let timer = clock.timer();
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let cx = &mut Context::from_waker(&waker);
        let at = |clock: &mut HeadClock, now: u64| {
            clock.tick_at(Duration::from_millis(now));
            woken.0.swap(0, Ordering::Relaxed)
        };

        let mut sleep = timer.sleep_until(timer.now() + timeout);
        assert!(sleep.as_mut().poll(cx).is_pending());
        assert_eq!((at(&mut clock, 50), at(&mut clock, 80)), (0, 0), "80 ms, counted from a tick that may be old");
        timer.reset(&mut sleep, timer.now() + timeout);
        assert_eq!((at(&mut clock, 160), at(&mut clock, 170)), (0, 1));
        assert!(sleep.as_mut().poll(cx).is_ready());

        drop(sleep);
        assert_eq!(at(&mut clock, 1000), 0, "the head came");
        let mut sleep = timer.sleep(timeout);
        assert!(sleep.as_mut().poll(cx).is_pending());
        assert_eq!(at(&mut clock, 2000), 1);

        drop((sleep, timer));
        assert_eq!((clock.slots.len(), at(&mut clock, 3000), clock.slots.len()), (1, 0, 0), "gone connections go");
    }
}
