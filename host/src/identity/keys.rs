//! Reads the keys that tokens are verified with, and refuses those that would verify too much.

use std::fs;

use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::error::{KeyError, KeyErrors, KeyProblem};
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
}

/// Reads all keys, or says what is wrong with each that can't be used.
pub(super) fn read_keys(configured: &[AuthKey]) -> Result<Vec<Key>, KeyErrors> {
    let mut keys = Vec::with_capacity(configured.len());
    let mut errors = Vec::new();
    for key in configured {
        match read_key(key) {
            Ok(decoding) => keys.push(Key {
                id: key.id.clone(),
                algorithm: key.algorithm,
                issuer: key.issuer.clone(),
                audience: key.audience.clone(),
                tenant: key.tenant.clone(),
                decoding,
            }),
            Err(problem) => errors.push(KeyError { id: key.id.clone(), file: key.file.clone(), problem }),
        }
    }
    if errors.is_empty() { Ok(keys) } else { Err(KeyErrors(errors)) }
}

fn read_key(key: &AuthKey) -> Result<DecodingKey, KeyProblem> {
    let content = fs::read(&key.file).map_err(KeyProblem::Unreadable)?;
    match key.algorithm {
        KeyAlgorithm::Hs256 => secret(&content),
        KeyAlgorithm::EdDsa => public_key(&content),
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

fn public_key(content: &[u8]) -> Result<DecodingKey, KeyProblem> {
    if contains(content, b"PRIVATE KEY-----") {
        return Err(KeyProblem::Private);
    }
    let key = DecodingKey::from_ed_pem(content).map_err(|_| KeyProblem::NotEd25519)?;
    // The library looks at the bytes of the key only when it verifies, and panics there on a short one.
    let is_right_size = key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == 32);
    let is_point = is_right_size && crypto::verify("", b"", &key, Algorithm::EdDSA).is_ok();
    if is_point { Ok(key) } else { Err(KeyProblem::NotEd25519) }
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    content.windows(needle.len()).any(|window| window == needle)
}
