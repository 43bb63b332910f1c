//! A tenant's flags for the program around a host: what the tenant sees, and changes of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    flags::{FlagChange, FlagName},
    names::TenantId,
    tenancy::{Change, Mode, Tenancy, TenancyError},
};

/// The flags of tenants. Cheap to make; reads take no lock where the tenant is in memory.
#[derive(Debug, Clone)]
pub struct Flags {
    tenancy: Tenancy,
}

impl Flags {
    pub(super) fn new(tenancy: Tenancy) -> Self {
        Self { tenancy }
    }

    /// All flags of a tenant by name: its own values, and its modules' defaults for the rest.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn get_feature_flags(&self, tenant: &TenantId) -> Result<Map<String, Value>, TenancyError> {
        Ok(self.tenancy.load(tenant).await?.flags.feature_flags())
    }

    /// Whether a feature is on for a tenant; one that nobody knows is off.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn is_feature_enabled(&self, tenant: &TenantId, feature: &str) -> Result<bool, TenancyError> {
        Ok(self.tenancy.load(tenant).await?.flags.is_feature_enabled(feature))
    }

    /// Whether a tenant has a module enabled, whether or not it can run.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn is_module_enabled(&self, tenant: &TenantId, module: &str) -> Result<bool, TenancyError> {
        Ok(self.tenancy.load(tenant).await?.has_enabled(module))
    }

    /// Sets a tenant's own values, all or none; the flags as they are after it.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::change`]; [`TenancyError::FlagInvalid`] also for names that can't be.
    pub async fn update_feature_flags(
        &self,
        tenant: &TenantId,
        values: BTreeMap<String, Value>,
        actor: &str,
    ) -> Result<Map<String, Value>, TenancyError> {
        let mut problems = Vec::new();
        let mut changes = Vec::new();
        for (name, value) in values {
            match name.parse::<FlagName>() {
                Ok(name) => changes.push(FlagChange::Set(name, value)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        if !problems.is_empty() {
            return Err(TenancyError::FlagInvalid(problems));
        }
        self.tenancy.change(tenant, Change::SetFlags(changes), None, actor, Mode::Commit).await?;
        self.get_feature_flags(tenant).await
    }

    /// Reads a tenant again from the store, as after a foreign program has changed it.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn invalidate_cache(&self, tenant: &TenantId) -> Result<(), TenancyError> {
        self.tenancy.refresh(tenant).await.map(drop)
    }
}
