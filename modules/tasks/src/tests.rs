//! What a client of tasks sees, from request to answer.

use std::time::Duration;

use module_api::testing::{CalledRequest, TestAnswer, TestHost, Value, conformance, json};

use crate::Tasks;

fn host() -> TestHost<Tasks> {
    TestHost::new().user("ada").role("Member").module("hr-core", hr_core)
}

/// hr-core with two employees.
fn hr_core(asked: &CalledRequest) -> TestAnswer {
    let bo = json!({"id": "e1", "name": "Bo Ek", "email": "Bo@x.org"});
    let eve = json!({"id": "e2", "name": "Eve", "email": "eve@x.org"});
    match (asked.path.as_str(), asked.query.as_str()) {
        ("/employees/e1", _) => TestAnswer::json(&bo),
        ("/employees/e2", _) => TestAnswer::json(&eve),
        ("/employees", "limit=1&email=bo%40x%2Eorg") => TestAnswer::json(&json!({"items": [bo], "next": null})),
        // What begins so is found too.
        ("/employees", "limit=1&email=eve%40x") => TestAnswer::json(&json!({"items": [eve], "next": null})),
        ("/employees", _) => TestAnswer::json(&json!({"items": [], "next": null})),
        _ => TestAnswer::refusal(404, "hr-core:employee-not-found"),
    }
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
        host.post("/items", &json!({"title": title, "due": due, "assignee": "e1"})).expect(201);
    }
    let first: Value = host.get("/items?assignee=bo@x.org&due_before=2026-12-01&limit=2").expect(200).json();
    assert_eq!(titles(&first), ["a", "b"]);
    let next = first["next"].as_str().unwrap();
    let path = format!("/items?assignee=bo@x.org&due_before=2026-12-01&limit=2&cursor={next}");
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

#[test]
fn an_assignee_is_an_employee_in_the_callers_eyes() {
    let host = host();
    let made: Value = host.post("/items", &json!({"title": "Paint", "assignee": "bo@x.org"})).expect(201).json();
    assert_eq!((&made["assignee"], &made["assignee_name"]), (&json!("e1"), &json!("Bo Ek")));
    let call = host.calls().remove(0);
    assert_eq!((call.user.as_deref(), call.as_module), (Some("ada"), false));

    for nobody in ["e9", "eve@x", "nobody@x.org", "../e1"] {
        let refused = host.post("/items", &json!({"title": "Sell", "assignee": nobody}));
        assert_eq!((refused.status, refused.code()), (422, "tasks:assignee-unknown"), "{nobody}");
        assert!(refused.text().contains(&format!("there is no employee {nobody}")), "{refused}");
    }
    assert_eq!(host.stored("Task").len(), 1);
    assert_eq!(host.stored("Counter")[0].2["last"], 1, "a refused task takes no number");
}

#[test]
fn without_an_answer_of_hr_core_nothing_is_assigned_and_all_else_goes_on() {
    let host = host();
    let answers: [fn() -> TestAnswer; 4] = [
        TestAnswer::unreachable,
        TestAnswer::timeout,
        || TestAnswer::refusal(403, "FORBIDDEN"),
        || TestAnswer::refusal(404, "ROUTE_NOT_FOUND"),
    ];
    for answer in answers {
        host.set_module("hr-core", move |_| answer());
        let refused = host.post("/items", &json!({"title": "Paint", "assignee": "e1"}));
        assert_eq!((refused.status, refused.code()), (424, "tasks:assignee-unchecked"));
        assert_eq!(host.get("/items?assignee=e1").code(), "tasks:assignee-unchecked");
    }
    host.post("/items", &json!({"title": "Paint"})).expect(201);
    host.get("/items").expect(200);
}

#[test]
fn an_import_looks_everybody_up_once() {
    let host = host().flag("bulk-import", true);
    let import = |rows: &str| host.request("POST", "/items/import").body(rows).send();
    let refused = import("title,assignee\nA,e9\nB,e1\nC,\nD,e9\n");
    assert_eq!(refused.code(), "tasks:assignee-unknown");
    assert!(refused.text().contains("line 2: there is no employee e9; line 5: there is no employee e9"), "{refused}");
    assert_eq!(host.calls().len(), 2);
    assert!(host.stored("Task").is_empty());
    import("title,assignee\nA,e1\nB,bo@x.org\nC,e1\n").expect(200);
    assert_eq!(host.calls().len(), 4);
    assert!(host.stored("Task").iter().all(|(_, _, task)| task["assignee"] == "e1"));
}

#[test]
fn tasks_of_version_1_0_are_found_kept_and_given_the_id() {
    let host = host();
    for (id, number, assignee) in [("t1", 1, "bo@x.org"), ("t2", 2, "somebody")] {
        let old = json!({
            "number": number, "title": id, "status": "open", "assignee": assignee, "created_at": 0, "updated_at": 0,
        });
        host.store("Task", id, &old);
    }
    // Sent back as it is, even nobody is no mistake.
    let kept = host.put("/items/t2", &json!({"title": "renamed", "assignee": "somebody"})).expect(200);
    assert_eq!(kept.json::<Value>()["assignee"], "somebody");
    assert_eq!(titles(&host.get("/items?assignee=somebody").json()), ["renamed"]);
    assert_eq!(host.put("/items/t2", &json!({"title": "b", "assignee": "e9"})).code(), "tasks:assignee-unknown");
    assert_eq!(titles(&host.get("/items?assignee=bo@x.org").json()), ["t1"]);
    assert_eq!(titles(&host.get("/items?assignee=e1").json()), ["t1"]);
    assert_eq!(host.get("/items/t1").json::<Value>()["assignee_name"], "Bo Ek");
}

#[test]
fn tasks_of_who_is_gone_are_nobodys() {
    let host = host();
    let gone = json!({"id": "e1", "name": "Bo Ek", "email": "bo@x.org"});
    for number in 0..250 {
        let assignee = match number % 50 {
            0 => "e2",
            1 => "bo@x.org",
            _ => "e1",
        };
        let task = json!({
            "number": 1_000 + number, "title": "t", "status": "open", "assignee": assignee, "created_at": 0, "updated_at": 0,
        });
        host.store("Task", &format!("t{number}"), &task);
    }
    let assigned = || host.stored("Task").into_iter().filter(|(_, _, task)| task["assignee"].is_string()).count();
    host.deliver("hr-core", "employee.deleted", &gone).unwrap();
    assert_eq!(assigned(), 5);
    let before = host.stored("Task");
    host.deliver_again().unwrap();
    assert_eq!(host.stored("Task"), before, "a second time changes nothing");
    // Who looked before she was gone may write after that.
    host.post("/items", &json!({"title": "late", "assignee": "e1"})).expect(201);
    assert_eq!(assigned(), 6);
    host.advance(Duration::from_secs(600));
    assert_eq!((assigned(), host.dead_letters().len()), (5, 0));
}
