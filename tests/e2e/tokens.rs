//! Who is believed: a host without `--dev`, with an HS256 key and public keys of each kind. Bad tokens are refused before anything
//! else is looked at, on open endpoints too, and good ones are served as ever.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::harness::{Answer, Host, Setup};

const SECRET: &str = "a secret that only issuer and host know";
const WHOAMI: &str = "/fixtures/answers/whoami";
const MARK: &str = "/fixtures/answers/mark";

const CONFIG: &str = r#"
[[auth.keys]]
id = "shared"
algorithm = "HS256"
file = "shared.key"
issuer = "https://shared.example"
audience = "tenon"

[[auth.keys]]
id = "signed"
algorithm = "EdDSA"
file = "signed.pem"
issuer = "https://signed.example"
audience = "tenon"

[[auth.keys]]
id = "rsa"
algorithm = "RS256"
file = "rsa.pem"
issuer = "https://rsa.example"
audience = "tenon"

[[auth.keys]]
id = "ec"
algorithm = "ES256"
file = "ec.pem"
issuer = "https://ec.example"
audience = "tenon"

[[auth.keys]]
id = "bound"
algorithm = "EdDSA"
file = "bound.pem"
issuer = "https://bound.example"
audience = "tenon"
tenant = "acme"
"#;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> String {
    key(number).verifying_key().to_public_key_pem(LineEnding::LF).unwrap()
}

const RSA: &str = include_str!("keys/rsa-1.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa-1.pub.pem");
const EC: &str = include_str!("keys/ec-1.pem");
const EC_PUBLIC: &str = include_str!("keys/ec-1.pub.pem");

fn start() -> Host {
    let setup = Setup::with(&["answers"]).without_dev().config(CONFIG);
    fs::write(setup.folder().join("shared.key"), SECRET).unwrap();
    fs::write(setup.folder().join("signed.pem"), public(1)).unwrap();
    fs::write(setup.folder().join("bound.pem"), public(2)).unwrap();
    fs::write(setup.folder().join("rsa.pem"), RSA_PUBLIC).unwrap();
    fs::write(setup.folder().join("ec.pem"), EC_PUBLIC).unwrap();
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    host.tenant("other", &["answers"]);
    host
}

/// Good claims with some replaced; `null` takes one away.
fn claims(issuer: &str, changes: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": format!("https://{issuer}.example"), "aud": "tenon", "exp": now + 600,
        "sub": "ann", "tenant": "acme", "roles": ["Admin", "module:tasks"],
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn shared(secret: &str, changes: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims("shared", changes), &key).unwrap()
}

fn signed(issuer: &str, number: u8, changes: &Value) -> String {
    let pem = key(number).to_pkcs8_pem(LineEnding::LF).unwrap();
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::EdDSA), &claims(issuer, changes), &key).unwrap()
}

fn rsa(pem: &str, algorithm: Algorithm) -> String {
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    encode(&Header::new(algorithm), &claims("rsa", &json!({})), &key).unwrap()
}

fn ec(pem: &str) -> String {
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::ES256), &claims("ec", &json!({})), &key).unwrap()
}

fn ask(host: &Host, tenant: Option<&str>, path: &str, token: &str) -> Answer {
    let ask = host.ask("GET", path).token(token);
    tenant.map_or(ask.clone(), |tenant| ask.header("x-tenant-id", tenant)).send()
}

fn is_unauthenticated(host: &Host, token: &str) {
    for path in [WHOAMI, MARK] {
        let refused = ask(host, Some("acme"), path, token);
        refused.refuses(401, "UNAUTHENTICATED", "The token is not valid");
        assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
    let good = ask(host, Some("acme"), WHOAMI, &shared(SECRET, &json!({})));
    assert_eq!(good.expect(200)["user"], "ann");
}

#[test]
fn good_tokens_of_all_kinds_name_tenant_user_and_roles() {
    let host = start();
    let hash_and_curve = [shared(SECRET, &json!({})), signed("signed", 1, &json!({})), signed("bound", 2, &json!({}))];
    for token in hash_and_curve.into_iter().chain([rsa(RSA, Algorithm::RS256), ec(EC)]) {
        let expected = json!({"tenant": "acme", "user": "ann", "roles": ["Admin"]});
        assert_eq!(ask(&host, Some("acme"), WHOAMI, &token).expect(200), expected);
        assert_eq!(ask(&host, None, WHOAMI, &token).expect(200), expected, "the token alone names the tenant");
        assert_eq!(ask(&host, Some("acme"), "/fixtures/answers/admins", &token).status, 200);
    }
    let none = host.ask("GET", WHOAMI).header("x-tenant-id", "acme").by("ada", "Admin").send();
    none.refuses(401, "UNAUTHENTICATED", "A token is required");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let open = host.ask("GET", MARK).header("x-tenant-id", "acme").send();
    open.expect_text("the mark of release one");
}

#[test]
fn a_bad_signature() {
    let host = start();
    is_unauthenticated(&host, &shared("another secret that nobody has told anybody", &json!({})));
    is_unauthenticated(&host, &signed("signed", 9, &json!({})));
    is_unauthenticated(&host, &rsa(include_str!("keys/rsa-2.pem"), Algorithm::RS256));
    is_unauthenticated(&host, &ec(include_str!("keys/ec-2.pem")));
    let mut cut = shared(SECRET, &json!({}));
    cut.truncate(cut.len() - 4);
    is_unauthenticated(&host, &cut);
    is_unauthenticated(&host, "no.token.at-all");
    let line = crate::harness::until_some("the reason is in the log", || {
        host.output().lines().find(|line| line.contains("the signature does not fit key `shared`")).map(str::to_owned)
    });
    assert!(line.contains("request_id="), "{line}");
}

#[test]
fn an_expired_token() {
    let host = start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    is_unauthenticated(&host, &shared(SECRET, &json!({ "exp": now - 40 })));
    is_unauthenticated(&host, &signed("signed", 1, &json!({ "exp": now - 40 })));
    is_unauthenticated(&host, &shared(SECRET, &json!({ "exp": null })));
    is_unauthenticated(&host, &shared(SECRET, &json!({ "nbf": now + 100 })));
    let within_leeway = ask(&host, Some("acme"), WHOAMI, &shared(SECRET, &json!({ "exp": now - 5 })));
    assert_eq!(within_leeway.status, 200);
}

#[test]
fn a_token_without_a_signature_or_with_another_algorithm_than_the_keys() {
    let host = start();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for issuer in ["shared", "signed", "rsa", "ec"] {
        for algorithm in ["none", "None", "NONE", ""] {
            let header = json!({"alg": algorithm, "typ": "JWT"});
            is_unauthenticated(&host, &format!("{}.{}.", part(&header), part(&claims(issuer, &json!({})))));
        }
    }
    // The public key is no secret: who takes it for one must not be believed.
    for (issuer, public) in [("signed", &*public(1)), ("rsa", RSA_PUBLIC), ("ec", EC_PUBLIC)] {
        let key = EncodingKey::from_secret(public.as_bytes());
        let confused = encode(&Header::new(Algorithm::HS256), &claims(issuer, &json!({})), &key).unwrap();
        is_unauthenticated(&host, &confused);
    }
    is_unauthenticated(&host, &rsa(RSA, Algorithm::RS512));
    is_unauthenticated(&host, &rsa(RSA, Algorithm::PS256));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let longer = encode(&Header::new(Algorithm::HS512), &claims("shared", &json!({})), &key).unwrap();
    is_unauthenticated(&host, &longer);
}

#[test]
fn a_token_for_somebody_else_or_by_nobody_known() {
    let host = start();
    is_unauthenticated(&host, &shared(SECRET, &json!({ "aud": "elsewhere" })));
    is_unauthenticated(&host, &signed("signed", 1, &json!({ "aud": ["elsewhere", "nowhere"] })));
    is_unauthenticated(&host, &shared(SECRET, &json!({ "aud": null })));
    is_unauthenticated(&host, &shared(SECRET, &json!({ "iss": "https://nobody.example" })));
}

#[test]
fn a_token_of_another_tenant() {
    let host = start();
    let text = "The token is for another tenant";
    for token in [shared(SECRET, &json!({})), signed("signed", 1, &json!({}))] {
        for path in [WHOAMI, MARK] {
            ask(&host, Some("other"), path, &token).refuses(403, "FORBIDDEN", text);
            // Nothing is said about tenants that the caller does not know.
            ask(&host, Some("nobody"), path, &token).refuses(403, "FORBIDDEN", text);
        }
    }
    let bound = signed("bound", 2, &json!({ "tenant": "other" }));
    ask(&host, Some("other"), WHOAMI, &bound).refuses(403, "FORBIDDEN", text);
    let unbound = shared(SECRET, &json!({ "tenant": null }));
    ask(&host, Some("acme"), WHOAMI, &unbound).refuses(403, "FORBIDDEN", "The token is not for this tenant");
    let none = shared(SECRET, &json!({ "tenant": null }));
    ask(&host, None, WHOAMI, &none).refuses(400, "TENANT_REQUIRED", "The request must name a tenant");
}

#[test]
fn roles_are_those_of_the_token() {
    let host = start();
    let member = shared(SECRET, &json!({ "roles": ["Member"] }));
    let refused = ask(&host, Some("acme"), "/fixtures/answers/admins", &member);
    refused.refuses(403, "FORBIDDEN", "One of these roles is required: Admin");
}

#[test]
fn keys_that_can_not_be_used_keep_a_host_from_starting() {
    let setup = Setup::new().without_dev().config(CONFIG);
    fs::write(setup.folder().join("shared.key"), "too short").unwrap();
    fs::write(setup.folder().join("signed.pem"), public(1)).unwrap();
    let ran = crate::harness::Ran::of(setup.command());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("an HS256 secret needs at least 32 bytes, this one has 9"), "{ran:?}");
    assert!(ran.stderr.contains("rsa.pem"), "all bad keys are told: {ran:?}");
}
