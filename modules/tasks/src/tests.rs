//! What a client of tasks sees, from request to answer.

use module_api::testing::{TestHost, Value, conformance, json};

use crate::Tasks;

fn host() -> TestHost<Tasks> {
    TestHost::new().user("ada").role("Member")
}

fn titles(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

#[test]
fn it_conforms() {
    conformance::<Tasks>();
}

#[test]
fn a_task_is_made_shown_changed_and_deleted() {
    let host = host();
    let made = host.post("/items", &json!({"title": "Paint", "due": "2026-11-30"})).expect(201);
    let task: Value = made.json();
    assert_eq!((&task["number"], &task["status"], &task["created_by"]), (&json!(1), &json!("open"), &json!("ada")));
    assert_eq!(task["created_at"], "2026-01-01T00:00:00.000Z");
    let place = made.header("location").unwrap();
    assert_eq!(host.get(place).expect(200).json::<Value>(), task);

    let done = host.put(place, &json!({"title": "Paint", "status": "done"})).expect(200);
    assert_eq!((&done.json::<Value>()["status"], done.header("etag")), (&json!("done"), Some("\"2\"")));
    host.delete(place).expect(204);
    let gone = host.get(place);
    assert_eq!((gone.status, gone.code()), (404, "tasks:task-not-found"));
}

#[test]
fn whoever_read_an_older_revision_changes_nothing() {
    let host = host();
    let made = host.post("/items", &json!({"title": "Paint"})).expect(201);
    let place = made.header("location").unwrap();
    host.put(place, &json!({"title": "Paint it"})).expect(200);
    let late = host.request("PUT", place).header("if-match", "\"1\"").json(&json!({"title": "Sell it"})).send();
    assert_eq!(late.status, 412, "{late}");
    assert_eq!(host.get(place).json::<Value>()["title"], "Paint it");
}

#[test]
fn tasks_made_at_once_get_numbers_of_their_own() {
    let host = host();
    let requests = (0..10).map(|at| host.request("POST", "/items").json(&json!({"title": format!("Task {at}")})));
    let answers = host.together(requests);
    let mut numbers: Vec<u64> =
        answers.into_iter().map(|answer| answer.expect(201).json::<Value>()["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_listing_is_filtered_and_paged_in_its_order() {
    let host = host();
    for (title, due) in [("b", "2026-11-02"), ("c", "2026-11-03"), ("a", "2026-11-01"), ("z", "2026-12-01")] {
        host.post("/items", &json!({"title": title, "due": due, "assignee": "bo"})).expect(201);
    }
    let first: Value = host.get("/items?assignee=bo&due_before=2026-12-01&limit=2").expect(200).json();
    assert_eq!(titles(&first), ["a", "b"]);
    let next = first["next"].as_str().unwrap();
    let path = format!("/items?assignee=bo&due_before=2026-12-01&limit=2&cursor={next}");
    let second: Value = host.get(&path).expect(200).json();
    assert_eq!((titles(&second), &second["next"]), (vec!["c"], &Value::Null));
    let foreign = host.get(&format!("/items?cursor={next}"));
    assert_eq!((foreign.status, foreign.code()), (400, "REQUEST_INVALID"));
}

#[test]
fn an_import_needs_the_feature_and_a_role_and_takes_all_or_nothing() {
    let host = host();
    let import = |rows: &str| host.request("POST", "/items/import").body(rows);
    assert_eq!(import("title\nPaint\n").send().code(), "FEATURE_NOT_ENABLED");
    host.set_flag("bulk-import", true);
    assert_eq!(import("title\nPaint\n").user("eve").send().code(), "FORBIDDEN");
    let refused = import("title,due\nPaint,2026-11-01\nSell,soon\n").send();
    assert_eq!((refused.status, refused.code()), (422, "tasks:import-invalid"));
    assert!(host.stored("Task").is_empty());
    let imported = import("title,due\nPaint,2026-11-01\nSell,\n").send().expect(200);
    assert_eq!(imported.json::<Value>()["imported"], 2);
    assert_eq!(host.stored("Task").len(), 2);
}
