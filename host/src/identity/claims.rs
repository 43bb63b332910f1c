//! What the claims of a token say, once its signature is good. Pure: the time is handed in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{
    caller::{Caller, TenantProof, outside_roles},
    error::IdentityError,
    keys::Key,
};
use crate::config::ClaimNames;

/// A token's claims; RFC 7519.
pub(super) type Claims = Map<String, Value>;

/// Reads and checks all claims. `now` and `leeway` are in seconds.
pub(super) fn read_claims(
    claims: &Claims,
    names: &ClaimNames,
    key: &Key,
    now: u64,
    leeway: u64,
) -> Result<Caller, IdentityError> {
    let expires = seconds(claims, "exp")?.ok_or_else(|| IdentityError::ClaimMissing("exp".into()))?;
    if now >= expires.saturating_add(leeway) {
        return Err(IdentityError::Expired { seconds: now - expires });
    }
    if let Some(begins) = seconds(claims, "nbf")?
        && begins > now.saturating_add(leeway)
    {
        return Err(IdentityError::NotYet { seconds: begins - now });
    }
    let issuer = text(claims, "iss")?.ok_or_else(|| IdentityError::ClaimMissing("iss".into()))?;
    if issuer != key.issuer {
        return Err(IdentityError::Issuer(key.id.clone()));
    }
    check_audience(claims, key)?;
    Ok(Caller {
        subject: text(claims, &names.subject)?.map(Into::into),
        tenant: tenant(claims, &names.tenant, key)?,
        roles: outside_roles(roles(claims, &names.roles)?),
        // A time beyond what the system can express is as good as never.
        expires: UNIX_EPOCH.checked_add(Duration::from_secs(expires)).or(Some(SystemTime::UNIX_EPOCH + FAR_AWAY)),
    })
}

/// The year 9999 or so.
const FAR_AWAY: Duration = Duration::from_secs(253_402_300_799);

/// The issuer of a token whose signature is not checked yet: good for choosing a key, and for nothing else.
pub(super) fn claimed_issuer(claims: &Claims) -> Option<&str> {
    claims.get("iss").and_then(Value::as_str)
}

fn check_audience(claims: &Claims, key: &Key) -> Result<(), IdentityError> {
    let audience = present(claims, "aud").ok_or_else(|| IdentityError::ClaimMissing("aud".into()))?;
    let is_ours = match audience {
        Value::String(one) => *one == key.audience,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(&key.audience)),
        _ => return Err(kind("aud", "a string or an array of strings")),
    };
    if is_ours { Ok(()) } else { Err(IdentityError::Audience(key.id.clone())) }
}

fn tenant(claims: &Claims, claim: &str, key: &Key) -> Result<TenantProof, IdentityError> {
    let claimed = match text(claims, claim)? {
        Some(text) => {
            let refuse = |source| IdentityError::ClaimTenant { claim: claim.to_owned(), source };
            Some(text.parse().map_err(refuse)?)
        }
        None => None,
    };
    match (claimed, &key.tenant) {
        (Some(claimed), Some(bound)) if claimed != *bound => {
            Err(IdentityError::OtherTenant { key: key.id.clone(), bound: bound.clone(), claimed })
        }
        (Some(claimed), _) => Ok(TenantProof::Claim(claimed)),
        (None, Some(bound)) => Ok(TenantProof::Issuer(bound.clone())),
        (None, None) => Ok(TenantProof::None),
    }
}

fn roles<'c>(claims: &'c Claims, claim: &str) -> Result<Vec<&'c str>, IdentityError> {
    let expected = "an array of strings";
    match present(claims, claim) {
        None => Ok(Vec::new()),
        Some(Value::Array(roles)) => {
            roles.iter().map(|role| role.as_str().ok_or_else(|| kind(claim, expected))).collect()
        }
        Some(_) => Err(kind(claim, expected)),
    }
}

/// A `NumericDate`: seconds since 1970, fractions permitted and cut off.
fn seconds(claims: &Claims, claim: &str) -> Result<Option<u64>, IdentityError> {
    let Some(value) = present(claims, claim) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|number| *number >= 0.0 && number.is_finite()).map(|number| number as u64);
    value.as_u64().or_else(fraction).map(Some).ok_or_else(|| kind(claim, "a number of seconds since 1970"))
}

fn text<'c>(claims: &'c Claims, claim: &str) -> Result<Option<&'c str>, IdentityError> {
    match present(claims, claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(kind(claim, "a string")),
    }
}

fn present<'c>(claims: &'c Claims, claim: &str) -> Option<&'c Value> {
    claims.get(claim).filter(|value| !value.is_null())
}

fn kind(claim: &str, expected: &'static str) -> IdentityError {
    IdentityError::ClaimKind { claim: claim.to_owned(), expected }
}
