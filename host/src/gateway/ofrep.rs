//! Flags for clients, by the OpenFeature Remote Evaluation Protocol (OFREP) 0.3.0: one flag, or all, for one user of the
//! tenant. The guards are those of any endpoint that wants a token; what they refuse is told in OFREP's own bodies, as
//! its clients read no others.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body::Body;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{
    body::{AnswerBody, BodyRefused, buffer},
    cors,
    door::Door,
    guards,
    ofrep_wire::{self, Refused},
};
use crate::{
    flags::{EvaluationContext, unix_seconds},
    identity::{EndpointAuth, authorize_tenant},
    names::TenantId,
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::TenantSnapshot,
};

/// Below which no module's paths are.
const ROOT: &str = "/ofrep";
const FLAGS: &str = "/ofrep/v1/evaluate/flags";

/// The most bytes of a request. A guess: a context is a few hundred.
const MOST_BYTES: usize = 64 << 10;

/// How long a request's body may take to come. A guess that is generous.
const BODY_TIME: Duration = Duration::from_secs(10);

/// After so many flags of a bulk answer others have their turn.
const AT_ONCE: usize = 8;

/// What is asked for.
enum Wanted {
    One(String),
    All,
}

/// Whether a path is for this file.
pub(super) fn is_meant(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn wanted(path: &str) -> Option<Wanted> {
    match path.strip_prefix(FLAGS)? {
        "" | "/" => Some(Wanted::All),
        rest => {
            let key = rest.strip_prefix('/').filter(|key| !key.contains('/'))?;
            Some(Wanted::One(percent_decode_str(key).decode_utf8().ok()?.into_owned()))
        }
    }
}

impl Door {
    /// Answers a request below `/ofrep`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn evaluate<B>(
        &self,
        host: Result<Option<String>, Problem>,
        parts: &Parts,
        body: B,
        id: RequestId,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let wanted = wanted(self.settings.naming.path(&parts.uri));
        let key = match &wanted {
            Some(Wanted::One(key)) => Some(key.as_str()),
            _ => None,
        };
        let answered = match self.tenant_proved(host, parts, id).await {
            Ok(snapshot) => {
                let answered = match &wanted {
                    None => Err(Refused::NotFound),
                    Some(_) if parts.method != Method::POST => Err(Problem::method_not_allowed(&[Method::POST]).into()),
                    Some(wanted) => answer(&snapshot, wanted, &parts.headers, body, id).await,
                };
                let mut response = answered.unwrap_or_else(|refused| ofrep_wire::refusal(key, &refused));
                if snapshot.document.cors.is_some() {
                    cors::vary(response.headers_mut());
                }
                return response;
            }
            Err(problem) => Refused::Problem(problem),
        };
        ofrep_wire::refusal(key, &answered)
    }

    /// The tenant, for a caller that proves it. Who has no token learns nothing of tenants.
    async fn tenant_proved(
        &self,
        host: Result<Option<String>, Problem>,
        parts: &Parts,
        id: RequestId,
    ) -> Result<std::sync::Arc<TenantSnapshot>, Problem> {
        let host = host?;
        let caller = self.caller(&parts.headers, host.as_deref(), id)?.ok_or_else(Problem::token_missing)?;
        let named = self.settings.naming.read(&parts.uri, &parts.headers, host.as_deref())?;
        let meant = named.tenant.as_deref().map(str::parse::<TenantId>).transpose();
        let tenant = guards::tenant_meant(meant.map_err(Problem::tenant_id_invalid)?, Some(&caller))?;
        authorize_tenant(Some(&caller), &tenant, EndpointAuth::Required).map_err(|error| guards::denied(&error))?;
        let snapshot = match self.tenancy.snapshot(tenant.as_str()) {
            Some(snapshot) => snapshot,
            None => self.tenancy.load(&tenant).await.map_err(|error| refusals::of_tenancy(&error))?,
        };
        guards::tenant_active(&snapshot)?;
        Ok(snapshot)
    }
}

async fn answer<B>(
    snapshot: &TenantSnapshot,
    wanted: &Wanted,
    headers: &HeaderMap,
    body: B,
    id: RequestId,
) -> Result<Response<AnswerBody>, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (tenant, flags) = (snapshot.id(), &snapshot.flags);
    let context = read(tenant, body).await?;
    match wanted {
        Wanted::One(key) => {
            let found = flags.evaluate(key, &context).ok_or(Refused::FlagNotFound)?;
            if let Some(error) = &found.error {
                tracing::info!(request_id = %id, %tenant, flag = key, "an evaluation failed: {error}");
            }
            Ok(ofrep_wire::one(&found))
        }
        Wanted::All => {
            let stamp = format!("\"{}\"", flags.stamp(tenant, &context));
            let tag = HeaderValue::try_from(&stamp).map_err(|_| Refused::Problem(Problem::internal()))?;
            let mut response = if is_known(headers, &stamp) {
                ofrep_wire::not_modified()
            } else {
                let mut found = Vec::new();
                for (index, name) in flags.names().enumerate() {
                    // Rules cost: the thread's other connections have their turn in between.
                    if index % AT_ONCE == AT_ONCE - 1 {
                        tokio::task::yield_now().await;
                    }
                    found.extend(flags.evaluate(name, &context));
                }
                ofrep_wire::all(&found, flags.definitions().metadata())
            };
            response.headers_mut().insert(header::ETAG, tag);
            Ok(response)
        }
    }
}

/// Whether the client has this answer already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, stamp: &str) -> bool {
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == stamp)
}

/// Reads `{"context": {...}}`. Neither has to be there: a client that says nothing gets what holds for nobody in
/// particular.
async fn read<B>(tenant: &TenantId, body: B) -> Result<EvaluationContext, Refused>
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
    let said = if bytes.is_empty() {
        Map::new()
    } else {
        let asked: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Refused::parse(format!("The request is no JSON: {error}")))?;
        let Value::Object(mut asked) = asked else { return Err(Refused::context("The request must be an object")) };
        match asked.remove("context") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(said)) => said,
            Some(_) => return Err(Refused::context("`context` must be an object")),
        }
    };
    EvaluationContext::of_client(tenant, said, unix_seconds()).map_err(|error| Refused::context(error.to_string()))
}

/// The status of what a problem is told with: OFREP has 404 for flags only.
pub(super) fn status_of(problem: &Problem) -> StatusCode {
    match problem.status() {
        StatusCode::NOT_FOUND => StatusCode::BAD_REQUEST,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let key = |path: &str| match wanted(path) {
            Some(Wanted::One(key)) => Some(key),
            Some(Wanted::All) => Some("*".to_owned()),
            None => None,
        };
        assert_eq!(key("/ofrep/v1/evaluate/flags").as_deref(), Some("*"));
        assert_eq!(key("/ofrep/v1/evaluate/flags/new-theme").as_deref(), Some("new-theme"));
        assert_eq!(key("/ofrep/v1/evaluate/flags/a%2Fb%20c").as_deref(), Some("a/b c"));
        for other in [
            "/ofrep",
            "/ofrep/v1",
            "/ofrep/v1/evaluate/flags/a/b",
            "/ofrep/v1/evaluate/flagship",
            "/ofrep/v1/evaluate/flags/%ff",
        ] {
            assert_eq!(key(other), None, "{other}");
            assert!(is_meant(other));
        }
        assert!(!is_meant("/ofrep2") && !is_meant("/a/ofrep"));
    }

    #[test]
    fn known_answers_are_found_in_lists() {
        let is_known = |sent: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(sent));
            is_known(&headers, "\"abc\"")
        };
        assert!(is_known("\"abc\"") && is_known("\"x\", \"abc\"") && is_known("W/\"abc\"") && is_known("*"));
        assert!(!is_known("\"abd\"") && !is_known("abc") && !is_known(""));
    }
}
