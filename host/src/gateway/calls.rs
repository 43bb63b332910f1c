//! Calls between modules of one tenant: in process, through the other module's routes and guards, in the name of
//! whoever sent the request, or in the calling module's own. No call leaves its tenant: nobody can name another.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

use super::admission::{Admitted, Asked, Unanswered, admit};
use crate::{
    identity::{Caller, TenantProof},
    loader::{
        Answer, Behalf, CallRequest, Failure, FailureKind, ModuleCall, Reply, ReplyBody, ServiceFuture, is_of_proxies,
    },
    names::{ModuleName, TenantId},
    problem::Problem,
    telemetry::RequestId,
    tenancy::{Asker, CallModules, Tenancy, TenantSnapshot},
};

/// The most bytes of an answer to a call. A choice: enough for a page of documents, little enough for memory.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Headers that say who asks, for whom, or how a connection is to be treated: the host's to say.
const NOT_FROM_MODULES: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Carries out calls between modules.
pub(super) struct ModuleCalls {
    tenancy: Tenancy,
}

impl ModuleCalls {
    pub(super) fn new(tenancy: Tenancy) -> Self {
        Self { tenancy }
    }
}

impl CallModules for ModuleCalls {
    fn call(&self, from: Asker, to: ModuleName, call: ModuleCall) -> ServiceFuture<Result<Answer, Failure>> {
        let tenancy = self.tenancy.clone();
        Box::pin(async move { carry_out(&tenancy, &from, &to, call).await })
    }
}

async fn carry_out(tenancy: &Tenancy, from: &Asker, to: &ModuleName, call: ModuleCall) -> Result<Answer, Failure> {
    let id = call.behalf.as_ref().and_then(|behalf| RequestId::of(&behalf.request_id)).unwrap_or_default();
    let latest = call.behalf.as_ref().map(|behalf| instant_of(behalf.deadline_millis));
    let caller = caller_of(from, call.behalf.as_ref(), call.as_module);
    let depth = call.behalf.as_ref().map_or(1, |behalf| behalf.depth);
    let snapshot = match tenancy.load(&from.tenant).await {
        Ok(snapshot) => snapshot,
        Err(error) => return Err(Failure::new(FailureKind::Unreachable, error.to_string())),
    };
    let parts = parts_of(&snapshot, to, &call)?;
    let asked = Asked { tenant: &from.tenant, method: &parts.method, path: parts.uri.path(), id, latest };
    let admitted = match admit(tenancy, &asked, caller.as_ref(), Some(snapshot)).await {
        Ok(admitted) => admitted,
        Err(problem) => return Ok(refused(&problem, id)),
    };
    if call.body.len() > admitted.limits.body_bytes {
        return Ok(refused(&Problem::body_too_large(admitted.limits.body_bytes), id));
    }
    let request = CallRequest {
        route: admitted.route,
        body: Bytes::from(call.body),
        params: admitted.params.clone(),
        request_id: Arc::from(&*id.to_string()),
        subject: admitted.caller.and_then(|caller| caller.subject.clone()),
        roles: admitted.caller.map_or_else(|| Arc::from([]), |caller| Arc::clone(&caller.roles)),
        deadline_millis: millis_of(admitted.deadline),
        depth,
        parts,
    };
    let timed_out = || Failure::new(FailureKind::Timeout, format!("module `{to}` did not answer in time"));
    match admitted.run(tenancy, request, id).await {
        Ok(reply) => whole(reply, &admitted, to).await.ok_or_else(timed_out)?,
        Err(Unanswered::Problem(problem)) => Ok(refused(&problem, id)),
        Err(Unanswered::TimedOut) => Err(timed_out()),
    }
}

/// Who asks. A module in its own name has no user, and one role that nobody from outside can have.
fn caller_of(from: &Asker, behalf: Option<&Behalf>, as_module: bool) -> Option<Caller> {
    let proof = |tenant: &TenantId| TenantProof::Claim(tenant.clone());
    if as_module {
        let role: Arc<str> = format!("module:{}", from.module).into();
        return Some(Caller { subject: None, tenant: proof(&from.tenant), roles: Arc::from([role]), expires: None });
    }
    // Whoever sent a request to an open endpoint without a token is nobody here too.
    let behalf = behalf.filter(|behalf| behalf.subject.is_some() || !behalf.roles.is_empty())?;
    Some(Caller {
        subject: behalf.subject.clone(),
        tenant: proof(&from.tenant),
        roles: Arc::clone(&behalf.roles),
        expires: None,
    })
}

/// The call as a request under the other module's base.
fn parts_of(snapshot: &TenantSnapshot, to: &ModuleName, call: &ModuleCall) -> Result<http::request::Parts, Failure> {
    let misuse = |text: String| Failure::new(FailureKind::Misuse, text);
    let gone = || Failure::new(FailureKind::Unreachable, format!("module `{to}` does not run for the tenant"));
    let routes = snapshot.module(to.as_str()).ok_or_else(gone)?.manifest.routes.as_ref();
    let base = routes.ok_or_else(|| misuse(format!("module `{to}` has no routes")))?.base.as_str();
    if !call.path.starts_with('/') {
        return Err(misuse(format!("the path `{}` does not begin with `/`", call.path)));
    }
    let below = if call.path == "/" { "" } else { &*call.path };
    let method: Method = call.method.parse().map_err(|_| misuse(format!("`{}` is no method", call.method)))?;
    let request = Request::builder().method(method).uri(format!("{base}{below}"));
    let request = request.body(()).map_err(|error| misuse(format!("the path `{}` can't be: {error}", call.path)))?;
    let mut parts = request.into_parts().0;
    parts.headers = headers_of(&call.headers)?;
    Ok(parts)
}

fn headers_of(given: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return Err(Failure::new(FailureKind::Misuse, format!("the header `{name}` can't be sent")));
        };
        if !NOT_FROM_MODULES.contains(&name) && !is_of_proxies(name.as_str()) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// A refusal of the host, as a client of the other module would see it.
fn refused(problem: &Problem, id: RequestId) -> Answer {
    let mut headers = HeaderMap::new();
    problem.write_headers(&mut headers);
    Answer { status: problem.status().as_u16(), headers: texts(&headers), body: problem.to_body(id.uuid()) }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let texts = headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    texts.collect()
}

/// The whole answer, a stream collected; `None` where the deadline passed first.
async fn whole(reply: Reply, admitted: &Admitted<'_>, to: &ModuleName) -> Option<Result<Answer, Failure>> {
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    if let Some(kind) = reply.content_type.as_ref().and_then(|kind| kind.to_str().ok()) {
        headers.push((header::CONTENT_TYPE.to_string(), kind.to_owned()));
    }
    let status = reply.status.as_u16();
    let mut pieces = match reply.body {
        ReplyBody::Bytes(body) => return Some(Ok(Answer { status, headers, body: body.to_vec() })),
        ReplyBody::Stream(pieces) => Box::pin(pieces),
    };
    let collecting = async {
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|cx| pieces.as_mut().poll_next(cx)).await {
            body.extend_from_slice(&piece?);
            if body.len() > MAX_ANSWER_BYTES {
                let text = format!("module `{to}` answered with more than {MAX_ANSWER_BYTES} bytes");
                return Err(Failure::new(FailureKind::Refused, text));
            }
        }
        Ok(Answer { status, headers, body })
    };
    tokio::select! {
        biased;
        collected = collecting => Some(collected),
        () = tokio::time::sleep_until(admitted.deadline.into()) => None,
        () = admitted.lease.was_cut() => {
            Some(Err(Failure::new(FailureKind::Unreachable, format!("module `{to}` was leaving"))))
        }
    }
}

fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn instant_of(millis: i64) -> Instant {
    let left = u64::try_from(millis.saturating_sub(unix_millis())).unwrap_or(0);
    // A caller may have named a time beyond all clocks.
    Instant::now() + Duration::from_millis(left.min(86_400_000))
}

fn millis_of(deadline: Instant) -> i64 {
    let left = deadline.saturating_duration_since(Instant::now());
    unix_millis().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
}
