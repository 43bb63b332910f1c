//! Clients ask for flags by the OpenFeature Remote Evaluation Protocol, as its SDKs do.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Host, Setup, until};

const SECRET: &str = "a secret that only issuer and host know";
const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const PAGE: &str = "https://app.example";

const CONFIG: &str = r#"
[flags]
definitions = "flags.json"

[tenant-source]
path-prefix = "/t"

[[auth.keys]]
id = "shared"
algorithm = "HS256"
file = "shared.key"
issuer = "https://id.example"
audience = "tenon"
"#;

fn definitions() -> Value {
    let staff = json!({ "if": [{ "ends_with": [{ "var": "email" }, "@acme.example"] }, "on", null] });
    let variants = json!({ "on": true, "off": false });
    json!({
        "metadata": { "flagSetId": "web" },
        "flags": {
            "staff": { "state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": staff, "metadata": { "owner": "ann" } },
            "plain": { "state": "ENABLED", "variants": { "big": { "rows": 50 } }, "defaultVariant": "big" },
            "a/b": { "state": "ENABLED", "variants": variants, "defaultVariant": "on" },
            "killed": { "state": "DISABLED", "variants": variants, "defaultVariant": "on" },
            "open": { "state": "ENABLED", "variants": variants },
            "half": { "state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": { "fractional": [["on", 1], ["off", 1]] } },
            "broken": { "state": "ENABLED", "variants": variants, "targeting": { "cat": ["no", "where"] } },
            "mine": { "state": "ENABLED", "variants": { "true": true, "false": false }, "targeting": { "==": [{ "var": "tenantId" }, "acme"] } },
        },
    })
}

fn define(setup: &Setup, definitions: &Value) {
    let beside = setup.folder().join("flags.json.part");
    fs::write(&beside, definitions.to_string()).unwrap();
    fs::rename(beside, setup.folder().join("flags.json")).unwrap();
}

fn without(flag: &str) -> Value {
    let mut definitions = definitions();
    definitions["flags"].as_object_mut().unwrap().remove(flag);
    definitions
}

fn set_up() -> Setup {
    let setup = Setup::with(&["asks"]).config(CONFIG);
    define(&setup, &definitions());
    fs::write(setup.folder().join("shared.key"), SECRET).unwrap();
    setup
}

fn start() -> Host {
    let host = set_up().without_dev().start();
    host.tenant("acme", &["asks"]);
    host.tenant("other", &["asks"]);
    host
}

fn token(tenant: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims =
        json!({ "iss": "https://id.example", "aud": "tenon", "exp": now + 600, "sub": "ann", "tenant": tenant });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn ask(host: &Host, tenant: &str, path: &str) -> Ask {
    host.ask("POST", path).token(&token(tenant))
}

fn one(host: &Host, flag: &str, context: Value) -> Answer {
    ask(host, "acme", &format!("{FLAGS}/{flag}")).json(&json!({ "context": context })).send()
}

fn all(host: &Host, tenant: &str, context: Value, known: &str) -> Answer {
    ask(host, tenant, FLAGS).json(&json!({ "context": context })).header("if-none-match", known).send()
}

fn of(answer: &Value, flag: &str) -> Value {
    let flags = answer["flags"].as_array().unwrap();
    flags.iter().find(|found| found["key"] == flag).unwrap_or_else(|| panic!("no {flag} in {answer}")).clone()
}

#[test]
fn one_flag_is_what_it_is_for_this_user() {
    let host = start();
    host.tenon(&["flags", "set", "acme", "rows=20"]).succeeds();
    let ann = || json!({ "targetingKey": "ann", "email": "ann@acme.example" });
    let definition = |more: Value| {
        let mut metadata = json!({ "flagSetId": "web", "tenon.source": "definition" });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        metadata
    };
    let expected = json!({
        "key": "staff", "value": true, "variant": "on", "reason": "TARGETING_MATCH", "metadata": definition(json!({ "owner": "ann" })),
    });
    assert_eq!(one(&host, "staff", ann()).expect(200), expected);
    let eve = one(&host, "staff", json!({ "email": "eve@evil.example" })).expect(200);
    assert_eq!((&eve["value"], &eve["variant"], &eve["reason"]), (&json!(false), &json!("off"), &json!("DEFAULT")));
    let expected = json!({
        "key": "plain", "value": { "rows": 50 }, "variant": "big", "reason": "STATIC", "metadata": definition(json!({})),
    });
    assert_eq!(one(&host, "plain", ann()).expect(200), expected);
    let off =
        json!({ "key": "killed", "reason": "DISABLED", "variant": "definition", "metadata": definition(json!({})) });
    assert_eq!(one(&host, "killed", ann()).expect(200), off);
    let open =
        json!({ "key": "open", "reason": "DEFAULT", "variant": "definition", "metadata": definition(json!({})) });
    assert_eq!(one(&host, "open", ann()).expect(200), open, "the client's own default holds");
    let set = json!({ "key": "rows", "value": 20, "variant": "tenant", "reason": "STATIC", "metadata": { "tenon.source": "tenant" } });
    assert_eq!(one(&host, "rows", ann()).expect(200), set);
    let lit = json!({ "key": "lit", "value": true, "variant": "module", "reason": "DEFAULT", "metadata": { "tenon.source": "module", "tenon.module": "asks" } });
    assert_eq!(one(&host, "lit", ann()).expect(200), lit);
    // Without a key there is no bucket; the same user stays in theirs.
    assert_eq!(one(&host, "half", json!({})).expect(200)["reason"], "DEFAULT");
    let first = one(&host, "half", ann()).expect(200);
    assert_eq!(
        (&first["reason"], &one(&host, "half", ann()).expect(200)["value"]),
        (&json!("TARGETING_MATCH"), &first["value"])
    );
    // The tenant is what the token says.
    assert_eq!(one(&host, "mine", json!({ "tenantId": "other" })).expect(200)["value"], true);
    let lies = ask(&host, "other", &format!("{FLAGS}/mine")).json(&json!({ "context": { "tenantId": "acme" } })).send();
    assert_eq!(lies.expect(200)["value"], false);
    // Some clients escape a slash, and some don't.
    for key in ["a/b", "a%2Fb"] {
        assert_eq!(one(&host, key, ann()).expect(200)["key"], "a/b");
    }
    // No context, and no body at all.
    assert_eq!(ask(&host, "acme", &format!("{FLAGS}/plain")).json(&json!({})).send().status, 200);
    assert_eq!(ask(&host, "acme", &format!("{FLAGS}/pl%61in")).send().status, 200);
    host.stop();
}

#[test]
fn all_flags_come_with_an_etag_of_tenant_context_and_values() {
    let host = start();
    let ann = || json!({ "targetingKey": "ann", "email": "ann@acme.example" });
    let answer = all(&host, "acme", ann(), "");
    let flags = answer.expect(200);
    let keys: Vec<&str> = flags["flags"].as_array().unwrap().iter().map(|flag| flag["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a/b", "broken", "half", "killed", "lit", "mine", "open", "plain", "staff"]);
    assert_eq!((&of(&flags, "staff")["value"], &flags["metadata"]), (&json!(true), &json!({ "flagSetId": "web" })));
    let details = "The rule of the flag names none of its variants; the log of the host says which";
    assert_eq!(of(&flags, "broken"), json!({ "key": "broken", "errorCode": "GENERAL", "errorDetails": details }));
    let etag = answer.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 20, "{etag}");

    let same = all(&host, "acme", json!({ "email": "ann@acme.example", "targetingKey": "ann" }), &etag);
    assert_eq!((same.status, same.text().as_str(), same.header("etag")), (304, "", etag.as_str()));
    assert_eq!(all(&host, "acme", ann(), &format!("\"x\", {etag}")).status, 304);
    let eve = all(&host, "acme", json!({ "targetingKey": "eve" }), &etag);
    assert_eq!(of(&eve.expect(200), "staff")["value"], false);
    assert_ne!(eve.header("etag"), etag);
    // What one tenant knows says nothing to another, with the very same flags and context.
    let other = all(&host, "other", ann(), &etag);
    assert_eq!(of(&other.expect(200), "mine")["value"], false);
    assert_ne!(other.header("etag"), etag);
    assert_eq!(all(&host, "acme", ann(), other.header("etag")).status, 200);

    host.tenon(&["flags", "set", "acme", "lit=false", "extra=7"]).succeeds();
    let answer = all(&host, "acme", ann(), &etag);
    let flags = answer.expect(200);
    assert_eq!((&of(&flags, "lit")["value"], &of(&flags, "extra")["value"]), (&json!(false), &json!(7)));
    let etag = answer.header("etag").to_owned();
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    host.tenon(&["tenants", "resume", "acme"]).succeeds();
    assert_eq!(all(&host, "acme", ann(), &etag).status, 304, "nothing about its flags is different");
    define(host.setup(), &without("plain"));
    until("the change of the file reaches the client", || all(&host, "acme", ann(), &etag).status == 200);
    let fewer = all(&host, "acme", ann(), &etag).expect(200);
    assert!(fewer["flags"].as_array().unwrap().iter().all(|flag| flag["key"] != "plain"), "{fewer}");
    host.stop();
}

#[test]
fn refusals_are_told_as_clients_read_them() {
    let host = start();
    let path = format!("{FLAGS}/staff");
    let refused = |answer: Answer, status: u16, body: Value| {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.expect(status), body);
        assert!(!answer.header("x-request-id").is_empty());
    };
    let unknown = json!({ "key": "nope", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "Nobody knows this flag" });
    refused(one(&host, "nope", json!({})), 404, unknown);
    let details = "The rule of the flag names none of its variants; the log of the host says which";
    refused(
        one(&host, "broken", json!({})),
        400,
        json!({ "key": "broken", "errorCode": "GENERAL", "errorDetails": details }),
    );
    let send = |body: &str| ask(&host, "acme", &path).body("application/json", body).send();
    let wrong = |code: &str, details: &str| json!({ "key": "staff", "errorCode": code, "errorDetails": details });
    let details = "The request is no JSON: EOF while parsing an object at line 1 column 1";
    refused(send("{"), 400, wrong("PARSE_ERROR", details));
    refused(send("[]"), 400, wrong("INVALID_CONTEXT", "The request must be an object"));
    refused(send(r#"{"context": 7}"#), 400, wrong("INVALID_CONTEXT", "`context` must be an object"));
    let details = "`targetingKey` must be a string";
    refused(send(r#"{"context": {"targetingKey": 7}}"#), 400, wrong("INVALID_CONTEXT", details));
    let many = json!({ "context": { "list": vec![0; 600] } }).to_string();
    refused(send(&many), 400, wrong("INVALID_CONTEXT", "the context has 601 values, at most 500 are permitted"));
    let large = json!({ "context": { "text": "x".repeat(70_000) } }).to_string();
    refused(send(&large), 400, wrong("INVALID_CONTEXT", "The request has more than 65536 bytes"));
    let in_pieces = ask(&host, "acme", &path).body("application/json", large).in_pieces().send();
    refused(in_pieces, 400, wrong("INVALID_CONTEXT", "The request has more than 65536 bytes"));
    let whole = ask(&host, "acme", FLAGS).body("application/json", "{").send();
    assert_eq!(whole.expect(400)["errorCode"], "PARSE_ERROR");
    assert_eq!(whole.json().get("key"), None);

    let nobody = host.ask("POST", &path).header("x-tenant-id", "acme").send();
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    refused(nobody, 401, json!({ "errorDetails": "A token or API key is required" }));
    let unknown_tenant = host.ask("POST", &path).header("x-tenant-id", "nobody").send();
    assert_eq!(unknown_tenant.status, 401, "who has no token learns nothing of tenants");
    let wrong_token = host.ask("POST", FLAGS).header("x-tenant-id", "acme").token("not.a.token").send();
    assert_eq!(wrong_token.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    refused(wrong_token, 401, json!({ "errorDetails": "The token or API key is not valid" }));
    let other = ask(&host, "other", &path).header("x-tenant-id", "acme").send();
    refused(other, 403, json!({ "errorDetails": "The token is for another tenant" }));
    let gone = ask(&host, "gone", FLAGS).send();
    assert_eq!((gone.status, &gone.json()["errorCode"]), (400, &json!("GENERAL")), "404 is for flags: {}", gone.text());
    let get = host.ask("GET", FLAGS).token(&token("acme")).send();
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    refused(
        ask(&host, "acme", "/ofrep/v1/configuration").send(),
        404,
        json!({ "errorDetails": "There is no such endpoint" }),
    );
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    assert_eq!(one(&host, "staff", json!({})).status, 403);
    host.stop();
}

#[test]
fn pages_of_other_origins_ask_by_the_tenant_s_rules() {
    let host = start();
    host.tenon(&["tenants", "cors", "acme", "--origin", PAGE]).succeeds();
    let path = format!("/t/acme{FLAGS}");
    let preflight = host.ask("OPTIONS", &path).header("origin", PAGE).header("access-control-request-method", "POST");
    let preflight =
        preflight.header("access-control-request-headers", "authorization,content-type,if-none-match").send();
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, "POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), "authorization, content-type, if-none-match");
    let answer = ask(&host, "acme", &path).json(&json!({ "context": {} })).header("origin", PAGE).send();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, PAGE));
    assert!(answer.header("access-control-expose-headers").contains("etag"));
    let refused = host.ask("POST", &path).header("origin", PAGE).send();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, PAGE));
    assert_eq!(
        ask(&host, "acme", &path).header("origin", "https://evil.example").send().header("access-control-allow-origin"),
        ""
    );
    assert_eq!(ask(&host, "acme", &path).send().header("vary"), "Origin");
    assert_eq!(ask(&host, "other", &path).send().status, 403);
    host.stop();
}

#[test]
fn with_dev_the_user_is_who_they_say() {
    let host = set_up().start();
    host.tenant("acme", &["asks"]);
    let plain = format!("{FLAGS}/plain");
    assert_eq!(host.of("acme", "POST", &plain).send().status, 200);
    assert_eq!(host.ask("POST", &plain).header("x-tenant-id", "acme").send().status, 401);
    let elsewhere = host.of("acme", "POST", &plain).header("host", "evil.example").send();
    assert_eq!(elsewhere.status, 403);
    host.stop();
}
