//! What a caller may do: for which tenant a request is, and whether an endpoint is open to its caller. Pure.

use crate::names::TenantId;

use super::caller::Caller;

/// Whether an endpoint is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointAuth {
    /// Only for callers that prove the tenant; what holds unless the manifest says otherwise.
    Required,
    /// For everyone.
    Open,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Neither the request nor its token names a tenant.
    #[error("neither the request nor a token names a tenant")]
    NoTenant,
    /// The token is for another tenant than the one that the request names.
    #[error("the request names tenant `{named}`, the token proves `{proven}`")]
    OtherTenant {
        /// By the request.
        named: TenantId,
        /// By the token.
        proven: TenantId,
    },
    /// No token, where one is needed.
    #[error("the endpoint needs a token and none was sent")]
    NoToken,
    /// A good token that proves no tenant, where that is needed.
    #[error("the token proves no tenant: it has no tenant claim and its issuer is not bound to one")]
    NoTenantProof,
    /// None of the roles that the endpoint lists.
    #[error("the caller has none of the endpoint's roles")]
    NoRole,
}

impl Denied {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "TENANT_REQUIRED",
            Self::NoToken => "UNAUTHENTICATED",
            Self::OtherTenant { .. } | Self::NoTenantProof | Self::NoRole => "FORBIDDEN",
        }
    }

    /// What the client may know.
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::NoTenant => "The request must name a tenant",
            Self::OtherTenant { .. } => "The token is for another tenant",
            Self::NoToken => "A token is required",
            Self::NoTenantProof => "The token is not for this tenant",
            Self::NoRole => "The caller's roles do not permit this",
        }
    }
}

/// For which tenant a request is: the one that it names, else the one that its token proves.
///
/// # Errors
///
/// [`Denied::OtherTenant`] where both are there and differ, on open endpoints as well;
/// [`Denied::NoTenant`] where neither is.
pub fn select_tenant<'a>(caller: Option<&'a Caller>, named: Option<&'a TenantId>) -> Result<&'a TenantId, Denied> {
    match (named, caller.and_then(Caller::proven_tenant)) {
        (Some(named), Some(proven)) if named != proven => {
            Err(Denied::OtherTenant { named: named.clone(), proven: proven.clone() })
        }
        (Some(tenant), _) | (None, Some(tenant)) => Ok(tenant),
        (None, None) => Err(Denied::NoTenant),
    }
}

/// Whether an endpoint of `tenant` is open to a caller. Returns the caller as the module may see them: one who
/// does not prove the tenant is a stranger there, whose user and roles mean nothing.
///
/// # Errors
///
/// [`Denied::NoToken`] and [`Denied::NoTenantProof`] where the endpoint needs them, [`Denied::OtherTenant`]
/// wherever the token is for another tenant.
pub fn authorize_tenant<'a>(
    caller: Option<&'a Caller>,
    tenant: &TenantId,
    endpoint: EndpointAuth,
) -> Result<Option<&'a Caller>, Denied> {
    select_tenant(caller, Some(tenant))?;
    match (caller, endpoint) {
        (Some(caller), _) if caller.speaks_for(tenant) => Ok(Some(caller)),
        (_, EndpointAuth::Open) => Ok(None),
        (Some(_), EndpointAuth::Required) => Err(Denied::NoTenantProof),
        (None, EndpointAuth::Required) => Err(Denied::NoToken),
    }
}

/// Whether a caller has any of the roles that an endpoint lists; an empty list asks for none.
///
/// # Errors
///
/// [`Denied::NoToken`] without a caller, [`Denied::NoRole`] with one that has none of them.
pub fn authorize_roles<R: AsRef<str>>(caller: Option<&Caller>, any_of: &[R]) -> Result<(), Denied> {
    if any_of.is_empty() {
        return Ok(());
    }
    let caller = caller.ok_or(Denied::NoToken)?;
    if any_of.iter().any(|role| caller.has_role(role.as_ref())) { Ok(()) } else { Err(Denied::NoRole) }
}
