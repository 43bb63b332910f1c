//! One request for flags, from its guards to its answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header, request::Parts};
use http_body::Body;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    Wanted,
    position::Position,
    proof::{Proved, query},
    wanted,
    wire::{self, Refused},
};
use crate::{
    flags::{EvaluationContext, FlagSet, unix_seconds},
    gateway::{
        body::{AnswerBody, BodyRefused, buffer},
        cors::{self, CrossOrigin},
        door::Door,
        guards,
    },
    identity::Ticket,
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::TenantSnapshot,
};

/// The most bytes of a request. A guess: a context is a few hundred.
const MOST_BYTES: usize = 64 << 10;

/// How long a request's body may take to come. A guess that is generous.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How many requests for flags may be on their way in, for each that may be answered at once: those that come slowly hold up
/// nobody who is there. A guess.
const COMING: u32 = 8;

/// After so many flags of a bulk answer others have their turn.
const AT_ONCE: usize = 8;

/// How long a client that was told of a change by another host is kept until this one has it too. Definitions are looked
/// at each second, so this is twice that.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How many clients of a tenant may wait so at once; more get what there is. A guess: as many as may listen.
const MOST_CATCH_UP: u32 = 1_000;

impl Door {
    /// Answers a request below `/ofrep`. `is_marked` says that the answer is marked for the page it goes to in any case.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(in crate::gateway) async fn evaluate<B>(
        &self,
        host: Result<Option<String>, Problem>,
        parts: &Parts,
        body: B,
        id: RequestId,
        is_marked: bool,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = self.settings.naming.path(&parts.uri);
        let wanted = wanted(path);
        let key = match &wanted {
            Some(Wanted::One(key)) => Some(key.as_str()),
            _ => None,
        };
        let proved = match self.proved(host, parts, wanted.as_ref(), id).await {
            Ok(proved) => proved,
            Err(problem) => return wire::refusal(key, &problem.into()),
        };
        let answered = match &wanted {
            None => Err(Refused::NotFound),
            Some(Wanted::Events) => self.open(&proved, parts),
            Some(_) if parts.method != Method::POST => Err(Problem::method_not_allowed(&[Method::POST]).into()),
            Some(wanted) => self.flags(&proved, wanted, parts, body, id).await,
        };
        let mut response = answered.unwrap_or_else(|refused| wire::refusal(key, &refused));
        if let Some(cors) = proved.snapshot.cors() {
            cors::vary(response.headers_mut());
            // A browser's stream says nothing of its tenant but the ticket.
            if !is_marked && wanted == Some(Wanted::Events) && parts.headers.contains_key(header::ORIGIN) {
                CrossOrigin::read(cors, &proved.snapshot.table, parts, path).mark(response.headers_mut());
            }
        }
        response
    }

    async fn flags<B>(
        &self,
        proved: &Proved,
        wanted: &Wanted,
        parts: &Parts,
        body: B,
        id: RequestId,
    ) -> Result<Response<AnswerBody>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let settings = &self.settings.ofrep;
        let coming =
            self.tenancy.receive_flag_request(proved.snapshot.id(), settings.concurrency.saturating_mul(COMING));
        let coming = coming.ok_or_else(Problem::too_many_flag_requests)?;
        let said = read(body).await?;
        drop(coming);
        // Before it is counted: those who wait here are no work.
        let snapshot = match query(parts, "flagConfigEtag").as_deref().and_then(Position::parse) {
            Some(announced) => self.caught_up(&proved.snapshot, &announced).await?,
            None => Arc::clone(&proved.snapshot),
        };
        let (tenant, flags) = (snapshot.id(), &snapshot.flags);
        let counted = self.tenancy.ask_flags(tenant, settings.concurrency);
        let _counted = counted.ok_or_else(Problem::too_many_flag_requests)?;
        let context = EvaluationContext::of_client(tenant, said, unix_seconds());
        let context = context.map_err(|error| Refused::context(error.to_string()))?;
        if let Wanted::One(key) = wanted {
            let found = flags.evaluate(key, &context).ok_or(Refused::FlagNotFound)?;
            if let Some(error) = &found.error {
                tracing::info!(request_id = %id, %tenant, flag = key, "an evaluation failed: {error}");
            }
            return Ok(wire::one(&found, self.tenancy.seconds_behind().is_some()));
        }
        let stamp = flags.stamp(tenant, &context);
        let ticket = settings.ticket(proved, context.unix_seconds());
        let is_stale = self.tenancy.seconds_behind().is_some();
        let tag = tag(&stamp, &ticket, is_stale);
        let mut response = if is_known(&parts.headers, &tag) {
            wire::not_modified()
        } else {
            let path = self.settings.naming.path(&parts.uri);
            let prefix = parts.uri.path().strip_suffix(path).unwrap_or_default();
            let position = Position::of(&snapshot, context.unix_seconds());
            // A client that is sent where it is refused would come again and again.
            let has_streams = settings.event_streams > 0;
            let address = has_streams.then(|| settings.stream_address(prefix, &ticket, &position));
            all(flags, &context, address.as_deref(), is_stale).await
        };
        let tag = HeaderValue::try_from(tag).map_err(|_| Refused::Problem(Problem::internal()))?;
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }

    /// The tenant as it was when a change was announced, or later. The announcement may have come from another host, and
    /// this one may not have the change yet: then the tenant is read from the store, and definitions are waited for. It may
    /// be made up as well, so what it can cost is bounded for each tenant.
    async fn caught_up(
        &self,
        known: &Arc<TenantSnapshot>,
        announced: &Position,
    ) -> Result<Arc<TenantSnapshot>, Problem> {
        if announced.revision <= known.revision() && announced.has_definitions_of(known) {
            return Ok(Arc::clone(known));
        }
        let tenant = known.id();
        let Some(mut waiting) = self.tenancy.catch_up(tenant, MOST_CATCH_UP) else { return Ok(Arc::clone(known)) };
        let deadline = Instant::now() + CATCH_UP;
        let read = self.tenancy.load_since(&waiting, announced.revision, deadline).await;
        let mut snapshot = read.map_err(|error| refusals::of_tenancy(&error))?;
        // Either host may be the one that is ahead, and nobody can say which: what is waited for may be over.
        while !announced.has_definitions_of(&snapshot)
            && tokio::time::timeout_at(deadline, waiting.changed()).await.is_ok()
            && let Some(now) = self.tenancy.snapshot(tenant.as_str())
        {
            snapshot = now;
        }
        guards::tenant_active(&snapshot)?;
        Ok(snapshot)
    }
}

async fn all(
    flags: &FlagSet,
    context: &EvaluationContext,
    stream: Option<&str>,
    is_stale: bool,
) -> Response<AnswerBody> {
    let mut found = Vec::new();
    for (index, name) in flags.names().enumerate() {
        // Rules cost: the thread's other connections have their turn in between.
        if index % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        found.extend(flags.evaluate(name, context));
    }
    wire::all(&found, flags.definitions().metadata(), stream, is_stale)
}

/// The `ETag` of an answer: of the flags, of the ticket in it, and of whether it says that it may be behind. What the client
/// has to be told anew is not only other flags: with a ticket that is over it could open no stream, and OpenFeature's provider
/// for pages takes no other out of a 304: it would try for ever.
fn tag(stamp: &str, ticket: &Ticket, is_stale: bool) -> String {
    let stale = if is_stale { "-stale" } else { "" };
    format!("\"{stamp}-{:x}-{}{stale}\"", ticket.expires, ticket.key.as_deref().unwrap_or_default())
}

/// Whether the client has this answer already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|sent| sent == "*" || sent.trim_start_matches("W/") == tag)
}

/// Reads `{"context": {...}}`. Neither has to be there: a client that says nothing gets what holds for nobody in
/// particular.
async fn read<B>(body: B) -> Result<Map<String, Value>, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let buffered = tokio::time::timeout(BODY_TIME, buffer(body, MOST_BYTES)).await;
    let bytes = match buffered {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(BodyRefused::TooLarge)) => {
            return Err(Refused::context(format!("The request has more than {MOST_BYTES} bytes")));
        }
        Ok(Err(BodyRefused::Broken)) => return Err(Refused::parse("The request could not be read")),
        Err(_) => return Err(Refused::parse("The request did not come in time")),
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let asked: Value =
        serde_json::from_slice(&bytes).map_err(|error| Refused::parse(format!("The request is no JSON: {error}")))?;
    let Value::Object(mut asked) = asked else { return Err(Refused::context("The request must be an object")) };
    match asked.remove("context") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(said)) => Ok(said),
        Some(_) => Err(Refused::context("`context` must be an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_are_found_in_lists() {
        let ticket = |key: Option<&str>, expires| {
            tag("abc", &Ticket { tenant: "acme".parse().unwrap(), key: key.map(str::to_owned), expires }, false)
        };
        let stale = Ticket { tenant: "acme".parse().unwrap(), key: Some("k1".to_owned()), expires: 9_000 };
        let stale = tag("abc", &stale, true);
        let tag = ticket(Some("k1"), 9_000);
        assert_eq!(tag, "\"abc-2328-k1\"");
        let is_known = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, sent.parse().unwrap());
            is_known(&headers, &tag)
        };
        assert!(is_known(&tag) && is_known(&format!("\"x\", {tag}")) && is_known(&format!("W/{tag}")) && is_known("*"));
        assert!(!is_known("\"abd-2328-k1\"") && !is_known("abc-2328-k1") && !is_known(""));
        assert!(!is_known(&ticket(Some("k2"), 9_000)) && !is_known(&ticket(None, 9_000)), "of another key's ticket");
        assert!(!is_known(&ticket(Some("k1"), 8_550)), "of a ticket that is nearly over");
        assert!(!is_known(&stale), "of a host that was behind");
    }
}
