//! What came of a change, as JSON.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    names::{ModuleName, TenantId},
    tenancy::{Mode, Report},
};

/// Who makes changes by way of the operators' token: recorded in the tenant's document.
pub(super) const ACTOR: &str = "admin";

/// What came of a change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeAnswer {
    pub(super) tenant_id: String,
    /// The tenant's revision afterwards; with a dry run, as it is.
    pub(super) revision: u64,
    /// Whether this was only a plan.
    pub(super) dry_run: bool,
    /// Whether the tenant's document changed, or would.
    pub(super) changed: bool,
    /// Modules enabled by the change, dependencies first.
    pub(super) enabled: Vec<String>,
    /// Modules disabled by the change, dependents first.
    pub(super) disabled: Vec<String>,
    /// The modules that run for the tenant afterwards, in load order.
    pub(super) modules: Vec<String>,
    pub(super) plan: PlanItem,
}

/// The steps that were, or would be, taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanItem {
    /// Got a new instance, dependencies first.
    pub(super) start: Vec<String>,
    /// Kept what they have.
    pub(super) keep: Vec<String>,
    /// Get an instance with their first request.
    pub(super) offer: Vec<String>,
    /// Their instances were taken out of service, dependents first.
    pub(super) drain: Vec<String>,
}

impl ChangeAnswer {
    pub(super) fn new(tenant: &TenantId, report: &Report, mode: Mode) -> Self {
        let texts = |names: &[ModuleName]| names.iter().map(ToString::to_string).collect();
        Self {
            tenant_id: tenant.to_string(),
            revision: report.revision,
            dry_run: mode == Mode::DryRun,
            changed: report.differs,
            enabled: texts(&report.enabled),
            disabled: texts(&report.disabled),
            modules: texts(&report.modules),
            plan: PlanItem {
                start: texts(&report.plan.start),
                keep: texts(&report.plan.keep),
                offer: texts(&report.plan.offer),
                drain: texts(&report.plan.drain),
            },
        }
    }
}

impl IntoResponse for ChangeAnswer {
    fn into_response(self) -> Response {
        ([(header::ETAG, etag(self.revision))], Json(self)).into_response()
    }
}

/// A revision as ETag.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}
