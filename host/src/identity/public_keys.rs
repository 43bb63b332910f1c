//! Public keys that are fit to verify with, whether they come as a PEM file or as a JSON Web Key (RFC 7517).
//!
//! Each is bound to one algorithm here. A key that would verify too much, or nothing, is refused with its reason.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use rsa::{BigUint, RsaPublicKey, pkcs1::DecodeRsaPublicKey, traits::PublicKeyParts};
use serde::Deserialize;

use super::error::KeyProblem;
use crate::config::KeyAlgorithm;

/// The fewest bits of an RSA key: RFC 7518, section 3.3.
const LEAST_RSA_BITS: usize = 2048;

/// Reads a public key in PEM form for an algorithm.
pub(super) fn from_pem(content: &[u8], algorithm: KeyAlgorithm) -> Result<DecodingKey, KeyProblem> {
    let unfit = || KeyProblem::NotPublicKey(name_of(algorithm));
    let key = match algorithm {
        KeyAlgorithm::Rs256 => DecodingKey::from_rsa_pem(content),
        KeyAlgorithm::Es256 => DecodingKey::from_ec_pem(content),
        KeyAlgorithm::EdDsa => DecodingKey::from_ed_pem(content),
        KeyAlgorithm::Hs256 => return Err(unfit()),
    };
    let key = key.map_err(|_| unfit())?;
    let bytes = key.try_get_as_bytes().map_err(|_| unfit())?;
    if algorithm == KeyAlgorithm::Rs256 {
        let rsa = RsaPublicKey::from_pkcs1_der(bytes).map_err(|_| unfit())?;
        return if rsa.n().bits() < LEAST_RSA_BITS { Err(KeyProblem::WeakRsa(rsa.n().bits())) } else { Ok(key) };
    }
    if is_point(&key, algorithm) { Ok(key) } else { Err(unfit()) }
}

/// What a key is for, in messages.
fn name_of(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::Rs256 => "an RSA",
        KeyAlgorithm::Es256 => "a P-256",
        KeyAlgorithm::EdDsa => "an Ed25519",
        KeyAlgorithm::Hs256 => "any",
    }
}

/// Whether a key of a curve is a point of it. The library looks at the bytes only when it verifies, and panics there on
/// an Ed25519 key that is too short.
fn is_point(key: &DecodingKey, algorithm: KeyAlgorithm) -> bool {
    let (length, algorithm) = match algorithm {
        KeyAlgorithm::Es256 => (65, Algorithm::ES256),
        _ => (32, Algorithm::EdDSA),
    };
    let is_right_size = key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == length);
    is_right_size && crypto::verify("", b"", key, algorithm).is_ok()
}

/// One entry of a key set, as far as it matters here. RFC 7517, section 4, and RFC 7518, section 6.
#[derive(Deserialize)]
pub(super) struct WebKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private half, which has no business in a set that everybody can read.
    d: Option<serde::de::IgnoredAny>,
}

/// A usable entry.
pub(super) struct FromWeb {
    pub(super) id: String,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) decoding: DecodingKey,
    /// The key's bytes, for telling whether it is still the same.
    pub(super) material: Vec<u8>,
}

impl WebKey {
    /// What the entry is called in messages.
    pub(super) fn label(&self) -> String {
        self.kid.as_deref().map_or("without `kid`".to_owned(), |kid| format!("`{}`", kid.escape_debug()))
    }

    /// The key, or why it is not used.
    pub(super) fn into_key(self) -> Result<FromWeb, String> {
        let id = self.kid.clone().filter(|kid| (1..=256).contains(&kid.len()) && !kid.chars().any(char::is_control));
        let id = id.ok_or("has no `kid` that can name it")?;
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("is not for signatures".to_owned());
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("is not for verifying".to_owned());
        }
        if self.d.is_some() {
            return Err("shows its private half, so anybody could sign with it".to_owned());
        }
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => KeyAlgorithm::Rs256,
            ("EC", Some("P-256")) => KeyAlgorithm::Es256,
            ("OKP", Some("Ed25519")) => KeyAlgorithm::EdDsa,
            ("oct", _) => return Err("is a symmetric key, which everybody could sign with".to_owned()),
            _ => return Err("is of a kind that this host doesn't know".to_owned()),
        };
        // RFC 9864 names the curve where RFC 8037 named the scheme.
        let is_same = |alg: &str| alg == algorithm.as_str() || (alg == "Ed25519" && algorithm == KeyAlgorithm::EdDsa);
        if self.alg.as_deref().is_some_and(|alg| !is_same(alg)) {
            return Err(format!("is for another algorithm than {}", algorithm.as_str()));
        }
        let (decoding, material) = match algorithm {
            KeyAlgorithm::Rs256 => self.rsa()?,
            KeyAlgorithm::Es256 => self.point(algorithm, &[0x04], &[&self.x, &self.y])?,
            _ => self.point(algorithm, &[], &[&self.x])?,
        };
        Ok(FromWeb { id, algorithm, decoding, material })
    }

    fn rsa(&self) -> Result<(DecodingKey, Vec<u8>), String> {
        let (n, e) = (bytes_of(&self.n)?, bytes_of(&self.e)?);
        let key = RsaPublicKey::new(BigUint::from_bytes_be(&n), BigUint::from_bytes_be(&e));
        let bits = key.map_err(|_| "is no RSA key")?.n().bits();
        if bits < LEAST_RSA_BITS {
            return Err(KeyProblem::WeakRsa(bits).to_string());
        }
        Ok((DecodingKey::from_rsa_raw_components(&n, &e), [n, e].concat()))
    }

    /// Coordinates of a fixed size: one that is short would move the next.
    fn point(
        &self,
        algorithm: KeyAlgorithm,
        form: &[u8],
        coordinates: &[&Option<String>],
    ) -> Result<(DecodingKey, Vec<u8>), String> {
        let mut point = form.to_vec();
        for coordinate in coordinates {
            let bytes = bytes_of(coordinate)?;
            if bytes.len() != 32 {
                return Err("has a coordinate of the wrong size".to_owned());
            }
            point.extend_from_slice(&bytes);
        }
        let key = match algorithm {
            KeyAlgorithm::Es256 => DecodingKey::from_ec_der(&point),
            _ => DecodingKey::from_ed_der(&point),
        };
        if is_point(&key, algorithm) { Ok((key, point)) } else { Err("is no point of its curve".to_owned()) }
    }
}

fn bytes_of(member: &Option<String>) -> Result<Vec<u8>, String> {
    let text = member.as_deref().ok_or("lacks a part of the key")?;
    // Some issuers pad, against RFC 7515, section 2.
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| "has a part that is not base64url".to_owned())
}
