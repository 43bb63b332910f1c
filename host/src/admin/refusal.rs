//! From an error of the rooms below to the problem that the operator is sent. Operators are told the reason that
//! tenants are not: it is in member `reason`.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{problem::Problem, refusals, stores::StoreError, tenancy::TenancyError};

/// A refusal on its way out; it gets its body where the request's id is known.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    /// For the log.
    pub(super) reason: Option<String>,
}

/// Marks a 4xx or 5xx that is no problem but an answer, as that of a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exempt;

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, reason: None }
    }
}

impl From<TenancyError> for Refusal {
    fn from(error: TenancyError) -> Self {
        let reason = error.reason().map(str::to_owned);
        let problem = match &error {
            // Operators see what does not fit; tenants only that it doesn't.
            TenancyError::Incompatible { module, reason } => Problem::module_incompatible(module.as_str(), reason),
            other => refusals::of_tenancy(other),
        };
        let problem = match &reason {
            Some(reason) => problem.with_member("reason", reason.as_str()),
            None => problem,
        };
        Self { problem, reason }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let reason = chain(&error);
        Self { problem: Problem::store_unavailable().with_member("reason", reason.as_str()), reason: Some(reason) }
    }
}

/// An error and what is behind it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.problem.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// A refusal as it is sent, after RFC 9457. Further members depend on the code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:tenon:problem:` and the code.
    #[schema(example = "urn:tenon:problem:MODULE_HAS_DEPENDENTS")]
    r#type: String,
    /// What all problems of this code have in common.
    title: String,
    /// The HTTP status again.
    #[schema(example = 409)]
    status: u16,
    /// This one occurrence, for people.
    detail: String,
    /// `urn:uuid:` and the request's id, which the log has too.
    instance: String,
    /// Stable; docs/troubleshooting.md has an entry for each.
    #[schema(example = "MODULE_HAS_DEPENDENTS")]
    code: String,
    /// For people.
    #[schema(example = "Cannot disable hr-core: required by: clinic, tasks")]
    message: String,
    /// Always false.
    success: bool,
    /// For operators: what the host knows beyond the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}
