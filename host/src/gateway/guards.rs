//! The guards, in the order in which a request passes them:
//!
//! 1. token, if any: a bad one is refused before anything is said about tenants;
//! 2. tenant: named by header or token, known, active; a token must be for it;
//! 3. module: enabled for the tenant, and able to run;
//! 4. route: the path and method exist;
//! 5. authentication: an endpoint is open only where it says so;
//! 6. roles: any one of those listed;
//! 7. feature: on for the tenant;
//! 8. limits: of the body, of time, of requests at once.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::{
    identity::{
        Caller, Denied, EndpointAuth, IdentityError, Verifier, authorize_roles, authorize_tenant, bearer_token,
        select_tenant,
    },
    manifest::Endpoint,
    names::{ModuleName, TenantId},
    problem::Problem,
    telemetry::RequestId,
    tenancy::{Looked, RouteMatch, Tenancy, TenantSnapshot},
};

/// Guard 1: who asks, where a token was sent.
pub(super) fn caller(verifier: &Verifier, headers: &HeaderMap, id: RequestId) -> Result<Option<Arc<Caller>>, Problem> {
    let refused = |error: IdentityError| {
        tracing::info!(request_id = %id, %error, "a token was refused");
        if error.code() == "FORBIDDEN" { Problem::forbidden(error.client_text()) } else { Problem::token_refused() }
    };
    let Some(token) = bearer_token(headers).map_err(refused)? else { return Ok(None) };
    verifier.verify(token).map(Some).map_err(refused)
}

/// Guard 2, first half: which tenant is meant. A token alone may name it; one for another tenant is refused
/// before anything is said about the tenant that was named.
pub(super) fn tenant_meant(named: Option<TenantId>, caller: Option<&Caller>) -> Result<TenantId, Problem> {
    select_tenant(caller, named.as_ref()).cloned().map_err(|error| denied(&error))
}

/// Guard 2, second half: it may be served.
pub(super) fn tenant_active(snapshot: &TenantSnapshot) -> Result<(), Problem> {
    if snapshot.is_active() { Ok(()) } else { Err(Problem::tenant_suspended(snapshot.id())) }
}

/// Guards 3 and 4: the endpoint.
pub(super) fn endpoint<'table, 'path>(
    tenancy: &Tenancy,
    snapshot: &'table TenantSnapshot,
    method: &Method,
    path: &'path str,
    id: RequestId,
) -> Result<RouteMatch<'table, 'path>, Problem> {
    match snapshot.table.look(method, path) {
        Looked::Found(found) => Ok(found),
        Looked::OtherMethods { allowed } => Err(Problem::method_not_allowed(&allowed)),
        Looked::NoRoute => Err(Problem::route_not_found()),
        Looked::Foreign => Err(match tenancy.owner(path) {
            Some(module) => not_running(snapshot, &module, id),
            None => Problem::route_not_found(),
        }),
    }
}

/// Why a module of the catalog does not serve the tenant.
fn not_running(snapshot: &TenantSnapshot, module: &ModuleName, id: RequestId) -> Problem {
    match snapshot.problem(module.as_str()) {
        Some(problem) => {
            tracing::warn!(request_id = %id, tenant = %snapshot.id(), %module, code = problem.code, "{}", problem.text);
            if problem.code == "MODULE_QUARANTINED" {
                return Problem::module_quarantined(module);
            }
            Problem::module_load_failed(module)
        }
        None => Problem::module_not_enabled(module),
    }
}

/// Guards 5, 6 and 7. Gives the caller as the module may see them: on an open endpoint, only one who proves
/// the tenant.
pub(super) fn admit<'caller>(
    snapshot: &TenantSnapshot,
    module: &ModuleName,
    endpoint: &Endpoint,
    caller: Option<&'caller Caller>,
) -> Result<Option<&'caller Caller>, Problem> {
    let auth = if endpoint.auth { EndpointAuth::Required } else { EndpointAuth::Open };
    let seen = authorize_tenant(caller, snapshot.id(), auth).map_err(|error| denied(&error))?;
    if !endpoint.roles.is_empty() && authorize_roles(seen, &endpoint.roles).is_err() {
        return Err(Problem::role_required(&endpoint.roles));
    }
    match &endpoint.feature {
        Some(feature) if snapshot.flags.is_enabled(module, feature) != Some(true) => {
            Err(Problem::feature_not_enabled(feature))
        }
        _ => Ok(seen),
    }
}

/// How a refusal of the first guards looks.
pub(super) fn denied(error: &Denied) -> Problem {
    match error {
        Denied::NoTenant => Problem::tenant_required(),
        Denied::NoToken => Problem::token_missing(),
        other => Problem::forbidden(other.client_text()),
    }
}
