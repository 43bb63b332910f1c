//! The core story, first half: departments and employees of a tenant, over HTTP from the embedded store.

use serde_json::{Value, json};

use crate::harness::{Answer, Host, Setup};

const DEPARTMENTS: &str = "/api/v1/hr/departments";
const EMPLOYEES: &str = "/api/v1/hr/employees";

fn start() -> Host {
    let host = Setup::with(&["hr-core"]).start();
    host.tenant("acme", &["hr-core"]);
    host
}

fn post(host: &Host, tenant: &str, path: &str, body: Value) -> Answer {
    host.of(tenant, "POST", path).json(&body).send()
}

fn employ(host: &Host, tenant: &str, name: &str, email: &str) -> Value {
    post(host, tenant, EMPLOYEES, json!({ "name": name, "email": email })).expect(201)
}

/// The names on a page, and the cursor of the next one.
fn page(host: &Host, path: &str) -> (Vec<String>, Option<String>) {
    let page = host.get("acme", path).expect(200);
    let names = page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
    (names.collect(), page["next"].as_str().map(str::to_owned))
}

#[test]
fn an_employee_is_made_shown_changed_and_deleted() {
    let host = start();
    let made = post(&host, "acme", DEPARTMENTS, json!({"name": "Sales"}));
    let department = made.expect(201);
    let id = department["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("{DEPARTMENTS}/{id}"));

    let body = json!({"name": "Ada Lovelace", "email": "ada@example.com", "department": id});
    let made = post(&host, "acme", EMPLOYEES, body);
    let employee = made.expect(201);
    let place = format!("{EMPLOYEES}/{}", employee["id"].as_str().unwrap());
    assert_eq!(made.header("location"), place);
    assert_eq!(host.get("acme", &place).expect(200), employee);

    let refused = host.of("acme", "DELETE", &format!("{DEPARTMENTS}/{id}")).send();
    let text = "the department has employees; move them to another one first";
    refused.refuses(409, "hr-core:department-not-empty", text);

    let body = json!({"name": "Ada King", "email": "ada@example.com"});
    let changed = host.of("acme", "PUT", &place).header("if-match", made.header("etag")).json(&body).send();
    let changed_body = changed.expect(200);
    assert_eq!((&changed_body["name"], &changed_body["department"]), (&json!("Ada King"), &Value::Null));
    let stale = host.of("acme", "PUT", &place).header("if-match", made.header("etag")).json(&body).send();
    assert_eq!((stale.status, &stale.json()["code"]), (412, &json!("hr-core:revision-mismatch")));

    assert_eq!(host.of("acme", "DELETE", &place).send().status, 204);
    assert_eq!(host.get("acme", &place).json()["code"], "hr-core:employee-not-found");
    assert_eq!(host.of("acme", "DELETE", &format!("{DEPARTMENTS}/{id}")).send().status, 204);
    host.stop();
}

#[test]
fn employees_are_paged_and_found_by_name_and_email() {
    let host = start();
    for name in ["Ada Lovelace", "Alan Turing", "Grace Hopper", "Barbara Liskov", "Edsger Dijkstra"] {
        let email = format!("{}@example.com", name.split(' ').next().unwrap().to_lowercase());
        employ(&host, "acme", name, &email);
    }
    let (mut all, mut next) = page(&host, &format!("{EMPLOYEES}?limit=2"));
    while let Some(cursor) = next {
        let (more, after) = page(&host, &format!("{EMPLOYEES}?limit=2&cursor={cursor}"));
        assert!(more.len() <= 2);
        all.extend(more);
        next = after;
    }
    assert_eq!(all, ["Ada Lovelace", "Alan Turing", "Barbara Liskov", "Edsger Dijkstra", "Grace Hopper"]);

    assert_eq!(page(&host, &format!("{EMPLOYEES}?name=a")).0, ["Ada Lovelace", "Alan Turing"]);
    assert_eq!(page(&host, &format!("{EMPLOYEES}?name=HOPPER")).0, ["Grace Hopper"]);
    assert_eq!(page(&host, &format!("{EMPLOYEES}?email=Barbara@example.com")).0, ["Barbara Liskov"]);
    assert!(page(&host, &format!("{EMPLOYEES}?email=nobody")).0.is_empty());
    let refused = host.get("acme", &format!("{EMPLOYEES}?nmae=a"));
    let text = "`nmae` is not a parameter here; known are: name, email, department, limit, cursor";
    refused.refuses(400, "REQUEST_INVALID", text);
}

#[test]
fn an_email_address_belongs_to_one_employee_of_a_tenant() {
    let host = start();
    host.tenant("other", &["hr-core"]);
    employ(&host, "acme", "Ada Lovelace", "ada@example.com");
    let second = post(&host, "acme", EMPLOYEES, json!({"name": "Ada Two", "email": "ADA@example.com"}));
    let text = "another employee has the e-mail address ADA@example.com";
    second.refuses(409, "hr-core:email-taken", text);
    employ(&host, "other", "Ada Lovelace", "ada@example.com");
}

#[test]
fn tenants_never_see_each_others_data() {
    let host = start();
    host.tenant("other", &["hr-core"]);
    let ada = employ(&host, "acme", "Ada Lovelace", "ada@example.com");
    let alan = employ(&host, "other", "Alan Turing", "alan@example.com");
    let names = |tenant: &str| {
        let page = host.get(tenant, EMPLOYEES).expect(200);
        page["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((names("acme"), names("other")), (vec![json!("Ada Lovelace")], vec![json!("Alan Turing")]));
    for (tenant, foreign) in [("other", &ada), ("acme", &alan)] {
        let place = format!("{EMPLOYEES}/{}", foreign["id"].as_str().unwrap());
        let body = json!({"name": "Stolen", "email": "stolen@example.com"});
        for method in ["GET", "DELETE"] {
            assert_eq!(host.of(tenant, method, &place).send().json()["code"], "hr-core:employee-not-found");
        }
        let put = host.of(tenant, "PUT", &place).json(&body).send();
        assert_eq!(put.json()["code"], "hr-core:employee-not-found");
    }
    assert_eq!(names("acme"), [json!("Ada Lovelace")]);
}

#[test]
fn what_is_stored_outlives_the_host() {
    let host = start();
    let ada = employ(&host, "acme", "Ada Lovelace", "ada@example.com");
    let host = host.stop().start();
    let place = format!("{EMPLOYEES}/{}", ada["id"].as_str().unwrap());
    assert_eq!(host.get("acme", &place).expect(200), ada);
}

#[test]
fn only_certain_roles_may_write() {
    let host = start();
    let as_member = |method: &str| host.ask(method, EMPLOYEES).header("x-tenant-id", "acme").by("eve", "Member");
    assert_eq!(as_member("GET").send().status, 200);
    let body = json!({"name": "Eve", "email": "eve@example.com"});
    let refused = as_member("POST").json(&body).send();
    refused.refuses(403, "FORBIDDEN", "One of these roles is required: Admin, HR");
    let nobody = host.ask("GET", EMPLOYEES).header("x-tenant-id", "acme").send();
    nobody.refuses(401, "UNAUTHENTICATED", "A token is required");
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
}
