//! Calls between modules on the host of tests: what the module under test sees of others, and they of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use module_api::{
    ModuleCall,
    prelude::*,
    testing::{CalledRequest, TestAnswer, TestHost, Value, json},
};

const MANIFEST: &str = r#"
name = "asker"
provides-to = ["clinic", "portal"]
[dependencies]
hr-core = "^1"
mail = { version = "^1", optional = true }
[routes]
base = "/asker"
[[routes.endpoints]]
path = "/ask/{module}/{how}"
method = "POST"
auth = false
[[routes.endpoints]]
path = "/who"
method = "GET"
[[routes.endpoints]]
path = "/clinic"
method = "GET"
roles = ["Admin", "module:clinic"]
"#;

/// A request that its module still has when another one is asked.
static KEPT: Mutex<Option<Request>> = Mutex::new(None);

struct Asker {
    tenant: Tenant,
}

impl Module for Asker {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.post("/ask/{module}/{how}", Self::ask).get("/who", Self::who).get("/clinic", Self::who);
    }
}

impl Asker {
    /// Asks for what the query names.
    async fn ask(&self, request: Request) -> Result<Response> {
        let path = request.query("path").unwrap_or("/things/7?x=1".into()).into_owned();
        let module = request.param("module");
        let kept = KEPT.lock().unwrap().take_if(|_| request.param("how") == "kept");
        let call: ModuleCall<'_> = match request.param("how") {
            "module" => self.tenant.call_as_module(module),
            _ => self.tenant.call(kept.as_ref().unwrap_or(&request), module),
        };
        let call = call.header("X-One", "1").header("authorization", "Bearer x").header("x-forwarded-for", "y");
        Ok(match call.post(&path, &json!({"n": 1})).await {
            Ok(None) => Response::text("absent"),
            Ok(Some(answer)) => Response::json(&json!({
                "status": answer.status(),
                "code": answer.code(),
                "etag": answer.header("etag"),
                "body": answer.json::<Value>().unwrap_or_default(),
            }))?,
            Err(error) => Response::text(format!("{error:?}")),
        })
    }

    async fn who(&self, request: Request) -> Result<Response> {
        let who = json!([request.user(), request.roles().collect::<Vec<_>>()]);
        if request.query("keep").is_some() {
            *KEPT.lock().unwrap() = Some(request);
        }
        Response::json(&who)
    }
}

fn host() -> TestHost<Asker> {
    TestHost::with_manifest(MANIFEST).user("ada").role("Member")
}

fn echo(request: &CalledRequest) -> TestAnswer {
    match request.line().as_str() {
        "POST /things/7" => TestAnswer::json(&request.json::<Value>()).with_status(201).with_header("ETag", "1"),
        "POST /late" => TestAnswer::timeout(),
        "POST /gone" => TestAnswer::unreachable(),
        _ => TestAnswer::refusal(404, "hr-core:nothing"),
    }
}

#[test]
fn a_dependency_sees_who_asks_and_its_answer_comes_back() {
    let host = host().module("hr-core", echo);
    let answer = host.request("POST", "/ask/hr-core/user").send().expect(200);
    assert_eq!(answer.json::<Value>(), json!({"status": 201, "code": null, "etag": "1", "body": {"n": 1}}));
    let own = host.request("POST", "/ask/hr-core/module").send().expect(200);
    host.request("POST", "/ask/hr-core/user").anonymous().send().expect(200);

    let calls = host.calls();
    let [users, modules, nobodys] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((users.path.as_str(), users.query.as_str(), users.header("x-one")), ("/things/7", "x=1", Some("1")));
    assert_eq!((users.header("authorization"), users.header("x-forwarded-for")), (None, None));
    assert_eq!(
        (users.user.as_deref(), users.roles.as_slice(), users.as_module),
        (Some("ada"), &["Member".into()][..], false)
    );
    assert_eq!(Some(users.id.as_str()), answer.header("x-request-id"));
    assert_eq!((modules.user.as_deref(), modules.roles.as_slice()), (None, &["module:asker".into()][..]));
    assert_eq!((modules.as_module, Some(modules.id.as_str())), (true, own.header("x-request-id")));
    assert_eq!((nobodys.user.as_deref(), nobodys.roles.len(), nobodys.as_module), (None, 0, false));
}

#[test]
fn refusals_and_silence_are_answers_too() {
    let host = host().module("hr-core", echo);
    let asked = |path: &str| host.request("POST", &format!("/ask/hr-core/user?path={path}")).send().text();
    let refused: Value = serde_json::from_str(&asked("/nowhere")).unwrap();
    assert_eq!((&refused["status"], &refused["code"]), (&json!(404), &json!("hr-core:nothing")));
    assert_eq!(asked("/late"), "Timeout(\"module `hr-core` did not answer in time\")");
    assert_eq!(asked("/gone"), "Unreachable(\"module `hr-core` can't be reached\")");
    assert_eq!(asked("things"), "Misuse(\"the path `things` does not begin with `/`\")");
}

#[test]
fn who_is_absent_undeclared_or_missing_is_told_apart() {
    let host = host();
    let asked = |module: &str| host.request("POST", &format!("/ask/{module}/module")).send().text();
    assert_eq!(asked("mail"), "absent");
    assert_eq!(asked("stranger"), "Misuse(\"module `stranger` is not among the dependencies\")");
    assert!(asked("hr-core").starts_with("Unreachable(\"module `hr-core` does not run"), "{}", asked("hr-core"));
    host.set_module("mail", |_| TestAnswer::status(204));
    assert!(asked("mail").contains("204"));
    host.remove_module("mail");
    assert_eq!(asked("mail"), "absent");
}

#[test]
#[should_panic(expected = "module.toml does not name `stranger` under [dependencies]")]
fn a_module_that_is_no_dependency_can_t_be_given() {
    host().set_module("stranger", |_| TestAnswer::status(204));
}

#[test]
fn another_module_asks_with_its_role_and_without_a_user() {
    let host = host();
    let clinic = host.request("GET", "/clinic").as_module("clinic").send().expect(200);
    assert_eq!(clinic.json::<Value>(), json!([null, ["module:clinic"]]));
    host.request("GET", "/who").as_module("portal").role("Admin").send().expect(200);
    assert_eq!(host.request("GET", "/clinic").as_module("portal").role("Admin").send().code(), "FORBIDDEN");
    assert_eq!(host.request("GET", "/clinic").role("module:clinic").send().code(), "FORBIDDEN");
}

#[test]
#[should_panic(expected = "module.toml does not name `stranger` under `provides-to`")]
fn a_module_that_may_not_depend_on_this_one_can_t_ask() {
    let _ = host().request("GET", "/who").as_module("stranger");
}

#[test]
fn an_assertion_in_an_answer_fails_the_test_and_nothing_else() {
    let host = host().module("hr-core", |request| panic!("did not expect {}", request.line()));
    let asked = std::panic::AssertUnwindSafe(|| host.request("POST", "/ask/hr-core/user").send());
    let caught = std::panic::catch_unwind(asked).unwrap_err();
    assert_eq!(caught.downcast_ref::<String>().unwrap(), "did not expect POST /things/7");
    host.get("/who").expect(200);
    assert!(host.task_failures().is_empty());
}

#[test]
fn the_other_module_may_be_under_test_too() {
    struct Other;
    impl Module for Other {
        async fn initialize(_: Tenant) -> Result<Self> {
            Ok(Self)
        }
        fn routes(routes: &mut Routes<Self>) {
            routes.post("/things/7", async |_: &Self, request: Request| {
                Response::text(request.user().unwrap_or("nobody"))
            });
        }
    }
    let manifest =
        "name = 'hr-core'\n[routes]\nbase = '/hr'\n[[routes.endpoints]]\npath = '/things/7'\nmethod = 'POST'";
    let other = Arc::new(TestHost::<Other>::with_manifest(manifest));
    let asked = Arc::clone(&other);
    let host = host().module("hr-core", move |request| {
        let answer = asked.request(&request.method, &request.path).user(request.user.as_deref().unwrap()).send();
        TestAnswer::status(answer.status).with_body(format!("{:?}", answer.text()))
    });
    let answers = host.together((0..3).map(|_| host.request("POST", "/ask/hr-core/user")));
    for answer in answers {
        assert_eq!(answer.expect(200).json::<Value>()["body"], "ada");
    }
    drop(other);
}

#[test]
fn a_request_to_another_instance_is_nobody_s_to_ask_with() {
    let (first, second) = (host(), host().module("hr-core", echo));
    first.get("/who?keep=1").expect(200);
    let refused = second.request("POST", "/ask/hr-core/kept").send().text();
    assert_eq!(refused, "Misuse(\"the request was not made to this instance\")");
}
