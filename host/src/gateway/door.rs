//! One request, from its head to its answer.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header, request::Parts};
use http_body::Body;
use tokio::sync::Semaphore;

use super::{
    admission::{Admitted, Asked, Unanswered, admit},
    body::{AnswerBody, BodyRefused, buffer},
    calls::ModuleCalls,
    cors::{self, CrossOrigin},
    guards,
    naming::TenantNaming,
    ofrep::{self, OfrepSettings},
    proxies::TrustedProxies,
    respond,
};
use crate::{
    identity::{Caller, Verifier, dev_caller, is_loopback_host},
    loader::CallRequest,
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::Tenancy,
};

/// What the door needs to know beyond the tenants.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Takes user and roles from `X-Dev-User` and `X-Dev-Roles`, from loopback names only.
    pub dev: bool,
    /// By what a request may name its tenant.
    pub naming: TenantNaming,
    /// Whose `X-Forwarded-*` is believed.
    pub proxies: TrustedProxies,
    /// How clients are served that ask for flags.
    pub ofrep: OfrepSettings,
}

/// Answers requests. Shared by all listeners.
pub struct Door {
    pub(super) tenancy: Tenancy,
    verifier: Arc<Verifier>,
    pub(super) settings: DoorSettings,
    /// One permit for each tenant that may be read before anything is proved.
    pub(super) unproved_reads: Semaphore,
    /// The tenancy holds it weakly.
    _calls: Arc<ModuleCalls>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("tenancy", &self.tenancy).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Door {
    /// A door to a tenancy.
    pub fn new(tenancy: Tenancy, verifier: Arc<Verifier>, settings: DoorSettings) -> Self {
        let calls = Arc::new(ModuleCalls::new(tenancy.clone()));
        tenancy.calls_through(&calls);
        let unproved_reads = Semaphore::new(ofrep::UNPROVED_READS);
        Self { tenancy, verifier, settings, unproved_reads, _calls: calls }
    }

    /// Ends what would never end by itself: the streams of those who wait for changes of flags. They come back, to another
    /// host or later.
    pub fn end_streams(&self) {
        self.tenancy.end_listening();
    }

    /// Answers one request. Never fails: what goes wrong is an answer too. `peer` is who sent it over TCP; where that
    /// is not known, no proxy is believed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler.
    pub async fn answer<B>(&self, peer: Option<IpAddr>, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let id = RequestId::new();
        // Written once, for the module and for the answer.
        let text: Arc<str> = Arc::from(&*id.uuid().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        let (mut parts, body) = request.into_parts();
        let host = self.settings.proxies.read(peer, &parts.headers, &mut parts.extensions);
        let mut page = match &host {
            Ok(host) if parts.headers.contains_key(header::ORIGIN) => self.page(&parts, host.as_deref()).await,
            _ => None,
        };
        let answered = match page.as_mut().and_then(CrossOrigin::preflight) {
            Some(answered) => answered,
            None if ofrep::is_meant(self.settings.naming.path(&parts.uri)) => {
                Ok(self.evaluate(host, &parts, body, id, page.is_some()).await)
            }
            None => self.respond(host, parts, body, id, Arc::clone(&text)).await,
        };
        let mut response = answered.unwrap_or_else(|problem| respond::problem(&problem, id));
        if let Some(page) = &page {
            page.mark(response.headers_mut());
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(respond::REQUEST_ID, value);
        }
        if let Some(seconds) = self.tenancy.seconds_behind() {
            response.headers_mut().insert(respond::STALE, HeaderValue::from(seconds));
        }
        response
    }

    async fn respond<B>(
        &self,
        host: Result<Option<String>, Problem>,
        parts: Parts,
        body: B,
        id: RequestId,
        id_text: Arc<str>,
    ) -> Result<Response<AnswerBody>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let host = host?;
        let host = host.as_deref();
        let caller = self.caller(&parts.headers, host, id)?;
        let mut admitted = self.admit(&parts, host, caller.as_deref(), id).await?;
        let body = self.body(body, &admitted).await?;
        let request = CallRequest {
            route: admitted.route,
            parts,
            body,
            params: std::mem::take(&mut admitted.params),
            request_id: id_text,
            subject: admitted.caller.and_then(|caller| caller.subject.clone()),
            roles: admitted.caller.map_or_else(|| Arc::from([]), |caller| Arc::clone(&caller.roles)),
            // From the id's own clock reading: reading the clock is not free, and the two are microseconds apart.
            deadline_millis: id.unix_millis().saturating_add(millis(admitted.limits.deadline)),
            depth: 0,
        };
        let module = &admitted.snapshot.table.module(admitted.slot).name;
        match admitted.run(&self.tenancy, request, id).await {
            Ok(reply) => {
                let mut response = respond::reply(reply, admitted.lease);
                if admitted.snapshot.cors().is_some() {
                    cors::vary(response.headers_mut());
                }
                Ok(response)
            }
            Err(Unanswered::Problem(problem)) => Err(problem),
            Err(Unanswered::TimedOut) => Err(Problem::module_timeout(module, admitted.limits.deadline)),
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
        let module = &admitted.snapshot.table.module(admitted.slot).name;
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

    pub(super) fn caller(
        &self,
        headers: &HeaderMap,
        forwarded_host: Option<&str>,
        id: RequestId,
    ) -> Result<Option<Arc<Caller>>, Problem> {
        let proved = guards::caller(&self.verifier, headers, id)?;
        self.check_local(headers, forwarded_host)?;
        if !self.settings.dev {
            return Ok(proved);
        }
        Ok(proved.or_else(|| dev_caller(headers).map(Arc::new)))
    }

    /// In dev mode only this machine is served.
    pub(super) fn check_local(&self, headers: &HeaderMap, forwarded_host: Option<&str>) -> Result<(), Problem> {
        if self.settings.dev && !is_local(headers, forwarded_host) {
            return Err(Problem::forbidden("With --dev only requests to loopback hosts are served"));
        }
        Ok(())
    }

    /// What the tenant that a request names without a token says about the page it comes from.
    async fn page(&self, parts: &Parts, forwarded_host: Option<&str>) -> Option<CrossOrigin> {
        if self.settings.dev && !is_local(&parts.headers, forwarded_host) {
            return None;
        }
        let named = self.settings.naming.read(&parts.uri, &parts.headers, forwarded_host).ok()?;
        let tenant = named.tenant?;
        let snapshot = match self.tenancy.snapshot(&tenant) {
            Some(snapshot) => snapshot,
            None => self.tenancy.load(&tenant.parse().ok()?).await.ok()?,
        };
        let cors = snapshot.cors()?;
        Some(CrossOrigin::read(cors, &snapshot.table, parts, named.path))
    }

    async fn admit<'caller>(
        &self,
        parts: &Parts,
        forwarded_host: Option<&str>,
        caller: Option<&'caller Caller>,
        id: RequestId,
    ) -> Result<Admitted<'caller>, Problem> {
        let named = self.settings.naming.read(&parts.uri, &parts.headers, forwarded_host)?;
        // A tenant that is in memory lends its id.
        let known = named.tenant.as_deref().and_then(|id| self.tenancy.snapshot(id));
        let meant = match (&known, named.tenant) {
            (Some(snapshot), _) => Some(snapshot.id().clone()),
            (None, Some(text)) => Some(text.parse().map_err(Problem::tenant_id_invalid)?),
            (None, None) => None,
        };
        let tenant = guards::tenant_meant(meant, caller)?;
        let (method, path) = (&parts.method, named.path);
        admit(&self.tenancy, &Asked { tenant: &tenant, method, path, id, latest: None }, caller, known).await
    }
}

/// Whether a request was sent to this machine under one of its own names. A page in the developer's browser can reach
/// loopback too; its requests carry another Host, which a proxy on this machine would have replaced and forwarded.
fn is_local(headers: &HeaderMap, forwarded_host: Option<&str>) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|value| value.to_str().ok());
    host.is_some_and(is_loopback_host) && hosts.next().is_none() && forwarded_host.is_none_or(is_loopback_host)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
