//! Damaged bodies for operators' requests, through the router of the operators' interface over a host in this process.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use tenon_host::{
    admin::{AdminState, Liveness, ReadFolder, Readiness, router},
    app::Host,
    catalog::{Changes, ScanError},
    config::Config,
    identity::AdminToken,
    loader::{Loader, LoaderSettings},
    names::ModuleName,
    stores::{SqliteStore, Store},
};
use tokio::runtime::Runtime;
use tower::Service;

use super::{mutate, twists::damage};
use crate::harness::Setup;

/// Method, path and a body that is good as it is.
const REQUESTS: [(&str, &str, &str); 10] = [
    ("POST", "/admin/v1/tenants", r#"{"id":"other","name":"Other Ltd"}"#),
    ("PATCH", "/admin/v1/tenants/acme", r#"{"name":"Acme \u00c4 Ltd"}"#),
    ("PUT", "/admin/v1/tenants/acme/modules/hr-core", r#"{"version":"^1","isolation":"shared","dryRun":true}"#),
    (
        "PUT",
        "/admin/v1/tenants/acme/modules/clinic",
        r#"{"version":">=1, <3","isolation":"library","withDependencies":true,"dryRun":true}"#,
    ),
    ("PATCH", "/admin/v1/tenants/acme/flags", r#"{"confirmations":false,"theme":"dark","ratio":0.5,"html":true}"#),
    (
        "PUT",
        "/admin/v1/tenants/acme/settings/email-service",
        r#"{"server":"mail.example.com","from":"desk@example.com","port":587,"security":"tls","attempts":10}"#,
    ),
    ("PATCH", "/admin/v1/tenants/acme/settings/clinic", r#"{"opens":"07:30","open-on":["monday"],"slot-minutes":10}"#),
    (
        "PUT",
        "/admin/v1/tenants/acme/cors",
        r#"{"origins":["https://app.example","http://localhost:8080"],"maxAgeSeconds":600,"credentials":true}"#,
    ),
    ("POST", "/admin/v1/modules/order", r#"{"names":["clinic","hr-core","email-service"]}"#),
    ("PUT", "/admin/v1/tenants/acme/settings/hr-core", r#"{"a":{"b":[1,2.5,"c",null,true]}}"#),
];

/// What has a meaning in JSON, or in what is inside.
const PIECES: [&str; 38] = [
    "\"",
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    "{\"",
    "\":",
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1e999",
    "1e-999",
    "18446744073709551616",
    "0.1",
    "NaN",
    "\\u0000",
    "\\ud800",
    "\\",
    "\\\"",
    "\"id\":\"acme\",",
    "\"dryRun\":true,",
    "\"__proto__\":{},",
    "\"\":1,",
    "*",
    "^",
    ">=",
    "..",
    "/",
    "https://",
    "https://*",
    "http://[::1]",
    "env:TENON_SECRET_X",
    "file:../../etc/passwd",
    "24:00",
];

/// Requests decide about bodies, not about the folder.
struct Unread;

impl ReadFolder for Unread {
    fn read(&self, _: Option<&ModuleName>) -> Result<Changes, ScanError> {
        Ok(Changes::default())
    }
}

struct Stage {
    runtime: Runtime,
    host: Host,
    store: Arc<SqliteStore>,
    loader: Loader,
    router: axum::Router,
    token: String,
    _setup: Setup,
}

impl Stage {
    /// A host with tenant `acme`, which has two modules with settings, and one without.
    fn start() -> Self {
        let setup = Setup::with(&["clinic", "email-service", "hr-core"]);
        let config = Config {
            plugins: setup.plugins(),
            data: setup.data(),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        let runtime = Runtime::new().unwrap();
        let store = Arc::new(SqliteStore::open(setup.folder().join("store")).unwrap());
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let host = runtime.block_on(Host::builder().config(config).store(Arc::clone(&shared)).start()).unwrap();
        // Only for figures.
        let loader = Loader::start(LoaderSettings::below(&setup.folder().join("loader"))).unwrap();
        let token = AdminToken::load(host.admin_token_path()).unwrap();
        let state = AdminState {
            folder: Arc::new(Unread),
            definitions: None,
            tenancy: host.tenants().clone(),
            store: shared,
            loader: loader.clone(),
            token: token.clone(),
            readiness: Arc::new(Readiness::default()),
            liveness: Arc::new(Liveness::default()),
            dev: false,
        };
        let token = token.as_str().to_owned();
        let stage = Self { runtime, host, store, loader, router: router(state), token, _setup: setup };
        stage.ask("POST", "/admin/v1/tenants", br#"{"id":"acme"}"#).unwrap();
        let enable = br#"{"withDependencies":true}"#;
        for module in ["email-service", "clinic"] {
            let (status, answer) =
                stage.ask("PUT", &format!("/admin/v1/tenants/acme/modules/{module}"), enable).unwrap();
            assert_eq!(status, 200, "{answer}");
        }
        stage
    }

    /// Status and body of an answer, after a look at its form.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Value), TestCaseError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("if-match", "*")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let mut router = self.router.clone();
        self.runtime.block_on(async {
            let Ok(answer) = Service::call(&mut router, request).await;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| TestCaseError::fail(error.to_string()))?.to_bytes();
            let json: Value = match &body[..] {
                [] => Value::Null,
                body => {
                    serde_json::from_slice(body).map_err(|error| TestCaseError::fail(format!("{error}: {body:?}")))?
                }
            };
            if parts.status.is_client_error() || parts.status.is_server_error() {
                prop_assert_eq!(&json["status"], &json!(parts.status.as_u16()), "{}", json);
                for member in ["code", "message"] {
                    prop_assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{}", json);
                }
            }
            Ok((parts.status.as_u16(), json))
        })
    }

    /// All that is kept of the tenant; not what happens to run now.
    fn kept(&self) -> Result<Value, TestCaseError> {
        let (status, mut answer) = self.ask("GET", "/admin/v1/tenants/acme", b"")?;
        prop_assert_eq!(status, 200, "{}", answer);
        prop_assert_eq!(&answer["tenantId"], "acme");
        for module in answer["enabledModules"].as_array_mut().into_iter().flatten() {
            module.as_object_mut().map(|module| module.remove("state"));
        }
        Ok(answer)
    }
}

#[test]
fn damaged_bodies_of_operators_are_refused_or_do_what_they_say() {
    let stage = Stage::start();
    for (method, path, body) in REQUESTS {
        let (status, answer) = stage.ask(method, path, body.as_bytes()).unwrap();
        assert!(status < 300, "it is good as it is: {method} {path}: {answer}");
    }
    let strategy = (select(&REQUESTS[..]), damage(&PIECES));
    let before = RefCell::new(stage.kept().unwrap());
    let counts = mutate(&strategy, |((method, path, body), damage), count| {
        let body = damage.of(body);
        let sent = String::from_utf8_lossy(&body);
        let (status, answer) = stage.ask(method, path, &body)?;
        let is_json = serde_json::from_slice::<Value>(&body).is_ok();
        prop_assert!(status < 500, "{} {} {}: {}", method, path, sent, answer);
        if status < 300 {
            prop_assert!(is_json || body.trim_ascii().is_empty(), "{} {} {}: {}", method, path, sent, answer);
            *before.borrow_mut() = stage.kept()?;
            count("done");
        } else {
            prop_assert!(matches!(status, 400 | 403 | 404 | 409 | 413 | 415 | 422), "{}: {}", sent, answer);
            count(if is_json { "refused" } else { "no JSON" });
        }
        Ok(())
    });
    counts.expect(&["done", "refused", "no JSON"]);
    assert_eq!(*before.borrow(), stage.kept().unwrap(), "what was refused has changed nothing");
    for part in ["flags", "cors", "settings/email-service", "settings/clinic", "settings/hr-core"] {
        let (status, answer) = stage.ask("GET", &format!("/admin/v1/tenants/acme/{part}"), b"").unwrap();
        assert_eq!(status, 200, "{part}: {answer}");
    }
    // All that was accepted can be read again, as by a host that knows nothing of it yet.
    let read = stage.runtime.block_on(stage.store.tenant(&"acme".parse().unwrap()));
    assert!(matches!(read, Ok(Some(_))), "{read:?}");
    let (status, page) = stage.ask("GET", "/admin/v1/tenants?limit=200", b"").unwrap();
    assert_eq!((status, &page["unreadable"]), (200, &json!([])), "{page}");
    stage.runtime.block_on(stage.host.shutdown());
    stage.runtime.block_on(stage.store.close());
    drop(stage.loader);
}
