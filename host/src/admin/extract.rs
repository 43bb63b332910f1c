//! The parts of a request, checked once. What does not fit is refused here, in the words of room `problem`.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
};
use http::{StatusCode, header, request::Parts};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{refusal::Refusal, router::BODY_BYTES};
use crate::{
    names::{ModuleName, TenantId},
    problem::Problem,
};

/// How long a body may take to come. A guess, above the slowest link that anybody administers a host over.
pub(super) const BODY_WAIT: Duration = Duration::from_secs(30);

/// `{tenant}` of the path.
pub(super) struct InTenant(pub(super) TenantId);

/// `{module}` of the path.
pub(super) struct OfModule(pub(super) ModuleName);

/// `{flag}` of the path, as it stands.
pub(super) struct OfFlag(pub(super) String);

/// The query, without unknown names.
pub(super) struct InQuery<T>(pub(super) T);

/// A JSON body, whatever `Content-Type` says; an empty one is read as `{}`.
pub(super) struct Json<T>(pub(super) T);

/// `If-Match`: the revision that a change is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// Not sent.
    Absent,
    /// `*`: whatever is there.
    Any,
    /// This one.
    Revision(u64),
}

impl IfMatch {
    /// The revision to insist on, where the request names one.
    pub(super) fn optional(self) -> Option<u64> {
        match self {
            Self::Revision(revision) => Some(revision),
            Self::Absent | Self::Any => None,
        }
    }

    /// As [`IfMatch::optional`], where leaving the header out is refused.
    pub(super) fn required(self) -> Result<Option<u64>, Refusal> {
        if self == Self::Absent { Err(Problem::precondition_required().into()) } else { Ok(self.optional()) }
    }
}

/// A part of the path, as it stands.
pub(super) async fn param<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, Refusal> {
    let unreadable = || Problem::request_invalid("The path is not UTF-8");
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| unreadable())?;
    let found = params.iter().find(|(found, _)| *found == name);
    Ok(found.map(|(_, value)| value.to_owned()).ok_or_else(Problem::route_not_found)?)
}

impl<S: Send + Sync> FromRequestParts<S> for InTenant {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let id = param(parts, state, "tenant").await?;
        Ok(Self(tenant_id(&id)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfModule {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = param(parts, state, "module").await?;
        Ok(Self(module_name(&name)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfFlag {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Ok(Self(param(parts, state, "flag").await?))
    }
}

/// A tenant's id, as somebody sent it.
pub(super) fn tenant_id(text: &str) -> Result<TenantId, Refusal> {
    Ok(text.parse().map_err(Problem::tenant_id_invalid)?)
}

/// A module's name, as somebody sent it. No module has a name that can't be one.
pub(super) fn module_name(text: &str) -> Result<ModuleName, Refusal> {
    Ok(text.parse().map_err(|_| Problem::module_not_found(text))?)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        let invalid = |why: String| Problem::request_invalid(format!("The query is malformed: {why}"));
        Ok(Self(read.map_err(|error| invalid(innermost(&error)))?.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self::Absent) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let revision = quoted.and_then(|digits| digits.parse().ok());
        let invalid = || Problem::request_invalid("If-Match must be `*` or one ETag of this resource, as in \"17\"");
        Ok(Self::Revision(revision.ok_or_else(invalid)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let read = tokio::time::timeout(BODY_WAIT, Bytes::from_request(request, state)).await;
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(Problem::body_too_large(BODY_BYTES).into());
            }
            Ok(Err(_)) => return Err(Problem::request_invalid("The body could not be read").into()),
            Err(_) => return Err(Problem::request_invalid("The body did not come in time").into()),
        };
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let invalid = |why: serde_json::Error| Problem::request_invalid(format!("The body is malformed: {why}"));
        Ok(Self(serde_json::from_slice(text).map_err(invalid)?))
    }
}

/// Whether a body was longer than whoever read it takes.
pub(super) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

/// The last error of a chain says what is wrong; those before it say where it was met.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Reads `?name`, `?name=true`, `?name=false`.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match &*String::deserialize(deserializer)? {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither `true` nor `false`"))),
    }
}
