//! One request, from its head to its answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request::Parts};
use http_body::Body;
use percent_encoding::percent_decode_str;

use super::{
    body::{AnswerBody, BodyRefused, buffer},
    call::{Called, call},
    guards,
    naming::TenantNaming,
    respond,
};
use crate::{
    identity::{Caller, Verifier, dev_caller, is_loopback_host},
    loader::{CallRequest, FailureKind},
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::{Lease, Lent, ModuleLimits, Tenancy, TenantSnapshot, Unlent},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How often a request is routed again because its tenant changed under it.
const ROUTE_ATTEMPTS: usize = 4;

/// What the door needs to know beyond the tenants.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Takes user and roles from `X-Dev-User` and `X-Dev-Roles`, from loopback names only.
    pub dev: bool,
    /// By what a request may name its tenant.
    pub naming: TenantNaming,
}

/// Answers requests. Shared by all listeners.
pub struct Door {
    tenancy: Tenancy,
    verifier: Arc<Verifier>,
    settings: DoorSettings,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("tenancy", &self.tenancy).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A request that has passed the guards and has its instance.
struct Admitted<'caller> {
    caller: Option<&'caller Caller>,
    snapshot: Arc<TenantSnapshot>,
    slot: usize,
    lease: Lease,
    route: u32,
    params: Vec<(Arc<str>, String)>,
    deadline: Instant,
    limits: ModuleLimits,
}

impl Door {
    /// A door to a tenancy.
    pub fn new(tenancy: Tenancy, verifier: Arc<Verifier>, settings: DoorSettings) -> Self {
        Self { tenancy, verifier, settings }
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let id = RequestId::new();
        // Written once, for the module and for the answer.
        let text: Arc<str> = Arc::from(&*id.uuid().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        let (parts, body) = request.into_parts();
        let mut response = match self.respond(parts, body, id, Arc::clone(&text)).await {
            Ok(response) => response,
            Err(problem) => respond::problem(&problem, id),
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }

    async fn respond<B>(
        &self,
        parts: Parts,
        body: B,
        id: RequestId,
        id_text: Arc<str>,
    ) -> Result<Response<AnswerBody>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let caller = self.caller(&parts.headers, id)?;
        let admitted = self.admit(&parts, caller.as_deref(), id).await?;
        let body = self.body(body, &admitted).await?;
        let request = CallRequest {
            route: admitted.route,
            parts,
            body,
            params: admitted.params,
            request_id: id_text,
            subject: admitted.caller.and_then(|caller| caller.subject.clone()),
            roles: admitted.caller.map_or_else(|| Arc::from([]), |caller| Arc::clone(&caller.roles)),
            // From the id's own clock reading: reading the clock is not free, and the two are microseconds apart.
            deadline_millis: id.unix_millis().saturating_add(millis(admitted.limits.deadline)),
        };
        let module = &admitted.snapshot.slots[admitted.slot].candidate.name;
        match call(&admitted.lease, request, admitted.deadline).await {
            Called::Ended(Ok(reply)) => Ok(respond::reply(reply, admitted.lease)),
            Called::Ended(Err(failure)) => {
                if matches!(failure.kind, FailureKind::Panicked { .. }) {
                    self.tenancy.broken(&admitted.snapshot, admitted.slot, admitted.lease.serial());
                }
                // Failures are rare enough for a span; it lets the log be found by the id that the client has.
                let tenant = admitted.snapshot.id();
                let _named = tracing::error_span!("request", request_id = %id, %tenant).entered();
                Err(refusals::of_failure(module, &failure))
            }
            Called::TimedOut => Err(Problem::module_timeout(module, admitted.limits.deadline)),
            Called::Cut => Err(refusals::busy(module)),
        }
    }

    async fn body<B>(&self, body: B, admitted: &Admitted<'_>) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Most requests have none, and then need no timer.
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let module = &admitted.snapshot.slots[admitted.slot].candidate.name;
        let buffered = tokio::select! {
            biased;
            buffered = buffer(body, admitted.limits.body_bytes) => buffered,
            () = tokio::time::sleep_until(admitted.deadline.into()) => {
                return Err(Problem::request_invalid("The body did not come in time"));
            }
            // A client that sends slowly must not reach an instance that was cleaned up meanwhile.
            () = admitted.lease.was_cut() => return Err(refusals::busy(module)),
        };
        match buffered {
            Ok(_) if admitted.lease.is_cut() => Err(refusals::busy(module)),
            Ok(body) => Ok(body),
            Err(BodyRefused::TooLarge) => Err(Problem::body_too_large(admitted.limits.body_bytes)),
            Err(BodyRefused::Broken) => Err(Problem::request_invalid("The body could not be read")),
        }
    }

    fn caller(&self, headers: &HeaderMap, id: RequestId) -> Result<Option<Arc<Caller>>, Problem> {
        let proved = guards::caller(&self.verifier, headers, id)?;
        if !self.settings.dev {
            return Ok(proved);
        }
        // A page in the developer's browser can reach loopback too; its requests carry another Host.
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|value| value.to_str().ok());
        if !host.is_some_and(is_loopback_host) || hosts.next().is_some() {
            return Err(Problem::forbidden("With --dev only requests to loopback hosts are served"));
        }
        Ok(proved.or_else(|| dev_caller(headers).map(Arc::new)))
    }

    async fn admit<'caller>(
        &self,
        parts: &Parts,
        caller: Option<&'caller Caller>,
        id: RequestId,
    ) -> Result<Admitted<'caller>, Problem> {
        let named = self.settings.naming.read(&parts.uri, &parts.headers)?;
        // A tenant that is in memory lends its id.
        let mut known = named.tenant.as_deref().and_then(|id| self.tenancy.snapshot(id));
        let meant = match (&known, named.tenant) {
            (Some(snapshot), _) => Some(snapshot.id().clone()),
            (None, Some(text)) => Some(text.parse().map_err(Problem::tenant_id_invalid)?),
            (None, None) => None,
        };
        let tenant = guards::tenant_meant(meant, caller)?;
        let begun = Instant::now();
        for _ in 0..ROUTE_ATTEMPTS {
            let snapshot = match known.take().or_else(|| self.tenancy.snapshot(tenant.as_str())) {
                Some(snapshot) => snapshot,
                None => self.tenancy.load(&tenant).await.map_err(|error| refusals::of_tenancy(&error))?,
            };
            guards::tenant_active(&snapshot)?;
            let found = guards::endpoint(&self.tenancy, &snapshot, &parts.method, named.path, id)?;
            let slot = &snapshot.slots[found.module];
            let seen = guards::admit(&snapshot, &slot.candidate.name, found.endpoint, caller)?;
            let params = decode(&found)?;
            let (module, route) = (found.module, found.endpoint_index);
            let deadline = begun + slot.limits.deadline;
            match self.tenancy.lease(&snapshot, module, deadline).await {
                Ok(Lent::Lease(lease)) => {
                    let limits = slot.limits;
                    let route = u32::try_from(route).unwrap_or(u32::MAX);
                    return Ok(Admitted {
                        caller: seen,
                        snapshot,
                        slot: module,
                        lease,
                        route,
                        params,
                        deadline,
                        limits,
                    });
                }
                Ok(Lent::Stale) => {}
                Err(Unlent::Full) => return Err(refusals::full(&slot.candidate.name)),
                Err(Unlent::Failed(error)) => return Err(refusals::of_tenancy(&error)),
            }
        }
        Err(Problem::tenant_changing())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn decode(found: &crate::tenancy::RouteMatch<'_, '_>) -> Result<Vec<(Arc<str>, String)>, Problem> {
    if found.names.is_empty() {
        return Ok(Vec::new());
    }
    let mut params = Vec::with_capacity(found.names.len());
    for ((_, value), name) in found.params.iter().zip(found.names.iter()) {
        let Ok(text) = percent_decode_str(value).decode_utf8() else {
            return Err(Problem::request_invalid(format!("`{name}` in the path is not UTF-8")));
        };
        params.push((Arc::clone(name), text.into_owned()));
    }
    Ok(params)
}
