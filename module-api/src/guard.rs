//! No panic leaves a module: every entry, poll and drop runs inside [`guard`], and every future that goes to
//! the host is [`Guarded`]. Also the quiet panic hook that remembers where a panic happened.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook},
    pin::Pin,
    task::{Context, Poll},
};

use abi_stable::std_types::{RResult, RString};

use crate::abi::{FAILURE_PANIC, RawFailure};

const FILE_BYTES: usize = 160;

/// Where a panic happened. Plain bytes: a thread-local whose type needs Drop would pin the library.
#[derive(Clone, Copy)]
struct Place {
    file: [u8; FILE_BYTES],
    len: usize,
    line: u32,
}

thread_local! {
    static LAST_PANIC: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Replaces the module's own panic hook. The default one would print to the host's standard error, and under
/// `RUST_BACKTRACE=1` it maps every object of the process into the module's statics, which an unload leaks.
pub(crate) fn install_quiet_hook() {
    set_hook(Box::new(remember_place));
}

/// Keeps where a panic happened, for the guard that catches it.
pub(crate) fn remember_place(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else { return };
    let bytes = location.file().as_bytes();
    // The end of a long path says more than its beginning.
    let kept = &bytes[bytes.len().saturating_sub(FILE_BYTES)..];
    let mut place = Place { file: [0; FILE_BYTES], len: kept.len(), line: location.line() };
    place.file[..kept.len()].copy_from_slice(kept);
    // A panic while the thread's locals are being destroyed has nowhere to write to, and no reader.
    let _ = LAST_PANIC.try_with(|last| last.set(Some(place)));
}

/// Runs a closure and turns a panic into a failure with its message and place.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> Result<T, RawFailure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(failure_of)
}

fn failure_of(payload: Box<dyn Any + Send>) -> RawFailure {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    // The payload's own drop may panic; what that payload is dropped to is forgotten.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    let place = LAST_PANIC.try_with(Cell::take).ok().flatten().map_or_else(String::new, |place| {
        format!("{}:{}", String::from_utf8_lossy(&place.file[..place.len]), place.line)
    });
    RawFailure {
        kind: FAILURE_PANIC,
        status: 0,
        code: RString::new(),
        message: RString::from(message),
        place: RString::from(place),
    }
}

/// A future that panics neither when polled nor when dropped, whatever the one inside does.
pub(crate) struct Guarded<'a, T> {
    inner: Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>,
}

impl<'a, T> Guarded<'a, T> {
    pub(crate) fn new(inner: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Self { inner: Some(inner) }
    }
}

impl<T> Future for Guarded<'_, T> {
    type Output = RResult<T, RawFailure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(RResult::RErr(crate::error::internal("a future was polled after it had ended")));
        };
        let polled = guard(|| inner.as_mut().poll(cx));
        let value = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(failure) => Err(failure),
        };
        let inner = self.inner.take();
        let dropped = guard(|| drop(inner));
        Poll::Ready(match (value, dropped) {
            (Ok(value), Ok(())) => RResult::ROk(value),
            // The value's own drop may panic as well.
            (Ok(value), Err(failure)) => {
                let _ = guard(|| drop(value));
                RResult::RErr(failure)
            }
            (Err(failure), _) => RResult::RErr(failure),
        })
    }
}

impl<T> Drop for Guarded<'_, T> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        if inner.is_some()
            && let Err(failure) = guard(|| drop(inner))
        {
            tracing::error!(place = %failure.place, "a future panicked while it was dropped: {}", failure.message);
        }
    }
}
