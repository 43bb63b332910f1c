//! What a client of hr-core sees, from request to answer.

use std::time::Duration;

use module_api::testing::{TestHost, Value, conformance, json};

use crate::HrCore;

fn host() -> TestHost<HrCore> {
    TestHost::new().user("ada").role("HR")
}

/// A department; returns its id.
fn department(host: &TestHost<HrCore>, name: &str) -> String {
    let made: Value = host.post("/departments", &json!({"name": name})).expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn it_conforms() {
    conformance::<HrCore>();
}

#[test]
fn everybody_reads_and_only_hr_writes() {
    let host = host();
    let write = || host.request("POST", "/departments").json(&json!({"name": "Sales"}));
    assert_eq!(write().anonymous().send().code(), "UNAUTHENTICATED");
    assert_eq!(write().user("eve").role("Member").send().code(), "FORBIDDEN");
    write().send().expect(201);
    let seen: Value = host.request("GET", "/departments").user("eve").send().expect(200).json();
    assert_eq!(names(&seen), ["Sales"]);
}

#[test]
fn an_address_belongs_to_one_employee_in_any_case() {
    let host = host();
    let ada = |email: &str| host.post("/employees", &json!({"name": "Ada Lovelace", "email": email}));
    ada("ada@example.com").expect(201);
    let taken = ada("ADA@example.com");
    assert_eq!(taken.status, 409, "{taken}");
    assert!(taken.code().starts_with("hr-core:"), "{}", taken.code());
    assert_eq!(host.stored("Employee").len(), 1);
}

#[test]
fn a_department_with_people_stays() {
    let host = host();
    let sales = department(&host, "Sales");
    let body = json!({"name": "Ada Lovelace", "email": "ada@example.com", "department": sales});
    let made = host.post("/employees", &body).expect(201);
    let refused = host.delete(&format!("/departments/{sales}"));
    assert_eq!((refused.status, refused.code()), (409, "hr-core:department-not-empty"));
    host.delete(made.header("location").unwrap()).expect(204);
    host.delete(&format!("/departments/{sales}")).expect(204);
    let nowhere = host.post("/employees", &body);
    assert_eq!((nowhere.status, nowhere.code()), (422, "hr-core:unknown-department"));
}

#[test]
fn nobody_ends_up_in_a_department_that_is_deleted_at_the_same_time() {
    for late in 0..8 {
        let host = host();
        let sales = department(&host, "Sales");
        let hire = |at: u32| {
            let body = json!({"name": "Ada", "email": format!("ada{at}@example.com"), "department": sales});
            host.request("POST", "/employees").json(&body)
        };
        let fire = || host.request("DELETE", &format!("/departments/{sales}"));
        // The order in which they begin decides who looks first.
        let mut requests: Vec<_> = (0..late).map(hire).collect();
        requests.push(fire());
        requests.extend((late..8).map(hire));
        let answers = host.together(requests);
        assert!(answers.iter().all(|answer| answer.status < 500));
        let is_gone = host.stored("Department").is_empty();
        let hired = host.stored("Employee").len();
        assert!(!is_gone || hired == 0, "{hired} employees are left in a department that is gone");
    }
}

#[test]
fn people_are_found_by_the_beginning_of_first_and_last_name_page_by_page() {
    let host = host();
    for (name, email) in
        [("Leo Ray", "a@x.org"), ("Ann Lee", "b@x.org"), ("Lena Leigh", "c@x.org"), ("Bo Ek", "d@x.org")]
    {
        host.post("/employees", &json!({"name": name, "email": email})).expect(201);
    }
    let mut found = Vec::new();
    let mut path = "/employees?name=le&limit=1".to_owned();
    loop {
        let page: Value = host.get(&path).expect(200).json();
        found.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/employees?name=le&limit=1&cursor={next}");
    }
    assert_eq!(found, ["Lena Leigh", "Leo Ray", "Ann Lee"]);
}

#[test]
fn whoever_is_deleted_is_told_of_once_they_are_gone() {
    let host = host();
    let sales = department(&host, "Sales");
    let body = json!({"name": "Ada Lovelace", "email": "ada@example.com", "department": sales});
    let made = host.post("/employees", &body).expect(201);
    let place = made.header("location").unwrap();
    let stale = host.request("DELETE", place).header("if-match", "\"7\"").send();
    assert_eq!((stale.status, stale.code()), (412, "hr-core:revision-mismatch"));
    assert!(host.published().is_empty(), "nobody is told of what did not happen");

    host.delete(place).expect(204);
    let id = &made.json::<Value>()["id"];
    let told = json!({"id": id, "name": "Ada Lovelace", "email": "ada@example.com"});
    assert_eq!(host.published(), [("employee.deleted".to_owned(), told)]);
    assert!(host.stored("Employee").is_empty());
    assert!(host.wakes().is_empty(), "nothing is left to do");
    assert_eq!(host.delete(place).code(), "hr-core:employee-not-found");
}

#[test]
fn a_deletion_that_is_refused_after_it_began_tells_nobody() {
    let host = host();
    let body = json!({"name": "Ada Lovelace", "email": "ada@example.com"});
    let made = host.post("/employees", &body).expect(201);
    let place = made.header("location").unwrap();
    let rename = host.request("PUT", place).json(&json!({"name": "Ada King", "email": "ada@example.com"}));
    let delete = host.request("DELETE", place).header("if-match", "\"1\"");
    // Both read before either writes.
    let answers = host.together([delete, rename]);
    assert_eq!((answers[0].status, answers[1].status), (412, 200));
    assert_eq!(host.wakes().len(), 1);
    host.advance(Duration::from_secs(60));
    assert!(host.wakes().is_empty() && host.dead_letters().is_empty());
    assert!(host.published().is_empty());
    assert_eq!(host.get(place).json::<Value>()["name"], "Ada King");
}

#[test]
fn who_is_leaving_is_gone_for_everybody() {
    let host = host();
    let left = json!({"name": "Alan", "email": "alan@x.org", "created_at": 0, "updated_at": 0, "leaving": true});
    host.store("Employee", "e1", &left);
    for method in ["GET", "DELETE"] {
        assert_eq!(host.request(method, "/employees/e1").send().code(), "hr-core:employee-not-found");
    }
    let body = json!({"name": "Alan Two", "email": "alan@x.org"});
    assert_eq!(host.put("/employees/e1", &body).code(), "hr-core:employee-not-found");
    assert!(names(&host.get("/employees").json()).is_empty());
    assert!(names(&host.get("/employees?email=alan@x.org").json()).is_empty());
    host.post("/employees", &body).expect(201);
}
