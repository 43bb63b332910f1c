//! The examples as their readers would run them: each is started, asked, and told to end.

use crate::harness::{Answer, Host, Setup};

/// A request of nobody.
fn ask(host: &Host, tenant: &str, path: &str) -> Answer {
    host.ask("GET", path).header("x-tenant-id", tenant).send()
}

#[test]
fn an_application_of_ones_own_has_its_routes_and_the_modules() {
    let host = Setup::with(&["answers", "hr-core"]).start_example("embed", &[]);
    host.tenant("acme", &["answers"]);
    host.tenant("staffed", &["answers", "hr-core"]);

    ask(&host, "acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    ask(&host, "acme", "/fixtures/answers/whoami").refuses(401, "UNAUTHENTICATED", "A token is required");
    ask(&host, "acme", "/nowhere").refuses(404, "ROUTE_NOT_FOUND", "No route matches this path");

    ask(&host, "acme", "/own/people").refuses(403, "MODULE_NOT_ENABLED", "Module hr-core is not enabled");
    let people = ask(&host, "staffed", "/own/people").expect(200);
    assert_eq!((&people["tenant"], &people["modules"]), (&"staffed".into(), &2.into()), "{people}");
    ask(&host, "nobody", "/own/people").refuses(404, "TENANT_NOT_FOUND", "Tenant not found: nobody");
    let unnamed = host.ask("GET", "/own/people").send();
    unnamed.refuses(400, "TENANT_REQUIRED", "The request must name a tenant");

    ask(&host, "acme", "/own/reports").refuses(403, "FEATURE_NOT_ENABLED", "Feature reports is not enabled");
    host.tenon(&["flags", "set", "acme", "reports=true"]).succeeds();
    ask(&host, "acme", "/own/reports").expect(200);
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    ask(&host, "acme", "/own/reports").refuses(403, "TENANT_SUSPENDED", "Tenant acme is suspended");
    host.stop();
}

#[test]
fn a_guard_of_ones_own_stands_before_the_modules() {
    let host = Setup::with(&["answers"]).start_example("own-guard", &["2"]);
    host.tenant("acme", &["answers"]);
    host.tenant("other", &["answers"]);
    for _ in 0..2 {
        ask(&host, "acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    }
    let refused = ask(&host, "acme", "/fixtures/answers/mark");
    assert_eq!((refused.status, refused.header("retry-after")), (429, "60"), "{}", refused.text());
    ask(&host, "other", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.stop();
}

#[test]
fn a_store_of_ones_own_is_below_the_host() {
    let host = Setup::with(&["answers"]).start_example("own-store", &[]);
    host.tenant("acme", &["answers"]);
    ask(&host, "acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    let setup = host.stop();
    let journal = std::fs::read_to_string(setup.data().join("tenants.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(told, ["created", "changed"], "{journal}");
}
