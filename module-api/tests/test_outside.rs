//! Requests to hosts outside on the host of tests: what may be sent, and what comes back.

use std::time::Duration;

use module_api::{
    prelude::*,
    testing::{OutsideRequest, TestAnswer, TestHost, Value, json},
};

const MANIFEST: &str = r#"
name = "fetcher"
outbound = ["api.example.com:443", "api.example.com:8080"]
[routes]
base = "/fetcher"
[[routes.endpoints]]
path = "/fetch"
method = "POST"
auth = false
"#;

struct Fetcher {
    tenant: Tenant,
}

impl Module for Fetcher {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.post("/fetch", Self::fetch);
    }
}

impl Fetcher {
    /// Sends what the body says.
    async fn fetch(&self, request: Request) -> Result<Response> {
        let wanted: Value = request.json()?;
        let text = |name: &str| wanted[name].as_str().unwrap_or_default().to_owned();
        let mut fetch = self.tenant.fetch(wanted["method"].as_str().unwrap_or("post"), &text("url"));
        fetch = fetch.json(&json!({"n": 1})).timeout(Duration::from_secs(wanted["seconds"].as_u64().unwrap_or(0)));
        if !text("header").is_empty() {
            fetch = fetch.header(&text("header"), "x");
        }
        Ok(match fetch.send().await {
            Ok(answer) => Response::json(&json!([answer.status(), answer.header("etag"), answer.json::<Value>()?]))?,
            Err(error) => Response::text(format!("{error:?}")),
        })
    }
}

fn echo(request: &OutsideRequest) -> TestAnswer {
    let OutsideRequest { host, query, timeout, .. } = request;
    let seconds = timeout.map(|it| it.as_secs());
    let seen = json!([request.line(), host, query, request.header("authorization"), request.json::<Value>(), seconds]);
    TestAnswer::json(&seen).with_status(201).with_header("ETag", "1")
}

fn asked(host: &TestHost<Fetcher>, wanted: Value) -> String {
    host.post("/fetch", &wanted).expect(200).text()
}

#[test]
fn a_named_host_is_asked_and_its_answer_comes_back() {
    let host = TestHost::<Fetcher>::with_manifest(MANIFEST).outside("api.example.com:443", echo);
    let wanted = json!({"url": "https://API.example.com/v1/rates?of=eur#x", "header": "Authorization", "seconds": 3});
    let seen = json!(["POST /v1/rates", "api.example.com:443", "of=eur", "x", {"n": 1}, 3]);
    assert_eq!(asked(&host, wanted), json!([201, "1", seen]).to_string());
    host.set_outside("api.example.com:443", |_| TestAnswer::timeout());
    let late = asked(&host, json!({"url": "https://api.example.com"}));
    assert_eq!(late, "Timeout(\"`api.example.com:443` did not answer in time\")");
    let absent = asked(&host, json!({"url": "http://api.example.com:8080/"}));
    assert!(absent.starts_with("Unreachable(\"`api.example.com:8080` can't be reached"), "{absent}");
}

#[test]
fn all_else_is_refused_as_a_host_would() {
    let host = TestHost::<Fetcher>::with_manifest(MANIFEST).outside("api.example.com:443", echo);
    let refused = |wanted: Value| asked(&host, wanted);
    for other in ["https://example.com/", "http://api.example.com/", "https://api.example.com:8443/"] {
        let refused = refused(json!({"url": other}));
        assert!(refused.starts_with("Refused(") && refused.contains("not listed under `outbound`"), "{refused}");
    }
    let good = "https://api.example.com/";
    for (wanted, why) in [
        (json!({"url": "ftp://api.example.com/"}), "the URL's scheme must be"),
        (json!({"url": "/v1"}), "the URL can't be read"),
        (json!({"url": "https://a:b@api.example.com/"}), "credentials in the URL"),
        (json!({"url": good, "method": "TRACE"}), "method TRACE is not sent"),
        (json!({"url": good, "method": "G T"}), "is no method"),
        (json!({"url": good, "header": "Host"}), "the header `host` is the host's to say"),
        (json!({"url": good, "header": "a b"}), "the header `a b` can't be sent"),
    ] {
        let refused = refused(wanted);
        assert!(refused.starts_with("Misuse(") && refused.contains(why), "{why}: {refused}");
    }
}

#[test]
#[should_panic(expected = "module.toml does not list `example.com:443` under `outbound`")]
fn a_host_that_is_not_named_can_t_be_given() {
    TestHost::<Fetcher>::with_manifest(MANIFEST).set_outside("example.com:443", echo);
}

#[test]
fn an_assertion_in_an_answer_fails_the_test() {
    let host = TestHost::<Fetcher>::with_manifest(MANIFEST);
    host.set_outside("api.example.com:443", |request| panic!("did not expect {}", request.line()));
    let ask = std::panic::AssertUnwindSafe(|| asked(&host, json!({"url": "https://api.example.com/x"})));
    let caught = std::panic::catch_unwind(ask).unwrap_err();
    assert_eq!(caught.downcast_ref::<String>().unwrap(), "did not expect POST /x");
}
