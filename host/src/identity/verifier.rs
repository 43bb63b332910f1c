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
    error::{IdentityError, KeyError, KeyErrors, KeyProblem},
    key_set::KeySet,
    keys::{Key, read_keys},
};
use crate::config::{Auth, ClaimNames, KeyAlgorithm};

/// Tells the time; tests hand in their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// No issuer makes such tokens, and they would be decoded before they are refused.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Verifies tokens. Shared by all threads; a verification takes no lock.
pub struct Verifier {
    keys: Vec<Arc<Key>>,
    /// What issuers publish; the keys in it come and go.
    sets: Vec<Arc<KeySet>>,
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
        let mut errors = Vec::new();
        let keys = read_keys(&auth.keys, &mut errors);
        let sets: Vec<Arc<KeySet>> = auth.jwks.iter().cloned().map(KeySet::new).map(Arc::new).collect();
        errors.extend(sets.iter().filter_map(|set| read_set(set).err()));
        if !errors.is_empty() {
            return Err(KeyErrors(errors));
        }
        Ok(Self {
            keys,
            sets,
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
        let (caller, key) = self.verify_anew(token, now)?;
        let caller = Arc::new(caller);
        let expires = caller.expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(expires) = expires {
            self.cache.insert(token, caller.clone(), expires.as_secs().saturating_add(self.leeway), key);
        }
        Ok(caller)
    }

    fn verify_anew(&self, token: &str, now: u64) -> Result<(Caller, Arc<Key>), IdentityError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::TooLong(token.len()));
        }
        let unproven = insecure_decode::<Claims>(token).map_err(|error| malformed(&error))?;
        // RFC 7515, section 4.1.11: who does not understand all of `crit` must refuse.
        if unproven.header.crit.is_some() {
            return Err(IdentityError::Critical);
        }
        let (candidates, mut refusal) =
            self.candidates(unproven.header.kid.as_deref(), claimed_issuer(&unproven.claims))?;
        for key in candidates {
            match self.verify_with(&key, token, unproven.header.alg, now) {
                // An issuer may have several keys, and one key may be listed once for each audience.
                Err(error) if progress(&error) < DECIDED => {
                    if progress(&error) >= progress(&refusal) {
                        refusal = error;
                    }
                }
                decided => return decided.map(|caller| (caller, key)),
            }
        }
        Err(refusal)
    }

    /// The keys that may have signed a token, and what is to be said where there is none. Key and issuer are what the
    /// token claims, so nothing is proven yet.
    fn candidates(
        &self,
        kid: Option<&str>,
        issuer: Option<&str>,
    ) -> Result<(Vec<Arc<Key>>, IdentityError), IdentityError> {
        let fits = |key: &&Arc<Key>| kid.map_or(Some(&*key.issuer) == issuer, |kid| key.id == kid);
        let mut refusal = match (kid, issuer) {
            (Some(_), _) => IdentityError::UnknownKey,
            (None, Some(_)) => IdentityError::UnknownIssuer,
            (None, None) => return Err(IdentityError::ClaimMissing("iss".into())),
        };
        let mut candidates: Vec<Arc<Key>> = self.keys.iter().filter(fits).cloned().collect();
        let is_configured = !candidates.is_empty();
        for set in self.sets.iter().filter(|set| Some(set.issuer()) == issuer) {
            let before = candidates.len();
            candidates.extend(set.keys().iter().filter(fits).cloned());
            if candidates.len() > before || is_configured {
                continue;
            }
            set.miss();
            if set.is_awaited() {
                refusal = IdentityError::KeysAwaited;
            }
        }
        Ok((candidates, refusal))
    }

    /// What issuers publish, for whoever brings it in.
    pub fn key_sets(&self) -> &[Arc<KeySet>] {
        &self.sets
    }

    fn verify_with(&self, key: &Key, token: &str, found: Algorithm, now: u64) -> Result<Caller, IdentityError> {
        let algorithm = match key.algorithm {
            KeyAlgorithm::Hs256 => Algorithm::HS256,
            KeyAlgorithm::EdDsa => Algorithm::EdDSA,
            KeyAlgorithm::Es256 => Algorithm::ES256,
            KeyAlgorithm::Rs256 => Algorithm::RS256,
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

/// Reads a set that is in a file, so that its keys are there from the first request on.
fn read_set(set: &KeySet) -> Result<(), KeyError> {
    let Some(file) = set.file() else { return Ok(()) };
    let read = std::fs::read(file).map_err(KeyProblem::Unreadable);
    let taken = read.and_then(|content| Ok(set.replace(&content)?));
    match taken {
        Ok(change) => {
            for reason in change.unused {
                tracing::warn!(issuer = set.issuer(), "a key of the issuer is not used: {reason}");
            }
            Ok(())
        }
        Err(problem) => Err(KeyError { id: set.issuer().to_owned(), file: file.to_owned(), problem }),
    }
}

/// How far a token came with one key. What is reported of several keys is the one with which it came furthest.
fn progress(error: &IdentityError) -> u8 {
    match error {
        IdentityError::UnknownKey | IdentityError::UnknownIssuer | IdentityError::KeysAwaited => 0,
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
