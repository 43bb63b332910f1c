//! Which key files are refused.

use std::fs;

use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};

use super::super::*;
use crate::config::{Auth, AuthKey, KeyAlgorithm};

/// Loads one key with this content and returns what is wrong with it.
fn load(algorithm: KeyAlgorithm, content: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, content).unwrap();
    let (issuer, audience) = ("i".into(), "a".into());
    let key = AuthKey { id: "main".into(), algorithm, file, issuer, audience, tenant: None };
    let loaded = Verifier::new(&Auth { keys: vec![key], ..Auth::default() });
    loaded.map(drop).map_err(|errors| errors.to_string().replace(folder.path().to_str().unwrap(), "DIR"))
}

#[test]
fn secrets_must_be_long_and_secret() {
    let hs = |content: &[u8]| load(KeyAlgorithm::Hs256, content);
    let public = SigningKey::from_bytes(&[1; 32]).verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    assert_eq!(hs(&[b'x'; 32]), Ok(()));
    assert_eq!(hs(&[0xa; 32]), Ok(()), "newlines among other bytes are bytes");
    let refused = [hs(b""), hs(b"secret\n"), hs(b"an HS256 secret of only 31 byte\r\n"), hs(public.as_bytes())];
    insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @r#"
    key `main`: `DIR/key`: an HS256 secret needs at least 32 bytes, this one has 0
    key `main`: `DIR/key`: an HS256 secret needs at least 32 bytes, this one has 6
    key `main`: `DIR/key`: an HS256 secret needs at least 32 bytes, this one has 31
    key `main`: `DIR/key`: is a PEM file, which is no HS256 secret
    hint: a public key is for algorithm "RS256", "ES256" or "EdDSA"
    "#);
}

#[test]
fn public_keys_must_be_ed25519_and_public() {
    let ed = |content: &[u8]| load(KeyAlgorithm::EdDsa, content);
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    assert_eq!(ed(public.as_bytes()), Ok(()));
    let private = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    // An Ed25519 key whose bit string holds 8 bytes instead of 32.
    let short = "-----BEGIN PUBLIC KEY-----\nMBIwBQYDK2VwAwkAAQIDBAUGBwg=\n-----END PUBLIC KEY-----\n";
    let refused = [ed(private.as_bytes()), ed(b"not a PEM"), ed(short.as_bytes()), ed(b"")];
    insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @r#"
    key `main`: `DIR/key`: is a private key
    hint: the host needs the public one: `openssl pkey -in KEY -pubout`
    key `main`: `DIR/key`: is not an Ed25519 public key in PEM form
    key `main`: `DIR/key`: is not an Ed25519 public key in PEM form
    key `main`: `DIR/key`: is not an Ed25519 public key in PEM form
    "#);
}

#[test]
fn public_keys_are_of_their_algorithms_kind_and_strong() {
    let (rsa, short) = (include_str!("keys/rsa.pub.pem"), include_str!("keys/rsa-short.pub.pem"));
    let (p256, p384) = (include_str!("keys/p256.pub.pem"), include_str!("keys/p384.pub.pem"));
    let load = |algorithm, pem: &str| load(algorithm, pem.as_bytes());
    assert_eq!(load(KeyAlgorithm::Rs256, rsa), Ok(()));
    assert_eq!(load(KeyAlgorithm::Es256, p256), Ok(()));
    let refused = [
        load(KeyAlgorithm::Rs256, short),
        load(KeyAlgorithm::Rs256, p256),
        load(KeyAlgorithm::Rs256, ""),
        load(KeyAlgorithm::Es256, p384),
        load(KeyAlgorithm::Es256, rsa),
        load(KeyAlgorithm::EdDsa, p256),
    ];
    insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @r#"
    key `main`: `DIR/key`: is an RSA key of 1024 bits, and at least 2048 are needed
    key `main`: `DIR/key`: is not an RSA public key in PEM form
    key `main`: `DIR/key`: is not an RSA public key in PEM form
    key `main`: `DIR/key`: is not a P-256 public key in PEM form
    key `main`: `DIR/key`: is not a P-256 public key in PEM form
    key `main`: `DIR/key`: is not an Ed25519 public key in PEM form
    "#);
}

#[test]
fn every_bad_key_is_reported_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = |id: &str| AuthKey {
        id: id.into(),
        algorithm: KeyAlgorithm::Hs256,
        file: folder.path().join(id),
        issuer: "i".into(),
        audience: "a".into(),
        tenant: None,
    };
    fs::write(folder.path().join("short"), "x").unwrap();
    let errors = Verifier::new(&Auth { keys: vec![key("gone"), key("short")], ..Auth::default() }).err().unwrap();
    let reported: Vec<_> = errors.errors().iter().map(|error| (&*error.id, error.file.clone())).collect();
    assert_eq!(reported, [("gone", folder.path().join("gone")), ("short", folder.path().join("short"))]);
    assert!(matches!(errors.errors()[0].problem, KeyProblem::Unreadable(_)));
    assert!(matches!(errors.errors()[1].problem, KeyProblem::Short(1)));
}
