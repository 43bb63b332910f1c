//! Verifies tokens: JSON Web Tokens (RFC 7519) in compact form, with the keys of the configuration.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, Validation, dangerous::insecure_decode, decode, errors::ErrorKind};

use super::{
    cache::TokenCache,
    caller::Caller,
    claims::{Claims, claimed_issuer, read_claims},
    error::{IdentityError, KeyErrors},
    keys::{Key, read_keys},
};
use crate::config::{Auth, ClaimNames, KeyAlgorithm};

/// Tells the time; tests hand in their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// No issuer makes such tokens, and they would be decoded before they are refused.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Verifies tokens. Shared by all threads; a verification takes no lock.
pub struct Verifier {
    keys: Vec<Key>,
    claims: ClaimNames,
    leeway: u64,
    cache: TokenCache,
    clock: Clock,
}

impl Verifier {
    /// Reads the configured keys. Without keys every token is refused.
    ///
    /// # Errors
    ///
    /// Every key that can't be read or is not safe to use, with its file.
    pub fn new(auth: &Auth) -> Result<Self, KeyErrors> {
        Self::with_clock(auth, Arc::new(SystemTime::now))
    }

    /// As [`Verifier::new`], with a clock of one's own.
    ///
    /// # Errors
    ///
    /// As [`Verifier::new`].
    pub fn with_clock(auth: &Auth, clock: Clock) -> Result<Self, KeyErrors> {
        Ok(Self {
            keys: read_keys(&auth.keys)?,
            claims: auth.claims.clone(),
            leeway: auth.leeway.as_secs(),
            cache: TokenCache::new(auth.token_cache),
            clock,
        })
    }

    /// Verifies a token and says who it speaks for. A token that was verified before is looked up.
    ///
    /// The key is the one that `kid` names, else each one for the token's issuer is tried. The key decides the
    /// algorithm, never the token.
    ///
    /// # Errors
    ///
    /// What is wrong with it; for the log. See [`IdentityError::client_text`].
    pub fn verify(&self, token: &str) -> Result<Arc<Caller>, IdentityError> {
        let now = (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(caller) = self.cache.get(token, now) {
            return Ok(caller);
        }
        let caller = Arc::new(self.verify_anew(token, now)?);
        let expires = caller.expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(expires) = expires {
            self.cache.insert(token, caller.clone(), expires.as_secs().saturating_add(self.leeway));
        }
        Ok(caller)
    }

    fn verify_anew(&self, token: &str, now: u64) -> Result<Caller, IdentityError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::TooLong(token.len()));
        }
        let unproven = insecure_decode::<Claims>(token).map_err(|error| malformed(&error))?;
        // RFC 7515, section 4.1.11: who does not understand all of `crit` must refuse.
        if unproven.header.crit.is_some() {
            return Err(IdentityError::Critical);
        }
        let candidates: Vec<&Key> = match (&unproven.header.kid, claimed_issuer(&unproven.claims)) {
            (Some(kid), _) => self.keys.iter().filter(|key| key.id == *kid).collect(),
            (None, Some(issuer)) => self.keys.iter().filter(|key| key.issuer == issuer).collect(),
            (None, None) => return Err(IdentityError::ClaimMissing("iss".into())),
        };
        let mut refusal = match unproven.header.kid {
            Some(_) => IdentityError::UnknownKey,
            None => IdentityError::UnknownIssuer,
        };
        for key in candidates {
            match self.verify_with(key, token, unproven.header.alg, now) {
                // An issuer may have several keys, and one key may be listed once for each audience.
                Err(error) if progress(&error) < DECIDED => {
                    if progress(&error) >= progress(&refusal) {
                        refusal = error;
                    }
                }
                decided => return decided,
            }
        }
        Err(refusal)
    }

    fn verify_with(&self, key: &Key, token: &str, found: Algorithm, now: u64) -> Result<Caller, IdentityError> {
        let algorithm = match key.algorithm {
            KeyAlgorithm::Hs256 => Algorithm::HS256,
            KeyAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        if found != algorithm {
            let (expected, found) = (key.algorithm.as_str(), format!("{found:?}"));
            return Err(IdentityError::Algorithm { key: key.id.clone(), expected, found });
        }
        // The library checks the signature; the claims are checked by this room, which is told the time.
        let mut signature_only = Validation::new(algorithm);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_nbf = false;
        signature_only.validate_aud = false;
        let proven = decode::<Claims>(token, &key.decoding, &signature_only).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => IdentityError::Signature(key.id.clone()),
            _ => malformed(&error),
        })?;
        read_claims(&proven.claims, &self.claims, key, now, self.leeway)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.cache.len()
    }
}

/// How far a token came with one key. What is reported of several keys is the one with which it came furthest.
fn progress(error: &IdentityError) -> u8 {
    match error {
        IdentityError::UnknownKey | IdentityError::UnknownIssuer => 0,
        IdentityError::Algorithm { .. } => 1,
        IdentityError::Signature(_) => 2,
        IdentityError::Audience(_) => 3,
        _ => DECIDED,
    }
}

/// No other key could do better.
const DECIDED: u8 = 4;

/// The library's text may repeat parts of the token: cut and escaped, it can't forge lines of the log.
fn malformed(error: &jsonwebtoken::errors::Error) -> IdentityError {
    IdentityError::Malformed(error.to_string().chars().take(160).flat_map(char::escape_debug).collect())
}
