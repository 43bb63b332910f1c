//! OFREP's bodies.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    flags::{EvaluationError, FlagEvaluation, FlagSource},
    gateway::body::AnswerBody,
    problem::Problem,
};

/// Under which the metadata of an answer say who decided: `tenant`, `definition` or `module`.
const SOURCE: &str = "tenon.source";
/// And of `module`, which.
const MODULE: &str = "tenon.module";

/// `true` in the metadata while the host may be behind the store.
const STALE: &str = "stale";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// What the guards of all endpoints refuse.
    Problem(Problem),
    /// The path is none of OFREP's.
    NotFound,
    /// Nobody knows the flag.
    FlagNotFound,
    /// The request's fault, with OFREP's code.
    Request(&'static str, Cow<'static, str>),
}

impl Refused {
    /// The request can't be read.
    pub(super) fn parse(details: impl Into<Cow<'static, str>>) -> Self {
        Self::Request("PARSE_ERROR", details.into())
    }

    /// The context can't be used.
    pub(super) fn context(details: impl Into<Cow<'static, str>>) -> Self {
        Self::Request("INVALID_CONTEXT", details.into())
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Success(Success<'a>),
    Failure(Failure<'a>),
}

#[derive(Serialize)]
struct Success<'a> {
    key: &'a str,
    /// Left out where the client has to go by its own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    reason: &'static str,
    variant: &'a str,
    metadata: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    error_details: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct All<'a> {
    flags: Vec<Answer<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_streams: Option<[EventStream<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventStream<'a> {
    r#type: &'static str,
    endpoint: Endpoint<'a>,
    inactivity_delay_sec: u32,
}

/// A client adds the origin that it asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    request_uri: &'a str,
}

/// After how long out of sight a page closes its stream: OFREP's default.
const INACTIVITY_SECONDS: u32 = 120;

impl<'a> Answer<'a> {
    fn of(found: &FlagEvaluation<'a>) -> Self {
        if let Some(error) = &found.error {
            // What the rule says is the operators' business; the log has it.
            let (code, details) = match error {
                EvaluationError::Rule { .. } => {
                    ("PARSE_ERROR", "The rule of the flag can't be evaluated; the log of the host says why")
                }
                EvaluationError::NoVariant { .. } => {
                    ("GENERAL", "The rule of the flag names none of its variants; the log of the host says which")
                }
            };
            return Self::Failure(Failure { key: Some(found.name), error_code: Some(code), error_details: details });
        }
        let mut metadata = found.metadata.cloned().unwrap_or_default();
        let source = match found.source {
            FlagSource::Override => "tenant",
            FlagSource::Definition => "definition",
            FlagSource::ModuleDefault(module) => {
                metadata.insert(MODULE.to_owned(), module.as_str().into());
                "module"
            }
        };
        metadata.insert(SOURCE.to_owned(), source.into());
        // OFREP lets it be left out; the provider for Python fails without, whether or not there is a value.
        let variant = found.variant.unwrap_or(source);
        let reason = found.reason.as_str();
        Self::Success(Success { key: found.name, value: found.value, reason, variant, metadata })
    }
}

/// The answer about one flag, by a host that may be behind the store or not.
pub(super) fn one(found: &FlagEvaluation<'_>, is_stale: bool) -> Response<AnswerBody> {
    let status = if found.error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut answer = Answer::of(found);
    if let (Answer::Success(success), true) = (&mut answer, is_stale) {
        success.metadata.insert(STALE.to_owned(), true.into());
    }
    json(status, &answer)
}

/// The answer about all flags; a flag that failed is one of them. `stream` is where changes are told, where they are.
pub(super) fn all(
    found: &[FlagEvaluation<'_>],
    metadata: &Map<String, Value>,
    stream: Option<&str>,
    is_stale: bool,
) -> Response<AnswerBody> {
    let mut metadata = Cow::Borrowed(metadata);
    if is_stale {
        metadata.to_mut().insert(STALE.to_owned(), true.into());
    }
    let metadata = &*metadata;
    let event_streams = stream.map(|request_uri| {
        let endpoint = Endpoint { request_uri };
        [EventStream { r#type: "sse", endpoint, inactivity_delay_sec: INACTIVITY_SECONDS }]
    });
    json(StatusCode::OK, &All { flags: found.iter().map(Answer::of).collect(), metadata, event_streams })
}

/// The client has the answer already.
pub(super) fn not_modified() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::EMPTY);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// A refusal; `key` is the flag that was asked for, where it was one.
pub(super) fn refusal(key: Option<&str>, refused: &Refused) -> Response<AnswerBody> {
    let (status, code, details) = match refused {
        Refused::Problem(problem) => {
            let status = status_of(problem);
            // Clients read the body of 400, 404 and 500; what 401, 403 and 429 mean they know from the status.
            let is_read = matches!(status, StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR);
            (status, is_read.then_some("GENERAL"), problem.message())
        }
        Refused::NotFound => (StatusCode::NOT_FOUND, None, "There is no such endpoint"),
        Refused::FlagNotFound => (StatusCode::NOT_FOUND, Some("FLAG_NOT_FOUND"), "Nobody knows this flag"),
        Refused::Request(code, details) => (StatusCode::BAD_REQUEST, Some(*code), &**details),
    };
    let body = Failure { key: key.filter(|_| code.is_some()), error_code: code, error_details: details };
    let mut response = json(status, &body);
    if let Refused::Problem(problem) = refused {
        problem.write_headers(response.headers_mut());
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    }
    response
}

/// The status of what a problem is told with: OFREP has 404 for flags only.
fn status_of(problem: &Problem) -> StatusCode {
    match problem.status() {
        StatusCode::NOT_FOUND => StatusCode::BAD_REQUEST,
        other => other,
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<AnswerBody> {
    // Texts, numbers and JSON values always serialize; were it otherwise, an empty body is still an answer.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(AnswerBody::from(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
