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
use module_api::abi::{InstanceBox, RawFailure};

use super::{
    call::{Call, CallRequest},
    generation::Generation,
    origin::Origin,
    reply::polled,
    services::Failure,
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

    /// Runs the module's `cleanup`. To be called once, when no request runs any more.
    ///
    /// # Errors
    ///
    /// [`super::FailureKind::Panicked`] where it panicked.
    pub fn cleanup(self: &Arc<Self>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        Cleanup { running: None, begun: false, instance: Arc::clone(self) }
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
struct Cleanup {
    running: Option<FfiFuture<RResult<(), RawFailure>>>,
    begun: bool,
    instance: Arc<Instance>,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let running = self.running.take();
        self.instance.origin.within(None, || drop(running));
    }
}

impl Future for Cleanup {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (running, instance) = (&mut this.running, &this.instance);
        let polled = instance.origin.within(None, || {
            if !this.begun {
                this.begun = true;
                // SAFETY: `running` stands above `instance`, which it borrows from.
                *running = Some(unsafe { forget_borrow(instance.object.cleanup()) });
            }
            polled(running, cx)
        });
        let outcome = std::task::ready!(polled);
        Poll::Ready(outcome.and_then(|done| done.into_result().map_err(Failure::from_raw)))
    }
}
