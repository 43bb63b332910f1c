//! One generation initialised for one tenant.

#![expect(unsafe_code, reason = "erases the borrow of an instance by futures that hold it")]

use std::{
    fmt,
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use abi_stable::std_types::RResult;
use async_ffi::{BorrowingFfiFuture, FfiFuture};
use module_api::abi::{InstanceBox, RawEvent, RawFailure};

use super::{
    call::{Call, CallRequest},
    generation::Generation,
    origin::{Origin, Scope},
    reply::polled,
    services::{ClaimToken, Failure},
};

/// An instance of a module. Whatever runs in it holds it: a call, a cleanup, a streamed body.
pub struct Instance {
    // Dropped by hand, before the generation: while the library is certainly mapped, and in the tenant's name.
    object: ManuallyDrop<InstanceBox>,
    origin: Origin,
    generation: Arc<Generation>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Instance {
    pub(super) fn new(object: InstanceBox, origin: Origin, generation: Arc<Generation>) -> Self {
        Self { object: ManuallyDrop::new(object), origin, generation }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn object(&self) -> &InstanceBox {
        &self.object
    }

    /// What it is an instance of.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Prepares a request; the handler begins at the first poll. The call holds the instance.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the handler's future, at its last await.
    pub fn call(self: &Arc<Self>, request: CallRequest) -> Call {
        Call::new(Arc::clone(self), request)
    }

    /// Runs one of the module's hooks. [`Hook::Cleanup`] is run once, when no request runs any more.
    ///
    /// # Errors
    ///
    /// What the hook failed of; [`super::FailureKind::Panicked`] where it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the hook's, at its last await.
    pub fn run(self: &Arc<Self>, hook: Hook) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let scope = match &hook {
            Hook::Event { work, .. } | Hook::Wake { work, .. } => Some(Scope {
                request_id: Arc::clone(&work.id),
                deadline_millis: work.deadline_millis,
                depth: 0,
                claim: Some(work.claim),
            }),
            Hook::SettingsChanged | Hook::Health | Hook::Cleanup => None,
        };
        Running { running: None, hook: Some(hook), scope, instance: Arc::clone(self) }
    }
}

/// What a module can be asked beside requests.
#[derive(Debug)]
pub enum Hook {
    /// An event that it subscribes to.
    Event {
        /// Under which claim, until when.
        work: ClaimedWork,
        /// The same at each repetition.
        event_id: String,
        /// Who published it.
        publisher: String,
        /// As the publisher declares it.
        name: String,
        /// JSON.
        body: Vec<u8>,
        /// Milliseconds since the Unix epoch.
        published_at: i64,
        /// From 1.
        attempt: u32,
    },
    /// A wake-up that it has set.
    Wake {
        /// Under which claim, until when.
        work: ClaimedWork,
        /// As it was set.
        key: String,
    },
    /// The tenant's settings for the module are others now.
    SettingsChanged,
    /// Whether it can do its work.
    Health,
    /// Its end.
    Cleanup,
}

/// What is handled beside requests: its name for the log, its claim, its deadline.
#[derive(Debug, Clone)]
pub struct ClaimedWork {
    /// A UUID: stands where requests have their id.
    pub id: Arc<str>,
    /// Checked at each write.
    pub claim: ClaimToken,
    /// When the host gives up, in milliseconds since the Unix epoch.
    pub deadline_millis: i64,
}

fn begin(object: &InstanceBox, hook: Hook) -> BorrowingFfiFuture<'_, RResult<(), RawFailure>> {
    match hook {
        Hook::Event { event_id, publisher, name, body, published_at, attempt, .. } => object.on_event(RawEvent {
            id: event_id.into(),
            publisher: publisher.into(),
            name: name.into(),
            body: body.into(),
            published_at,
            attempt,
        }),
        Hook::Wake { key, .. } => object.on_wake(key.into()),
        Hook::SettingsChanged => object.settings_changed(),
        Hook::Health => object.health(),
        Hook::Cleanup => object.cleanup(),
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let object = &mut self.object;
        // SAFETY: `drop` runs once and nothing reads `object` after it.
        self.origin.within(None, || unsafe { ManuallyDrop::drop(object) });
    }
}

/// Forgets that a future borrows from an instance.
///
/// # Safety
///
/// The future is dropped before an `Arc` of the instance that is held beside it: both lie in one struct, the
/// future above the `Arc`.
pub(super) unsafe fn forget_borrow<T>(future: BorrowingFfiFuture<'_, T>) -> FfiFuture<T> {
    // SAFETY: the two types differ in the lifetime only, and the caller keeps what is borrowed.
    unsafe { std::mem::transmute::<BorrowingFfiFuture<'_, T>, FfiFuture<T>>(future) }
}

// Fields are dropped in this order: the module's future before the instance it borrows from.
struct Running {
    running: Option<FfiFuture<RResult<(), RawFailure>>>,
    hook: Option<Hook>,
    scope: Option<Scope>,
    instance: Arc<Instance>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = self.running.take();
        self.instance.origin.within(self.scope.as_ref(), || drop(running));
    }
}

impl Future for Running {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (running, instance) = (&mut this.running, &this.instance);
        let polled = instance.origin.within(this.scope.as_ref(), || {
            if let Some(hook) = this.hook.take() {
                // SAFETY: `running` stands above `instance`, which it borrows from.
                *running = Some(unsafe { forget_borrow(begin(&instance.object, hook)) });
            }
            polled(running, cx)
        });
        let outcome = std::task::ready!(polled);
        Poll::Ready(outcome.and_then(|done| done.into_result().map_err(Failure::from_raw)))
    }
}
