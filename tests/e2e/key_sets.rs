//! Issuers that publish their keys: a key set in a file, and one that a server of the test's own gives out, with keys that
//! come and go and a server that is away.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::harness::{Answer, Host, Setup, Site, until, until_some};

const WHOAMI: &str = "/fixtures/answers/whoami";
const ISSUER: &str = "https://id.example";

const RSA_1: &str = include_str!("keys/rsa-1.pem");
const RSA_2: &str = include_str!("keys/rsa-2.pem");
const RSA_SHORT: &str = include_str!("keys/rsa-short.pem");
const RSA_1_PUBLIC: &str = include_str!("keys/rsa-1.pub.pem");
const EC_1: &str = include_str!("keys/ec-1.pem");
const EC_2: &str = include_str!("keys/ec-2.pem");

fn encoding(algorithm: Algorithm, pem: &str) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        _ => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
    }
}

/// The public half as an entry of a key set.
fn entry(kid: &str, algorithm: Algorithm, pem: &str) -> Value {
    let mut entry =
        serde_json::to_value(Jwk::from_encoding_key(&encoding(algorithm, pem), algorithm).unwrap()).unwrap();
    entry["kid"] = kid.into();
    entry["use"] = "sig".into();
    entry
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": ISSUER, "aud": "tenon", "exp": now + 600, "sub": "ann", "tenant": "acme"})
}

fn token(kid: Option<&str>, algorithm: Algorithm, pem: &str) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims(), &encoding(algorithm, pem)).unwrap()
}

fn rsa(kid: &str, pem: &str) -> String {
    token(Some(kid), Algorithm::RS256, pem)
}

fn ec(kid: &str, pem: &str) -> String {
    token(Some(kid), Algorithm::ES256, pem)
}

/// A host that believes this source of keys; `more` follows in its entry.
fn start(source: &str, more: &str) -> Host {
    let setup = Setup::with(&["answers"])
        .without_dev()
        .config(&format!("[[auth.jwks]]\nissuer = \"{ISSUER}\"\naudience = \"tenon\"\n{source}\n{more}\n"));
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    host
}

fn ask(host: &Host, token: &str) -> Answer {
    host.ask("GET", WHOAMI).token(token).send()
}

fn is_believed(host: &Host, token: &str) -> bool {
    ask(host, token).status == 200
}

#[track_caller]
fn refused(host: &Host, token: &str) {
    ask(host, token).refuses(401, "UNAUTHENTICATED", "The token is not valid");
}

/// An issuer whose keys can be exchanged.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<Vec<Value>>>);

impl Issuer {
    fn with(keys: &[Value]) -> Self {
        let issuer = Self::default();
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        *self.0.lock().unwrap() = keys.to_vec();
    }

    fn site(&self, address: Option<SocketAddr>) -> Site {
        let keys = Arc::clone(&self.0);
        let answers = move |_: &Request<_>| Response::new(json!({"keys": *keys.lock().unwrap()}).to_string());
        address.map_or_else(|| Site::new(answers.clone()), |address| Site::on(address, answers.clone()))
    }
}

fn url(site: &Site) -> String {
    format!("url = \"{}\"", site.url("/jwks"))
}

#[test]
fn keys_of_both_kinds_are_fetched_and_believed() {
    let issuer = Issuer::with(&[entry("r", Algorithm::RS256, RSA_1), entry("e", Algorithm::ES256, EC_1)]);
    let site = issuer.site(None);
    let host = start(&url(&site), "");
    until("the keys are there", || is_believed(&host, &rsa("r", RSA_1)));
    let expected = json!({"tenant": "acme", "user": "ann", "roles": []});
    assert_eq!(ask(&host, &ec("e", EC_1)).expect(200), expected);
    assert_eq!(ask(&host, &token(None, Algorithm::ES256, EC_1)).expect(200), expected, "without a `kid`");
    refused(&host, &rsa("r", RSA_2));
    refused(&host, &ec("e", EC_2));
    refused(&host, &rsa("e", RSA_1));
    assert_eq!(site.asked().len(), 1, "tokens with known keys cause no fetch");
}

#[test]
fn a_key_binds_its_algorithm() {
    let entries = [entry("r", Algorithm::RS256, RSA_1)];
    let site = Issuer::with(&entries).site(None);
    let host = start(&url(&site), "");
    until("the keys are there", || is_believed(&host, &rsa("r", RSA_1)));
    // The public key is no secret: who takes it for one must not be believed, in whichever form.
    let modulus = URL_SAFE_NO_PAD.decode(entries[0]["n"].as_str().unwrap()).unwrap();
    for secret in [RSA_1_PUBLIC.as_bytes(), RSA_1_PUBLIC.trim_end().as_bytes(), &modulus] {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
        refused(&host, &encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap());
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "NONE", ""] {
        refused(&host, &format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "r"})), part(&claims())));
    }
    refused(&host, &token(Some("r"), Algorithm::PS256, RSA_1));
}

#[test]
fn keys_that_verify_too_much_are_not_taken() {
    let with = |mut entry: Value, name: &str, value: Value| {
        entry[name] = value;
        entry
    };
    let good = |kid| entry(kid, Algorithm::RS256, RSA_1);
    let issuer = Issuer::with(&[
        entry("last", Algorithm::ES256, EC_1),
        entry("short", Algorithm::RS256, RSA_SHORT),
        with(good("private"), "d", "AQAB".into()),
        with(good("other"), "alg", "RS512".into()),
        with(good("encryption"), "use", "enc".into()),
        json!({"kty": "oct", "kid": "secret", "k": URL_SAFE_NO_PAD.encode([7; 32])}),
        json!({"kty": "new", "kid": "unknown"}),
        json!("no key"),
    ]);
    let site = issuer.site(None);
    let host = start(&url(&site), "");
    until("the keys are there", || is_believed(&host, &ec("last", EC_1)));
    refused(&host, &rsa("short", RSA_SHORT));
    for kid in ["private", "other", "encryption"] {
        refused(&host, &rsa(kid, RSA_1));
    }
    let header = Header { kid: Some("secret".to_owned()), ..Header::new(Algorithm::HS256) };
    refused(&host, &encode(&header, &claims(), &EncodingKey::from_secret(&[7; 32])).unwrap());
    let log = host.output();
    for reason in ["key `short` is an RSA key of 1024 bits", "key `secret` is a symmetric key", "key `private` shows"] {
        assert!(log.contains(reason), "{reason}: {log}");
    }
    let only_rsa = start(&url(&site), "algorithms = [\"RS256\"]");
    until("the keys are there", || only_rsa.output().contains("which `algorithms` does not list"));
    refused(&only_rsa, &ec("last", EC_1));
}

#[test]
fn a_key_that_is_gone_is_believed_no_more_and_a_new_one_is_found() {
    let issuer = Issuer::with(&[entry("old", Algorithm::RS256, RSA_1)]);
    let site = issuer.site(None);
    let host = start(&url(&site), "");
    let (old, new) = (rsa("old", RSA_1), ec("new", EC_1));
    until("the keys are there", || is_believed(&host, &old));
    assert!(is_believed(&host, &old), "it is remembered");
    issuer.publish(&[entry("new", Algorithm::ES256, EC_1)]);
    // Nothing but the unknown key causes the fetch: the next one would come after 15 minutes.
    until("the new key is found", || is_believed(&host, &new));
    refused(&host, &old);
    let fetches = site.asked().len();
    assert!(fetches <= 4, "{fetches} fetches: each unknown key would have caused one");
}

#[test]
fn a_server_that_is_away_is_waited_for_and_its_keys_outlive_it() {
    let issuer = Issuer::with(&[entry("r", Algorithm::RS256, RSA_1)]);
    let address = issuer.site(None).leave();
    let host = start(&format!("url = \"http://{address}/jwks\""), "refresh = \"1s\"");
    let token = rsa("r", RSA_1);
    refused(&host, &token);
    until("the host says so", || host.output().contains("the issuer's keys can't be fetched"));
    let site = issuer.site(Some(address));
    until("the server is found", || is_believed(&host, &token));
    let fetched = site.asked().len();
    until("the keys are refreshed", || site.asked().len() > fetched);
    site.leave();
    let before = host.output().matches("can't be fetched").count();
    until("a refresh fails", || host.output().matches("can't be fetched").count() > before);
    assert!(is_believed(&host, &token), "the keys that are known stay in force");
}

#[test]
fn a_file_of_keys_is_read_again_when_it_changes() {
    let set = |entries: &[Value]| json!({ "keys": entries }).to_string();
    let setup = Setup::with(&["answers"]).without_dev().config(&format!(
        "[[auth.jwks]]\nissuer = \"{ISSUER}\"\naudience = \"tenon\"\ntenant = \"acme\"\nfile = \"keys.json\"\n"
    ));
    let file = setup.folder().join("keys.json");
    fs::write(&file, set(&[entry("one", Algorithm::RS256, RSA_1)])).unwrap();
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    let (one, two) = (rsa("one", RSA_1), rsa("two", RSA_2));
    assert_eq!(ask(&host, &one).expect(200)["user"], "ann", "a file is there from the first request on");
    refused(&host, &two);
    fs::write(&file, "{\"keys\": ").unwrap();
    until_some("half a file is told", || {
        host.output().lines().find(|line| line.contains("the keys are kept as they were")).map(str::to_owned)
    });
    assert!(is_believed(&host, &one));
    fs::write(&file, set(&[entry("two", Algorithm::RS256, RSA_2)])).unwrap();
    until("the new key is read", || is_believed(&host, &two));
    refused(&host, &one);
}

#[test]
fn a_file_that_is_no_key_set_keeps_a_host_from_starting() {
    let setup = Setup::new()
        .without_dev()
        .config(&format!("[[auth.jwks]]\nissuer = \"{ISSUER}\"\naudience = \"tenon\"\nfile = \"keys.json\"\n"));
    fs::write(setup.folder().join("keys.json"), "[]").unwrap();
    let ran = crate::harness::Ran::of(setup.command());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("is no set of keys"), "{ran:?}");
}
