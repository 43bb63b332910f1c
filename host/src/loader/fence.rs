//! What stands between the host's futures and a module that waits for them.
//!
//! A module that polls a host's future passes a waker whose code is the module's. Whatever the future leaves
//! it with (a timer, a channel) may keep it for longer than the library lives. So the future sees a waker of
//! the host's own, and the module's stays in a slot that dies with the future and opens only while the
//! library is mapped.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{footprint, services::ServiceFuture};

/// Lets the host's wake-ups into a library until it is closed. Not needed by those who hold the generation.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicUsize);

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Gate {
    fn enter(&self) -> Option<Inside<'_>> {
        let entered = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| {
            if inside & CLOSED == 0 { Some(inside + 1) } else { None }
        });
        entered.ok().map(|_| Inside(self))
    }

    /// Lets nobody in any more, for ever, and says whether nobody is inside. The last one who leaves rings.
    pub(super) fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED == 0
    }
}

struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.0.0.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            footprint::ring();
        }
    }
}

/// The place of a module's waker.
struct Slot {
    waker: Mutex<Option<Waker>>,
    gate: Arc<Gate>,
}

impl Slot {
    /// Exchanges the waker; the other one is used or dropped outside the lock, because it is foreign code.
    fn exchange(&self, waker: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut *self.waker.lock().unwrap_or_else(PoisonError::into_inner), waker)
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(waker) = self.exchange(None) else { return };
        match self.gate.enter() {
            Some(_inside) => waker.wake(),
            // The module forgot the future and is gone; not even dropping the waker is possible.
            None => std::mem::forget(waker),
        }
    }
}

/// A host's future as a module gets it: it does not panic, and keeps no waker of the module.
pub(super) struct Fence<T> {
    future: Option<ServiceFuture<T>>,
    slot: Option<Arc<Slot>>,
    gate: Arc<Gate>,
    /// The answer where the host's future panicked.
    panicked: fn() -> T,
}

impl<T> Fence<T> {
    pub(super) fn new(future: ServiceFuture<T>, gate: &Arc<Gate>, panicked: fn() -> T) -> Self {
        Self { future: Some(future), slot: None, gate: Arc::clone(gate), panicked }
    }

    fn release(&mut self) {
        let future = self.future.take();
        // A panic would end the process here: it would leave through the module.
        if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            tracing::error!("a service's future panicked while it was dropped");
        }
        if let Some(slot) = self.slot.take() {
            drop(slot.exchange(None));
        }
    }
}

impl<T> Future for Fence<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        let Some(future) = this.future.as_mut() else { return Poll::Ready((this.panicked)()) };
        let slot =
            this.slot.get_or_insert_with(|| Arc::new(Slot { waker: Mutex::new(None), gate: Arc::clone(&this.gate) }));
        drop(slot.exchange(Some(cx.waker().clone())));
        let waker = Waker::from(Arc::clone(slot));
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let answer = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => answer,
            Err(_) => (this.panicked)(),
        };
        this.release();
        Poll::Ready(answer)
    }
}

impl<T> Drop for Fence<T> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Noted(AtomicBool);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    type Kept = Arc<Mutex<Option<Waker>>>;

    /// A future that stays pending and leaves its waker with somebody else.
    fn keeping(kept: &Kept) -> ServiceFuture<()> {
        let kept = Arc::clone(kept);
        Box::pin(std::future::poll_fn(move |cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }))
    }

    fn polled_once(fence: &mut Fence<()>) -> Arc<Noted> {
        let noted = Arc::new(Noted(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&noted));
        assert!(Pin::new(fence).poll(&mut Context::from_waker(&waker)).is_pending());
        noted
    }

    #[test]
    fn a_waker_that_the_future_left_behind_reaches_the_module_only_while_the_future_lives() {
        let (kept, gate) = (Kept::default(), Arc::default());
        let mut fence = Fence::new(keeping(&kept), &gate, || ());
        let noted = polled_once(&mut fence);
        kept.lock().unwrap().take().unwrap().wake();
        assert!(noted.0.load(Ordering::SeqCst));

        let noted = polled_once(&mut fence);
        drop(fence);
        assert_eq!(Arc::strong_count(&noted), 1);
        kept.lock().unwrap().take().unwrap().wake();
        assert!(!noted.0.load(Ordering::SeqCst));
    }

    #[test]
    fn behind_a_closed_gate_nothing_is_woken_and_nothing_is_dropped() {
        let (kept, gate) = (Kept::default(), Arc::<Gate>::default());
        let mut fence = Fence::new(keeping(&kept), &gate, || ());
        let noted = polled_once(&mut fence);
        assert!(gate.close());
        kept.lock().unwrap().take().unwrap().wake();
        assert!(!noted.0.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&noted), 2);
    }

    #[test]
    fn a_gate_is_closed_when_the_last_one_left() {
        let gate = Gate::default();
        let inside = gate.enter().unwrap();
        assert!(!gate.close());
        assert!(gate.enter().is_none());
        drop(inside);
        assert!(gate.close());
    }

    #[test]
    fn a_panic_of_the_host_becomes_the_answer() {
        let gate = Arc::default();
        let mut fence: Fence<u8> = Fence::new(Box::pin(async { panic!("the host's own") }), &gate, || 7);
        let polled = Pin::new(&mut fence).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(7));
    }
}
