//! Web pages of other origins, as browsers ask for them: by the tenant's rules, which are changed while the host runs.

use crate::harness::{Answer, Ask, Host, Setup};

const CONFIG: &str = "[tenant-source]\nhost-suffix = \"example.com\"\n";
const PAGE: &str = "https://app.example";

fn start() -> Host {
    let host = Setup::with(&["mirror"]).without_dev().config(CONFIG).start();
    host.tenant("acme", &["mirror"]);
    host
}

fn cors(host: &Host, arguments: &[&str]) {
    host.tenon(&[&["tenants", "cors", "acme"], arguments].concat()).succeeds();
}

/// A request that names the tenant by the host, as a page's can.
fn ask(host: &Host, method: &str, path: &str) -> Ask {
    host.ask(method, &format!("/fixtures/mirror{path}")).header("host", "acme.example.com")
}

fn preflight(host: &Host, origin: &str, method: &str, path: &str) -> Answer {
    let asked = ask(host, "OPTIONS", path).header("origin", origin).header("access-control-request-method", method);
    asked.header("access-control-request-headers", "Authorization,content-type").send()
}

fn get(host: &Host, origin: &str, path: &str) -> Answer {
    ask(host, "GET", path).header("origin", origin).send()
}

fn admits(answer: &Answer) -> (&str, &str, &str) {
    (
        answer.header("access-control-allow-origin"),
        answer.header("access-control-allow-credentials"),
        answer.header("vary"),
    )
}

#[test]
fn a_tenant_without_rules_is_served_as_if_nobody_had_heard_of_origins() {
    let host = start();
    let plain = ask(&host, "GET", "/note").send();
    let answer = get(&host, PAGE, "/note");
    assert_eq!((answer.status, answer.text()), (200, plain.text()));
    assert_eq!(admits(&answer), ("", "", ""));
    let asked = preflight(&host, PAGE, "PUT", "/note");
    asked.refuses(405, "METHOD_NOT_ALLOWED", "This route answers only to GET, PUT");
    assert_eq!(admits(&asked), ("", "", ""));
    host.stop();
}

#[test]
fn a_preflight_is_answered_without_a_token_by_what_the_path_offers() {
    let host = start();
    cors(&host, &["--origin", PAGE, "--origin", "http://localhost:3000", "--max-age", "600", "--credentials"]);
    let answer = preflight(&host, PAGE, "PUT", "/note");
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!((admits(&answer).0, admits(&answer).1), (PAGE, "true"));
    assert_eq!(answer.header("access-control-allow-methods"), "GET, PUT, HEAD");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type");
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert!(answer.all("vary").iter().any(|value| value == "Origin"), "{:?}", answer.all("vary"));
    assert!(!answer.header("x-request-id").is_empty());
    // An endpoint that wants a token: the preflight has none.
    assert_eq!(preflight(&host, PAGE, "GET", "/secured").status, 204);
    // Nothing is there: the page may ask all the same, and read why not.
    assert_eq!(preflight(&host, PAGE, "DELETE", "/nowhere").header("access-control-allow-methods"), "DELETE");
    for other in ["https://app.example:8443", "http://app.example", "https://evil.example", "null"] {
        let refused = preflight(&host, other, "PUT", "/note");
        refused.refuses(403, "FORBIDDEN", "The tenant does not admit pages of this origin");
        assert_eq!(admits(&refused), ("", "", "Origin"), "{other}");
    }
    // Without a name for the tenant there are no rules to go by.
    let unnamed = host.ask("OPTIONS", "/fixtures/mirror/note").header("origin", PAGE);
    let unnamed = unnamed.header("access-control-request-method", "PUT").send();
    unnamed.refuses(400, "TENANT_REQUIRED", "The request must name a tenant");
    // No preflight: nobody asks for a method.
    let options = ask(&host, "OPTIONS", "/note").header("origin", PAGE).send();
    assert_eq!((options.status, admits(&options).0), (405, PAGE));
    host.stop();
}

#[test]
fn answers_and_refusals_may_be_read_by_those_who_were_named() {
    let host = start();
    cors(&host, &["--origin", PAGE, "--credentials"]);
    let answer = get(&host, PAGE, "/note");
    assert_eq!((answer.status, admits(&answer)), (200, (PAGE, "true", "Origin")));
    assert_eq!(answer.header("access-control-expose-headers"), "x-request-id, etag, location, retry-after");
    assert_eq!(admits(&get(&host, "https://evil.example", "/note")), ("", "", "Origin"));
    // What a cache keeps for somebody else must not reach a page.
    let direct = ask(&host, "GET", "/note").send();
    assert_eq!((direct.status, admits(&direct)), (200, ("", "", "Origin")));
    for (method, path, status, code) in [
        ("GET", "/secured", 401, "UNAUTHENTICATED"),
        ("GET", "/nowhere", 404, "ROUTE_NOT_FOUND"),
        ("DELETE", "/note", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/fail", 409, "mirror:as-asked"),
    ] {
        let refused = ask(&host, method, path).header("origin", PAGE).send();
        assert_eq!((refused.status, refused.json()["code"].as_str()), (status, Some(code)), "{method} {path}");
        assert_eq!((admits(&refused).0, admits(&refused).1), (PAGE, "true"), "{method} {path}");
    }
    let token = ask(&host, "GET", "/note").header("origin", PAGE).token("not.a.token").send();
    assert_eq!((token.status, admits(&token).0), (401, PAGE));
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    let suspended = get(&host, PAGE, "/note");
    assert_eq!((suspended.status, admits(&suspended).0), (403, PAGE));
    host.stop();
}

#[test]
fn everybody_may_read_without_credentials_and_the_rules_change_without_a_restart() {
    let host = start();
    let refused = host.tenon(&["tenants", "cors", "acme", "--origin", "*", "--credentials"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("`credentials` can't be for every origin"), "{}", refused.stderr);
    cors(&host, &["--origin", "*"]);
    for origin in [PAGE, "https://other.example", "null"] {
        let answer = get(&host, origin, "/note");
        assert_eq!((admits(&answer).0, admits(&answer).1), ("*", ""), "{origin}");
    }
    let told = host.tenon(&["tenants", "cors", "acme"]).succeeds();
    assert!(told.stdout.contains("origin") && told.stdout.contains('*'), "{}", told.stdout);
    cors(&host, &["--origin", "https://other.example"]);
    assert_eq!(admits(&get(&host, PAGE, "/note")).0, "");
    assert_eq!(admits(&get(&host, "https://other.example", "/note")).0, "https://other.example");
    assert_eq!(host.json(&["tenants", "show", "acme"])["cors"]["origins"][0], "https://other.example");
    let host = host.killed_and_started();
    assert_eq!(admits(&get(&host, "https://other.example", "/note")).0, "https://other.example", "it is kept");
    cors(&host, &["--clear"]);
    assert_eq!(admits(&get(&host, "https://other.example", "/note")), ("", "", ""));
    host.stop();
}

#[test]
fn with_dev_no_page_under_another_name_gets_a_word() {
    let host = Setup::with(&["mirror"]).start();
    host.tenant("acme", &["mirror"]);
    cors(&host, &["--origin", "*"]);
    let asked =
        |method: &str| host.ask(method, "/fixtures/mirror/note").header("x-tenant-id", "acme").header("origin", PAGE);
    let preflight =
        asked("OPTIONS").header("access-control-request-method", "PUT").header("host", "evil.example").send();
    preflight.refuses(403, "FORBIDDEN", "With --dev only requests to loopback hosts are served");
    assert_eq!(admits(&preflight), ("", "", ""));
    assert_eq!(admits(&asked("GET").send()).0, "*");
    host.stop();
}
