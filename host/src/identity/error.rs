//! Why a key can't be used, and why a token is refused.

use std::{fmt, io, path::PathBuf};

use super::key_set::KeySetError;
use crate::names::{TenantId, TenantIdError};

/// Why a token is refused. The text is for the log: it has what is needed to find out, but nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The `Authorization` header is not one `Bearer` token.
    #[error("the authorization header is not `Bearer TOKEN`, given once")]
    Header,
    /// An API key that proves nothing.
    #[error("the API key {0}")]
    ApiKey(&'static str),
    /// A ticket that proves nothing.
    #[error("the ticket {0}")]
    Ticket(&'static str),
    /// Longer than any token should be.
    #[error("the token has {0} bytes")]
    TooLong(usize),
    /// Not three parts of base64url with JSON, or an algorithm that does not exist; `alg: none` is one of these.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// The token says that something about it must be understood.
    #[error("the token has critical header fields, none of which this host knows")]
    Critical,
    /// `kid` names no key.
    #[error("no key has the id that the token names")]
    UnknownKey,
    /// No key is for the token's issuer.
    #[error("no key is for the token's issuer")]
    UnknownIssuer,
    /// The issuer's published keys were not fetched yet.
    #[error("the keys of the token's issuer are not there yet")]
    KeysAwaited,
    /// The token wants another algorithm than the key's.
    #[error("the token is signed with {found}, key `{key}` is for {expected} only")]
    Algorithm {
        /// The key's id.
        key: String,
        /// Its algorithm.
        expected: &'static str,
        /// The token's.
        found: String,
    },
    /// The signature is not by this key, the last one that was tried.
    #[error("the signature does not fit key `{0}`")]
    Signature(String),
    /// A claim that must be there is not.
    #[error("the token has no claim `{0}`")]
    ClaimMissing(String),
    /// A claim is of the wrong kind.
    #[error("claim `{claim}` must be {expected}")]
    ClaimKind {
        /// The claim.
        claim: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The tenant claim is no tenant id.
    #[error("claim `{claim}` is no tenant id")]
    ClaimTenant {
        /// The claim.
        claim: String,
        /// Which rule it breaks.
        source: TenantIdError,
    },
    /// Another issuer than the key's.
    #[error("the token is not by the issuer of key `{0}`")]
    Issuer(String),
    /// Another audience than the key's.
    #[error("the token is not for the audience of key `{0}`")]
    Audience(String),
    /// It is over.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// Since when, leeway not counted.
        seconds: u64,
    },
    /// It has not begun.
    #[error("the token becomes valid in {seconds} s")]
    NotYet {
        /// Until when, leeway not counted.
        seconds: u64,
    },
    /// The issuer is bound to a tenant and speaks for another one.
    #[error("key `{key}` is bound to tenant `{bound}`, the token is for `{claimed}`")]
    OtherTenant {
        /// The key's id.
        key: String,
        /// The tenant in the configuration.
        bound: TenantId,
        /// The tenant in the token.
        claimed: TenantId,
    },
}

/// Every key that can't be used.
#[derive(Debug)]
pub struct KeyErrors(pub(super) Vec<KeyError>);

/// A key or key set that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("key `{id}`: `{}`: {problem}", .file.display())]
pub struct KeyError {
    /// The key's id in the configuration; a set's issuer.
    pub id: String,
    /// Its file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: KeyProblem,
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Unreadable(#[source] io::Error),
    /// An HS256 secret that can be guessed. RFC 7518, section 3.2 demands the size of the hash.
    #[error("an HS256 secret needs at least 32 bytes, this one has {0}")]
    Short(usize),
    /// A PEM file as an HS256 secret: what verifies publicly would sign.
    #[error(
        "is a PEM file, which is no HS256 secret\nhint: a public key is for algorithm \"RS256\", \"ES256\" or \"EdDSA\""
    )]
    PemAsSecret,
    /// The private half, which has no business here.
    #[error("is a private key\nhint: the host needs the public one: `openssl pkey -in KEY -pubout`")]
    Private,
    /// No public key of the kind that the algorithm needs.
    #[error("is not {0} public key in PEM form")]
    NotPublicKey(&'static str),
    /// An RSA key that can be factored. RFC 7518, section 3.3 demands 2048 bits.
    #[error("is an RSA key of {0} bits, and at least 2048 are needed")]
    WeakRsa(usize),
    /// No JSON Web Key Set.
    #[error(transparent)]
    NotASet(#[from] KeySetError),
}

impl IdentityError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherTenant { .. } => "FORBIDDEN",
            _ => "UNAUTHENTICATED",
        }
    }

    /// What the client may know.
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::OtherTenant { .. } => "The token is for another tenant",
            _ => "The token is not valid",
        }
    }
}

impl KeyErrors {
    /// The errors, at least one.
    pub fn errors(&self) -> &[KeyError] {
        &self.0
    }
}

impl fmt::Display for KeyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for KeyErrors {}
