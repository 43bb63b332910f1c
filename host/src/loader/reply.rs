//! An answer of a module, taken over into the host's types. Small bodies are copied, so that they keep
//! nothing mapped; large ones are not, and hold the generation.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use abi_stable::std_types::{ROption, RResult, RVec};
use async_ffi::{ContextExt, FfiFuture};
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use module_api::abi::{BodyBox, CONTENT_BYTES, CONTENT_JSON, CONTENT_TEXT, RawChunk, RawHeader, RawOutcome};

use super::{
    generation::Generation,
    instance::Instance,
    services::{Failure, FailureKind},
};

/// Up to here a copy costs no more than the bookkeeping of not copying (measured at 256 bytes; the rest is a
/// guess), and lets the generation go at once.
const COPIED_BYTES: usize = 16 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 599.
    pub status: StatusCode,
    /// The one that the kind of body implies; `None` where there is none, or it is among the headers.
    pub content_type: Option<HeaderValue>,
    /// Further headers in the module's order; those that belong to the connection or the host are left out.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// All of it. More than 16 KiB hold the generation until they are dropped.
    Bytes(Bytes),
    /// Piece by piece.
    Stream(ReplyStream),
}

/// A body that the module makes piece by piece. Holds the instance until it is dropped.
pub struct ReplyStream {
    // Above the instance: it is dropped while the library is certainly mapped.
    // Boxed, because the interface does not say that it may be moved while it is polled.
    body: Option<Box<BodyBox>>,
    instance: Arc<Instance>,
}

impl fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.body.is_some() { "ReplyStream" } else { "ReplyStream(ended)" })
    }
}

impl Reply {
    pub(super) fn read(outcome: RawOutcome, instance: &Arc<Instance>) -> Result<Self, Failure> {
        let raw = match outcome {
            RResult::ROk(raw) => raw,
            RResult::RErr(raw) => return Err(Failure::from_raw(raw)),
        };
        let status = StatusCode::from_u16(raw.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        let status = status.unwrap_or_else(|| {
            tracing::warn!(
                module = instance.generation().name(),
                status = raw.status,
                "a module answered with no status"
            );
            StatusCode::INTERNAL_SERVER_ERROR
        });
        let content_type = match raw.kind {
            CONTENT_JSON => Some(HeaderValue::from_static("application/json")),
            CONTENT_TEXT => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
            CONTENT_BYTES => Some(HeaderValue::from_static("application/octet-stream")),
            _ => None,
        };
        let headers =
            if raw.headers.is_empty() { Vec::new() } else { read_headers(&raw.headers, instance.generation()) };
        let body = match raw.stream {
            ROption::RSome(body) => {
                ReplyBody::Stream(ReplyStream { body: Some(Box::new(body)), instance: Arc::clone(instance) })
            }
            ROption::RNone => ReplyBody::Bytes(read_bytes(raw.body, instance.generation())),
        };
        Ok(Self { status, content_type, headers, body })
    }
}

/// A body in the module's memory.
// Fields are dropped in this order: the module's memory before the library whose function frees it.
struct Owned {
    bytes: RVec<u8>,
    _generation: Arc<Generation>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn read_bytes(bytes: RVec<u8>, generation: &Arc<Generation>) -> Bytes {
    if bytes.is_empty() {
        Bytes::new()
    } else if bytes.len() <= COPIED_BYTES {
        Bytes::copy_from_slice(&bytes)
    } else {
        Bytes::from_owner(Owned { bytes, _generation: Arc::clone(generation) })
    }
}

/// Those that describe the connection (RFC 9110, section 7.6.1) or that the host sets itself.
fn is_hosts_own(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || ["keep-alive", "proxy-connection", "x-request-id"].contains(&name.as_str())
}

fn read_headers(raw: &[RawHeader], generation: &Generation) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(raw.len());
    for RawHeader { name, value } in raw {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(_)) if is_hosts_own(&name) => {
                tracing::debug!(module = generation.name(), header = %name, "left out a header that is the host's own");
            }
            (Ok(name), Ok(value)) => headers.push((name, value)),
            // The value may be somebody's secret.
            _ => {
                tracing::warn!(module = generation.name(), header = ?name.as_str(), "left out a header that is not valid")
            }
        }
    }
    headers
}

impl ReplyStream {
    fn end(&mut self) {
        let body = self.body.take();
        self.instance.origin().within(None, || drop(body));
    }
}

impl Drop for ReplyStream {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for ReplyStream {
    type Item = Result<Bytes, Failure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
        let (last, piece) = match this.instance.origin().within(None, || cx.with_ffi_context(|cx| body.poll_chunk(cx)))
        {
            RawChunk::Pending => return Poll::Pending,
            RawChunk::Bytes(bytes) => (false, Some(Ok(read_bytes(bytes, this.instance.generation())))),
            RawChunk::Failed(raw) => (true, Some(Err(Failure::from_raw(raw)))),
            RawChunk::End => (true, None),
        };
        if last {
            this.end();
        }
        Poll::Ready(piece)
    }
}

/// Polls a module's future and drops it when it ends. A module catches its own panics; async-ffi reports one
/// that got past that by panicking here.
pub(super) fn polled<T>(future: &mut Option<FfiFuture<T>>, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
    let Some(running) = future.as_mut() else { return Poll::Ready(Err(Failure::ended())) };
    let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(running).poll(cx)));
    let ended = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(value)) => Ok(value),
        Err(_) => Err(Failure::new(FailureKind::Panicked { place: String::new() }, "a future of the module panicked")),
    };
    *future = None;
    Poll::Ready(ended)
}
