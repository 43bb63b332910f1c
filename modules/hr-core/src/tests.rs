//! What a client of hr-core sees, from request to answer.

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
