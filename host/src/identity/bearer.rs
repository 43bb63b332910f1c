//! Takes the token out of a request's headers.

use http::{HeaderMap, header::AUTHORIZATION};

use super::error::IdentityError;

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1); `None` where the header is absent.
///
/// # Errors
///
/// [`IdentityError::Header`] for another scheme, for no token, and for two headers: which of the two would count
/// is a question that must not be answered differently by a proxy and by this host.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, IdentityError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(IdentityError::Header);
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(IdentityError::Header)?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ');
    if is_bearer { Ok(Some(token)) } else { Err(IdentityError::Header) }
}
