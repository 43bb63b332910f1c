//! Which tokens are believed, and what is read from them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::super::*;
use crate::config::{Auth, AuthKey, KeyAlgorithm};

/// The time at which the tests' clock starts.
const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"an HS256 secret of just 32 bytes";

/// Two keys of issuer `ed` (one of them for another audience), one of issuer `hs`, one of issuer `bound` that is
/// bound to tenant `acme`.
struct Desk {
    verifier: Verifier,
    now: Arc<AtomicU64>,
    public_pem: String,
}

fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn desk_with(change: impl FnOnce(&mut Auth)) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let pem = |number: u8| signing_key(number).verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let key = |id: &str, algorithm, content: &[u8], issuer: &str, audience: &str, tenant: Option<&str>| {
        let file = folder.path().join(id);
        fs::write(&file, content).unwrap();
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        AuthKey { id: id.into(), algorithm, file, issuer: issuer.into(), audience: audience.into(), tenant }
    };
    let mut auth = Auth {
        keys: vec![
            key("ed-1", KeyAlgorithm::EdDsa, pem(1).as_bytes(), "ed", "tenon", None),
            key("ed-2", KeyAlgorithm::EdDsa, pem(2).as_bytes(), "ed", "elsewhere", None),
            key("hs", KeyAlgorithm::Hs256, SECRET, "hs", "tenon", None),
            key("bound", KeyAlgorithm::EdDsa, pem(3).as_bytes(), "bound", "tenon", Some("acme")),
        ],
        ..Auth::default()
    };
    change(&mut auth);
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = now.clone();
    let clock: Clock = Arc::new(move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed)));
    Desk { verifier: Verifier::with_clock(&auth, clock).unwrap(), now, public_pem: pem(1) }
}

fn desk() -> Desk {
    desk_with(|_| {})
}

/// Good claims of issuer `ed` with some replaced; `null` takes one away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "ed", "aud": "tenon", "exp": NOW + 600, "sub": "ann", "tenant": "acme", "roles": ["Admin"],
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn ed_token(number: u8, header: Header, claims: &Value) -> String {
    let pem = signing_key(number).to_pkcs8_pem(LineEnding::LF).unwrap();
    encode(&header, claims, &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()).unwrap()
}

fn token(changes: Value) -> String {
    ed_token(1, Header::new(Algorithm::EdDSA), &claims(changes))
}

fn hs_token(secret: &[u8], algorithm: Algorithm, changes: Value) -> String {
    encode(&Header::new(algorithm), &claims(changes), &EncodingKey::from_secret(secret)).unwrap()
}

fn with_kid(number: u8, kid: &str, changes: Value) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.into());
    ed_token(number, header, &claims(changes))
}

/// A token with any header and a signature of one's own.
fn forged(header: &Value, changes: Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(&claims(changes)), URL_SAFE_NO_PAD.encode(signature))
}

impl Desk {
    fn refusal(&self, token: &str) -> String {
        let error = self.verifier.verify(token).expect_err("the token must be refused");
        assert_eq!(self.verifier.remembered(), 0, "a refused token is not remembered");
        format!("{} {error}", error.code())
    }
}

#[test]
fn good_tokens_say_who_asks() {
    let desk = desk();
    let caller = desk.verifier.verify(&token(json!({}))).unwrap();
    assert_eq!(caller.subject.as_deref(), Some("ann"));
    assert_eq!(caller.tenant, TenantProof::Claim("acme".parse().unwrap()));
    assert!(caller.has_role("Admin") && !caller.has_role("admin"));
    assert_eq!(caller.expires, Some(UNIX_EPOCH + Duration::from_secs(NOW + 600)));

    let secret = hs_token(SECRET, Algorithm::HS256, json!({ "iss": "hs", "aud": ["other", "tenon"] }));
    assert!(desk.verifier.verify(&secret).is_ok(), "HS256, and one audience of several");
    assert!(desk.verifier.verify(&with_kid(1, "ed-1", json!({}))).is_ok(), "the key by its id");
    let second = ed_token(2, Header::new(Algorithm::EdDSA), &claims(json!({ "aud": "elsewhere" })));
    assert!(desk.verifier.verify(&second).is_ok(), "the second key of the issuer");
}

#[test]
fn claims_that_are_not_there_prove_nothing() {
    let bare = token(json!({ "sub": null, "tenant": null, "roles": null }));
    let caller = desk().verifier.verify(&bare).unwrap();
    assert_eq!((caller.subject.as_deref(), &caller.tenant, caller.roles.len()), (None, &TenantProof::None, 0));
}

#[test]
fn signatures_must_fit() {
    let desk = desk();
    let good = token(json!({}));
    let (message, _) = good.rsplit_once('.').unwrap();
    let other_signature = token(json!({ "sub": "eve" }));
    let swapped = format!("{message}.{}", other_signature.rsplit_once('.').unwrap().1);
    let bad = [
        ("another token's signature", swapped),
        ("no signature", format!("{message}.")),
        ("cut short", good[..good.len() - 8].to_owned()),
        ("an unknown key", ed_token(9, Header::new(Algorithm::EdDSA), &claims(json!({})))),
        ("key 3 as issuer `ed`", ed_token(3, Header::new(Algorithm::EdDSA), &claims(json!({})))),
        ("key 3 under the id of key 1", with_kid(3, "ed-1", json!({}))),
        ("wrong secret", hs_token(&[b'x'; 32], Algorithm::HS256, json!({ "iss": "hs" }))),
    ];
    let lines: Vec<_> = bad.iter().map(|(what, token)| format!("{what}: {}", desk.refusal(token))).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    another token's signature: UNAUTHENTICATED the signature does not fit key `ed-2`
    no signature: UNAUTHENTICATED the signature does not fit key `ed-2`
    cut short: UNAUTHENTICATED the token is malformed: Base64 error: Invalid last symbol 77, offset 77.
    an unknown key: UNAUTHENTICATED the signature does not fit key `ed-2`
    key 3 as issuer `ed`: UNAUTHENTICATED the signature does not fit key `ed-2`
    key 3 under the id of key 1: UNAUTHENTICATED the signature does not fit key `ed-1`
    wrong secret: UNAUTHENTICATED the signature does not fit key `hs`
    "#);
}

#[test]
fn the_key_decides_the_algorithm() {
    let desk = desk();
    let pem = desk.public_pem.as_bytes();
    let kid_ed = {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("ed-1".into());
        encode(&header, &claims(json!({})), &EncodingKey::from_secret(pem)).unwrap()
    };
    let bad = [
        ("none", forged(&json!({ "alg": "none" }), json!({}), b"")),
        ("None", forged(&json!({ "alg": "None", "kid": "ed-1" }), json!({}), b"x")),
        ("no alg", forged(&json!({ "typ": "JWT" }), json!({}), b"x")),
        ("public key as a secret", hs_token(pem, Algorithm::HS256, json!({}))),
        ("public key as a secret, by id", kid_ed),
        ("HS512 with the right secret", hs_token(SECRET, Algorithm::HS512, json!({ "iss": "hs" }))),
        ("crit", forged(&json!({ "alg": "EdDSA", "crit": ["b64"], "b64": false }), json!({}), b"x")),
    ];
    let lines: Vec<_> = bad.iter().map(|(what, token)| format!("{what}: {}", desk.refusal(token))).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    none: UNAUTHENTICATED the token is malformed: JSON error: unknown variant `none`, expected one of `HS256`, `HS384`, `HS512`, `ES256`, `ES384`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `EdDSA` a
    None: UNAUTHENTICATED the token is malformed: JSON error: unknown variant `None`, expected one of `HS256`, `HS384`, `HS512`, `ES256`, `ES384`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `EdDSA` a
    no alg: UNAUTHENTICATED the token is malformed: JSON error: missing field `alg` at line 1 column 13
    public key as a secret: UNAUTHENTICATED the token is signed with HS256, key `ed-2` is for EdDSA only
    public key as a secret, by id: UNAUTHENTICATED the token is signed with HS256, key `ed-1` is for EdDSA only
    HS512 with the right secret: UNAUTHENTICATED the token is signed with HS512, key `hs` is for HS256 only
    crit: UNAUTHENTICATED the token has critical header fields, none of which this host knows
    "#);
}

#[test]
fn claims_must_be_right() {
    let desk = desk();
    let bad = [
        json!({ "exp": null }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": NOW - 30 }),
        json!({ "exp": -1 }),
        json!({ "nbf": NOW + 31 }),
        json!({ "aud": null }),
        json!({ "aud": "other" }),
        json!({ "aud": [] }),
        json!({ "aud": 7 }),
        json!({ "iss": null }),
        json!({ "iss": "stranger" }),
        json!({ "iss": ["ed"] }),
        json!({ "sub": 7 }),
        json!({ "tenant": "../etc" }),
        json!({ "tenant": ["acme"] }),
        json!({ "roles": "Admin" }),
        json!({ "roles": ["Admin", 7] }),
    ];
    let mut lines: Vec<_> =
        bad.iter().map(|changes| format!("{changes}: {}", desk.refusal(&token(changes.clone())))).collect();
    lines.push(format!("iss of another key: {}", desk.refusal(&with_kid(1, "ed-1", json!({ "iss": "hs" })))));
    lines.push(format!("unknown kid: {}", desk.refusal(&with_kid(1, "gone", json!({})))));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"exp":null}: UNAUTHENTICATED the token has no claim `exp`
    {"exp":"tomorrow"}: UNAUTHENTICATED claim `exp` must be a number of seconds since 1970
    {"exp":1799999970}: UNAUTHENTICATED the token expired 30 s ago
    {"exp":-1}: UNAUTHENTICATED claim `exp` must be a number of seconds since 1970
    {"nbf":1800000031}: UNAUTHENTICATED the token becomes valid in 31 s
    {"aud":null}: UNAUTHENTICATED the token has no claim `aud`
    {"aud":"other"}: UNAUTHENTICATED the token is not for the audience of key `ed-1`
    {"aud":[]}: UNAUTHENTICATED the token is not for the audience of key `ed-1`
    {"aud":7}: UNAUTHENTICATED claim `aud` must be a string or an array of strings
    {"iss":null}: UNAUTHENTICATED the token has no claim `iss`
    {"iss":"stranger"}: UNAUTHENTICATED no key is for the token's issuer
    {"iss":["ed"]}: UNAUTHENTICATED the token has no claim `iss`
    {"sub":7}: UNAUTHENTICATED claim `sub` must be a string
    {"tenant":"../etc"}: UNAUTHENTICATED claim `tenant` is no tenant id
    {"tenant":["acme"]}: UNAUTHENTICATED claim `tenant` must be a string
    {"roles":"Admin"}: UNAUTHENTICATED claim `roles` must be an array of strings
    {"roles":["Admin",7]}: UNAUTHENTICATED claim `roles` must be an array of strings
    iss of another key: UNAUTHENTICATED the token is not by the issuer of key `ed-1`
    unknown kid: UNAUTHENTICATED no key has the id that the token names
    "#);
}

#[test]
fn nonsense_is_refused_without_harm() {
    let desk = desk();
    for nonsense in ["", ".", "..", "a.b.c", "e30.e30.e30", "\u{e4}.\u{e4}.\u{e4}", &"x".repeat(20_000), &".".repeat(9)]
    {
        assert!(desk.refusal(nonsense).starts_with("UNAUTHENTICATED "), "{nonsense}");
    }
    let no_keys = desk_with(|auth| auth.keys.clear());
    assert_eq!(no_keys.refusal(&token(json!({}))), "UNAUTHENTICATED no key is for the token's issuer");
}

#[test]
fn leeway_counts_on_both_sides() {
    let desk = desk_with(|auth| auth.token_cache = 0);
    let accepted = |changes: Value| desk.verifier.verify(&token(changes)).is_ok();
    assert!(accepted(json!({ "exp": NOW - 29 })) && !accepted(json!({ "exp": NOW - 30 })));
    assert!(accepted(json!({ "nbf": NOW + 30 })) && !accepted(json!({ "nbf": NOW + 31 })));
    assert!(accepted(json!({ "exp": NOW as f64 + 0.5 })) && accepted(json!({ "exp": u64::MAX })));
    let strict = desk_with(|auth| auth.leeway = Duration::ZERO);
    assert!(strict.verifier.verify(&token(json!({ "exp": NOW }))).is_err());
    assert!(strict.verifier.verify(&token(json!({ "exp": NOW + 1 }))).is_ok());
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let desk = desk();
    let token = token(json!({ "exp": NOW + 5 }));
    let first = desk.verifier.verify(&token).unwrap();
    assert_eq!(desk.verifier.remembered(), 1);
    desk.now.store(NOW + 34, Ordering::Relaxed);
    assert!(Arc::ptr_eq(&first, &desk.verifier.verify(&token).unwrap()), "looked up, within the leeway");
    desk.now.store(NOW + 35, Ordering::Relaxed);
    assert_eq!(desk.verifier.verify(&token).unwrap_err(), IdentityError::Expired { seconds: 30 });
}

#[test]
fn remembered_tokens_are_bounded_and_those_in_use_stay() {
    let desk = desk_with(|auth| auth.token_cache = 10);
    let numbered = |number: u64| token(json!({ "sub": number.to_string() }));
    let in_use = numbered(0);
    let first = desk.verifier.verify(&in_use).unwrap();
    for number in 1..60 {
        let caller = desk.verifier.verify(&numbered(number)).unwrap();
        assert_eq!(caller.subject.as_deref(), Some(&*number.to_string()));
        assert!(Arc::ptr_eq(&first, &desk.verifier.verify(&in_use).unwrap()), "after {number} others");
        assert!(desk.verifier.remembered() <= 10);
    }
    let none = desk_with(|auth| auth.token_cache = 0);
    none.verifier.verify(&in_use).unwrap();
    assert_eq!(none.verifier.remembered(), 0);
}

#[test]
fn threads_share_what_is_remembered() {
    let desk = desk_with(|auth| auth.token_cache = 8);
    let tokens: Vec<_> =
        (0..12).map(|number| (number.to_string(), token(json!({ "sub": number.to_string() })))).collect();
    std::thread::scope(|scope| {
        for offset in 0..4 {
            let (desk, tokens) = (&desk, &tokens);
            scope.spawn(move || {
                for (subject, token) in tokens.iter().cycle().skip(offset * 3).take(50) {
                    assert_eq!(desk.verifier.verify(token).unwrap().subject.as_deref(), Some(&**subject));
                }
            });
        }
    });
    assert!(desk.verifier.remembered() <= 8 + 4);
}

#[test]
fn roles_of_the_host_cannot_be_claimed() {
    let roles = json!({ "roles": ["module:tasks", " module:x", "Admin", "", "Admin", "modules"] });
    let caller = desk().verifier.verify(&token(roles)).unwrap();
    assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["Admin", "modules"]);
}

#[test]
fn a_bound_issuer_speaks_for_its_tenant_only() {
    let desk = desk();
    let bound = |tenant: Value| with_kid(3, "bound", json!({ "iss": "bound", "tenant": tenant }));
    let caller = desk.verifier.verify(&bound(Value::Null)).unwrap();
    assert_eq!(caller.tenant, TenantProof::Issuer("acme".parse().unwrap()));
    assert!(desk.verifier.verify(&bound(json!("acme"))).is_ok());
    let error = desk.verifier.verify(&bound(json!("globex"))).unwrap_err();
    assert_eq!((error.code(), error.client_text()), ("FORBIDDEN", "The token is for another tenant"));
}

#[test]
fn claim_names_are_configurable() {
    let desk = desk_with(|auth| {
        auth.claims.subject = "email".into();
        auth.claims.tenant = "https://id.example/org".into();
        auth.claims.roles = "groups".into();
    });
    let named = json!({ "email": "a@b.c", "https://id.example/org": "globex", "groups": ["Ops"] });
    let caller = desk.verifier.verify(&token(named)).unwrap();
    assert_eq!(caller.subject.as_deref(), Some("a@b.c"));
    assert_eq!(caller.proven_tenant().map(|tenant| tenant.as_str()), Some("globex"));
    assert!(caller.has_role("Ops") && !caller.has_role("Admin"));
}

#[test]
fn one_key_may_serve_several_audiences() {
    let desk = desk_with(|auth| {
        let again = AuthKey { id: "ed-1-other".into(), audience: "other".into(), ..auth.keys[0].clone() };
        auth.keys.push(again);
    });
    for audience in ["tenon", "other"] {
        assert!(desk.verifier.verify(&token(json!({ "aud": audience }))).is_ok(), "{audience}");
    }
}
