//! Keys by which programs prove a tenant: field `apiKeys` of the tenant document. What is stored can't be turned back
//! into a key.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// One key as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Names it among the tenant's: part of the key's text, and no secret. 1 to 64 of `[A-Za-z0-9_-]`.
    pub id: String,
    /// For people; may be empty.
    pub name: String,
    /// Of the secret.
    pub hash: KeyHash,
    /// What it may be used for. Words that this version does not know are kept and grant nothing.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// By whom.
    pub created_by: Option<String>,
    /// From then on it is as if it were not there; `None`: for ever.
    pub expires_at: Option<Timestamp>,
    /// What a foreign program put there.
    pub unknown: Map<String, Value>,
}

/// SHA-256 by which a key is known. In a document it is 64 hexadecimal digits in lower case; `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

/// Whether a text can be a key's id.
pub(super) fn is_key_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits in lower case")]
pub struct NoKeyHash;

impl FromStr for KeyHash {
    type Err = NoKeyHash;

    fn from_str(text: &str) -> Result<Self, NoKeyHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NoKeyHash),
        };
        let mut hash = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(NoKeyHash);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}
