//! The host of tests against one module that does a bit of everything: what a client sees here is what it would see
//! through a real host.

use std::time::{Duration, SystemTime};

use module_api::{
    prelude::*,
    testing::{TestHost, Value, conformance_of, json},
};
use serde::{Deserialize, Serialize};

const MANIFEST: &str = r#"
name = "probe"
host-api = "^1"
[features]
lit = true
unlit = false
level = 3
[models.Item]
unique = ["email"]
index = ["age", "name"]
[routes]
base = "/api/probe"
[[routes.endpoints]]
path = "/echo/{name}"
method = "POST"
[[routes.endpoints]]
path = "/open"
method = "GET"
auth = false
[[routes.endpoints]]
path = "/admin"
method = "GET"
roles = ["Admin", "Owner"]
[[routes.endpoints]]
path = "/unlit"
method = "GET"
feature = "unlit"
[[routes.endpoints]]
path = "/fail/{how}"
method = "GET"
[[routes.endpoints]]
path = "/count"
method = "POST"
[[routes.endpoints]]
path = "/nap/{seconds}"
method = "GET"
[[routes.endpoints]]
path = "/later/{seconds}"
method = "POST"
[[routes.endpoints]]
path = "/blocking"
method = "GET"
[[routes.endpoints]]
path = "/stream"
method = "GET"
[[routes.endpoints]]
path = "/settings"
method = "GET"
"#;

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    count: u64,
}

struct Probe {
    tenant: Tenant,
    items: Collection<Item>,
}

impl Module for Probe {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        let settings: Value = tenant.settings()?;
        if settings["refuse"] == true {
            return Err(Error::internal("told to refuse"));
        }
        Ok(Self { items: tenant.collection("Item")?, tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .post("/echo/{name}", Self::echo)
            .get("/open", Self::open)
            .get("/admin", Self::open)
            .get("/unlit", Self::open)
            .get("/fail/{how}", Self::fail)
            .post("/count", Self::count)
            .get("/nap/{seconds}", Self::nap)
            .post("/later/{seconds}", Self::later)
            .get("/blocking", Self::blocking)
            .get("/stream", Self::stream)
            .get("/settings", Self::settings);
    }
}

impl Probe {
    async fn echo(&self, request: Request) -> Result<Response> {
        Response::created(
            "/somewhere",
            &json!({
                "tenant": self.tenant.id(),
                "user": request.user(),
                "roles": request.roles().collect::<Vec<_>>(),
                "name": request.param("name"),
                "missing": request.param("other"),
                "q": request.query("q"),
                "path": request.path(),
                "header": request.header("x-one"),
                "body": request.json::<Value>()?,
                "left": request.deadline_millis() - self.tenant.now_millis(),
            }),
        )
    }

    async fn open(&self, request: Request) -> Response {
        Response::text(request.user().unwrap_or("nobody")).with_header("Connection", "close").with_header("x-a", "1")
    }

    async fn fail(&self, request: Request) -> Result<Response> {
        match request.param("how") {
            "fault" => Err(Fault::conflict("overlap", "the slot is taken").into()),
            "invalid" => Err(Error::invalid("`name` is required")),
            "panic" => panic!("on purpose"),
            "undeclared" => {
                Ok(self.tenant.collection::<Item>("Other")?.get("1").await.map(|_| Response::no_content())?)
            }
            other => Err(Error::internal(format!("secret {other}"))),
        }
    }

    async fn count(&self) -> Result<Response> {
        loop {
            let outcome = match self.items.get("counter").await? {
                None => self.items.insert("counter", &Item { count: 1 }).await,
                Some(found) => self.items.put("counter", &Item { count: found.value.count + 1 }, found.revision).await,
            };
            match outcome {
                Ok(revision) => return Response::json(&revision),
                Err(StoreError::Revision | StoreError::Exists) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    async fn nap(&self, request: Request) -> Result<Response> {
        self.tenant.sleep(Duration::from_secs(request.param("seconds").parse().map_err(Error::from)?)).await;
        Response::json(&self.tenant.now_millis())
    }

    async fn later(&self, request: Request) -> Result<Response> {
        let seconds = request.param("seconds").parse().map_err(Error::from)?;
        let (tenant, items) = (self.tenant.clone(), self.items.clone());
        self.tenant.spawn(async move {
            tenant.sleep(Duration::from_secs(seconds)).await;
            assert!(seconds != 13, "thirteen seconds");
            let _ = items.insert(&tenant.random_id(), &Item { count: seconds }).await;
        })?;
        Ok(Response::no_content().with_status(202))
    }

    async fn blocking(&self) -> Result<Response> {
        let thread = std::thread::current().id();
        let elsewhere = self.tenant.blocking(move || std::thread::current().id() != thread).await?;
        Response::json(&elsewhere)
    }

    async fn stream(&self) -> Response {
        let pieces = vec![Ok(b"one ".to_vec()), Ok(b"two".to_vec()), Err(Error::internal("broke"))];
        Response::stream(futures_util::stream::iter(pieces))
    }

    async fn settings(&self) -> Result<Response> {
        let settings: Value = self.tenant.settings()?;
        Response::json(&json!([settings, self.tenant.flag("lit"), self.tenant.flag("level"), self.tenant.flag("new")]))
    }
}

fn host() -> TestHost<Probe> {
    TestHost::with_manifest(MANIFEST).user("ada")
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let host = host().tenant("acme").role("Admin");
    let request = host.request("POST", "/echo/a%20b?q=x%2By").header("X-One", "1").role("module:evil");
    let response = request.json(&json!({"n": 1})).send().expect(201);
    assert_eq!(
        response.json::<Value>(),
        json!({
            "tenant": "acme", "user": "ada", "roles": ["Admin"], "name": "a b", "missing": "", "q": "x+y",
            "path": "/api/probe/echo/a%20b", "header": "1", "body": {"n": 1}, "left": 30_000
        })
    );
    assert_eq!(response.header("location"), Some("/somewhere"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("x-request-id").is_some());
    // The full path leads to the same place.
    host.post("/api/probe/echo/x", &json!(null)).expect(201);
}

#[test]
fn guards_refuse_in_the_host_s_order_with_its_codes() {
    let host = TestHost::<Probe>::with_manifest(MANIFEST);
    let outcome = |request: module_api::testing::TestRequest<'_, Probe>| {
        let response = request.send();
        (response.status, response.code().to_owned())
    };
    let get = |path| host.request("GET", path);
    assert_eq!(outcome(get("/nowhere")), (404, "ROUTE_NOT_FOUND".into()));
    assert_eq!(outcome(get("/echo/x")), (405, "METHOD_NOT_ALLOWED".into()));
    assert_eq!(get("/echo/x").send().header("allow"), Some("POST"));
    assert_eq!(outcome(get("/unlit")), (401, "UNAUTHENTICATED".into()));
    assert_eq!(outcome(get("/admin").role("Admin")), (401, "UNAUTHENTICATED".into()));
    assert_eq!(outcome(get("/admin").user("ada").role("Member")), (403, "FORBIDDEN".into()));
    assert_eq!(outcome(get("/admin").user("ada").role("Owner")), (200, String::new()));
    assert_eq!(outcome(get("/unlit").user("ada")), (403, "FEATURE_NOT_ENABLED".into()));
    host.set_flag("unlit", true);
    assert_eq!(outcome(get("/unlit").user("ada")), (200, String::new()));
    assert_eq!(outcome(get("/open").user("ada").body(vec![0; 3 << 20])), (413, "BODY_TOO_LARGE".into()));

    let open = host.get("/open").expect(200);
    assert_eq!((open.text().as_str(), open.header("connection"), open.header("x-a")), ("nobody", None, Some("1")));
    let head = host.request("HEAD", "/open").send().expect(200);
    assert!(head.body.is_empty());
}

#[test]
fn failures_come_out_as_a_client_sees_them_and_the_cause_for_the_log() {
    let host = host();
    let refused = |how: &str| host.get(&format!("/fail/{how}"));
    let fault = refused("fault");
    assert_eq!((fault.status, fault.code(), fault.log()), (409, "probe:overlap", None));
    let body: Value = fault.json();
    assert_eq!((&body["message"], &body["success"]), (&json!("the slot is taken"), &json!(false)));
    assert_eq!((refused("invalid").status, refused("invalid").code()), (400, "REQUEST_INVALID"));
    let internal = refused("thing");
    assert_eq!((internal.status, internal.code(), internal.log()), (500, "INTERNAL", Some("secret thing")));
    assert!(!internal.text().contains("secret"));
    let misuse = refused("undeclared");
    assert_eq!(misuse.log(), Some("model `Other` is not declared in the manifest; declared are: Item"));
    let body_missing = host.request("POST", "/echo/x").send();
    assert_eq!((body_missing.status, body_missing.code()), (400, "REQUEST_INVALID"));
    host.set_store_available(false);
    let away = host.request("POST", "/count").send();
    assert_eq!((away.status, away.code(), away.header("retry-after")), (503, "STORE_UNAVAILABLE", Some("1")));
}

#[test]
fn a_panic_ends_one_request_and_says_where() {
    let host = host();
    let panicked = host.get("/fail/panic");
    assert_eq!((panicked.status, panicked.code()), (500, "MODULE_PANICKED"));
    let log = panicked.log().unwrap();
    assert!(log.contains("tests/test_host.rs:") && log.ends_with(": on purpose"), "{log}");
    host.get("/open").expect(200);
}

#[test]
fn requests_that_run_together_get_in_each_other_s_way() {
    let host = host();
    let answers = host.together((0..20).map(|_| host.request("POST", "/count")));
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(host.stored("Item"), [("counter".to_owned(), 20, json!({"count": 20}))]);
}

#[test]
fn time_passes_only_in_the_test_s_clock() {
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let host = host().time(begin);
    let really = std::time::Instant::now();
    assert_eq!(host.get("/nap/20").expect(200).json::<i64>(), 1_020_000);
    let late = host.get("/nap/31");
    assert_eq!((late.status, late.code()), (504, "MODULE_TIMEOUT"));

    host.request("POST", "/later/3600").send().expect(202);
    host.advance(Duration::from_secs(3599));
    assert!(host.stored("Item").is_empty());
    host.advance(Duration::from_secs(1));
    assert_eq!(host.stored("Item").len(), 1);
    assert!(really.elapsed() < Duration::from_secs(20), "no real time is waited");
}

#[test]
fn a_task_that_panics_is_told_of_and_tasks_end_with_the_instance() {
    let host = host();
    host.request("POST", "/later/13").send().expect(202);
    host.advance(Duration::from_secs(20));
    let failures = host.task_failures();
    assert!(failures.len() == 1 && failures[0].ends_with("thirteen seconds"), "{failures:?}");

    host.request("POST", "/later/5").send().expect(202);
    host.stop().unwrap();
    host.get("/open").expect(200);
    host.advance(Duration::from_secs(10));
    assert!(host.stored("Item").is_empty());
}

#[test]
fn blocking_streams_settings_and_flags() {
    let host = host().settings(json!({"a": 1})).flag("new", true);
    assert!(host.get("/blocking").expect(200).json::<bool>());
    let stream = host.get("/stream").expect(200);
    assert_eq!((stream.text().as_str(), stream.log()), ("one two", Some("a streamed answer failed: broke")));
    assert_eq!(host.get("/settings").json::<Value>(), json!([{"a": 1}, true, false, true]));
    host.set_settings(json!({})).unwrap();
    assert_eq!(host.get("/settings").json::<Value>()[0], json!({}));
}

#[test]
fn what_can_t_start_is_told() {
    let host = host().settings(json!({"refuse": true}));
    assert_eq!(host.start().unwrap_err(), "`initialize` failed: told to refuse");
    let refused = host.get("/open");
    assert_eq!((refused.status, refused.code()), (503, "MODULE_LOAD_FAILED"));
    host.set_settings(json!({})).unwrap();
    host.get("/open").expect(200);

    let other = MANIFEST.replace("\"/open\"", "\"/opened\"");
    let why = TestHost::<Probe>::with_manifest(&other).start().unwrap_err();
    assert!(why.contains("code: GET /admin") && why.contains("GET /opened"), "{why}");
}

#[test]
fn ids_are_of_version_7_and_the_same_in_each_run() {
    let stored = |host: TestHost<Probe>| {
        host.request("POST", "/later/0").send().expect(202);
        host.advance(Duration::ZERO);
        host.stored("Item").remove(0).0
    };
    let id = stored(host());
    assert_eq!(id, stored(host()));
    assert!(id.starts_with("019b76da-a800-7000-8000-"), "{id}");
}

#[test]
#[should_panic(expected = "GET /fail/{how} with made-up parameters and an empty body panicked at")]
fn conformance_names_what_panics() {
    struct Panicky;
    impl Module for Panicky {
        async fn initialize(_: Tenant) -> Result<Self> {
            Ok(Self)
        }
        fn routes(routes: &mut Routes<Self>) {
            routes.get("/fail/{how}", async |_: &Self| -> Response { panic!("always") });
        }
    }
    let manifest = "name = 'x'\n[routes]\nbase = '/x'\n[[routes.endpoints]]\npath = '/fail/{how}'\nmethod = 'GET'";
    conformance_of::<Panicky>(manifest);
}

#[test]
#[should_panic(expected = "`cleanup` failed: panicked at")]
fn conformance_sees_a_cleanup_that_panics() {
    struct Untidy;
    impl Module for Untidy {
        async fn initialize(_: Tenant) -> Result<Self> {
            Ok(Self)
        }
        fn routes(_: &mut Routes<Self>) {}
        async fn cleanup(&self) {
            panic!("no broom");
        }
    }
    conformance_of::<Untidy>("name = 'x'");
}

#[test]
#[should_panic(expected = "the instance panicked while it was dropped")]
fn conformance_sees_a_drop_that_panics() {
    struct Sticky;
    impl Module for Sticky {
        async fn initialize(_: Tenant) -> Result<Self> {
            Ok(Self)
        }
        fn routes(_: &mut Routes<Self>) {}
    }
    impl Drop for Sticky {
        fn drop(&mut self) {
            panic!("won't go");
        }
    }
    conformance_of::<Sticky>("name = 'x'");
}

#[test]
#[should_panic(expected = "unknown field `naem`")]
fn a_manifest_with_an_unknown_key_is_refused() {
    TestHost::<Probe>::with_manifest("naem = 'x'");
}

#[test]
fn problems_of_a_manifest_are_all_told() {
    let text = "name = 'X'\nhost-api = '^2'\n[dependencies]\na = 'one'\n[routes]\nbase = '/x'\n\
                [[routes.endpoints]]\npath = 'a'\nmethod = 'TRACE'\nfeature = 'b'\nauth = false\nroles = ['R']";
    let caught = std::panic::catch_unwind(|| TestHost::<Probe>::with_manifest(text)).unwrap_err();
    let told = caught.downcast_ref::<String>().unwrap();
    for part in
        ["`name` is `X`", "`host-api`", "`dependencies.a`", "TRACE a: the method", "begins with `/`", "`b`", "auth"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}
