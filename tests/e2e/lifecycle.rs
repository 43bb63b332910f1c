//! Tenants and instances come and go: suspended and resumed, deleted with and without their data, released when
//! idle, unloaded when nobody is left.

use serde_json::json;

use crate::harness::{Host, NewModule, Setup, until};

const MARK: &str = "/fixtures/answers/mark";
const NOTES: &str = "/fixtures/answers/notes";

fn start() -> Host {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host
}

fn note(host: &Host, tenant: &str, text: &str) {
    host.of(tenant, "POST", NOTES).json(&json!({ "text": text })).send().expect(201);
}

#[test]
fn a_suspended_tenant_is_refused_and_keeps_its_data() {
    let host = start();
    host.tenant("other", &["answers"]);
    note(&host, "acme", "kept");
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    host.get("acme", NOTES).refuses(403, "TENANT_SUSPENDED", "Tenant acme is suspended");
    host.get("other", MARK).expect_text("the mark of release one");
    assert_eq!(host.json(&["tenants", "show", "acme"])["status"], "suspended");
    until("nothing of it runs", || host.json(&["status"])["instances"] == json!(1));
    host.tenon(&["tenants", "resume", "acme"]).succeeds();
    assert_eq!(host.get("acme", NOTES).expect(200), json!(["kept"]));
}

#[test]
fn a_suspended_tenant_stays_suspended_over_a_restart() {
    let host = start();
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    let host = host.stop().start();
    host.get("acme", MARK).refuses(403, "TENANT_SUSPENDED", "Tenant acme is suspended");
    assert_eq!(host.json(&["status"])["failing"], json!([]), "that it runs nothing is as it should be");
}

#[test]
fn a_tenant_with_data_is_deleted_only_with_a_purge_and_comes_back_empty() {
    let host = start();
    note(&host, "acme", "one");
    note(&host, "acme", "two");
    let text = "Tenant acme still has 2 documents: delete it with a purge to remove them";
    let refused = host.tenon(&["tenants", "delete", "acme"]);
    refused.refuses(4, "PRECONDITION_FAILED", text);
    assert_eq!(host.get("acme", NOTES).expect(200), json!(["one", "two"]), "a refused deletion changes nothing");

    host.tenon(&["tenants", "delete", "acme", "--purge"]).succeeds();
    host.get("acme", NOTES).refuses(404, "TENANT_NOT_FOUND", "Tenant not found: acme");
    host.tenant("acme", &["answers"]);
    assert_eq!(host.get("acme", NOTES).expect(200), json!([]));
}

#[test]
fn a_tenant_without_data_is_deleted_as_it_is() {
    let host = start();
    host.tenon(&["tenants", "delete", "acme"]).succeeds();
    host.get("acme", MARK).refuses(404, "TENANT_NOT_FOUND", "Tenant not found: acme");
    host.tenon(&["tenants", "delete", "acme"]).refuses(3, "TENANT_NOT_FOUND", "Tenant not found: acme");
}

#[test]
fn a_tenant_can_not_be_made_twice() {
    let host = start();
    host.tenon(&["tenants", "create", "acme"]).refuses(4, "TENANT_EXISTS", "Tenant already exists: acme");
    host.get("acme", MARK).expect_text("the mark of release one");
}

#[test]
fn the_documents_of_a_disabled_module_are_there_when_it_is_enabled_again() {
    let host = start();
    note(&host, "acme", "kept");
    host.tenon(&["disable", "acme", "answers"]).succeeds();
    host.tenon(&["enable", "acme", "answers"]).succeeds();
    assert_eq!(host.get("acme", NOTES).expect(200), json!(["kept"]));
}

#[test]
fn an_idle_instance_is_released_and_its_library_unloaded_and_the_next_request_has_both_again() {
    let host = Setup::with(&["answers"]).config("[tenancy]\nidle-release = \"1s\"\nlinger = \"0\"\n").start();
    host.tenant("acme", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
    let status = host.json(&["status"]);
    assert_eq!((&status["instances"], &status["libraries"]), (&json!(1), &json!(1)), "{status}");
    until("the instance is released", || host.json(&["status"])["instances"] == json!(0));
    until("the library is unloaded", || host.json(&["status"])["libraries"] == json!(0));
    let stats = host.json(&["stats"]);
    assert_eq!(
        (&stats["libraries"]["unloaded"], &stats["libraries"]["resident"]),
        (&json!(1), &json!(0)),
        "what was unloaded is gone from the process: {stats}"
    );
    host.get("acme", MARK).expect_text("the mark of release one");
    assert_eq!(host.json(&["status"])["libraries"], json!(1));
    host.stop();
}

#[test]
fn a_tenant_is_served_at_its_first_request_after_a_restart_without_being_asked_for() {
    let host = start();
    note(&host, "acme", "kept");
    let host = host.stop().start();
    assert_eq!(host.json(&["status"])["instances"], json!(0), "nothing is loaded before somebody needs it");
    assert_eq!(host.get("acme", NOTES).expect(200), json!(["kept"]));
    assert_eq!(host.json(&["tenants", "load", "acme"])["modules"], json!(["answers"]));
}

#[test]
fn a_tenant_that_wants_a_library_of_its_own_has_one() {
    let host = start();
    host.tenant("other", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
    assert_eq!(host.json(&["status"])["libraries"], json!(1));
    host.tenon(&["enable", "other", "answers", "--isolation", "library"]).succeeds();
    host.get("other", MARK).expect_text("the mark of release one");
    assert_eq!(host.json(&["status"])["libraries"], json!(2));
}

#[test]
fn a_library_that_can_not_be_unloaded_is_reported_with_the_reason() {
    let host = Setup::with(&["gnu-unique"]).config("[tenancy]\nlinger = \"0\"\n").start();
    host.tenant("acme", &["gnu-unique"]);
    assert_eq!(host.get("acme", "/fixtures/gnu-unique").status, 200);
    host.tenon(&["disable", "acme", "gnu-unique"]).succeeds();
    until("it is reported as still mapped", || !host.json(&["status"])["resident"].as_array().unwrap().is_empty());
    let status = host.json(&["status"]);
    let resident = &status["resident"][0];
    assert_eq!(resident["module"], "gnu-unique", "{status}");
    assert!(resident["reason"].as_str().unwrap().contains("GNU_UNIQUE"), "{status}");
    assert!(resident["bytes"].as_u64().unwrap() > 0, "{status}");
}

#[test]
fn the_cap_on_libraries_refuses_with_the_reason() {
    let setup = Setup::with(&["answers"]).config("[tenancy]\nmax-generations = 1\n");
    setup.add_new("second.so", &NewModule::answers_as("second", "/second"));
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
    let refused = host.tenon(&["enable", "acme", "second"]);
    refused.refuses(6, "MODULE_LOAD_FAILED", "Failed to load module: second");
    assert!(refused.stderr.contains("reason: "), "{refused:?}");
    host.get("acme", MARK).expect_text("the mark of release one");
}
