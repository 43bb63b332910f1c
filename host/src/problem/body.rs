//! A problem, and how it looks on the wire.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{code::Code, fault::Fault};

/// The media type of [`Problem::to_body`]; RFC 9457, section 6.1.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One refusal: what is sent to the client, and nothing that the client must not see.
///
/// Made by the constructors named after the codes, which hold the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Parts>);

/// Boxed, so that the way to a good answer doesn't carry the room for a refusal.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    kind: Kind,
    message: Cow<'static, str>,
    detail: Option<String>,
    retry_after: Option<Duration>,
    /// Values of `Allow`, with [`Code::MethodNotAllowed`].
    allow: Option<String>,
    /// Whether a token was sent, with [`Code::Unauthenticated`].
    token_refused: bool,
    extra: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Host(Code),
    Module(Fault),
}

/// Members that a problem has anyway.
const RESERVED: [&str; 8] = ["type", "title", "status", "detail", "instance", "code", "message", "success"];

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: String,
    code: &'a str,
    message: &'a str,
    success: bool,
    #[serde(flatten, serialize_with = "as_map")]
    extra: &'a [(&'static str, Value)],
}

impl Problem {
    /// A problem with its text; the constructors named after the codes are meant for use.
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of_kind(Kind::Host(code), message.into())
    }

    pub(super) fn of_kind(kind: Kind, message: Cow<'static, str>) -> Self {
        let (detail, retry_after, allow) = (None, None, None);
        Self(Box::new(Parts { kind, message, detail, retry_after, allow, token_refused: false, extra: Vec::new() }))
    }

    /// Adds an explanation of this one occurrence. It reaches the client: no paths, no causes from within.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Says when to try again: sent as `Retry-After` in whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds a member for programs. The names of RFC 9457, `code`, `message` and `success` are taken: such a
    /// member is left out.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        if !RESERVED.contains(&name) {
            self.0.extra.push((name, value.into()));
        }
        self
    }

    pub(super) fn with_allow(mut self, allow: String) -> Self {
        self.0.allow = Some(allow);
        self
    }

    pub(super) fn with_token_refused(mut self) -> Self {
        self.0.token_refused = true;
        self
    }

    /// The host's code; `None` for a fault that a module declared.
    pub fn host_code(&self) -> Option<Code> {
        match &self.0.kind {
            Kind::Host(code) => Some(*code),
            Kind::Module(_) => None,
        }
    }

    /// What member `code` says: `MODULE_NOT_FOUND`, or `clinic:overlap` for a module's fault.
    pub fn code(&self) -> &str {
        match &self.0.kind {
            Kind::Host(code) => code.as_str(),
            Kind::Module(fault) => fault.code(),
        }
    }

    /// The HTTP status: always 4xx or 5xx.
    pub fn status(&self) -> StatusCode {
        let status = match &self.0.kind {
            Kind::Host(code) => code.status(),
            Kind::Module(fault) => fault.status(),
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is said to the user.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The body: UTF-8 JSON. `request_id` is the id that `X-Request-Id` and the log have.
    pub fn to_body(&self, request_id: Uuid) -> Vec<u8> {
        let title = match &self.0.kind {
            Kind::Host(code) => code.title(),
            Kind::Module(_) => "The module refused the request",
        };
        let body = Body {
            kind: format!("urn:tenon:problem:{}", self.code()),
            title,
            status: self.status().as_u16(),
            detail: self.0.detail.as_deref().unwrap_or(&self.0.message),
            instance: format!("urn:uuid:{request_id}"),
            code: self.code(),
            message: &self.0.message,
            success: false,
            extra: &self.0.extra,
        };
        // Strings, numbers and JSON values always serialize; were it otherwise, an empty body is still a refusal.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Sets the headers that belong to this problem: `Content-Type`, and where due `Retry-After`, `Allow`
    /// (RFC 9110, section 15.5.6) and `WWW-Authenticate` (RFC 6750, section 3).
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = self.0.allow.as_ref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if self.host_code() == Some(Code::Unauthenticated) {
            let challenge = if self.0.token_refused { "Bearer error=\"invalid_token\"" } else { "Bearer" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
}

fn as_map<S: serde::Serializer>(extra: &&[(&'static str, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(extra.iter().map(|(name, value)| (*name, value)))
}
