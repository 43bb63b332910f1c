//! Published keys come and go, and with them the tokens that they have signed.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::super::*;
use crate::config::{Auth, AuthJwks, JwksSource, KeyAlgorithm};

const NOW: u64 = 1_800_000_000;

/// A verifier with two empty sets: of issuer `one`, and of issuer `two`, which is bound to tenant `acme`.
fn verifier() -> Verifier {
    let set = |issuer: &str, tenant: Option<&str>| AuthJwks {
        issuer: issuer.into(),
        audience: "tenon".into(),
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        algorithms: vec![KeyAlgorithm::EdDsa],
        source: JwksSource::Url("https://id.example".into()),
        refresh: Duration::from_secs(900),
    };
    let auth = Auth { jwks: vec![set("one", None), set("two", Some("acme"))], ..Auth::default() };
    Verifier::with_clock(&auth, Arc::new(|| UNIX_EPOCH + Duration::from_secs(NOW))).unwrap()
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn entry(kid: &str, number: u8) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key(number).verifying_key().as_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x})
}

fn set(entries: &[Value]) -> Vec<u8> {
    json!({ "keys": entries }).to_string().into_bytes()
}

fn token(kid: Option<&str>, number: u8, issuer: &str) -> String {
    let claims = json!({"iss": issuer, "aud": "tenon", "exp": NOW + 600, "sub": "ann"});
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
    let pem = key(number).to_pkcs8_pem(LineEnding::LF).unwrap();
    encode(&header, &claims, &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_remembered_token_is_forgotten_with_its_key() {
    let verifier = verifier();
    let keys = &verifier.key_sets()[0];
    let (a, b) = (token(Some("a"), 1, "one"), token(Some("b"), 2, "one"));
    assert_eq!(verifier.verify(&a).unwrap_err(), IdentityError::KeysAwaited);
    let change = keys.replace(&set(&[entry("a", 1), entry("b", 2)])).unwrap();
    assert_eq!((change.added.len(), change.removed.len()), (2, 0));
    let (first_a, first_b) = (verifier.verify(&a).unwrap(), verifier.verify(&b).unwrap());
    assert_eq!(keys.replace(&set(&[entry("b", 2), entry("a", 1)])).unwrap(), KeySetChange::default());
    assert!(Arc::ptr_eq(&first_a, &verifier.verify(&a).unwrap()), "the same keys: what they proved is remembered");
    let change = keys.replace(&set(&[entry("b", 2)])).unwrap();
    assert_eq!(change.removed, ["a"]);
    assert_eq!(verifier.verify(&a).unwrap_err(), IdentityError::UnknownKey);
    assert!(Arc::ptr_eq(&first_b, &verifier.verify(&b).unwrap()));
    // Another key under the old id.
    let change = keys.replace(&set(&[entry("b", 3)])).unwrap();
    assert_eq!((change.added, change.removed), (vec!["b".to_owned()], vec!["b".to_owned()]));
    assert_eq!(verifier.verify(&b).unwrap_err(), IdentityError::Signature("b".into()));
    keys.replace(&set(&[])).unwrap();
    assert_eq!(verifier.verify(&token(None, 3, "one")).unwrap_err(), IdentityError::UnknownIssuer);
}

#[test]
fn content_that_is_no_set_changes_nothing() {
    let verifier = verifier();
    let keys = &verifier.key_sets()[0];
    keys.replace(&set(&[entry("a", 1)])).unwrap();
    for broken in ["", "{}", "[]", "{\"keys\": 7}", "<html>"] {
        assert!(keys.replace(broken.as_bytes()).is_err(), "{broken}");
    }
    assert!(verifier.verify(&token(Some("a"), 1, "one")).is_ok());
}

#[test]
fn a_key_speaks_for_its_issuer_only() {
    let verifier = verifier();
    verifier.key_sets()[0].replace(&set(&[entry("a", 1)])).unwrap();
    verifier.key_sets()[1].replace(&set(&[entry("a", 2)])).unwrap();
    let bound = verifier.verify(&token(Some("a"), 2, "two")).unwrap();
    assert_eq!(bound.tenant, TenantProof::Issuer("acme".parse().unwrap()));
    assert_eq!(verifier.verify(&token(Some("a"), 1, "one")).unwrap().tenant, TenantProof::None);
    let crossed = verifier.verify(&token(Some("a"), 1, "two")).unwrap_err();
    assert_eq!(crossed, IdentityError::Signature("a".into()));
    assert_eq!(verifier.verify(&token(Some("a"), 1, "three")).unwrap_err(), IdentityError::UnknownKey);
}

#[test]
fn an_unknown_key_is_asked_for_and_a_known_one_is_not() {
    let verifier = verifier();
    let [one, two] = verifier.key_sets() else { panic!("two sets") };
    one.replace(&set(&[entry("a", 1)])).unwrap();
    let _ = verifier.verify(&token(Some("a"), 1, "one"));
    let _ = verifier.verify(&token(Some("a"), 9, "one"));
    let _ = verifier.verify(&token(Some("b"), 1, "three"));
    assert!(one.missed().now_or_never().is_none() && two.missed().now_or_never().is_none());
    let _ = verifier.verify(&token(Some("b"), 1, "one"));
    let _ = verifier.verify(&token(Some("c"), 1, "one"));
    assert!(one.missed().now_or_never().is_some(), "told although nobody waited yet");
    assert!(one.missed().now_or_never().is_none(), "once for both");
    assert!(two.missed().now_or_never().is_none());
}

#[test]
fn entries_that_will_not_do_are_left_out_with_their_reasons() {
    let verifier = verifier();
    let with = |name: &str, value: Value| {
        let mut entry = entry(name, 1);
        entry[name] = value;
        entry
    };
    let mut nameless = entry("x", 1);
    nameless.as_object_mut().unwrap().remove("kid");
    let entries = [
        entry("good", 1),
        with("d", json!("AA")),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("HS256")),
        with("x", json!("AAAA")),
        with("crv", json!("X25519")),
        with("kty", json!("oct")),
        with("kid", json!("a\nb")),
        nameless,
        json!(7),
        json!({"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": URL_SAFE_NO_PAD.encode([1; 32]),
            "y": URL_SAFE_NO_PAD.encode([1; 32])}),
    ];
    let change = verifier.key_sets()[0].replace(&set(&entries)).unwrap();
    assert_eq!(change.added, ["good"]);
    insta::assert_snapshot!(change.unused.join("\n"), @r"
    key `d` shows its private half, so anybody could sign with it
    key `use` is not for signatures
    key `key_ops` is not for verifying
    key `alg` is for another algorithm than EdDSA
    key `x` has a coordinate of the wrong size
    key `crv` is of a kind that this host doesn't know
    key `kty` is a symmetric key, which everybody could sign with
    key `a\nb` has no `kid` that can name it
    key without `kid` has no `kid` that can name it
    an entry is no key: invalid type: integer `7`, expected struct WebKey
    key `rsa` is no RSA key
    key `ec` is no point of its curve
    ");
}
