//! What every request passes: it gets an id, has to come to the right host with the right token, and is
//! answered in one form whatever went wrong.

use std::panic::AssertUnwindSafe;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header};

use super::{
    refusal::{Exempt, Refusal},
    router::BODY_BYTES,
    state::{Admin, Shared},
};
use crate::{
    identity::{bearer_token, is_loopback_host},
    problem::Problem,
    telemetry::RequestId,
};

/// Lets a request through, and sees to it that what comes back is in order.
pub(super) async fn pass(State(admin): State<Shared>, request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let admitted = admit(&admin, &request);
    let is_admitted = admitted.is_ok();
    let answered = match admitted {
        // A panic would close the connection without a word; the panic hook has logged where it was.
        Ok(()) => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Refusal::from(Problem::internal()).into_response()),
        Err(problem) => Refusal::from(problem).into_response(),
    };
    let mut response = in_one_form(answered, id);
    let status = response.status().as_u16();
    if method.is_safe() {
        tracing::debug!(request_id = %id, %method, path, status, "operator request");
    } else {
        tracing::info!(request_id = %id, %method, path, status, "operator request");
    }
    if is_admitted && let Some(seconds) = admin.tenancy.seconds_behind() {
        // What is answered may be from before.
        response.headers_mut().insert("x-tenon-stale", HeaderValue::from(seconds));
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

fn admit(admin: &Admin, request: &Request) -> Result<(), Problem> {
    if admin.dev {
        // A page in the developer's browser can reach loopback too; its requests carry another Host.
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(is_loopback_host) {
            return Err(Problem::forbidden("With --dev only requests to loopback names are answered"));
        }
    }
    if is_open(request) {
        return Ok(());
    }
    match bearer_token(request.headers()) {
        Ok(Some(presented)) if admin.token.matches(presented) => Ok(()),
        Ok(None) => Err(Problem::token_missing()),
        Ok(Some(_)) | Err(_) => Err(Problem::token_refused()),
    }
}

/// Probes and the document say nothing about tenants.
fn is_open(request: &Request) -> bool {
    match request.uri().path() {
        "/livez" | "/openapi.json" => true,
        "/readyz" => request.uri().query().is_none_or(str::is_empty),
        _ => false,
    }
}

/// Gives every refusal its body, those that axum made included.
fn in_one_form(mut response: Response, id: RequestId) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || response.extensions().get::<Exempt>().is_some() {
        return response;
    }
    let known = response.extensions_mut().remove::<Refusal>();
    let refusal = known.unwrap_or_else(|| of_axum(&response));
    if let Some(reason) = &refusal.reason {
        tracing::warn!(request_id = %id, code = refusal.problem.code(), reason, "an operator's request failed");
    }
    let mut answer = Response::new(Body::from(refusal.problem.to_body(id.uuid())));
    *answer.status_mut() = refusal.problem.status();
    refusal.problem.write_headers(answer.headers_mut());
    answer
}

/// What a refusal of axum's own router and extractors means.
fn of_axum(response: &Response) -> Refusal {
    let problem = match response.status() {
        StatusCode::NOT_FOUND => Problem::route_not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
            let methods: Vec<&str> = allow.unwrap_or_default().split(',').map(str::trim).collect();
            Problem::method_not_allowed(&methods)
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::body_too_large(BODY_BYTES),
        status if status.is_client_error() => Problem::request_invalid("The request can't be understood"),
        _ => Problem::internal(),
    };
    Refusal::from(problem)
}
