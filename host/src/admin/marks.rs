//! What is held against contents of modules: listed, set by a roll-back, taken away.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Json, OfModule},
    refusal::Refusal,
    state::Shared,
};
use crate::{
    names::{ModuleName, TenantId},
    problem::Problem,
    stores::{Mark, MarkKind},
    tenancy::Released,
};

/// All marks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarkList {
    pub(super) marks: Vec<MarkItem>,
    /// There in safe mode: the modules that were released on this host; all others are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) safe_mode: Option<Vec<ReleasedItem>>,
}

/// A module that runs although its host is in safe mode.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReleasedItem {
    pub(super) module: String,
    /// For whom; left out: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant_id: Option<String>,
}

/// One content of a module that does not run for a tenant, or for all, until its file changes or it is released.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarkItem {
    pub(super) module: String,
    /// What the file called itself.
    pub(super) version: String,
    /// SHA-256 of the file.
    pub(super) hash: String,
    /// For whom; left out: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant_id: Option<String>,
    /// `bad`: another version runs in its place. `quarantined`: the module does not run.
    #[schema(example = "bad")]
    pub(super) kind: String,
    pub(super) reason: String,
    /// RFC 3339.
    pub(super) marked_at: String,
}

impl MarkItem {
    pub(super) fn new(mark: Mark) -> Self {
        let kind = match mark.kind {
            MarkKind::Bad => "bad",
            MarkKind::Quarantined => "quarantined",
        };
        Self {
            module: mark.module.to_string(),
            version: mark.version,
            hash: mark.hash,
            tenant_id: mark.tenant.map(|tenant| tenant.to_string()),
            kind: kind.to_owned(),
            reason: mark.reason,
            marked_at: jiff::Timestamp::from_millisecond(mark.marked_at).unwrap_or_default().to_string(),
        }
    }
}

/// For whom. An empty body means for all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ForWhom {
    /// A tenant's id; left out: all.
    tenant_id: Option<String>,
}

impl ForWhom {
    fn tenant(&self) -> Result<Option<TenantId>, Refusal> {
        let parsed = self.tenant_id.as_deref().map(|id| id.parse::<TenantId>().map_err(Problem::tenant_id_invalid));
        Ok(parsed.transpose()?)
    }
}

/// Which version was left for which.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RolledBackAnswer {
    pub(super) module: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// What was taken away.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReleasedAnswer {
    pub(super) module: String,
    /// How many marks.
    pub(super) released: u64,
    /// Whether safe mode had kept it off on this host.
    pub(super) was_off: bool,
}

/// Lists what is held against contents, by module.
#[utoipa::path(get, path = "/admin/v1/marks", tag = "modules", operation_id = "listMarks",
    responses((status = 200, description = "All marks", body = MarkList)))]
pub(super) async fn list(State(admin): State<Shared>) -> axum::Json<MarkList> {
    let released = |(module, tenant): (ModuleName, Option<TenantId>)| ReleasedItem {
        module: module.to_string(),
        tenant_id: tenant.map(|tenant| tenant.to_string()),
    };
    let safe_mode = admin.tenancy.safe_mode().map(|all| all.into_iter().map(released).collect());
    axum::Json(MarkList { marks: admin.tenancy.marks().into_iter().map(MarkItem::new).collect(), safe_mode })
}

/// Leaves the version of a module that runs for a tenant, or the newest one for all, for the one before it.
#[utoipa::path(post, path = "/admin/v1/modules/{module}/rollback", tag = "modules", operation_id = "rollBack",
    params(("module" = String, Path, description = "Name of the module")),
    request_body = ForWhom,
    responses((status = 200, description = "For one tenant it has happened; of all, each follows by itself",
        body = RolledBackAnswer)))]
pub(super) async fn roll_back(
    State(admin): State<Shared>,
    OfModule(module): OfModule,
    Json(whom): Json<ForWhom>,
) -> Result<axum::Json<RolledBackAnswer>, Refusal> {
    let tenant = whom.tenant()?;
    let done = admin.tenancy.roll_back(&module, tenant.as_ref(), "an operator went back from it").await?;
    Ok(axum::Json(RolledBackAnswer { module: module.to_string(), from: done.from, to: done.to }))
}

/// Takes away what is held against a module, for one tenant or for all, and lets it run in safe mode.
#[utoipa::path(post, path = "/admin/v1/modules/{module}/release", tag = "modules", operation_id = "release",
    params(("module" = String, Path, description = "Name of the module")),
    request_body = ForWhom,
    responses((status = 200, description = "Its contents may run again", body = ReleasedAnswer)))]
pub(super) async fn release(
    State(admin): State<Shared>,
    OfModule(module): OfModule,
    Json(whom): Json<ForWhom>,
) -> Result<axum::Json<ReleasedAnswer>, Refusal> {
    let tenant = whom.tenant()?;
    let Released { marks, was_off } = admin.tenancy.release(&module, tenant.as_ref()).await?;
    Ok(axum::Json(ReleasedAnswer { module: module.to_string(), released: marks, was_off }))
}
