//! Figures of the whole.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    census::{Census, Usage},
    state::Shared,
};
use crate::catalog::Candidate;

/// Figures of the whole, since the start where they count something.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub(super) uptime_seconds: u64,
    pub(super) registry: RegistryStats,
    pub(super) tenants: TenantStats,
    pub(super) libraries: LibraryStats,
    /// What is in use, by module and version.
    pub(super) modules: Vec<ModuleStats>,
}

/// What could run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RegistryStats {
    /// Names.
    pub(super) modules: usize,
    /// Versions of all names.
    pub(super) versions: usize,
    /// Files that are no candidates.
    pub(super) rejected: usize,
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantStats {
    pub(super) in_memory: usize,
    /// Instances in service.
    pub(super) instances: usize,
    /// Instances on their way out.
    pub(super) retiring: usize,
    /// Requests that the end of a drain cut off.
    pub(super) cut_requests: u64,
}

/// Loaded copies of module files.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LibraryStats {
    pub(super) live: usize,
    /// Out of use, about to be unloaded.
    pub(super) closing: usize,
    /// Out of use and still mapped.
    pub(super) resident: usize,
    pub(super) resident_bytes: u64,
    pub(super) unloaded: u64,
    /// Thread-local values of unloaded modules that were left on threads that did not answer.
    pub(super) forgotten_entries: u64,
}

/// How much a version is used by the tenants in memory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModuleStats {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) tenants: u64,
    pub(super) instances: u64,
    /// Requests that the instances now in service were given.
    pub(super) requests: u64,
}

/// Shows figures of the whole.
#[utoipa::path(get, path = "/admin/v1/stats", tag = "host", operation_id = "stats",
    responses((status = 200, description = "Figures", body = Stats)))]
pub(super) async fn stats(State(admin): State<Shared>) -> Json<Stats> {
    let (catalog, figures, report) = (admin.tenancy.catalog(), admin.tenancy.stats(), admin.loader.report());
    Json(Stats {
        uptime_seconds: admin.started.elapsed().as_secs(),
        registry: RegistryStats {
            modules: catalog.names().count(),
            versions: catalog.all().count(),
            rejected: catalog.rejected().len(),
        },
        tenants: TenantStats {
            in_memory: figures.tenants,
            instances: figures.instances,
            retiring: figures.retiring,
            cut_requests: figures.cut,
        },
        libraries: LibraryStats {
            live: report.live.len(),
            closing: report.closing.len(),
            resident: report.resident.len(),
            resident_bytes: report.resident_bytes(),
            unloaded: report.unloaded,
            forgotten_entries: report.forgotten_entries,
        },
        modules: ModuleStats::all(&Census::take(&admin.tenancy)),
    })
}

impl ModuleStats {
    /// Of all versions in use, by module and version.
    pub(super) fn all(census: &Census) -> Vec<Self> {
        let item = |(candidate, usage): (Arc<Candidate>, Usage)| Self {
            module: candidate.name.to_string(),
            version: candidate.version.to_string(),
            tenants: usage.tenants,
            instances: usage.instances,
            requests: usage.requests,
        };
        census.all().into_iter().map(item).collect()
    }
}
