//! A body that is sent piece by piece.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use abi_stable::{erased_types::TD_Opaque, std_types::RVec};
use async_ffi::FfiContext;
use futures_core::Stream;

use crate::{
    abi::{BodyBox, RawBody, RawBody_TO, RawChunk},
    error::Result,
    guard::guard,
};

type Pieces = Pin<Box<dyn Stream<Item = Result<Vec<u8>>> + Send>>;

/// A stream of pieces, boxed.
pub struct BodyStream {
    pieces: Option<Pieces>,
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyStream")
    }
}

impl BodyStream {
    pub(crate) fn new(pieces: impl Stream<Item = Result<Vec<u8>>> + Send + 'static) -> Self {
        Self { pieces: Some(Box::pin(pieces)) }
    }

    pub(crate) fn into_raw(self) -> BodyBox {
        RawBody_TO::from_value(self, TD_Opaque)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> RawChunk {
        let Some(pieces) = self.pieces.as_mut() else { return RawChunk::End };
        let chunk = match guard(|| pieces.as_mut().poll_next(cx)) {
            Ok(Poll::Pending) => return RawChunk::Pending,
            Ok(Poll::Ready(Some(Ok(bytes)))) => return RawChunk::Bytes(RVec::from(bytes)),
            Ok(Poll::Ready(Some(Err(error)))) => RawChunk::Failed(error.into_raw()),
            Ok(Poll::Ready(None)) => RawChunk::End,
            Err(failure) => RawChunk::Failed(failure),
        };
        self.release();
        chunk
    }

    fn release(&mut self) {
        let pieces = self.pieces.take();
        if let Err(failure) = guard(|| drop(pieces)) {
            tracing::error!(place = %failure.place, "a body panicked while it was dropped: {}", failure.message);
        }
    }
}

impl Drop for BodyStream {
    fn drop(&mut self) {
        self.release();
    }
}

impl RawBody for BodyStream {
    fn poll_chunk(&mut self, cx: &mut FfiContext<'_>) -> RawChunk {
        cx.with_context(|cx| self.poll(cx))
    }
}
