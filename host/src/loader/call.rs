//! One request on its way through an instance: what goes in, and the future of the answer.

#![expect(unsafe_code, reason = "erases the borrow of the instance that the call holds")]

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_ffi::{ContextExt, FfiFuture};
use bytes::Bytes;
use module_api::abi::{RawOutcome, RawPoll, ReqPtr};

use super::{
    instance::{Instance, forget_borrow},
    lend,
    origin::Scope,
    reply::{Reply, polled},
    services::Failure,
};

/// One request for an instance, complete: guards have passed it, its body is buffered.
#[derive(Debug)]
pub struct CallRequest {
    /// Which handler: an index into the generation's routes.
    pub route: u32,
    /// Method, URI and headers as received.
    pub parts: http::request::Parts,
    /// The whole body.
    pub body: Bytes,
    /// Path parameters, percent-decoded, in the order of the path.
    pub params: Vec<(Arc<str>, String)>,
    /// A UUID.
    pub request_id: Arc<str>,
    /// Who asks.
    pub subject: Option<Arc<str>>,
    /// The caller's roles.
    pub roles: Arc<[Arc<str>]>,
    /// When the host gives up, in milliseconds since the Unix epoch.
    pub deadline_millis: i64,
    /// How many calls between modules are around it; 0 where it came from outside.
    pub depth: u8,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let State::Waiting(future) = std::mem::replace(&mut self.state, State::Ended) {
            self.instance.origin().within(Some(&self.scope), || drop(future));
        }
    }
}

/// The future of an answer. Holds the instance, so it may outlive everything else.
///
/// # Cancel safety
///
/// Dropping it drops the handler's future, at its last await.
pub struct Call {
    // Above the instance: what is in here borrows from it.
    state: State,
    scope: Scope,
    instance: Arc<Instance>,
}

enum State {
    /// The request, not yet begun; dropping it gives the memory back.
    Lent(ReqPtr),
    Waiting(Option<FfiFuture<RawOutcome>>),
    Ended,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Lent(_) => "not begun",
            State::Waiting(_) => "waiting",
            State::Ended => "ended",
        };
        write!(f, "Call({state})")
    }
}

impl Call {
    pub(super) fn new(instance: Arc<Instance>, request: CallRequest) -> Self {
        let scope = Scope {
            request_id: Arc::clone(&request.request_id),
            deadline_millis: request.deadline_millis,
            depth: request.depth,
            claim: None,
        };
        Self { scope, state: State::Lent(lend::lend(request, instance.origin().instance)), instance }
    }
}

impl Future for Call {
    type Output = Result<Reply, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = match std::mem::replace(&mut this.state, State::Ended) {
            State::Lent(request) => {
                // The first poll happens inside the call: a handler that need not wait makes no future.
                let (origin, object) = (this.instance.origin(), this.instance.object());
                let begin = || cx.with_ffi_context(|cx| object.call(request, cx));
                match origin.within(Some(&this.scope), begin) {
                    RawPoll::Ready(outcome) => Ok(outcome),
                    RawPoll::Pending(future) => {
                        // SAFETY: `state` stands above `instance`, which the future borrows from.
                        this.state = State::Waiting(Some(unsafe { forget_borrow(future) }));
                        return Poll::Pending;
                    }
                }
            }
            State::Waiting(mut future) => {
                match this.instance.origin().within(Some(&this.scope), || polled(&mut future, cx)) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => {
                        this.state = State::Waiting(future);
                        return Poll::Pending;
                    }
                }
            }
            State::Ended => Err(Failure::ended()),
        };
        Poll::Ready(outcome.and_then(|outcome| Reply::read(outcome, &this.instance)))
    }
}
