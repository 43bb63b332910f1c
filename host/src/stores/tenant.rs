//! The tenant document, field names as the platform's database has them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use semver::VersionReq;
use serde::{Deserialize, Serialize};

use super::{ApiKey, Cors, TenantDocumentError};
use crate::names::{ModuleName, TenantId};

/// One tenant as stored. Fields that Tenon doesn't know are kept in `unknown` and written back.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantDocument {
    /// The id; `tenantId` in the document.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// Whether requests are served.
    pub status: TenantStatus,
    /// What the tenant may use, in the order in which it was enabled.
    pub enabled_modules: Vec<EnabledModule>,
    /// The tenant's own values, over the manifests' defaults. Booleans and anything else JSON can hold.
    pub feature_flags: BTreeMap<String, serde_json::Value>,
    /// Settings by module name; each a JSON object.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Which pages of other origins may read answers; `None`: the host says nothing about origins. In a box, as most
    /// tenants have none.
    pub cors: Option<Box<Cors>>,
    /// By which programs prove the tenant, in the order in which they were made; ids are there once.
    pub api_keys: Vec<ApiKey>,
    /// Grows by one with each write; 0 in a document that a foreign program wrote.
    pub revision: u64,
    /// Of the last write.
    pub updated_at: Option<Timestamp>,
    /// What a foreign program put there, at the top level.
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// One entry of `enabledModules`.
#[derive(Debug, Clone, PartialEq)]
pub struct EnabledModule {
    /// `moduleId` in the document.
    pub module: ModuleName,
    /// `version`: which versions will do; `*` where missing.
    pub version: VersionReq,
    /// `isolation`: `shared` where missing.
    pub isolation: Isolation,
    /// `enabledAt`.
    pub enabled_at: Option<Timestamp>,
    /// `enabledBy`.
    pub enabled_by: Option<String>,
    /// What a foreign program put there.
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// Whether a tenant's requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    /// Served.
    #[default]
    Active,
    /// Refused with TENANT_SUSPENDED; nothing of the tenant runs.
    Suspended,
}

/// Whether a tenant shares a module's code, statics included, with other tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One library for all; an instance of its own.
    #[default]
    Shared,
    /// A copy of the library of its own.
    Library,
}

/// One page of tenants.
#[derive(Debug, Clone, Default)]
pub struct TenantPage {
    /// In bytewise order of ids.
    pub tenants: Vec<Arc<TenantDocument>>,
    /// Whether more follow the last one.
    pub more: bool,
    /// Those that were met on the way and can't be understood.
    pub unreadable: Vec<TenantDocumentError>,
}
