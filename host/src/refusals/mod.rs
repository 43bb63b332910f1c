//! How the errors of lower rooms look to whoever asked: each becomes a [`Problem`] here and nowhere else, for
//! tenants and operators alike. What only operators may know is added by room `admin`.

use std::time::Duration;

use crate::{
    loader::{Failure, FailureKind},
    names::ModuleName,
    problem::Problem,
    tenancy::{MAX_API_KEYS, TenancyError},
};

/// When to ask again where an instance is on its way, or leaving; a guess.
const SOON: Duration = Duration::from_secs(1);

/// Why something could not be done for a tenant.
pub fn of_tenancy(error: &TenancyError) -> Problem {
    match error {
        TenancyError::ModuleNotFound(module) => Problem::module_not_found(module.as_str()),
        TenancyError::DependencyMissing { module, missing } => Problem::module_dependency_missing(module, missing),
        TenancyError::HasDependents { module, dependents } => Problem::module_has_dependents(module, dependents),
        TenancyError::ModuleNotEnabled(module) => Problem::module_not_enabled(module),
        TenancyError::NotSelectable { code, text } => Problem::catalog_finding(code, text.clone()),
        TenancyError::LoadFailed { module, .. } | TenancyError::NotNow { module, .. } => {
            Problem::module_load_failed(module)
        }
        TenancyError::Incompatible { module, .. } => {
            Problem::module_incompatible(module.as_str(), "it was built against another interface")
        }
        TenancyError::ModuleBusy(module) | TenancyError::FileChanged { module, .. } => busy(module),
        TenancyError::TenantNotFound(tenant) => Problem::tenant_not_found(tenant),
        TenancyError::TenantExists(tenant) => Problem::tenant_exists(tenant),
        TenancyError::TenantSuspended(tenant) => Problem::tenant_suspended(tenant),
        TenancyError::Precondition { found, .. } => Problem::precondition_failed(*found),
        TenancyError::HasData { tenant, documents } => Problem::tenant_has_data(tenant, *documents),
        TenancyError::FlagInvalid(problems) => Problem::flag_invalid(problems),
        TenancyError::SettingsInvalid { module, problems } => Problem::settings_invalid(module, problems),
        TenancyError::NothingToGoBackTo(module) => Problem::nothing_to_go_back_to(module),
        TenancyError::FlagNotFound(flag) => Problem::flag_not_found(flag),
        TenancyError::ApiKeyNotFound(id) => Problem::api_key_not_found(id),
        TenancyError::TooManyApiKeys => Problem::too_many_api_keys(MAX_API_KEYS),
        TenancyError::StoreUnavailable(_) => Problem::store_unavailable(),
        TenancyError::ShuttingDown => Problem::shutting_down(),
    }
}

/// What a client is told of a module's failure; the rest goes to the log, once, here.
pub fn of_failure(module: &ModuleName, failure: &Failure) -> Problem {
    match &failure.kind {
        FailureKind::Fault { status, code } => Problem::module_fault(module, code, failure.message.clone(), *status)
            .unwrap_or_else(|refused| {
                tracing::error!(%module, code, reason = %refused.reason, "a fault breaks the rules: {failure}");
                refused.problem
            }),
        FailureKind::Invalid => Problem::request_invalid(failure.message.clone()),
        FailureKind::StoreUnavailable => {
            tracing::warn!(%module, "the store is unavailable: {failure}");
            Problem::store_unavailable()
        }
        FailureKind::Stopping => busy(module),
        FailureKind::Panicked { place } => {
            tracing::error!(%module, place, "a handler panicked: {failure}");
            Problem::module_panicked(module)
        }
        _ => {
            tracing::error!(%module, "a handler failed: {failure}");
            Problem::internal()
        }
    }
}

/// No usable instance right now.
pub fn busy(module: &ModuleName) -> Problem {
    Problem::module_busy(module, SOON)
}

/// A thread is stuck in the module for this tenant: as long as it is, nobody else gets in.
pub fn barred(module: &ModuleName) -> Problem {
    Problem::module_quarantined(module).with_retry_after(SOON)
}

/// As many requests are inside as may be.
pub fn full(module: &ModuleName) -> Problem {
    Problem::too_many_requests(module, SOON)
}
