//! Why something could not be done for a tenant. Each error has a stable code; what users are told is written
//! in room `problem`. [`TenancyError::reason`] has what operators and the log get to know beyond it.

use super::change::MAX_API_KEYS;
use crate::names::{ModuleName, TenantId};

/// Why a change, a load or an activation failed. The display texts are for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenancyError {
    /// No candidate has this name.
    #[error("module `{0}` is not in the catalog")]
    ModuleNotFound(ModuleName),
    /// Required modules are not enabled for the tenant.
    #[error("module `{module}` requires modules that are not enabled: {}", join(missing))]
    DependencyMissing {
        /// What was to be enabled.
        module: ModuleName,
        /// What it lacks, sorted.
        missing: Vec<ModuleName>,
    },
    /// Enabled modules need it.
    #[error("module `{module}` is required by enabled modules: {}", join(dependents))]
    HasDependents {
        /// What was to be disabled.
        module: ModuleName,
        /// Who needs it, sorted.
        dependents: Vec<ModuleName>,
    },
    /// The module is not among the tenant's.
    #[error("module `{0}` is not enabled")]
    ModuleNotEnabled(ModuleName),
    /// The catalog can't offer the module to this tenant: versions, cycles, offers.
    #[error("{text}")]
    NotSelectable {
        /// The stable code, such as MODULE_VERSION_UNSATISFIABLE.
        code: &'static str,
        /// In words, by name and version.
        text: String,
    },
    /// The library could not be opened, or no instance could be made.
    #[error("module `{module}` could not be loaded")]
    LoadFailed {
        /// Which.
        module: ModuleName,
        /// For operators.
        reason: String,
    },
    /// It could not be loaded, for a reason that is the host's and may pass.
    #[error("module `{module}` could not be loaded now")]
    NotNow {
        /// Which.
        module: ModuleName,
        /// For operators.
        reason: String,
    },
    /// The file is another one than the catalog says; the next look at the folder will tell.
    #[error("the file of module `{module}` has changed")]
    FileChanged {
        /// Which.
        module: ModuleName,
        /// For operators.
        reason: String,
    },
    /// The library was built for another interface.
    #[error("module `{module}` does not fit this host")]
    Incompatible {
        /// Which.
        module: ModuleName,
        /// For operators.
        reason: String,
    },
    /// An instance is on its way, but not within the time the caller had.
    #[error("module `{0}` is not ready yet")]
    ModuleBusy(ModuleName),
    /// No such tenant.
    #[error("there is no tenant `{0}`")]
    TenantNotFound(TenantId),
    /// There is one already.
    #[error("tenant `{0}` exists already")]
    TenantExists(TenantId),
    /// Nothing of the tenant runs.
    #[error("tenant `{0}` is suspended")]
    TenantSuspended(TenantId),
    /// Somebody else changed the tenant.
    #[error("tenant `{tenant}` has revision {found}, not {expected}")]
    Precondition {
        /// Which.
        tenant: TenantId,
        /// What the caller had read.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The tenant has documents, and no purge was asked for.
    #[error("tenant `{tenant}` still has {documents} documents")]
    HasData {
        /// Which.
        tenant: TenantId,
        /// How many.
        documents: u64,
    },
    /// Flags have names or values that can't be; all that is wrong.
    #[error("{}", .0.join("; "))]
    FlagInvalid(Vec<String>),
    /// Settings do not fit the module's schema; all that is wrong, without values.
    #[error("settings for `{module}`: {}", problems.join("; "))]
    SettingsInvalid {
        /// Whose schema.
        module: ModuleName,
        /// With their places.
        problems: Vec<String>,
    },
    /// A flag that is neither set nor declared.
    #[error("the tenant has not set flag `{0}`")]
    FlagNotFound(String),
    /// The tenant has no API key of this id.
    #[error("the tenant has no API key `{0}`")]
    ApiKeyNotFound(String),
    /// The tenant has as many API keys as it may.
    #[error("the tenant has {MAX_API_KEYS} API keys already")]
    TooManyApiKeys,
    /// No other content of the module could take the place of the one that is to be left.
    #[error("there is no other version of `{0}` to go back to")]
    NothingToGoBackTo(ModuleName),
    /// The store is away.
    #[error("the store is unavailable")]
    StoreUnavailable(String),
    /// The host is going down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

fn join(names: &[ModuleName]) -> String {
    names.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(", ")
}

impl TenancyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModuleNotFound(_) => "MODULE_NOT_FOUND",
            Self::DependencyMissing { .. } => "MODULE_DEPENDENCY_MISSING",
            Self::HasDependents { .. } => "MODULE_HAS_DEPENDENTS",
            Self::ModuleNotEnabled(_) => "MODULE_NOT_ENABLED",
            Self::NotSelectable { code, .. } => code,
            Self::LoadFailed { .. } | Self::NotNow { .. } => "MODULE_LOAD_FAILED",
            Self::Incompatible { .. } => "MODULE_INCOMPATIBLE",
            Self::ModuleBusy(_) | Self::FileChanged { .. } => "MODULE_BUSY",
            Self::TenantNotFound(_) => "TENANT_NOT_FOUND",
            Self::TenantExists(_) => "TENANT_EXISTS",
            Self::TenantSuspended(_) => "TENANT_SUSPENDED",
            Self::Precondition { .. } | Self::HasData { .. } => "PRECONDITION_FAILED",
            Self::FlagInvalid(_) => "FLAG_INVALID",
            Self::SettingsInvalid { .. } => "SETTINGS_INVALID",
            Self::FlagNotFound(_) => "FLAG_NOT_FOUND",
            Self::ApiKeyNotFound(_) => "API_KEY_NOT_FOUND",
            Self::TooManyApiKeys => "TOO_MANY_API_KEYS",
            Self::NothingToGoBackTo(_) => "MODULE_VERSION_UNSATISFIABLE",
            Self::StoreUnavailable(_) => "STORE_UNAVAILABLE",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }

    /// What operators and the log get to know beyond the text.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::LoadFailed { reason, .. }
            | Self::NotNow { reason, .. }
            | Self::Incompatible { reason, .. }
            | Self::FileChanged { reason, .. }
            | Self::StoreUnavailable(reason) => Some(reason),
            _ => None,
        }
    }
}

/// An error with all that is behind it, for people who can do something about it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
