//! Lends a request to an instance and waits for its reply: under the request's deadline, and until a drain
//! gives up on it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use crate::{
    loader::{CallRequest, Failure, Reply},
    tenancy::Lease,
};

/// What came of a call.
pub(super) enum Called {
    /// The module answered, or failed.
    Ended(Result<Reply, Failure>),
    /// The deadline passed first; the handler was dropped.
    TimedOut,
    /// The instance is leaving and its drain deadline has passed; the handler was dropped.
    Cut,
}

/// Runs a request to its reply.
///
/// # Cancel safety
///
/// Dropping the future drops the handler.
pub(super) async fn call(lease: &Lease, request: CallRequest, deadline: Instant) -> Called {
    let mut call = pin!(lease.call(request));
    // Most handlers answer at the first poll, and then need neither timer nor notice.
    let first = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    if let Poll::Ready(ended) = first {
        return Called::Ended(ended);
    }
    tokio::select! {
        biased;
        ended = call => Called::Ended(ended),
        () = tokio::time::sleep_until(deadline.into()) => Called::TimedOut,
        () = lease.was_cut() => Called::Cut,
    }
}
