//! Programs prove their tenant with API keys when they ask for flags.

use std::{io::Write, net::TcpStream};

use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Host, Setup, until};

const FLAGS: &str = "/ofrep/v1/evaluate/flags";

/// Whatever is wrong with a key.
const REFUSED: &str = "The token or API key is not valid";

fn start(config: &str) -> Host {
    let host = Setup::with(&["asks"]).config(config).without_dev().start();
    host.tenant("acme", &["asks"]);
    host.tenant("other.one", &[]);
    host
}

fn key(host: &Host, tenant: &str, more: &[&str]) -> String {
    let arguments = [&["keys", "create", tenant, "--name", "shop"], more].concat();
    host.tenon(&arguments).succeeds().stdout.trim().to_owned()
}

fn ask(host: &Host, key: &str) -> Ask {
    host.ask("POST", FLAGS).header("x-api-key", key)
}

fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.expect(status), json!({ "errorDetails": text }));
    assert_eq!(answer.header("content-type"), "application/json");
}

#[test]
fn a_key_proves_its_tenant_in_either_header_and_no_other_tenant() {
    let host = start("[tenant-source]\npath-prefix = \"/t\"\n");
    let (acme, other) = (key(&host, "acme", &[]), key(&host, "other.one", &[]));
    let lit = |answer: &Value| answer["flags"].as_array().unwrap().iter().any(|flag| flag["key"] == "lit");
    assert!(lit(&ask(&host, &acme).send().expect(200)));
    assert!(lit(&host.ask("POST", FLAGS).token(&acme).send().expect(200)));
    assert!(lit(&host.ask("POST", FLAGS).token(&acme).header("x-api-key", &acme).send().expect(200)));
    assert!(!lit(&ask(&host, &other).send().expect(200)), "its own tenant's flags");
    let one = host.ask("POST", &format!("/t/acme{FLAGS}/lit")).header("x-api-key", &acme).send();
    assert_eq!(one.expect(200)["value"], true);
    let foreign = [
        ask(&host, &other).header("x-tenant-id", "acme"),
        host.ask("POST", &format!("/t/acme{FLAGS}")).header("x-api-key", &other),
        ask(&host, &acme).header("x-tenant-id", "nobody"),
    ];
    for ask in foreign {
        refused(&ask.send(), 403, "The key is for another tenant");
    }
    refused(&ask(&host, &acme).token(&other).send(), 401, REFUSED);
    // Modules' endpoints take tokens.
    let module = host.ask("GET", "/fixtures/asks/flag/lit").header("x-tenant-id", "acme");
    assert_eq!(module.token(&acme).send().status, 401);
    host.stop();
}

#[test]
fn whatever_is_wrong_with_a_key_is_told_in_the_same_words() {
    let host = start("");
    let good = key(&host, "acme", &[]);
    let parts: Vec<&str> = good.split('.').collect();
    let [head, id, secret] = parts[..] else { panic!("{good}") };
    let of_nobody = key(&host, "other.one", &[]);
    host.tenon(&["tenants", "delete", "other.one"]).succeeds();
    let made_up = [
        good[..good.len() - 1].to_owned(),
        format!("{head}.{id}.{}", secret.chars().rev().collect::<String>()),
        format!("{head}.{}.{secret}", "0".repeat(16)),
        format!("tenon_bm9ib2R5.{id}.{secret}"),
        of_nobody,
        "tenon_".to_owned(),
        "7".to_owned(),
    ];
    for key in &made_up {
        let answer = ask(&host, key).send();
        refused(&answer, 401, REFUSED);
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
    assert_eq!(ask(&host, &good).send().status, 200);
    // A tenant that is read from the store for it is proved as one in memory is.
    let host = host.killed_and_started();
    assert_eq!(ask(&host, &good).send().status, 200);
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    refused(&ask(&host, &good).send(), 403, "Tenant acme is suspended");
    refused(&ask(&host, &made_up[1]).send(), 401, REFUSED);
    host.tenon(&["tenants", "resume", "acme"]).succeeds();
    host.tenon(&["keys", "revoke", "acme", id]).succeeds();
    refused(&ask(&host, &good).send(), 401, REFUSED);
    until("the log says why", || host.output().contains("the API key is unknown, or was revoked"));
    assert!(!host.output().contains(secret), "no secret is in the log");
    host.stop();
}

#[test]
fn a_key_ends_when_it_was_said_to() {
    let host = start("");
    let soon = written(std::time::SystemTime::now() + std::time::Duration::from_secs(5));
    let short = key(&host, "acme", &["--expires", &soon]);
    let long = key(&host, "acme", &["--expires", "2999-01-01T00:00:00Z"]);
    until("the key is over", || ask(&host, &short).send().status == 401);
    refused(&ask(&host, &short).send(), 401, REFUSED);
    assert_eq!(ask(&host, &long).send().status, 200);
    assert_eq!(host.json(&["keys", "list", "acme"])["keys"][0]["expired"], true);
    host.stop();
}

/// A time as RFC 3339 has it.
fn written(time: std::time::SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[test]
fn a_change_of_keys_leaves_what_runs_alone() {
    let host = start("");
    host.tenon(&["tenants", "load", "acme"]).succeeds();
    let running = |host: &Host| {
        let shown = host.json(&["tenants", "show", "acme"]);
        assert!(!shown.to_string().contains("apiKeys") && !shown.to_string().contains("hash"), "{shown}");
        (shown["revision"].as_u64().unwrap(), shown["enabledModules"][0]["state"]["generation"].clone())
    };
    let (revision, generation) = running(&host);
    let made = key(&host, "acme", &[]);
    host.tenon(&["keys", "revoke", "acme", made.split('.').nth(1).unwrap()]).succeeds();
    assert_eq!(running(&host), (revision + 2, generation));
    let stats = host.json(&["stats"]);
    assert_eq!((&stats["tenants"]["instances"], &stats["tenants"]["retiring"]), (&json!(1), &json!(0)), "{stats}");
    host.stop();
}

#[test]
fn too_many_requests_at_once_are_told_when_to_come_again() {
    let host = start("[ofrep]\nconcurrency = 1\n");
    let (acme, other) = (key(&host, "acme", &[]), key(&host, "other.one", &[]));
    // Requests whose bodies are still to come hold up nobody who is there, unless they are many.
    let hold = || {
        let mut held = TcpStream::connect(host.tenants()).unwrap();
        write!(held, "POST {FLAGS} HTTP/1.1\r\nHost: x\r\nX-API-Key: {acme}\r\nContent-Length: 2\r\n\r\n").unwrap();
        held
    };
    let _others: Vec<_> = (0..7).map(|_| hold()).collect();
    assert_eq!(ask(&host, &acme).send().status, 200);
    let mut held = hold();
    until("the requests are inside", || ask(&host, &acme).send().status == 429);
    let answer = ask(&host, &acme).send();
    refused(&answer, 429, "Too many requests at once for the flags of this tenant");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(ask(&host, &other).send().status, 200, "others have a count of their own");
    held.write_all(b"{}").unwrap();
    until("the request is answered", || ask(&host, &acme).send().status == 200);
    host.stop();
}
