//! What can be configured about tokens, with its defaults. Plain data: values here have been checked already.

use std::{path::PathBuf, time::Duration};

use crate::names::TenantId;

/// Whose tokens are believed, and what is read from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// `[auth.claims]`.
    pub claims: ClaimNames,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The most verified tokens to remember; 0 remembers none.
    pub token_cache: usize,
    /// `[[auth.keys]]`; ids are unique. Without keys, here or in sets, no token is accepted.
    pub keys: Vec<AuthKey>,
    /// `[[auth.jwks]]`.
    pub jwks: Vec<AuthJwks>,
}

/// Which claim of a token says what. Names of top-level claims, taken as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// The user; a string.
    pub subject: String,
    /// The tenant; a tenant id.
    pub tenant: String,
    /// The roles; an array of strings.
    pub roles: String,
}

/// A key that proves tokens of one issuer for one audience, by one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthKey {
    /// What a token's `kid` names.
    pub id: String,
    /// The only algorithm that this key is used with.
    pub algorithm: KeyAlgorithm,
    /// The secret (HS256) or the public key in PEM form (the others). Not opened yet.
    pub file: PathBuf,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// The only tenant that this issuer speaks for; `None` where the tenant claim decides.
    pub tenant: Option<TenantId>,
}

/// The keys that an issuer publishes: a JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthJwks {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// The only tenant that this issuer speaks for; `None` where the tenant claim decides.
    pub tenant: Option<TenantId>,
    /// What a key may be for; never empty, never HS256.
    pub algorithms: Vec<KeyAlgorithm>,
    /// Where the set is.
    pub source: JwksSource,
    /// How often a set behind a URL is fetched again.
    pub refresh: Duration,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file; read again when it changes. Not opened yet.
    File(PathBuf),
    /// A URL: https, or http to this machine.
    Url(String),
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256: one secret on both sides.
    Hs256,
    /// Ed25519: the host has only the public half.
    EdDsa,
    /// ECDSA on P-256 with SHA-256: the host has only the public half.
    Es256,
    /// RSA with SHA-256 (PKCS #1 v1.5): the host has only the public half.
    Rs256,
}

impl KeyAlgorithm {
    /// The name as in a token's `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            claims: ClaimNames::default(),
            leeway: Duration::from_secs(30),
            token_cache: 10_000,
            keys: Vec::new(),
            jwks: Vec::new(),
        }
    }
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { subject: "sub".into(), tenant: "tenant".into(), roles: "roles".into() }
    }
}
