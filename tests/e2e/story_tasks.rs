//! The core story, second half: a module is enabled and disabled, its features are switched, and what depends on
//! what is kept.

use serde_json::{Value, json};

use crate::harness::{Answer, Host, Setup, until};

const ITEMS: &str = "/api/v1/tasks/items";
const IMPORT: &str = "/api/v1/tasks/items/import";
/// What a killed host has begun is done again soon enough for a test.
const QUICK: &str =
    "[limits.modules.hr-core]\ndeadline = \"1s\"\n[deliveries]\nclaim = \"2s\"\nlook-every = \"20ms\"\n";
const EMPLOYEES: &str = "/api/v1/hr/employees";
const REPORT: &str = "/api/v1/tasks/report";

fn start() -> Host {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &["hr-core", "tasks"]);
    host
}

fn make(host: &Host, task: Value) -> Value {
    host.of("acme", "POST", ITEMS).json(&task).send().expect(201)
}

/// A new employee; returns their id.
fn employ(host: &Host, name: &str, email: &str) -> String {
    let made = host.of("acme", "POST", EMPLOYEES).json(&json!({"name": name, "email": email})).send().expect(201);
    made["id"].as_str().unwrap().to_owned()
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
    let ada = employ(&host, "Ada Lovelace", "ada@example.com");
    employ(&host, "Alan Turing", "alan@example.com");
    make(&host, json!({"title": "Paint", "due": "2026-12-03", "assignee": "Ada@example.com"}));
    make(&host, json!({"title": "Write", "due": "2026-12-01", "status": "done"}));
    make(&host, json!({"title": "Read", "assignee": "alan@example.com", "status": "in-progress"}));
    make(&host, json!({"title": "Sleep", "due": "2026-11-30", "assignee": ada}));
    assert_eq!(titles(&host, ""), ["Paint", "Write", "Read", "Sleep"]);
    assert_eq!(titles(&host, "order=-created"), ["Sleep", "Read", "Write", "Paint"]);
    assert_eq!(titles(&host, "assignee=ada@example.com"), ["Paint", "Sleep"]);
    assert_eq!(titles(&host, &format!("assignee={ada}")), ["Paint", "Sleep"]);
    assert!(titles(&host, "assignee=nobody@example.com").is_empty());
    assert_eq!(titles(&host, "status=done"), ["Write"]);
    assert_eq!(titles(&host, "due_from=2026-12-01&due_before=2026-12-04"), ["Write", "Paint"]);
    assert_eq!(titles(&host, "order=due&assignee=ada@example.com"), ["Sleep", "Paint"]);
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
fn only_an_employee_can_be_asked_to_do_something() {
    let host = start();
    let ada = employ(&host, "Ada Lovelace", "ada@example.com");
    let made = make(&host, json!({"title": "Paint", "assignee": "ADA@example.com"}));
    assert_eq!((&made["assignee"], &made["assignee_name"]), (&json!(ada), &json!("Ada Lovelace")));
    for (nobody, shown) in [("bob", "bob"), ("ada@example.co", "ada@example.co"), (" a/b?c%2F ", "a/b?c%2F")] {
        let refused = host.of("acme", "POST", ITEMS).json(&json!({"title": "Sell", "assignee": nobody})).send();
        refused.refuses(422, "tasks:assignee-unknown", &format!("there is no employee {shown}"));
    }
    let place = format!("{ITEMS}/{}", made["id"].as_str().unwrap());
    let put = |body: Value| host.of("acme", "PUT", &place).json(&body).send();
    put(json!({"title": "Paint", "assignee": "bob"})).refuses(
        422,
        "tasks:assignee-unknown",
        "there is no employee bob",
    );
    assert_eq!(put(json!({"title": "Paint", "assignee": ada})).expect(200)["assignee_name"], "Ada Lovelace");
    assert_eq!(put(json!({"title": "Paint"})).expect(200)["assignee"], Value::Null);

    host.tenon(&["flags", "set", "acme", "bulk-import=true"]).succeeds();
    let refused = import(&host, "title,assignee\nA,bob\nB,ada@example.com\nC,\nD,bob\nE,eve\n");
    let text = "nothing was imported; line 2: there is no employee bob; line 5: there is no employee bob; \
                line 6: there is no employee eve";
    refused.refuses(422, "tasks:assignee-unknown", text);
    assert_eq!(titles(&host, "").len(), 1);
    assert_eq!(import(&host, &format!("title,assignee\nA,{ada}\nB,ada@example.com\n")).expect(200)["imported"], 2);
    assert_eq!(titles(&host, "assignee=ada@example.com"), ["A", "B"]);
    host.stop();
}

#[test]
fn nothing_is_asked_of_an_employee_who_is_gone() {
    // More than the store gives on one page.
    const TASKS: usize = 230;
    let host = start();
    let ada = employ(&host, "Ada Lovelace", "ada@example.com");
    let alan = employ(&host, "Alan Turing", "alan@example.com");
    host.tenon(&["flags", "set", "acme", "bulk-import=true"]).succeeds();
    let rows = "Paint,ada@example.com\n".repeat(TASKS);
    import(&host, &format!("title,assignee\n{rows}Write,{alan}\n")).expect(200);
    let place = format!("{EMPLOYEES}/{ada}");
    let stale = host.of("acme", "DELETE", &place).header("if-match", "\"7\"").send();
    assert_eq!(stale.json()["code"], "hr-core:revision-mismatch");
    assert_eq!(host.of("acme", "DELETE", &place).send().status, 204);
    assert_eq!(host.of("acme", "DELETE", &place).send().json()["code"], "hr-core:employee-not-found");
    until("all tasks are taken from her", || titles(&host, &format!("assignee={ada}&limit=1")).is_empty());
    assert_eq!(titles(&host, &format!("assignee={alan}")), ["Write"]);
    let first = host.get("acme", &format!("{ITEMS}?limit=1")).expect(200);
    assert_eq!((&first["items"][0]["title"], &first["items"][0]["assignee"]), (&json!("Paint"), &Value::Null));
    // Her address is free again, and what is new is not taken from whoever has it now.
    let second = employ(&host, "Ada Two", "ada@example.com");
    let made = make(&host, json!({"title": "Sell", "assignee": "ada@example.com"}));
    assert_eq!(made["assignee"], json!(second));
    assert_eq!(titles(&host, "assignee=ada@example.com"), ["Sell"]);
    host.stop();
}

#[test]
fn an_employee_is_gone_everywhere_even_if_the_host_is_killed_meanwhile() {
    let mut host = Setup::with(&["hr-core", "tasks"]).config(QUICK).start();
    host.tenant("acme", &["hr-core", "tasks"]);
    for round in 0..10 {
        let email = format!("ada{round}@example.com");
        let ada = employ(&host, "Ada Lovelace", &email);
        make(&host, json!({"title": "Paint", "assignee": email}));
        let (ask, place) = (host.of("acme", "DELETE", &format!("{EMPLOYEES}/{ada}")), format!("{EMPLOYEES}/{ada}"));
        let asked = std::thread::spawn(move || ask.try_send());
        // Somewhere between the first write and the last; later in each round.
        let begun = std::time::Instant::now();
        until("a moment has passed", || begun.elapsed() > std::time::Duration::from_micros(round * 700));
        host = host.killed_and_started();
        drop(asked.join().expect("the request ends"));
        if host.get("acme", &place).status == 404 {
            until("her task is nobody's", || titles(&host, &format!("assignee={ada}")).is_empty());
        } else {
            assert_eq!(titles(&host, &format!("assignee={ada}")), ["Paint"], "she stays");
        }
    }
    host.stop();
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
