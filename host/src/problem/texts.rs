//! The constructors, one for each code: every text that the host says to users stands here.

use std::{borrow::Cow, fmt::Display, time::Duration};

use super::{body::Problem, code::Code};
use crate::names::{ModuleName, TenantId, TenantIdError};

/// Names one after the other.
fn joined<T: Display>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}

fn texts<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

/// About modules.
impl Problem {
    /// [`Code::ModuleNotFound`]. `name` may be something that is no module name.
    pub fn module_not_found(name: &str) -> Self {
        Self::new(Code::ModuleNotFound, format!("Module not found in registry: {}", shortened(name)))
    }

    /// [`Code::ModuleDependencyMissing`]; member `missing` lists the names.
    pub fn module_dependency_missing(module: &ModuleName, missing: &[ModuleName]) -> Self {
        let list = joined(missing, ", ");
        let text = format!("Cannot enable {module}: missing required dependencies: {list}");
        Self::new(Code::ModuleDependencyMissing, text).with_member("missing", texts(missing))
    }

    /// [`Code::ModuleCircularDependency`]. `cycle` begins and ends with the same name; member `cycle` lists it.
    pub fn module_circular_dependency(cycle: &[ModuleName]) -> Self {
        let text = format!("Circular dependency detected: {}", joined(cycle, " -> "));
        Self::new(Code::ModuleCircularDependency, text).with_member("cycle", texts(cycle))
    }

    /// [`Code::ModuleHasDependents`]; member `dependents` lists the names.
    pub fn module_has_dependents(module: &ModuleName, dependents: &[ModuleName]) -> Self {
        let text = format!("Cannot disable {module}: required by: {}", joined(dependents, ", "));
        Self::new(Code::ModuleHasDependents, text).with_member("dependents", texts(dependents))
    }

    /// [`Code::ModuleLoadFailed`]. Operators are told why with [`Problem::with_detail`]; tenants are not.
    pub fn module_load_failed(module: &ModuleName) -> Self {
        Self::new(Code::ModuleLoadFailed, format!("Failed to load module: {module}"))
    }

    /// [`Code::ModuleNotEnabled`].
    pub fn module_not_enabled(module: &ModuleName) -> Self {
        Self::new(Code::ModuleNotEnabled, format!("Module {module} is not enabled"))
    }

    /// [`Code::FeatureNotEnabled`].
    pub fn feature_not_enabled(feature: &str) -> Self {
        Self::new(Code::FeatureNotEnabled, format!("Feature {feature} is not enabled"))
    }

    /// [`Code::ModulePanicked`].
    pub fn module_panicked(module: &ModuleName) -> Self {
        Self::new(Code::ModulePanicked, format!("Module {module} failed to answer"))
    }

    /// [`Code::ModuleTimeout`].
    pub fn module_timeout(module: &ModuleName, deadline: Duration) -> Self {
        Self::new(Code::ModuleTimeout, format!("Module {module} did not answer within {deadline:?}"))
    }

    /// [`Code::ModuleQuarantined`].
    pub fn module_quarantined(module: &ModuleName) -> Self {
        Self::new(Code::ModuleQuarantined, format!("Module {module} is kept from running"))
    }

    /// [`Code::ModuleBusy`].
    pub fn module_busy(module: &ModuleName, retry_after: Duration) -> Self {
        Self::new(Code::ModuleBusy, format!("Module {module} is not ready yet")).with_retry_after(retry_after)
    }

    /// [`Code::ModuleDuplicate`]; `version` is that of both files.
    pub fn module_duplicate(module: &ModuleName, version: &semver::Version) -> Self {
        Self::new(Code::ModuleDuplicate, format!("Module {module} {version} is in the plugins folder twice"))
    }

    /// [`Code::ModuleIncompatible`]; `why` names what was found and what this host needs.
    pub fn module_incompatible(module: &str, why: &str) -> Self {
        Self::new(Code::ModuleIncompatible, format!("Module {} does not fit this host: {why}", shortened(module)))
    }

    /// [`Code::ModuleVersionUnsatisfiable`]; `why` names who wants what.
    pub fn module_version_unsatisfiable(module: &ModuleName, why: &str) -> Self {
        let text = format!("No version of {module} fits all requirements: {why}");
        Self::new(Code::ModuleVersionUnsatisfiable, text)
    }

    /// [`Code::DependencyNotOffered`]: `dependency` lists in `provides-to` who may use it, without `module`.
    pub fn dependency_not_offered(module: &ModuleName, dependency: &ModuleName) -> Self {
        Self::new(Code::DependencyNotOffered, format!("Module {dependency} is not offered to {module}"))
    }

    /// [`Code::ManifestInvalid`]; member `problems` lists all that is wrong.
    pub fn manifest_invalid<T: Display>(module: &str, problems: &[T]) -> Self {
        let text = format!("The manifest of {} is invalid", shortened(module));
        Self::new(Code::ManifestInvalid, text).with_member("problems", texts(problems))
    }

    /// [`Code::ModuleVersionUnsatisfiable`]: the version that runs can't be left.
    pub fn nothing_to_go_back_to(module: &ModuleName) -> Self {
        let text = format!("There is no other version of {module} to go back to");
        Self::new(Code::ModuleVersionUnsatisfiable, text)
    }

    /// What the catalog found, under the code it named, in its words; a code that is not in the table becomes
    /// [`Code::Internal`].
    pub fn catalog_finding(code: &str, text: String) -> Self {
        match Code::ALL.iter().find(|known| known.as_str() == code) {
            Some(code) => Self::new(*code, text),
            None => Self::internal(),
        }
    }

    /// [`Code::RouteConflict`]: `holder` keeps base path `base`.
    pub fn route_conflict(module: &ModuleName, base: &str, holder: &ModuleName) -> Self {
        let text = format!("Module {module} cannot serve {base}: it conflicts with module {holder}");
        Self::new(Code::RouteConflict, text)
    }
}

/// About requests, tenants and who asks.
impl Problem {
    /// [`Code::RouteNotFound`]. The path is not repeated: it may be long or hostile.
    pub fn route_not_found() -> Self {
        Self::new(Code::RouteNotFound, "No route matches this path")
    }

    /// [`Code::MethodNotAllowed`]; `allowed` is sent as `Allow`.
    pub fn method_not_allowed<T: Display>(allowed: &[T]) -> Self {
        let allow = joined(allowed, ", ");
        Self::new(Code::MethodNotAllowed, format!("This route answers only to {allow}")).with_allow(allow)
    }

    /// [`Code::TenantRequired`].
    pub fn tenant_required() -> Self {
        Self::new(Code::TenantRequired, "The request must name a tenant")
    }

    /// [`Code::TenantIdInvalid`].
    pub fn tenant_id_invalid(why: TenantIdError) -> Self {
        Self::new(Code::TenantIdInvalid, format!("Invalid tenant id: {why}"))
    }

    /// [`Code::TenantNotFound`].
    pub fn tenant_not_found(tenant: &TenantId) -> Self {
        Self::new(Code::TenantNotFound, format!("Tenant not found: {tenant}"))
    }

    /// [`Code::TenantExists`].
    pub fn tenant_exists(tenant: &TenantId) -> Self {
        Self::new(Code::TenantExists, format!("Tenant already exists: {tenant}"))
    }

    /// [`Code::PreconditionFailed`] where a tenant that is to be deleted has documents; member `documents` says
    /// how many.
    pub fn tenant_has_data(tenant: &TenantId, documents: u64) -> Self {
        let text = format!("Tenant {tenant} still has {documents} documents: delete it with a purge to remove them");
        Self::new(Code::PreconditionFailed, text).with_member("documents", documents)
    }

    /// [`Code::ModuleBusy`] where the tenant changed again and again while the request was routed.
    pub fn tenant_changing() -> Self {
        Self::new(Code::ModuleBusy, "The tenant is being changed").with_retry_after(Duration::from_secs(1))
    }

    /// [`Code::TenantIdInvalid`] where two ways of naming it disagree, or one was used twice.
    pub fn tenant_named_twice() -> Self {
        Self::new(Code::TenantIdInvalid, "The request names the tenant more than once")
    }

    /// [`Code::Forbidden`] where none of the caller's roles is one of those the endpoint asks for.
    pub fn role_required<T: Display>(roles: &[T]) -> Self {
        Self::new(Code::Forbidden, format!("One of these roles is required: {}", joined(roles, ", ")))
    }

    /// [`Code::TenantSuspended`].
    pub fn tenant_suspended(tenant: &TenantId) -> Self {
        Self::new(Code::TenantSuspended, format!("Tenant {tenant} is suspended"))
    }

    /// [`Code::Unauthenticated`] where no token was sent.
    pub fn token_missing() -> Self {
        Self::new(Code::Unauthenticated, "A token is required")
    }

    /// [`Code::Unauthenticated`] where a token was sent; why it won't do is for the log alone.
    pub fn token_refused() -> Self {
        Self::new(Code::Unauthenticated, "The token is not valid").with_token_refused()
    }

    /// [`Code::Unauthenticated`] where either a token or an API key would do, and none was sent.
    pub fn token_or_key_missing() -> Self {
        Self::new(Code::Unauthenticated, "A token or API key is required")
    }

    /// The same where one was sent; why it won't do is for the log alone.
    pub fn token_or_key_refused() -> Self {
        Self::new(Code::Unauthenticated, "The token or API key is not valid").with_token_refused()
    }

    /// [`Code::Forbidden`]. `text` is neutral: it tells nothing that the caller doesn't know.
    pub fn forbidden(text: &'static str) -> Self {
        Self::new(Code::Forbidden, text)
    }

    /// [`Code::RequestInvalid`]; `why` is about what the client sent.
    pub fn request_invalid(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::RequestInvalid, why)
    }

    /// [`Code::BodyTooLarge`]; member `limitBytes` is the limit.
    pub fn body_too_large(limit_bytes: usize) -> Self {
        Self::new(Code::BodyTooLarge, format!("The request body is larger than {limit_bytes} bytes"))
            .with_member("limitBytes", limit_bytes)
    }

    /// [`Code::TooManyRequests`].
    pub fn too_many_requests(module: &ModuleName, retry_after: Duration) -> Self {
        let text = format!("Too many requests at once for module {module}");
        Self::new(Code::TooManyRequests, text).with_retry_after(retry_after)
    }

    /// [`Code::TooManyRequests`] where a tenant's flags are asked for.
    pub fn too_many_flag_requests() -> Self {
        let text = "Too many requests at once for the flags of this tenant";
        Self::new(Code::TooManyRequests, text).with_retry_after(Duration::from_secs(1))
    }

    /// [`Code::TooManyRequests`] where changes of a tenant's flags are listened to. Streams stay open for long, so room for
    /// another is not to be expected at once.
    pub fn too_many_streams() -> Self {
        let text = "Too many event streams at once for this tenant";
        Self::new(Code::TooManyRequests, text).with_retry_after(Duration::from_secs(30))
    }

    /// The same where it is all tenants that have too many.
    pub fn too_many_streams_of_all() -> Self {
        let text = "The host has as many event streams as it may have";
        Self::new(Code::TooManyRequests, text).with_retry_after(Duration::from_secs(30))
    }
}

/// About flags, revisions and the host itself.
impl Problem {
    /// [`Code::FlagNotFound`].
    pub fn flag_not_found(flag: &str) -> Self {
        Self::new(Code::FlagNotFound, format!("Flag not found: {}", shortened(flag)))
    }

    /// [`Code::FlagNotFound`] among the definitions: a tenant or a module may have it all the same.
    pub fn flag_not_defined(flag: &str) -> Self {
        Self::new(Code::FlagNotFound, format!("Flag not found: {} has no definition", shortened(flag)))
    }

    /// [`Code::FlagInvalid`]; member `problems` lists all that is wrong.
    pub fn flag_invalid<T: Display>(problems: &[T]) -> Self {
        Self::new(Code::FlagInvalid, format!("Invalid flag: {}", joined(problems, "; ")))
            .with_member("problems", texts(problems))
    }

    /// [`Code::FlagsInFile`].
    pub fn flags_in_file() -> Self {
        let text =
            "Flag definitions are kept in a file of this host: change the file, or take `[flags] definitions` out";
        Self::new(Code::FlagsInFile, text)
    }

    /// [`Code::SettingsInvalid`]; member `problems` lists all that is wrong.
    pub fn settings_invalid<T: Display>(module: &ModuleName, problems: &[T]) -> Self {
        Self::new(Code::SettingsInvalid, format!("Invalid settings for {module}: {}", joined(problems, "; ")))
            .with_member("problems", texts(problems))
    }

    /// [`Code::ApiKeyNotFound`].
    pub fn api_key_not_found(id: &str) -> Self {
        Self::new(Code::ApiKeyNotFound, format!("API key not found: {}", shortened(id)))
    }

    /// [`Code::TooManyApiKeys`]; member `limit` is how many there may be.
    pub fn too_many_api_keys(limit: usize) -> Self {
        let text = format!("The tenant has {limit} API keys: revoke one before another is made");
        Self::new(Code::TooManyApiKeys, text).with_member("limit", limit)
    }

    /// [`Code::DeadLetterNotFound`].
    pub fn dead_letter_not_found(id: &str) -> Self {
        Self::new(Code::DeadLetterNotFound, format!("Dead letter not found: {}", shortened(id)))
    }

    /// [`Code::PreconditionFailed`]; member `revision` is the one that is there now.
    pub fn precondition_failed(revision: u64) -> Self {
        Self::new(Code::PreconditionFailed, format!("It was changed in the meantime and has revision {revision} now"))
            .with_member("revision", revision)
    }

    /// [`Code::PreconditionRequired`].
    pub fn precondition_required() -> Self {
        Self::new(Code::PreconditionRequired, "Send If-Match with the revision that was read")
    }

    /// [`Code::StoreUnavailable`].
    pub fn store_unavailable() -> Self {
        Self::new(Code::StoreUnavailable, "The store is unavailable").with_retry_after(Duration::from_secs(1))
    }

    /// [`Code::TooManyConnections`].
    pub fn too_many_connections() -> Self {
        let text = "The host has as many connections as it may have";
        Self::new(Code::TooManyConnections, text).with_retry_after(Duration::from_secs(1))
    }

    /// [`Code::ShuttingDown`].
    pub fn shutting_down() -> Self {
        Self::new(Code::ShuttingDown, "The host is shutting down").with_retry_after(Duration::from_secs(1))
    }
}

/// What a client sent, cut to a length that is fit to be repeated.
fn shortened(text: &str) -> Cow<'_, str> {
    const MOST: usize = 128;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => Cow::Owned(format!("{}...", &text[..cut])),
        None => Cow::Borrowed(text),
    }
}
