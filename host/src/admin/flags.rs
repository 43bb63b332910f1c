//! A tenant's flags: read, set, taken back.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    change_wire::{ACTOR, ChangeAnswer},
    extract::{IfMatch, InTenant, Json, OfFlag},
    refusal::Refusal,
    state::Shared,
};
use crate::{
    flags::{FlagAnswer, FlagChange, FlagName, FlagSet, FlagSource, Reason, unix_seconds},
    names::TenantId,
    problem::Problem,
    tenancy::{Change, Mode},
};

/// Flags of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FlagList {
    /// By name. A flag that is neither set nor defined is there once for each module that declares it.
    pub(super) flags: Vec<FlagItem>,
}

/// One flag.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FlagItem {
    #[schema(example = "advanced-reporting")]
    pub(super) name: String,
    /// Any JSON value; only `true` switches a feature on. `null` where a definition leaves it to whoever asks.
    pub(super) value: Value,
    pub(super) source: SourceWord,
    /// `STATIC`, `DEFAULT`, `TARGETING_MATCH`, `DISABLED` or `ERROR`, as OpenFeature has them.
    #[schema(example = "TARGETING_MATCH")]
    pub(super) reason: String,
    /// The name of the value, where a definition gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<String>,
    /// The module whose default it is; left out where somebody else decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<String>,
    /// With `ERROR`: what is wrong with the definition's rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the rule of `new-theme` names `drak`, which is none of its variants; there are: dark, light")]
    pub(super) cause: Option<String>,
}

/// Who decided a flag's value.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceWord {
    /// The tenant set it.
    Tenant,
    /// Operators define it for all tenants.
    Definition,
    /// A module declares it.
    Module,
}

impl FlagItem {
    fn new(answer: FlagAnswer<'_>, flags: &FlagSet, tenant: &TenantId) -> Self {
        let is_failed = answer.reason == Reason::Error;
        let failure = is_failed.then(|| flags.failure(answer.name, tenant, unix_seconds())).flatten();
        let cause = failure.map(|error| error.to_string());
        let (source, module) = match answer.source {
            FlagSource::Override => (SourceWord::Tenant, None),
            FlagSource::Definition => (SourceWord::Definition, None),
            FlagSource::ModuleDefault(module) => (SourceWord::Module, Some(module.to_string())),
        };
        let (reason, variant) = (answer.reason.as_str().to_owned(), answer.variant.map(str::to_owned));
        Self { name: answer.name.to_owned(), value: answer.value.clone(), source, reason, variant, module, cause }
    }
}

/// Lists a tenant's flags: what it set itself, what is defined for all tenants, what its modules declare.
///
/// Of definitions with rules, what the rule says of the tenant as a whole, which is what its modules see.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}/flags", tag = "flags", operation_id = "listFlags",
    params(("tenant" = String, Path, description = "Id of the tenant")),
    responses((status = 200, description = "The flags", body = FlagList)))]
pub(super) async fn list(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
) -> Result<axum::Json<FlagList>, Refusal> {
    let snapshot = admin.tenancy.load(&tenant).await?;
    let flags = &snapshot.flags;
    let flags = flags.list().into_iter().map(|answer| FlagItem::new(answer, flags, &tenant)).collect();
    Ok(axum::Json(FlagList { flags }))
}

/// Shows one flag of a tenant.
///
/// Of a flag that several modules declare differently, the default of the first module by name.
#[utoipa::path(get, path = "/admin/v1/tenants/{tenant}/flags/{flag}", tag = "flags", operation_id = "showFlag",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("flag" = String, Path, description = "Name of the flag")),
    responses((status = 200, description = "The flag", body = FlagItem)))]
pub(super) async fn show(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    OfFlag(flag): OfFlag,
) -> Result<axum::Json<FlagItem>, Refusal> {
    let snapshot = admin.tenancy.load(&tenant).await?;
    let answer = snapshot.flags.get(&flag).ok_or_else(|| Problem::flag_not_found(&flag))?;
    Ok(axum::Json(FlagItem::new(answer, &snapshot.flags, &tenant)))
}

/// Sets flags of a tenant, all or none; `null` takes the tenant's own value back.
///
/// Names that no module declares are accepted. A flag that a module declares as a boolean takes no other value.
#[utoipa::path(patch, path = "/admin/v1/tenants/{tenant}/flags", tag = "flags", operation_id = "changeFlags",
    params(("tenant" = String, Path, description = "Id of the tenant"),
        ("If-Match" = Option<String>, Header, description = "ETag of the tenant that the change is based on")),
    request_body(content = BTreeMap<String, Value>, description = "Flags and their values",
        example = json!({ "advanced-reporting": true, "old-theme": null })),
    responses((status = 200, description = "Set", body = ChangeAnswer)))]
pub(super) async fn change(
    State(admin): State<Shared>,
    InTenant(tenant): InTenant,
    if_match: IfMatch,
    Json(asked): Json<BTreeMap<String, Value>>,
) -> Result<ChangeAnswer, Refusal> {
    let (mut changes, mut errors) = (Vec::new(), Vec::new());
    for (name, value) in asked {
        match name.parse::<FlagName>() {
            Ok(flag) if value.is_null() => changes.push(FlagChange::Unset(flag)),
            Ok(flag) => changes.push(FlagChange::Set(flag, value)),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::flag_invalid(&errors).into());
    }
    let change = Change::SetFlags(changes);
    let report = admin.tenancy.change(&tenant, change, if_match.optional(), ACTOR, Mode::Commit).await?;
    Ok(ChangeAnswer::new(&tenant, &report, Mode::Commit))
}
