//! Bodies: what comes in is buffered to a limit; what goes out is bytes, or a stream that keeps its instance.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

use super::{
    connection::{Cutter, Watched},
    ofrep::EventPieces,
};
use crate::{loader::ReplyStream, tenancy::Lease};

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// Bytes; `None` once they were sent, or where there are none.
    Bytes(Option<Bytes>),
    /// Pieces, and the lease without which they can't come.
    Stream {
        /// Dropped before the lease.
        pieces: Pin<Box<ReplyStream>>,
        /// Ends the instance's use when the last piece was sent, or the client went away.
        lease: Lease,
        /// Completes when the drain deadline has passed: the answer breaks off.
        cut: Cut,
        /// Has the connection break off too, should nobody ask for the next piece.
        watched: Option<Watched>,
    },
    /// News of flags, until the client goes.
    Events(EventPieces),
}

/// The notice that a stream is to break off.
pub struct Cut(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cut")
    }
}

impl AnswerBody {
    /// No body.
    pub const EMPTY: Self = Self::Bytes(None);

    /// A body that comes piece by piece.
    pub(super) fn stream(pieces: ReplyStream, lease: Lease) -> Self {
        let cut = Cut(Box::pin(lease.cut_notice()));
        Self::Stream { pieces: Box::pin(pieces), lease, cut, watched: None }
    }

    /// Has a connection break off with this body.
    pub(super) fn cut_by(&mut self, cutter: &Arc<Cutter>) {
        if let Self::Stream { lease, watched, .. } = self {
            *watched = Some(cutter.watch(lease.cut_notice()));
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// The stream of an answer broke: the connection is closed, which is all that can still be said.
#[derive(Debug, thiserror::Error)]
#[error("the module's answer broke off")]
pub struct BrokenOff;

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        match this {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(pieces) => {
                let next = std::task::ready!(pieces.poll(cx));
                if next.is_none() {
                    *this = Self::EMPTY;
                }
                Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
            }
            Self::Stream { pieces, cut, .. } => {
                if cut.0.as_mut().poll(cx).is_ready() {
                    tracing::warn!("a streamed answer was cut, as its instance leaves");
                    *this = Self::EMPTY;
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                let next = std::task::ready!(pieces.as_mut().poll_next(cx));
                let frame = next.map(|piece| {
                    piece.map(Frame::data).map_err(|failure| {
                        tracing::error!(%failure, "a streamed answer failed");
                        BrokenOff
                    })
                });
                if frame.is_none() {
                    *this = Self::EMPTY;
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } | Self::Events(_) => SizeHint::default(),
        }
    }
}

/// Why a request's body could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyRefused {
    /// Over the limit.
    TooLarge,
    /// The client went away, or did not send what it announced.
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn buffer<B>(body: B, limit: usize) -> Result<Bytes, BodyRefused>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // What is announced is believed, so that nothing of it is read in vain.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyRefused::TooLarge);
    }
    let mut body = body;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| BodyRefused::Broken)?.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limit {
            return Err(BodyRefused::TooLarge);
        }
        // Most bodies are one piece, which is not copied.
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(begun) => {
                rest.reserve(begun.len() + data.len());
                rest.extend_from_slice(&begun);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}
