//! Reads the keys that tokens are verified with, and refuses those that would verify too much.

use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jsonwebtoken::DecodingKey;

use super::{
    error::{KeyError, KeyProblem},
    public_keys,
};
use crate::{
    config::{AuthKey, KeyAlgorithm},
    names::TenantId,
};

/// A key with all that it is bound to.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) tenant: Option<TenantId>,
    pub(super) decoding: DecodingKey,
    /// The bytes of a key out of a set, for telling whether it is still the same; else empty.
    pub(super) material: Vec<u8>,
    is_retired: AtomicBool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.id, self.algorithm.as_str())
    }
}

impl Key {
    /// A key that is bound to an issuer, an audience and perhaps a tenant.
    pub(super) fn new(
        id: String,
        algorithm: KeyAlgorithm,
        (issuer, audience, tenant): (&str, &str, Option<&TenantId>),
        decoding: DecodingKey,
    ) -> Self {
        let (issuer, audience, tenant) = (issuer.to_owned(), audience.to_owned(), tenant.cloned());
        let (material, is_retired) = (Vec::new(), AtomicBool::new(false));
        Self { id, algorithm, issuer, audience, tenant, decoding, material, is_retired }
    }

    /// Whether another key of the same set is this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithm == other.algorithm && self.material == other.material
    }

    /// Takes the key out of force for good, for tokens that it has verified too.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Whether it was taken out of force.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

/// Reads all keys, and says what is wrong with each that can't be used.
pub(super) fn read_keys(configured: &[AuthKey], errors: &mut Vec<KeyError>) -> Vec<Arc<Key>> {
    let mut keys = Vec::with_capacity(configured.len());
    for key in configured {
        match read_key(key) {
            Ok(decoding) => {
                let bound = (&*key.issuer, &*key.audience, key.tenant.as_ref());
                keys.push(Arc::new(Key::new(key.id.clone(), key.algorithm, bound, decoding)));
            }
            Err(problem) => errors.push(KeyError { id: key.id.clone(), file: key.file.clone(), problem }),
        }
    }
    keys
}

fn read_key(key: &AuthKey) -> Result<DecodingKey, KeyProblem> {
    let content = fs::read(&key.file).map_err(KeyProblem::Unreadable)?;
    match key.algorithm {
        KeyAlgorithm::Hs256 => secret(&content),
        public => public_key(&content, public),
    }
}

fn secret(content: &[u8]) -> Result<DecodingKey, KeyProblem> {
    if contains(content, b"-----BEGIN ") {
        return Err(KeyProblem::PemAsSecret);
    }
    // Editors and `echo` end a line of text with a newline that is not meant. In random bytes a newline is as
    // good as any other byte, so it goes only where the rest is text.
    let trimmed = content.strip_suffix(b"\n").unwrap_or(content);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    let is_text = trimmed.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let secret = if is_text { trimmed } else { content };
    if secret.len() < 32 {
        return Err(KeyProblem::Short(secret.len()));
    }
    Ok(DecodingKey::from_secret(secret))
}

fn public_key(content: &[u8], algorithm: KeyAlgorithm) -> Result<DecodingKey, KeyProblem> {
    if contains(content, b"PRIVATE KEY-----") {
        return Err(KeyProblem::Private);
    }
    public_keys::from_pem(content, algorithm)
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    content.windows(needle.len()).any(|window| window == needle)
}
