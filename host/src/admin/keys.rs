//! A tenant's API keys: listed, made, revoked. A key is shown once, to whoever made it; its hash never.

use axum::{
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer, etag},
    extract::{IfMatch, InTenant, Json, param},
    refusal::Refusal,
    state::Shared,
    tenants::checked_name,
};
use crate::{
    identity::{KEY_SCOPES, KeyWish, NewKey, is_over},
    problem::Problem,
    stores::ApiKey,
    tenancy::{Change, Mode},
};

/// `{key}` of the path, as it stands.
pub(super) struct OfKey(String);

impl<S: Send + Sync> FromRequestParts<S> for OfKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Ok(Self(param(parts, state, "key").await?))
    }
}

/// Keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyList {
    tenant_id: String,
    /// The tenant's revision.
    revision: u64,
    /// In the order in which they were made.
    keys: Vec<KeyItem>,
}

/// One key, without what proves anything.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyItem {
    /// Part of the key's text.
    #[schema(example = "5f1c0a9e7b3d2468")]
    id: String,
    name: String,
    #[schema(example = json!(["flags:read"]))]
    scopes: Vec<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// RFC 3339; left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Whether its time is over.
    expired: bool,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NewKeyBody {
    /// For people; 1 to 200 characters.
    #[schema(example = "shop backend")]
    name: String,
    /// What it may be used for, at least one: `flags:read`.
    #[schema(example = json!(["flags:read"]))]
    scopes: Vec<String>,
    /// From then on it proves nothing; RFC 3339. Left out: it does until it is revoked.
    #[schema(example = "2030-01-01T00:00:00Z")]
    expires_at: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeKey {
    tenant_id: String,
    /// The tenant's revision afterwards.
    revision: u64,
    /// The key itself. It is shown this once.
    key: String,
    #[serde(flatten)]
    item: KeyItem,
}

impl KeyItem {
    fn new(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            created_at: key.created_at.map(|time| time.to_string()),
            created_by: key.created_by.clone(),
            expires_at: key.expires_at.map(|time| time.to_string()),
            expired: is_over(key, Timestamp::now()),
        }
    }
}

/// Lists a tenant's API keys.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}/keys", tag = "tenants", operation_id = "listKeys",
    params(("tenant" = String, Path, description = "Id of the tenant")),
    responses((status = 200, description = "The keys, without secrets", body = KeyList)))]
pub(super) async fn list(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
) -> Result<([(HeaderName, HeaderValue); 1], axum::Json<KeyList>), Refusal> {
    let snapshot = admin.tenancy.load(&tenant).await?;
    let revision = snapshot.revision();
    let keys = snapshot.api_keys().iter().map(KeyItem::new).collect();
    let answer = KeyList { tenant_id: tenant.to_string(), revision, keys };
    Ok(([(header::ETAG, etag(revision))], axum::Json(answer)))
}

/// Makes an API key by which a program proves the tenant; at most 100.
#[utoipa::path(post, path = "/admin/v1/tenants/{tenant}/keys", tag = "tenants", operation_id = "createKey",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body = NewKeyBody,
    responses((status = 201, description = "Made; `Location` and `ETag` are sent", body = MadeKey)))]
pub(super) async fn create(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    if_match: IfMatch,
    Json(asked): Json<NewKeyBody>,
) -> Result<Response, Refusal> {
    let now = Timestamp::now();
    let wish = asked.checked(now)?;
    let made = NewKey::make(&tenant, wish, now).map_err(|error| {
        tracing::error!(%error, "the system has no randomness for a key");
        Problem::internal()
    })?;
    let item = KeyItem::new(&made.stored);
    let change = Change::AddKey(Box::new(made.stored));
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, Mode::Commit).await?;
    // Neither id has a character that a path would have to escape.
    let location = HeaderValue::from_str(&format!("/admin/v1/tenants/{tenant}/keys/{}", item.id)).ok();
    let location = location.map(|location| [(header::LOCATION, location)]);
    let headers =
        [(header::ETAG, etag(report.revision)), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let answer = MadeKey { tenant_id: tenant.to_string(), revision: report.revision, key: made.text, item };
    Ok((StatusCode::CREATED, location, headers, axum::Json(answer)).into_response())
}

/// Revokes an API key: from the answer on this host refuses it.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}/keys/{key}", tag = "tenants", operation_id = "revokeKey",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("key" = String, Path, description = "Id of the key"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    responses((status = 200, description = "Revoked", body = ChangeAnswer)))]
pub(super) async fn revoke(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfKey(key): OfKey,
    if_match: IfMatch,
) -> Result<ChangeAnswer, Refusal> {
    let change = Change::RevokeKey(key);
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(&tenant, &report, Mode::Commit))
}

impl NewKeyBody {
    fn checked(self, now: Timestamp) -> Result<KeyWish, Problem> {
        let name = checked_name(&self.name)?;
        let mut scopes: Vec<String> = Vec::new();
        for scope in self.scopes {
            if !KEY_SCOPES.contains(&scope.as_str()) {
                let known = KEY_SCOPES.join("`, `");
                return Err(Problem::request_invalid(format!("`scopes`: there are `{known}`, not {scope:?}")));
            }
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() {
            return Err(Problem::request_invalid("`scopes` must name at least one"));
        }
        let expires_at = self.expires_at.map(|text| text.parse::<Timestamp>()).transpose();
        let expires_at = expires_at
            .map_err(|error| Problem::request_invalid(format!("`expiresAt` is no RFC 3339 time: {error}")))?;
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Problem::request_invalid("`expiresAt` must be in the future"));
        }
        Ok(KeyWish { name, scopes, expires_at, created_by: ACTOR.to_owned() })
    }
}
