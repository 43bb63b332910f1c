//! Tenants: listed, made, shown, renamed, loaded, suspended, resumed, deleted.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer},
    extract::{IfMatch, InQuery, InTenant, Json, switch, tenant_id},
    refusal::Refusal,
    state::{Admin, Shared},
    tenants_wire::{TenantDetail, TenantItem, TenantList},
};
use crate::{
    names::TenantId,
    problem::Problem,
    stores::{TenantData, TenantStatus},
    tenancy::{Change, Mode, NewTenant},
};

/// The most tenants of a page.
const PAGE: usize = 200;

/// The most characters of a tenant's name. A guess at what fits on a screen.
const NAME_CHARACTERS: usize = 200;

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    /// 1 to 200 tenants; 50 where left out.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenantBody {
    /// `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
    #[schema(example = "acme")]
    id: String,
    /// For people; the id where left out.
    #[schema(example = "Acme Ltd")]
    name: Option<String>,
}

/// What is to change about a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantPatch {
    /// For people; 1 to 200 characters.
    name: String,
}

/// How a tenant is to be deleted.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Deleting {
    /// Whether its documents are deleted as well.
    #[serde(deserialize_with = "switch")]
    purge: bool,
}

/// Lists tenants by id, page by page.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "tenants", operation_id = "listTenants",
    params(("limit" = Option<usize>, Query, description = "1 to 200 tenants; 50 where left out"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, description = "A page", body = TenantList)))]
pub(super) async fn list(
    State(admin): State<Shared>,
    InQuery(page): InQuery<Page>,
) -> Result<axum::Json<TenantList>, Refusal> {
    let limit = page.limit.unwrap_or(50);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::request_invalid(format!("`limit` must be 1 to {PAGE}")).into());
    }
    let after: Option<TenantId> = page
        .cursor
        .map(|cursor| cursor.parse().map_err(|_| Problem::request_invalid("`cursor` is not one of this list's")))
        .transpose()?;
    let found = admin.store.tenants(after.as_ref(), limit).await?;
    let last = found.tenants.last().filter(|_| found.more);
    Ok(axum::Json(TenantList {
        next: last.map(|document| document.id.to_string()),
        tenants: found.tenants.iter().map(|document| TenantItem::new(document)).collect(),
        unreadable: found.unreadable.iter().map(ToString::to_string).collect(),
    }))
}

/// Makes a tenant with no modules.
#[utoipa::path(post, path = "/admin/v1/tenants", tag = "tenants", operation_id = "createTenant",
    request_body = NewTenantBody,
    responses((status = 201, description = "Made; `Location` and `ETag` are sent", body = TenantDetail)))]
pub(super) async fn create(State(admin): State<Shared>, Json(asked): Json<NewTenantBody>) -> Result<Response, Refusal> {
    let id = tenant_id(&asked.id)?;
    let name = asked.name.as_deref().map(checked_name).transpose()?;
    admin.tenancy.create(NewTenant { id: id.clone(), name }).await?;
    let snapshot = admin.tenancy.load(&id).await?;
    // A tenant's id has no character that a path would have to escape.
    let location = HeaderValue::from_str(&format!("/admin/v1/tenants/{id}")).ok();
    let location = location.map(|location| [(header::LOCATION, location)]);
    Ok((StatusCode::CREATED, location, TenantDetail::new(&admin, &snapshot)).into_response())
}

/// Shows a tenant: its document, and what each of its modules is doing.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}", tag = "tenants", operation_id = "showTenant",
    params(("tenant" = String, Path, description = "Id of the tenant")),
    responses((status = 200, description = "`ETag` is the revision", body = TenantDetail)))]
pub(super) async fn show(State(admin): State<Shared>, InTenant(id): InTenant) -> Result<TenantDetail, Refusal> {
    Ok(TenantDetail::new(&admin, &*admin.tenancy.load(&id).await?))
}

/// Gives a tenant another name. Needs `If-Match`, so that nobody overwrites what somebody else just wrote.
#[utoipa::path(patch, path = "/admin/v1/tenants/{tenant}", tag = "tenants", operation_id = "renameTenant",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = String, Header, description = "ETag of the tenant that the change is based on, or `*`")),
    request_body = TenantPatch,
    responses((status = 200, description = "Renamed", body = ChangeAnswer)))]
pub(super) async fn rename(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
    if_match: IfMatch,
    Json(asked): Json<TenantPatch>,
) -> Result<ChangeAnswer, Refusal> {
    let precondition = if_match.required()?;
    let change = Change::Rename(checked_name(&asked.name)?);
    let report = admin.tenancy.change(&id, change, precondition, ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(&id, &report, Mode::Commit))
}

/// Deletes a tenant once its requests have ended. Refused while modules have documents of it, unless `purge` says
/// to delete these too: a later tenant of that id would inherit them.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}", tag = "tenants", operation_id = "deleteTenant",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on"),
        ("purge" = Option<bool>, Query, description = "Whether its documents are deleted as well")),
    responses((status = 200, description = "Deleted", body = ChangeAnswer)))]
pub(super) async fn delete(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
    if_match: IfMatch,
    InQuery(asked): InQuery<Deleting>,
) -> Result<ChangeAnswer, Refusal> {
    let data = if asked.purge { TenantData::Purge } else { TenantData::Refuse };
    let report = admin.tenancy.delete(&id, if_match.optional(), data).await?;
    Ok(ChangeAnswer::new(&id, &report, Mode::Commit))
}

/// Proves that each enabled module of a tenant runs: opens and initialises those that do not yet.
#[utoipa::path(post, path = "/admin/v1/tenants/{tenant}/load", tag = "tenants", operation_id = "loadTenant",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that is meant")),
    responses((status = 200, description = "`modules` are those that run", body = ChangeAnswer)))]
pub(super) async fn load(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    apply(&admin, &id, Change::Load, if_match).await
}

/// Suspends a tenant: its requests are refused and nothing of it runs.
#[utoipa::path(post, path = "/admin/v1/tenants/{tenant}/suspend", tag = "tenants", operation_id = "suspendTenant",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    responses((status = 200, description = "Suspended", body = ChangeAnswer)))]
pub(super) async fn suspend(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    apply(&admin, &id, Change::SetStatus(TenantStatus::Suspended), if_match).await
}

/// Serves a suspended tenant again.
#[utoipa::path(post, path = "/admin/v1/tenants/{tenant}/resume", tag = "tenants", operation_id = "resumeTenant",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    responses((status = 200, description = "Served", body = ChangeAnswer)))]
pub(super) async fn resume(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    apply(&admin, &id, Change::SetStatus(TenantStatus::Active), if_match).await
}

async fn apply(admin: &Admin, id: &TenantId, change: Change, if_match: IfMatch) -> Result<ChangeAnswer, Refusal> {
    let report = admin.tenancy.change(id, change, if_match.optional(), ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(id, &report, Mode::Commit))
}

/// A name that can be shown in a line.
pub(super) fn checked_name(name: &str) -> Result<String, Problem> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > NAME_CHARACTERS || name.chars().any(char::is_control) {
        let why = format!("`name` must have 1 to {NAME_CHARACTERS} characters, none of them a control character");
        return Err(Problem::request_invalid(why));
    }
    Ok(name.to_owned())
}
