//! The plugins folder, read on somebody's word.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::OfModule,
    modules_wire::RejectedItem,
    refusal::{Refusal, chain},
    state::Shared,
};
use crate::{
    catalog::{Candidate, Changes},
    names::ModuleName,
    problem::Problem,
};

/// What differs from what the host knew. It is in force; tenants that run what was replaced follow one by one.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReloadAnswer {
    /// Versions that are new.
    pub(super) added: Vec<NamedVersion>,
    /// Versions whose file is another one now, or was to be taken for another one.
    pub(super) replaced: Vec<NamedVersion>,
    /// Versions whose file is gone.
    pub(super) removed: Vec<NamedVersion>,
    /// Files that are no candidates and were not known as such.
    pub(super) rejected: Vec<RejectedItem>,
}

/// One version of a module.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NamedVersion {
    pub(super) module: String,
    pub(super) version: String,
}

impl NamedVersion {
    fn new(candidate: &Candidate) -> Self {
        Self { module: candidate.name.to_string(), version: candidate.version.to_string() }
    }
}

impl ReloadAnswer {
    fn new(changes: &Changes) -> Self {
        Self {
            added: changes.added.iter().map(|candidate| NamedVersion::new(candidate)).collect(),
            replaced: changes.replaced.iter().map(|(_, after)| NamedVersion::new(after)).collect(),
            removed: changes.removed.iter().map(|candidate| NamedVersion::new(candidate)).collect(),
            rejected: changes.rejected.iter().map(|rejected| RejectedItem::new(rejected)).collect(),
        }
    }
}

/// Reads the plugins folder now, as SIGHUP does, without waiting for an event.
#[utoipa::path(post, path = "/admin/v1/reload", tag = "modules", operation_id = "reload",
    responses((status = 200, description = "What differs; tenants follow one by one", body = ReloadAnswer)))]
pub(super) async fn reload(State(admin): State<Shared>) -> Result<Json<ReloadAnswer>, Refusal> {
    read(admin, None).await
}

/// Reads the plugins folder now, and takes a module's files for replaced: each tenant that runs one gets a new instance of
/// it from a newly opened library, as after a change of the file.
#[utoipa::path(post, path = "/admin/v1/modules/{module}/reload", tag = "modules", operation_id = "reloadModule",
    params(("module" = String, Path, description = "Name of the module")),
    responses((status = 200, description = "What differs; tenants follow one by one", body = ReloadAnswer)))]
pub(super) async fn reload_module(
    State(admin): State<Shared>,
    OfModule(module): OfModule,
) -> Result<Json<ReloadAnswer>, Refusal> {
    read(admin, Some(module)).await
}

async fn read(admin: Shared, again: Option<ModuleName>) -> Result<Json<ReloadAnswer>, Refusal> {
    let failed = |reason: String| Refusal {
        problem: Problem::internal().with_member("reason", reason.as_str()),
        reason: Some(reason),
    };
    let (folder, named) = (std::sync::Arc::clone(&admin), again.clone());
    let reading = tokio::task::spawn_blocking(move || folder.folder.read(named.as_ref()));
    let changes = reading.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))?;
    match again {
        Some(module) if admin.tenancy.catalog().get(module.as_str()).is_empty() => {
            Err(Problem::module_not_found(module.as_str()).into())
        }
        _ => Ok(Json(ReloadAnswer::new(&changes))),
    }
}
