//! A tenant's settings for a module: shown without secrets, replaced, merged, taken away.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer, etag},
    extract::{IfMatch, InTenant, Json, OfModule},
    refusal::Refusal,
    state::{Admin, Shared},
};
use crate::{
    names::{ModuleName, TenantId},
    settings,
    tenancy::{Change, Mode, SettingsChange, TenantSnapshot},
};

/// A tenant's settings for a module.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SettingsAnswer {
    pub(super) tenant_id: String,
    pub(super) module: String,
    /// The tenant's revision.
    pub(super) revision: u64,
    /// A JSON object. In a secret field a reference is shown as it is, and anything else as `***`.
    pub(super) settings: Value,
}

/// A tenant's settings for a module as they may be shown.
pub(super) fn shown(admin: &Admin, snapshot: &TenantSnapshot, module: &str) -> Value {
    let Some(settings) = snapshot.settings(module) else { return Value::Object(Map::new()) };
    let slot = snapshot.module(module).cloned();
    let catalog = admin.tenancy.catalog();
    let candidate = slot.or_else(|| catalog.get(module).first().cloned());
    match candidate {
        Some(candidate) => settings::redact(candidate.manifest.settings.as_deref(), settings),
        // Nobody can say which of them are secret.
        None => hide(settings),
    }
}

fn hide(settings: &Value) -> Value {
    let fields = settings.as_object().into_iter().flatten();
    fields.map(|(name, _)| (name.clone(), Value::from(settings::HIDDEN))).collect::<Map<_, _>>().into()
}

/// Shows a tenant's settings for a module.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}/settings/{module}", tag = "settings",
    operation_id = "showSettings",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module")),
    responses((status = 200, description = "The settings", body = SettingsAnswer)))]
pub(super) async fn show(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
) -> Result<([(http::HeaderName, http::HeaderValue); 1], axum::Json<SettingsAnswer>), Refusal> {
    let snapshot = admin.tenancy.load(&tenant).await?;
    let revision = snapshot.revision();
    let answer = SettingsAnswer {
        tenant_id: tenant.to_string(),
        module: module.to_string(),
        revision,
        settings: shown(&admin, &snapshot, module.as_str()),
    };
    Ok(([(http::header::ETAG, etag(revision))], axum::Json(answer)))
}

/// Replaces a tenant's settings for a module; they must fit the module's schema.
#[utoipa::path(put, path = "/admin/v1/tenants/{tenant}/settings/{module}", tag = "settings",
    operation_id = "replaceSettings",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body(content = Object, description = "All settings"),
    responses((status = 200, description = "Replaced", body = ChangeAnswer)))]
pub(super) async fn replace(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
    if_match: IfMatch,
    Json(settings): Json<Map<String, Value>>,
) -> Result<ChangeAnswer, Refusal> {
    change(&admin, tenant, module, if_match, SettingsChange::Replace(settings)).await
}

/// Changes some of a tenant's settings for a module, as a JSON Merge Patch (RFC 7396); the result must fit the module's
/// schema.
#[utoipa::path(patch, path = "/admin/v1/tenants/{tenant}/settings/{module}", tag = "settings",
    operation_id = "changeSettings",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body(content = Object, description = "Settings to change; `null` takes one away"),
    responses((status = 200, description = "Changed", body = ChangeAnswer)))]
pub(super) async fn merge(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
    if_match: IfMatch,
    Json(patch): Json<Map<String, Value>>,
) -> Result<ChangeAnswer, Refusal> {
    change(&admin, tenant, module, if_match, SettingsChange::Merge(patch)).await
}

/// Takes all of a tenant's settings for a module away, whatever its schema says.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}/settings/{module}", tag = "settings",
    operation_id = "deleteSettings",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("module" = String, Path, description = "Name of the module"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    responses((status = 200, description = "Taken away", body = ChangeAnswer)))]
pub(super) async fn delete(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfModule(module): OfModule,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    change(&admin, tenant, module, if_match, SettingsChange::Remove).await
}

async fn change(
    admin: &Admin,
    tenant: TenantId,
    module: ModuleName,
    if_match: IfMatch,
    change: SettingsChange,
) -> Result<ChangeAnswer, Refusal> {
    let change = Change::SetSettings { module, change };
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(&tenant, &report, Mode::Commit))
}
