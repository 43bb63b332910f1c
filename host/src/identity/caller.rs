//! Who makes a request, as far as it is proven.

use std::{sync::Arc, time::SystemTime};

use crate::names::TenantId;

/// Who makes a request. Everything here was proven by a token, or is believed in dev mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user, as the issuer names them; `None` for a token without that claim.
    pub subject: Option<Arc<str>>,
    /// For which tenant the caller speaks.
    pub tenant: TenantProof,
    /// In the order given, each once, never empty texts. None begins with `module:`: only the host says that a
    /// module is asking.
    pub roles: Arc<[Arc<str>]>,
    /// When the token ends, without leeway; `None` in dev mode.
    pub expires: Option<SystemTime>,
}

/// What proves for which tenant a caller speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantProof {
    /// Nothing: the token has no tenant claim and its issuer is free.
    None,
    /// The token's tenant claim.
    Claim(TenantId),
    /// The configuration binds the token's issuer to this tenant.
    Issuer(TenantId),
    /// Dev mode: any tenant that the request names.
    Any,
}

impl Caller {
    /// The one tenant for which the caller speaks; `None` without proof and in dev mode.
    pub fn proven_tenant(&self) -> Option<&TenantId> {
        match &self.tenant {
            TenantProof::Claim(tenant) | TenantProof::Issuer(tenant) => Some(tenant),
            TenantProof::None | TenantProof::Any => None,
        }
    }

    /// Whether the caller speaks for this tenant.
    pub fn speaks_for(&self, tenant: &TenantId) -> bool {
        self.tenant == TenantProof::Any || self.proven_tenant() == Some(tenant)
    }

    /// Whether the caller has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| **own == *role)
    }
}

/// Roles as they come from outside, without those that outsiders can't have.
pub(super) fn outside_roles<'a>(given: impl IntoIterator<Item = &'a str>) -> Arc<[Arc<str>]> {
    let mut roles: Vec<Arc<str>> = Vec::new();
    for role in given.into_iter().map(str::trim) {
        let is_reserved = role.starts_with("module:");
        if !role.is_empty() && !is_reserved && !roles.iter().any(|known| **known == *role) {
            roles.push(role.into());
        }
    }
    roles.into()
}
