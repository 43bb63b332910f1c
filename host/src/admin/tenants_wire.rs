//! Tenants as JSON: field names as in the stored document, and what each enabled module is doing.

use std::collections::BTreeMap;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{change_wire::etag, cors::CorsBody, enabling::IsolationWord, settings::shown, state::Admin};
use crate::{
    stores::{Isolation, TenantDocument, TenantStatus},
    tenancy::{ModuleState, ModuleStatus, TenantSnapshot},
};

/// Whether a tenant's requests are served.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusWord {
    /// They are.
    Active,
    /// They are refused with `TENANT_SUSPENDED`, and nothing of the tenant runs.
    Suspended,
}

/// One page of tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantList {
    /// In bytewise order of their ids.
    pub(super) tenants: Vec<TenantItem>,
    /// The cursor of the next page; null: this is the last one.
    pub(super) next: Option<String>,
    /// Stored documents on the way that can't be understood, each with what is wrong with it.
    pub(super) unreadable: Vec<String>,
}

/// A tenant in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantItem {
    pub(super) tenant_id: String,
    pub(super) name: String,
    pub(super) status: StatusWord,
    /// Names of the enabled modules, in the order in which they were enabled.
    pub(super) modules: Vec<String>,
    pub(super) revision: u64,
    /// When it was last written; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated_at: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantDetail {
    pub(super) tenant_id: String,
    pub(super) name: String,
    pub(super) status: StatusWord,
    /// In the order in which they were enabled.
    pub(super) enabled_modules: Vec<EnabledItem>,
    /// The tenant's own values, over what modules declare.
    pub(super) feature_flags: BTreeMap<String, Value>,
    /// Settings by module.
    pub(super) settings: BTreeMap<String, Value>,
    /// Which pages of other origins may read answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cors: Option<CorsBody>,
    /// Grows with each write; also sent as `ETag`.
    pub(super) revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated_at: Option<String>,
}

/// A module that a tenant has enabled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnabledItem {
    pub(super) module_id: String,
    /// Which versions will do.
    pub(super) version: String,
    #[schema(value_type = IsolationWord)]
    pub(super) isolation: Isolation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled_by: Option<String>,
    pub(super) state: StateItem,
}

/// What an enabled module is doing on this host.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateItem {
    pub(super) is: StateWord,
    /// The version chosen; left out: none could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The number of the loaded copy that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u64>,
    /// Requests that the instance was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<u64>,
    /// Requests inside right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inside: Option<u64>,
}

/// What an enabled module is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateWord {
    /// It has an instance.
    Running,
    /// The first request makes an instance.
    Idle,
    /// The last try to make an instance failed; `code` and `reason` say why.
    Failed,
    /// No version of it can run; `code` and `reason` say why.
    Unavailable,
}

impl From<TenantStatus> for StatusWord {
    fn from(status: TenantStatus) -> Self {
        match status {
            TenantStatus::Active => Self::Active,
            TenantStatus::Suspended => Self::Suspended,
        }
    }
}

impl TenantItem {
    pub(super) fn new(document: &TenantDocument) -> Self {
        Self {
            tenant_id: document.id.to_string(),
            name: document.name.clone(),
            status: document.status.into(),
            modules: document.enabled_modules.iter().map(|enabled| enabled.module.to_string()).collect(),
            revision: document.revision,
            updated_at: document.updated_at.map(|time| time.to_string()),
        }
    }
}

impl TenantDetail {
    pub(super) fn new(admin: &Admin, snapshot: &TenantSnapshot) -> Self {
        let document = snapshot.document();
        let settings = document.settings.keys().map(|module| (module.clone(), shown(admin, snapshot, module)));
        let states = snapshot.report().modules;
        let enabled = document.enabled_modules.iter().zip(&states).map(|(enabled, status)| EnabledItem {
            module_id: enabled.module.to_string(),
            version: enabled.version.to_string(),
            isolation: enabled.isolation,
            enabled_at: enabled.enabled_at.map(|time| time.to_string()),
            enabled_by: enabled.enabled_by.clone(),
            state: StateItem::new(status),
        });
        Self {
            tenant_id: document.id.to_string(),
            name: document.name.clone(),
            status: document.status.into(),
            enabled_modules: enabled.collect(),
            feature_flags: document.feature_flags.clone(),
            settings: settings.collect(),
            cors: document.cors.as_deref().map(CorsBody::of),
            revision: document.revision,
            updated_at: document.updated_at.map(|time| time.to_string()),
        }
    }
}

impl IntoResponse for TenantDetail {
    fn into_response(self) -> Response {
        ([(header::ETAG, etag(self.revision))], Json(self)).into_response()
    }
}

impl StateItem {
    pub(super) fn new(status: &ModuleStatus) -> Self {
        let version = status.version.as_ref().map(ToString::to_string);
        let quiet = |is| Self {
            is,
            version: version.clone(),
            code: None,
            reason: None,
            generation: None,
            requests: None,
            inside: None,
        };
        let failed = |is, code: &str, reason: &str| Self {
            code: Some(code.to_owned()),
            reason: Some(reason.to_owned()),
            ..quiet(is)
        };
        match &status.state {
            ModuleState::Running { generation, requests, inside } => Self {
                generation: Some(*generation),
                requests: Some(*requests),
                inside: Some(*inside),
                ..quiet(StateWord::Running)
            },
            ModuleState::Idle => quiet(StateWord::Idle),
            ModuleState::Failed { code, reason } => failed(StateWord::Failed, code, reason),
            ModuleState::Unavailable { code, reason } => failed(StateWord::Unavailable, code, reason),
        }
    }
}
