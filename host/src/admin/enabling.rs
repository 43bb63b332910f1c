//! Modules of a tenant: enabled and disabled.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer},
    extract::{IfMatch, InQuery, InTenant, Json, OfModule, switch},
    refusal::Refusal,
    state::Shared,
};
use crate::{
    problem::Problem,
    stores::Isolation,
    tenancy::{Change, Dependencies, Dependents, Mode},
};

/// How a module is to be enabled. An empty body means the defaults.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Enabling {
    /// Which versions will do, as in Cargo. Left out: as it is, at first `*`.
    #[schema(example = "^1.2")]
    version: Option<String>,
    /// `shared` or `library`. Left out: as it is, at first `shared`.
    #[schema(value_type = Option<IsolationWord>)]
    isolation: Option<Isolation>,
    /// Whether required modules that are not enabled are enabled as well.
    with_dependencies: bool,
    /// Whether this is only a plan.
    dry_run: bool,
}

/// Whether a tenant shares a module's library with others.
#[derive(Debug, ToSchema)]
#[schema(as = Isolation, rename_all = "lowercase")]
#[expect(dead_code, reason = "only the schema is used: it says what room stores reads")]
pub(super) enum IsolationWord {
    /// One library for all tenants, with an instance for each.
    Shared,
    /// A copy of the library for this tenant alone, statics included.
    Library,
}

/// How a module is to be disabled.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Disabling {
    /// Whether modules that need it are disabled as well.
    #[serde(deserialize_with = "switch")]
    cascade: bool,
    /// Whether this is only a plan.
    #[serde(deserialize_with = "switch")]
    dry_run: bool,
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Commit }
}

/// Enables a module for a tenant, or changes how it is wanted.
///
/// The module is opened and initialised before anything is written; if that fails, nothing has changed. With the
/// answer, the next request is served. Enabling what is enabled already proves that it runs.
#[utoipa::path(put, path = "/admin/v1/tenants/{tenant}/modules/{module}", tag = "tenants",
    operation_id = "enableModule",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body = Enabling,
    responses((status = 200, description = "Enabled, or planned", body = ChangeAnswer)))]
pub(super) async fn enable(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
    if_match: IfMatch,
    Json(asked): Json<Enabling>,
) -> Result<ChangeAnswer, Refusal> {
    let read = |range: String| {
        let invalid = |why| Problem::request_invalid(format!("`{range}` is no range of versions: {why}"));
        range.parse().map_err(invalid)
    };
    let change = Change::Enable {
        module,
        version: asked.version.map(read).transpose()?,
        isolation: asked.isolation,
        dependencies: if asked.with_dependencies { Dependencies::EnableToo } else { Dependencies::Require },
    };
    let mode = mode(asked.dry_run);
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, mode).await?;
    Ok(ChangeAnswer::new(&tenant, &report, mode))
}

/// Disables a module for a tenant. Its documents stay.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}/modules/{module}", tag = "tenants",
    operation_id = "disableModule",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on"),
        ("cascade" = Option<bool>, Query, description = "Whether modules that need it are disabled as well"),
        ("dryRun" = Option<bool>, Query, description = "Whether this is only a plan")),
    responses((status = 200, description = "Disabled, or planned", body = ChangeAnswer)))]
pub(super) async fn disable(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
    if_match: IfMatch,
    InQuery(asked): InQuery<Disabling>,
) -> Result<ChangeAnswer, Refusal> {
    let dependents = if asked.cascade { Dependents::DisableToo } else { Dependents::Refuse };
    let mode = mode(asked.dry_run);
    let change = Change::Disable { module, dependents };
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, mode).await?;
    Ok(ChangeAnswer::new(&tenant, &report, mode))
}
