//! Whose code runs on this thread right now, for the log: what a module writes comes out with tenant, module
//! and request, at no cost for requests that write nothing.

#![expect(unsafe_code, reason = "a thread-local borrow that ends with the frame that lent it")]

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    presence,
    roll::{Listed, Roll, Use},
    services::ClaimToken,
};

/// The tenant and the module of an instance.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) of: Arc<Use>,
    /// Tells the instance from all others of the process.
    pub(super) instance: u64,
    /// The watchdog finds the names for as long as anybody can run in them.
    _listed: Arc<Listed>,
}

/// The piece of work that a module's code is at.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// For the log.
    pub(super) request_id: Arc<str>,
    /// When the host gives up on it, in milliseconds since the Unix epoch.
    pub(super) deadline_millis: i64,
    /// How many calls between modules are around it.
    pub(super) depth: u8,
    /// Under which it is handled; its writes are checked against it.
    pub(super) claim: Option<ClaimToken>,
}

/// What the thread runs; the pointers are good while `depth` and they stand in the thread's cell.
#[derive(Clone, Copy)]
struct Current {
    origin: Option<*const Origin>,
    scope: Option<*const Scope>,
    /// How many spans of the module are entered.
    depth: u32,
}

const NOTHING: Current = Current { origin: None, scope: None, depth: 0 };

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(NOTHING) };
}

/// Puts back what the thread ran before, however the frame ends.
struct Restore(Current);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Shows the watchdog that the thread is out again, however the frame ends.
struct Leave(&'static presence::Place, presence::Before);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Origin {
    /// For a new instance of a module.
    pub(super) fn new(roll: &Arc<Roll>, tenant: &str, module: &str) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let (of, listed) = roll.enter(instance, tenant, module);
        Self { of, instance, _listed: listed }
    }

    /// Runs a module's code in the name of this tenant and module, and of a piece of work where there is one. The
    /// watchdog sees it: for code that is to give the thread back soon.
    pub(super) fn within<T>(&self, scope: Option<&Scope>, run: impl FnOnce() -> T) -> T {
        let _leave = presence::place().map(|place| Leave(place, place.enter(self.instance)));
        self.within_unwatched(scope, run)
    }

    /// As [`Origin::within`], for code that may take as long as it likes.
    pub(super) fn within_unwatched<T>(&self, scope: Option<&Scope>, run: impl FnOnce() -> T) -> T {
        let current = Current { origin: Some(self), scope: scope.map(std::ptr::from_ref), depth: 0 };
        let _restore = Restore(CURRENT.replace(current));
        run()
    }
}

/// The piece of work that this instance's code is at on this thread; `None` beside all work, as in a spawned task.
pub(super) fn scope_of(instance: u64) -> Option<Scope> {
    let current = CURRENT.get();
    // SAFETY: as in `span`.
    let (origin, scope) = unsafe { (&*current.origin?, &*current.scope?) };
    (origin.instance == instance).then(|| scope.clone())
}

/// The span that holds tenant, module and request of the code that runs now; `None` where no module's code
/// runs, or where it is inside a span of its own, which has this one as its ancestor.
pub(super) fn span() -> Option<tracing::Span> {
    let current = CURRENT.get();
    let origin = current.origin.filter(|_| current.depth == 0)?;
    // SAFETY: `within` stores pointers to what it borrows, and its `Restore` takes them out of the cell before
    // that borrow ends; nothing else writes pointers into the cell, and the cell is this thread's alone.
    let (origin, scope) = unsafe { (&*origin, current.scope.map(|scope| &*scope)) };
    let (tenant, module): (&str, &str) = (&origin.of.tenant, &origin.of.module);
    let request = scope.map(|scope| &*scope.request_id);
    Some(tracing::error_span!(target: "tenon", "request", tenant, module, request_id = request))
}

/// Lends whose code runs now; `None` where no module's code runs.
pub(super) fn user<T>(ask: impl FnOnce(Option<&Arc<Use>>) -> T) -> T {
    // SAFETY: as in `span`.
    ask(CURRENT.get().origin.map(|origin| unsafe { &(*origin).of }))
}

/// A span of the module was entered, or left.
pub(super) fn entered() {
    CURRENT.set(Current { depth: CURRENT.get().depth.saturating_add(1), ..CURRENT.get() });
}

pub(super) fn left() {
    CURRENT.set(Current { depth: CURRENT.get().depth.saturating_sub(1), ..CURRENT.get() });
}
