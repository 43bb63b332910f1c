//! Which web pages may read a tenant's answers: shown, set, taken away.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer, etag},
    extract::{IfMatch, InTenant, Json},
    refusal::Refusal,
    state::{Admin, Shared},
};
use crate::{
    names::TenantId,
    problem::Problem,
    stores::Cors,
    tenancy::{Change, Mode},
};

/// Which pages may read a tenant's answers.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CorsBody {
    /// Origins as browsers send them, or `*` for every one; at most 100.
    #[schema(example = json!(["https://app.example"]))]
    origins: Vec<String>,
    /// How long browsers may remember a preflight, at most 86400; their own choice where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u64>,
    /// Whether pages may send cookies and the like; not with `*`.
    #[serde(default)]
    credentials: bool,
}

/// A tenant's rules for pages of other origins.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CorsAnswer {
    tenant_id: String,
    /// The tenant's revision.
    revision: u64,
    /// Null: there are none, and the host says nothing about origins.
    cors: Option<CorsBody>,
}

impl CorsBody {
    pub(super) fn of(cors: &Cors) -> Self {
        Self {
            origins: cors.origins().to_vec(),
            max_age_seconds: cors.max_age_seconds(),
            credentials: cors.credentials(),
        }
    }

    fn checked(self) -> Result<Cors, Problem> {
        Cors::new(self.origins, self.max_age_seconds, self.credentials).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|(field, problem)| format!("`{field}` {problem}")).collect();
            Problem::request_invalid(problems.join("; "))
        })
    }
}

/// Shows which pages may read a tenant's answers.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}/cors", tag = "tenants", operation_id = "showCors",
    params(("tenant" = String, Path, description = "Id of the tenant")),
    responses((status = 200, description = "The rules", body = CorsAnswer)))]
pub(super) async fn show(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
) -> Result<([(http::HeaderName, http::HeaderValue); 1], axum::Json<CorsAnswer>), Refusal> {
    let snapshot = admin.tenancy.load(&tenant).await?;
    let revision = snapshot.revision();
    let cors = snapshot.cors().map(CorsBody::of);
    let answer = CorsAnswer { tenant_id: tenant.to_string(), revision, cors };
    Ok(([(http::header::ETAG, etag(revision))], axum::Json(answer)))
}

/// Says which pages may read a tenant's answers; replaces what was said before.
#[utoipa::path(put, path = "/admin/v1/tenants/{tenant}/cors", tag = "tenants", operation_id = "setCors",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body = CorsBody,
    responses((status = 200, description = "Set", body = ChangeAnswer)))]
pub(super) async fn set(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    if_match: IfMatch,
    Json(body): Json<CorsBody>,
) -> Result<ChangeAnswer, Refusal> {
    let cors = body.checked()?;
    change(&admin, tenant, if_match, Some(Box::new(cors))).await
}

/// Takes a tenant's rules away: the host says nothing about origins any more.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}/cors", tag = "tenants", operation_id = "deleteCors",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    responses((status = 200, description = "Taken away", body = ChangeAnswer)))]
pub(super) async fn delete(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    change(&admin, tenant, if_match, None).await
}

async fn change(
    admin: &Admin,
    tenant: TenantId,
    if_match: IfMatch,
    cors: Option<Box<Cors>>,
) -> Result<ChangeAnswer, Refusal> {
    let report = admin.tenancy.change(&tenant, Change::SetCors(cors), if_match.optional(), ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(&tenant, &report, Mode::Commit))
}
