//! What could run: the registry and its modules.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{
    census::Census,
    extract::OfModule,
    modules_wire::{LeavingItem, ModuleDetail, ModuleItem, Registry, RejectedItem, VersionDetail, VersionItem},
    refusal::Refusal,
    state::Shared,
};
use crate::problem::Problem;

/// Lists all that could run, and what was kept out.
///
/// Modules by name, each with its versions, newest first. Files of the plugins folder that are no modules for this
/// host are listed with their reasons, and so are those that are gone and still used.
#[utoipa::path(get, path = "/admin/v1/modules", tag = "modules", operation_id = "listModules",
    responses((status = 200, description = "The registry", body = Registry)))]
pub(super) async fn list(State(admin): State<Shared>) -> Json<Registry> {
    let (catalog, census) = (admin.tenancy.catalog(), Census::take(&admin.tenancy));
    let problems = catalog.problems();
    let modules = catalog.names().filter_map(|name| {
        let versions = catalog.get(name.as_str());
        let newest = &versions.first()?.manifest;
        let item = |candidate| VersionItem::new(candidate, &catalog, &census, &problems);
        Some(ModuleItem {
            name: name.to_string(),
            display_name: newest.display_name.to_string(),
            description: newest.description.to_string(),
            category: newest.category.as_deref().map(str::to_owned),
            versions: versions.iter().map(item).collect(),
        })
    });
    Json(Registry {
        modules: modules.collect(),
        rejected: catalog.rejected().iter().map(|rejected| RejectedItem::new(rejected)).collect(),
        leaving: LeavingItem::all(&census, &catalog),
    })
}

/// Shows a module with what its manifests declare.
#[utoipa::path(get, path = "/admin/v1/modules/{module}", tag = "modules", operation_id = "showModule",
    params(("module" = String, Path, description = "Name of the module")),
    responses((status = 200, description = "All versions, newest first", body = ModuleDetail)))]
pub(super) async fn show(State(admin): State<Shared>, OfModule(name): OfModule) -> Result<Json<ModuleDetail>, Refusal> {
    let (catalog, census) = (admin.tenancy.catalog(), Census::take(&admin.tenancy));
    let candidates = catalog.get(name.as_str());
    if candidates.is_empty() {
        return Err(Problem::module_not_found(name.as_str()).into());
    }
    let problems = catalog.problems();
    let detail =
        |candidate: &Arc<_>| VersionDetail::new(candidate, VersionItem::new(candidate, &catalog, &census, &problems));
    Ok(Json(ModuleDetail { name: name.to_string(), versions: candidates.iter().map(detail).collect() }))
}
