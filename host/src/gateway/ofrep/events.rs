//! The stream that tells a client when to ask for its flags again (server-sent events, HTML Standard, section 9.2). It says
//! that something has changed, never what. Each stream keeps the position that its client has seen and looks at the
//! tenant's newest picture when it is told of a change, so a client that reads slowly misses nothing and holds nothing up:
//! of many changes it is told once.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request::Parts};
use serde_json::json;

use super::{
    EVENTS, OfrepSettings,
    position::Position,
    proof::{Proved, holds, query},
    wire::Refused,
};
use crate::{
    flags::unix_seconds,
    gateway::{body::AnswerBody, door::Door},
    identity::Ticket,
    problem::Problem,
    tenancy::{Listening, Tenancy, TenancyError, TenantSnapshot, TooManyListen},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Without it some proxies keep what they get until they have enough of it.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO: HeaderValue = HeaderValue::from_static("no");

/// What a stream begins with: after how many milliseconds a client comes back when it breaks off. Something has to be sent,
/// or proxies and browsers would wait for the answer's head.
const OPENING: Bytes = Bytes::from_static(b"retry: 3000\n\n");
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// The streams of a tenant are told one after the other, a millisecond apart, and at most so much later than the first: all
/// their clients ask again, and at once they would be too many.
const MOST_APART: u64 = 2_000;

/// The pieces of a stream.
pub struct EventPieces(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl EventPieces {
    /// The next one; `None`: the stream ends.
    pub(in crate::gateway) fn poll(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for EventPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventPieces")
    }
}

/// One open stream.
struct Open {
    tenancy: Tenancy,
    /// What wakes it, and counts it.
    listening: Listening,
    tenant: Arc<str>,
    /// The key by which it was opened: with the key it ends.
    key: Option<String>,
    /// What the client has seen; `None`: nothing that is known here.
    seen: Option<Position>,
    heartbeat: Duration,
    begun: bool,
}

/// How the tenant is.
enum Look {
    Here(Arc<TenantSnapshot>),
    /// The store is away.
    Unknown,
    /// There is nobody to tell anything.
    Over,
}

impl Door {
    /// Opens a stream.
    pub(super) fn open(&self, proved: &Proved, parts: &Parts) -> Result<Response<AnswerBody>, Refused> {
        if parts.method != Method::GET {
            return Err(Problem::method_not_allowed(&[Method::GET]).into());
        }
        let settings = &self.settings.ofrep;
        let tenant = proved.snapshot.id();
        let listening = self.tenancy.listen(tenant, settings.event_streams, settings.event_streams_of_all);
        let listening = listening.map_err(|why| match why {
            TooManyListen::OfTenant => Problem::too_many_streams(),
            TooManyListen::OfAll => Problem::too_many_streams_of_all(),
        })?;
        let open = Open {
            tenancy: self.tenancy.clone(),
            listening,
            tenant: tenant.as_str().into(),
            key: proved.key.clone(),
            seen: seen(&parts.headers, parts),
            heartbeat: settings.heartbeat,
            begun: false,
        };
        let pieces = unfold(open, |mut open| async move { open.next().await.map(|piece| (piece, open)) });
        let mut response = Response::new(AnswerBody::Events(EventPieces(Box::pin(pieces))));
        response.headers_mut().extend([
            (header::CONTENT_TYPE, EVENT_STREAM),
            (header::CACHE_CONTROL, NO_STORE),
            (ACCEL_BUFFERING, NO),
        ]);
        Ok(response)
    }
}

/// What a client has seen: a browser that comes back says it itself, one that comes for the first time was told in the
/// stream's address.
fn seen(headers: &HeaderMap, parts: &Parts) -> Option<Position> {
    match headers.get(LAST_EVENT_ID) {
        Some(last) => Position::parse(last.to_str().ok()?),
        None => Position::parse(&query(parts, "since")?),
    }
}

impl OfrepSettings {
    /// A ticket for a stream of the tenant. It is the same for half of its life, so that clients keep the stream that they
    /// have.
    pub(super) fn ticket(&self, proved: &Proved, unix_seconds: u64) -> Ticket {
        let half = (self.ticket_life.as_secs() / 2).max(1);
        let expires = (unix_seconds / half + 2).saturating_mul(half);
        Ticket { tenant: proved.snapshot.id().clone(), key: proved.key.clone(), expires }
    }

    /// Where a client finds the stream: below `prefix`, which names the tenant where paths do.
    pub(super) fn stream_address(&self, prefix: &str, ticket: &Ticket, position: &Position) -> String {
        format!("{prefix}{EVENTS}?ticket={}&since={position}", self.tickets.sign(ticket))
    }
}

impl Open {
    /// The next piece; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(OPENING);
        }
        // What has happened between the answer that the client has and the stream is told at once.
        if let Some(message) = self.look_for_news().await? {
            return Some(message);
        }
        loop {
            let told = tokio::time::timeout(self.heartbeat, self.listening.changed()).await.is_ok();
            if told && !self.tenancy.is_ending() {
                tokio::time::sleep(Duration::from_millis(u64::from(self.listening.before()).min(MOST_APART))).await;
            }
            match self.look_for_news().await? {
                Some(message) => return Some(message),
                None if told => {}
                None => return Some(HEARTBEAT),
            }
        }
    }

    /// A message where the flags are others than those that the client has seen; `None`: the stream is over.
    async fn look_for_news(&mut self) -> Option<Option<Bytes>> {
        let snapshot = match self.look().await {
            Look::Here(snapshot) => snapshot,
            Look::Unknown => return Some(None),
            Look::Over => return None,
        };
        let now = unix_seconds();
        let position = Position::of(&snapshot, now);
        if self.seen.as_ref().is_some_and(|seen| seen.has_flags_of(&position)) {
            return Some(None);
        }
        let id = position.to_string();
        self.seen = Some(position);
        let data = json!({ "type": "refetchEvaluation", "etag": id, "lastModified": now });
        Some(Some(Bytes::from(format!("event: message\nid: {id}\ndata: {data}\n\n"))))
    }

    async fn look(&self) -> Look {
        if self.tenancy.is_ending() {
            return Look::Over;
        }
        let snapshot = match self.tenancy.snapshot(&self.tenant) {
            Some(snapshot) => snapshot,
            // It has left memory; while somebody listens it comes back.
            None => match self.tenant.parse() {
                Ok(id) => match self.tenancy.load(&id).await {
                    Ok(snapshot) => snapshot,
                    Err(TenancyError::StoreUnavailable(_)) => return Look::Unknown,
                    Err(_) => return Look::Over,
                },
                Err(_) => return Look::Over,
            },
        };
        let is_served = snapshot.is_active() && holds(self.key.as_deref(), &snapshot);
        if is_served { Look::Here(snapshot) } else { Look::Over }
    }
}
