//! Requests that can't be served: each gets its code and text, and the next good one is served as ever.

use serde_json::json;

use crate::harness::{Host, Setup, until_some};

const MARK: &str = "/fixtures/answers/mark";
const NOTES: &str = "/fixtures/answers/notes";

fn start() -> Host {
    let host = Setup::with(&["answers"]).config("[limits]\nbody-bytes = \"64KiB\"\n").start();
    host.tenant("acme", &["answers"]);
    host
}

fn serves(host: &Host) {
    host.get("acme", MARK).expect_text("the mark of release one");
}

#[test]
fn a_request_without_a_tenant() {
    let host = start();
    host.ask("GET", MARK).send().refuses(400, "TENANT_REQUIRED", "The request must name a tenant");
    serves(&host);
}

#[test]
fn a_tenant_that_is_not_there() {
    let host = start();
    host.get("nobody", MARK).refuses(404, "TENANT_NOT_FOUND", "Tenant not found: nobody");
    host.tenon(&["tenants", "show", "nobody"]).refuses(3, "TENANT_NOT_FOUND", "Tenant not found: nobody");
    serves(&host);
}

#[test]
fn a_tenant_id_that_is_too_long_or_leads_out_of_a_folder() {
    let host = start();
    let long = "x".repeat(10 * 1024);
    let too_long = "Invalid tenant id: a tenant id has at most 128 characters, this one has 10240";
    host.get(&long, MARK).refuses(400, "TENANT_ID_INVALID", too_long);
    let character = "Invalid tenant id: a tenant id begins with a letter or digit and has only letters, digits, `_`, \
                     `.` and `-`";
    for id in ["../etc/passwd", "a/../b", "a b", "%2e%2e", ".hidden"] {
        host.get(id, MARK).refuses(400, "TENANT_ID_INVALID", character);
        host.tenon(&["tenants", "create", id]).refuses(2, "TENANT_ID_INVALID", character);
    }
    host.tenon(&["tenants", "create", &long]).refuses(2, "TENANT_ID_INVALID", too_long);
    let twice = host.of("acme", "GET", MARK).header("x-tenant-id", "other").send();
    twice.refuses(400, "TENANT_ID_INVALID", "The request names the tenant more than once");
    serves(&host);
}

#[test]
fn a_body_over_the_limit() {
    let host = start();
    let text = "The request body is larger than 65536 bytes";
    let large = vec![b'x'; 64 * 1024 + 1];
    let announced = host.of("acme", "POST", NOTES).body("application/json", large.clone()).send();
    announced.refuses(413, "BODY_TOO_LARGE", text);
    assert_eq!(announced.json()["limitBytes"], 65536);
    let chunked = host.of("acme", "POST", NOTES).body("application/json", large).in_pieces().send();
    chunked.refuses(413, "BODY_TOO_LARGE", text);

    let fits = json!({ "text": "x".repeat(64 * 1024 - r#"{"text":""}"#.len()) });
    host.of("acme", "POST", NOTES).json(&fits).send().expect(201);
    host.of("acme", "POST", NOTES).json(&fits).in_pieces().send().expect(201);
    serves(&host);
}

#[test]
fn a_body_that_is_no_json_or_not_the_right_one() {
    let host = start();
    for (body, text) in [
        ("{\"text\":", "the body is not valid: EOF while parsing a value at line 1 column 8"),
        ("", "the body is not valid: EOF while parsing a value at line 1 column 0"),
        ("\u{1}", "the body is not valid: expected value at line 1 column 1"),
        ("{\"txet\":\"a\"}", "the body is not valid: unknown field `txet`, expected `text` at line 1 column 7"),
    ] {
        let refused = host.of("acme", "POST", NOTES).body("application/json", body).send();
        refused.refuses(400, "REQUEST_INVALID", text);
    }
    assert_eq!(host.get("acme", NOTES).expect(200), json!([]));
    serves(&host);
}

#[test]
fn a_path_that_nobody_serves() {
    let host = start();
    let text = "No route matches this path";
    for path in ["/", "/fixtures", "/fixtures/answersx", "/fixtures/answers", "/fixtures/answers/none", "/../answers"] {
        host.get("acme", path).refuses(404, "ROUTE_NOT_FOUND", text);
    }
    let refused = host.ask_operators("GET", "/admin/v1/none").token(&host.token()).send();
    refused.refuses(404, "ROUTE_NOT_FOUND", text);
    serves(&host);
}

#[test]
fn a_method_that_a_path_does_not_have() {
    let host = start();
    let refused = host.of("acme", "DELETE", NOTES).send();
    refused.refuses(405, "METHOD_NOT_ALLOWED", "This route answers only to GET, POST");
    assert_eq!(refused.header("allow"), "GET, POST");
    let refused = host.ask_operators("DELETE", "/admin/v1/status").token(&host.token()).send();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (405, Some("METHOD_NOT_ALLOWED")));
    assert!(refused.header("allow").contains("GET"), "{refused:?}");
    serves(&host);
}

#[test]
fn an_error_that_no_author_declared_is_neutral_and_in_the_log_under_the_same_id() {
    let host = start();
    let refused = host.get("acme", "/fixtures/answers/fail");
    refused.refuses(500, "INTERNAL", "An internal error occurred");
    assert!(!refused.text().contains("secret"), "{refused:?}");
    let line = until_some("the failure is in the log", || {
        host.output().lines().find(|line| line.contains("a secret of the inside")).map(str::to_owned)
    });
    assert!(line.contains(refused.header("x-request-id")), "{line}");
    serves(&host);
}

#[test]
fn an_operators_change_that_is_based_on_an_old_picture() {
    let host = start();
    let rename = |if_match: Option<&str>| {
        let ask = host.ask_operators("PATCH", "/admin/v1/tenants/acme").token(&host.token());
        let ask = ask.json(&json!({"name": "Acme Inc."}));
        if_match.map_or(ask.clone(), |tag| ask.header("if-match", tag)).send()
    };
    let needed = "Send If-Match with the revision that was read";
    rename(None).refuses(428, "PRECONDITION_REQUIRED", needed);
    let shown = host.ask_operators("GET", "/admin/v1/tenants/acme").token(&host.token()).send();
    let tag = shown.header("etag").to_owned();
    assert_eq!(rename(Some(&tag)).status, 200);
    let stale = rename(Some(&tag));
    let revision = shown.json()["revision"].as_u64().unwrap() + 1;
    let text = format!("It was changed in the meantime and has revision {revision} now");
    stale.refuses(412, "PRECONDITION_FAILED", &text);
}

#[test]
fn flags_that_can_not_be() {
    let host = start();
    let refused = host.tenon(&["flags", "set", "acme", "loud=7"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("code: FLAG_INVALID"), "{refused:?}");
    assert!(refused.stderr.contains("loud"), "{refused:?}");
    let refused = host.tenon(&["flags", "get", "acme", "unheard-of"]);
    refused.refuses(3, "FLAG_NOT_FOUND", "Flag not found: unheard-of");
    serves(&host);
}
