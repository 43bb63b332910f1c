//! Answers: problems of the host, and replies of modules.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

use super::body::AnswerBody;
use crate::{
    loader::{Reply, ReplyBody},
    problem::Problem,
    telemetry::RequestId,
    tenancy::Lease,
};

/// Under which the log tells more.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer while the store can't be reached: for how many seconds what the host knows may have been behind it.
pub(super) const STALE: HeaderName = HeaderName::from_static("x-tenon-stale");

/// Sends a problem.
pub(super) fn problem(problem: &Problem, id: RequestId) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::from(problem.to_body(id.uuid()))));
    *response.status_mut() = problem.status();
    problem.write_headers(response.headers_mut());
    response
}

/// Sends a problem and ends the connection.
pub(super) fn last(refusal: &Problem) -> Response<AnswerBody> {
    let id = RequestId::new();
    let mut response = problem(refusal, id);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Sends a module's reply. The lease goes with a stream, and ends here with bytes.
pub(super) fn reply(reply: Reply, lease: Lease) -> Response<AnswerBody> {
    let body = match reply.body {
        ReplyBody::Bytes(bytes) => AnswerBody::from(bytes),
        ReplyBody::Stream(pieces) => AnswerBody::stream(pieces, lease),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if let Some(kind) = reply.content_type {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in reply.headers {
        headers.append(name, value);
    }
    response
}
