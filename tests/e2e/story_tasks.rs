//! The core story, second half: a module is enabled and disabled, its features are switched, and what depends on
//! what is kept.

use serde_json::{Value, json};

use crate::harness::{Answer, Host, Setup};

const ITEMS: &str = "/api/v1/tasks/items";
const IMPORT: &str = "/api/v1/tasks/items/import";
const REPORT: &str = "/api/v1/tasks/report";

fn start() -> Host {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &["hr-core", "tasks"]);
    host
}

fn make(host: &Host, task: Value) -> Value {
    host.of("acme", "POST", ITEMS).json(&task).send().expect(201)
}

fn import(host: &Host, csv: &str) -> Answer {
    host.of("acme", "POST", IMPORT).body("text/csv", csv).send()
}

/// The titles on a page.
fn titles(host: &Host, query: &str) -> Vec<String> {
    let page = host.get("acme", &format!("{ITEMS}?{query}")).expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_module_answers_from_the_next_request_on_and_no_longer_than_it_is_enabled() {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &["hr-core"]);
    host.tenant("other", &["hr-core", "tasks"]);
    for _ in 0..3 {
        host.get("acme", ITEMS).refuses(403, "MODULE_NOT_ENABLED", "Module tasks is not enabled");
        host.tenon(&["enable", "acme", "tasks"]).succeeds();
        host.get("acme", ITEMS).expect(200);
        host.tenon(&["disable", "acme", "tasks"]).succeeds();
    }
    host.get("acme", ITEMS).refuses(403, "MODULE_NOT_ENABLED", "Module tasks is not enabled");
    host.get("acme", "/api/v1/hr/employees").expect(200);
    host.get("other", ITEMS).expect(200);
    host.stop();
}

#[test]
fn dependencies_come_first_and_go_last() {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &[]);
    let missing = "Cannot enable tasks: missing required dependencies: hr-core";
    host.tenon(&["enable", "acme", "tasks"]).refuses(4, "MODULE_DEPENDENCY_MISSING", missing);
    host.tenon(&["enable", "acme", "hr-core"]).succeeds();
    host.tenon(&["enable", "acme", "tasks"]).succeeds();
    let dependents = "Cannot disable hr-core: required by: tasks";
    host.tenon(&["disable", "acme", "hr-core"]).refuses(4, "MODULE_HAS_DEPENDENTS", dependents);
    host.get("acme", ITEMS).expect(200);
    host.tenon(&["disable", "acme", "hr-core", "--cascade"]).succeeds();
    host.get("acme", ITEMS).refuses(403, "MODULE_NOT_ENABLED", "Module tasks is not enabled");
    host.tenon(&["enable", "acme", "tasks", "--with-dependencies"]).succeeds();
    host.get("acme", ITEMS).expect(200);
    host.get("acme", "/api/v1/hr/departments").expect(200);
}

#[test]
fn what_is_only_tried_changes_nothing() {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &[]);
    let tried = host.json(&["enable", "acme", "tasks", "--with-dependencies", "--dry-run"]);
    assert_eq!(tried["dryRun"], true, "{tried}");
    assert_eq!(tried["enabled"], json!(["hr-core", "tasks"]), "{tried}");
    host.get("acme", ITEMS).refuses(403, "MODULE_NOT_ENABLED", "Module tasks is not enabled");
    let missing = "Cannot enable tasks: missing required dependencies: hr-core";
    host.tenon(&["enable", "acme", "tasks", "--dry-run"]).refuses(4, "MODULE_DEPENDENCY_MISSING", missing);
}

#[test]
fn an_unknown_module_is_named() {
    let host = Setup::with(&["hr-core"]).start();
    host.tenant("acme", &["hr-core"]);
    let refused = host.tenon(&["enable", "acme", "my-module"]);
    refused.refuses(3, "MODULE_NOT_FOUND", "Module not found in registry: my-module");
    host.tenon(&["disable", "acme", "tasks"]).refuses(5, "MODULE_NOT_ENABLED", "Module tasks is not enabled");
    host.get("acme", "/api/v1/hr/employees").expect(200);
}

#[test]
fn tasks_are_filtered_ordered_and_paged() {
    let host = start();
    make(&host, json!({"title": "Paint", "due": "2026-12-03", "assignee": "ada"}));
    make(&host, json!({"title": "Write", "due": "2026-12-01", "status": "done"}));
    make(&host, json!({"title": "Read", "assignee": "alan", "status": "in-progress"}));
    make(&host, json!({"title": "Sleep", "due": "2026-11-30", "assignee": "ada"}));
    assert_eq!(titles(&host, ""), ["Paint", "Write", "Read", "Sleep"]);
    assert_eq!(titles(&host, "order=-created"), ["Sleep", "Read", "Write", "Paint"]);
    assert_eq!(titles(&host, "assignee=ada"), ["Paint", "Sleep"]);
    assert_eq!(titles(&host, "status=done"), ["Write"]);
    assert_eq!(titles(&host, "due_from=2026-12-01&due_before=2026-12-04"), ["Write", "Paint"]);
    assert_eq!(titles(&host, "order=due&assignee=ada"), ["Sleep", "Paint"]);
    let first = host.get("acme", &format!("{ITEMS}?limit=3")).expect(200);
    let rest = format!("limit=3&cursor={}", first["next"].as_str().unwrap());
    assert_eq!(titles(&host, &rest), ["Sleep"]);
    host.get("acme", &format!("{ITEMS}?status=late")).refuses(
        400,
        "REQUEST_INVALID",
        "`status` must be one of open, in-progress, done, cancelled",
    );
}

#[test]
fn a_task_is_made_shown_changed_and_deleted() {
    let host = start();
    let made = make(&host, json!({"title": "Paint"}));
    assert_eq!((&made["number"], &made["status"], &made["created_by"]), (&json!(1), &json!("open"), &json!("ada")));
    let place = format!("{ITEMS}/{}", made["id"].as_str().unwrap());
    assert_eq!(host.get("acme", &place).expect(200), made);
    let done = host.of("acme", "PUT", &place).json(&json!({"title": "Paint", "status": "done"})).send().expect(200);
    assert_eq!(done["status"], "done");
    assert_eq!(host.of("acme", "DELETE", &place).send().status, 204);
    assert_eq!(host.get("acme", &place).json()["code"], "tasks:task-not-found");
}

#[test]
fn an_import_needs_its_flag_and_takes_all_rows_or_none() {
    let host = start();
    let csv = "title,due\r\nCall Grace,2026-12-02\r\nCall Alan,2026-12-03\r\n";
    import(&host, csv).refuses(403, "FEATURE_NOT_ENABLED", "Feature bulk-import is not enabled");
    host.tenon(&["flags", "set", "acme", "bulk-import=true"]).succeeds();
    assert_eq!(import(&host, csv).expect(200)["imported"], 2);
    assert_eq!(titles(&host, ""), ["Call Grace", "Call Alan"]);
    let bad = import(&host, "title,due\nGood,2026-12-02\n,someday\n");
    bad.refuses(
        422,
        "tasks:import-invalid",
        "nothing was imported; line 3: `title` must not be empty; line 3: `due` must be a day of the calendar as \
         YYYY-MM-DD",
    );
    assert_eq!(titles(&host, "").len(), 2);
    host.tenon(&["flags", "unset", "acme", "bulk-import"]).succeeds();
    import(&host, csv).refuses(403, "FEATURE_NOT_ENABLED", "Feature bulk-import is not enabled");
}

#[test]
fn a_report_needs_its_flag_and_counts_by_status_and_week() {
    let host = start();
    make(&host, json!({"title": "Paint", "due": "2026-12-03"}));
    make(&host, json!({"title": "Write", "due": "2026-12-01", "status": "done"}));
    make(&host, json!({"title": "Read"}));
    let refused = host.get("acme", REPORT);
    refused.refuses(403, "FEATURE_NOT_ENABLED", "Feature advanced-reporting is not enabled");
    host.tenon(&["flags", "set", "acme", "advanced-reporting=true"]).succeeds();
    assert_eq!(
        host.get("acme", REPORT).expect(200),
        json!({
            "total": 3,
            "by_status": {"open": 2, "in-progress": 0, "done": 1, "cancelled": 0},
            "by_week": {"2026-W49": {"open": 1, "done": 1}, "no-due": {"open": 1}},
        })
    );
    host.tenon(&["flags", "set", "acme", "quick-add=false"]).succeeds();
    let refused = host.of("acme", "POST", ITEMS).json(&json!({"title": "Late"})).send();
    refused.refuses(403, "FEATURE_NOT_ENABLED", "Feature quick-add is not enabled");
}
