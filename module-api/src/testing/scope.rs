//! The piece of work that a module's code is at on this thread: a call in the module's own name takes its id from it.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

/// A request, an event or a wake-up that is being handled.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// Whose code runs.
    pub(super) instance: u64,
    /// The request's id, or what stands in its place.
    pub(super) id: String,
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Tells an instance from all others of the process.
pub(super) fn next_instance() -> u64 {
    static INSTANCES: AtomicU64 = AtomicU64::new(1);
    INSTANCES.fetch_add(1, Ordering::Relaxed)
}

/// What this instance's code is at on this thread; `None` beside all work, as in a spawned task.
pub(super) fn id_of_work(instance: u64) -> Option<String> {
    CURRENT.with_borrow(|current| current.as_ref().filter(|scope| scope.instance == instance).map(|it| it.id.clone()))
}

/// Polls a future as part of a piece of work, or beside all work.
pub(super) fn within<F: Future + Unpin>(scope: Option<Scope>, future: F) -> Within<F> {
    Within { scope, future }
}

pub(super) struct Within<F> {
    scope: Option<Scope>,
    future: F,
}

/// Puts back what the thread was at before: a test's answer may drive another host.
struct Restore(Option<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _restore = Restore(CURRENT.replace(self.scope.clone()));
        Pin::new(&mut self.future).poll(cx)
    }
}
