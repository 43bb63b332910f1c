//! The operators' interface from the outside: requests in, answers out.

mod away;
mod definitions;
mod desk;
mod queries;

use std::{
    io::{Read, Write},
    time::Duration,
};

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::json;

use super::{AdminListener, openapi};
use desk::Desk;

fn refused(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_operation_is_answered_as_documented() {
    let desk = Desk::new(false);
    let mut document = openapi::whole();
    assert!(serde_json::to_value(&document).unwrap()["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut count = 0;
    for (path, item) in &mut document.paths.paths {
        let named = path
            .replace("{tenant}", "acme")
            .replace("{module}", "tasks")
            .replace("{flag}", "export")
            .replace("{key}", "7")
            .replace("{id}", "7");
        for (method, operation) in [
            ("GET", &item.get),
            ("PUT", &item.put),
            ("POST", &item.post),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ] {
            let Some(operation) = operation else { continue };
            count += 1;
            desk.stored("acme", &[]).await;
            let body = match (method, &*named) {
                ("POST", "/admin/v1/tenants") => json!({ "id": "other" }),
                ("POST", "/admin/v1/modules/order") => json!({ "names": ["tasks", "hr-core"] }),
                ("PATCH", "/admin/v1/tenants/acme") => json!({ "name": "Acme" }),
                ("POST", "/admin/v1/tenants/acme/keys") => json!({ "name": "shop", "scopes": ["flags:read"] }),
                ("PUT", "/admin/v1/tenants/acme/cors") => json!({ "origins": ["https://app.example"] }),
                ("PUT", "/admin/v1/flag-definitions") => json!({ "flags": {} }),
                ("PUT", "/admin/v1/flag-definitions/export") => {
                    json!({ "state": "ENABLED", "variants": { "on": true } })
                }
                ("PATCH", "/admin/v1/flag-definitions/export") => json!({ "state": "DISABLED" }),
                ("PUT", _) => json!({ "dryRun": true, "withDependencies": true }),
                _ => json!({}),
            };
            let body = match &*named {
                "/admin/v1/import" => desk.ask("GET", "/admin/v1/export").await.text(),
                _ => body.to_string(),
            };
            let answer = desk.send(desk.request(method, &named).header("if-match", "*"), body).await;
            let documented = &operation.responses.responses;
            assert!(documented.contains_key("default") && operation.operation_id.is_some(), "{method} {path}");
            // Nothing can be disabled here, and nobody has said that the host is ready.
            let expected: &[u16] = match operation.operation_id.as_deref() {
                Some("disableModule") => &[403],
                Some("showFlag" | "showFlagDefinition" | "retryDeadLetter" | "discardDeadLetter" | "revokeKey") => {
                    &[404]
                }
                // There is one version of it.
                Some("rollBack") => &[409],
                Some("readyz") => &[503],
                _ => &[200, 201, 202],
            };
            assert!(expected.contains(&answer.status.as_u16()), "{method} {path}: {} {}", answer.status, answer.text());
            if answer.status.is_success() {
                assert!(documented.contains_key(answer.status.as_str()), "{method} {path}: {}", answer.status);
            } else if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                assert_ne!(answer.refusal().1, "ROUTE_NOT_FOUND");
            }
            let revision = desk.store.tenant(&"acme".parse().unwrap()).await.unwrap().map(|found| found.revision);
            if let Some(revision) = revision {
                desk.ask("DELETE", "/admin/v1/tenants/acme").await;
                assert!(revision > 0);
            }
        }
    }
    assert_eq!(count, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_the_door() {
    let desk = Desk::new(false);
    for path in ["/admin/v1/status", "/admin/v1/nothing", "/readyz?verbose", "/readyz?verbose=false", "/"] {
        let answer = desk.send(Request::builder().uri(path), Body::empty()).await;
        assert_eq!(answer.refusal(), refused(401, "UNAUTHENTICATED", "A token is required"), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for value in ["Bearer wrong", "Bearer ", "Basic abc", &format!("Bearer {}x", desk.token)] {
        let request = Request::builder().uri("/admin/v1/status").header(header::AUTHORIZATION, value);
        let answer = desk.send(request, Body::empty()).await;
        assert_eq!((answer.refusal().0, &*answer.refusal().1), (401, "UNAUTHENTICATED"), "{value}");
    }
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/openapi.json", 200)] {
        assert_eq!(desk.send(Request::builder().uri(path), Body::empty()).await.status, status, "{path}");
    }
    assert_eq!(desk.ask("GET", "/admin/v1/status").await.status, 200);
    desk.liveness.set(Some("every thread is lost"));
    let dead = desk.send(Request::builder().uri("/livez"), Body::empty()).await;
    assert_eq!((dead.status.as_u16(), &*dead.text()), (503, "every thread is lost\n"));
    desk.liveness.set(None);
    assert_eq!(desk.send(Request::builder().uri("/livez"), Body::empty()).await.text(), "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_answers_loopback_names_only() {
    let desk = Desk::new(true);
    for (host, status) in [("127.0.0.1:8081", 200), ("localhost", 200), ("evil.example:8081", 403)] {
        let answer = desk.send(desk.request("GET", "/admin/v1/status").header("host", host), Body::empty()).await;
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(desk.send(Request::builder().uri("/livez"), Body::empty()).await.refusal().1, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_in_one_form() {
    let desk = Desk::new(false);
    desk.stored("acme", &[]).await;
    let answer = desk.ask("GET", "/admin/v1/nothing").await;
    assert_eq!(answer.refusal(), refused(404, "ROUTE_NOT_FOUND", "No route matches this path"));
    let answer = desk.ask("PUT", "/admin/v1/tenants").await;
    assert_eq!(answer.refusal().1, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    for (method, path, body, code, text) in [
        ("POST", "/admin/v1/tenants", "{", "REQUEST_INVALID", "The body is malformed: EOF"),
        ("POST", "/admin/v1/tenants", "", "REQUEST_INVALID", "The body is malformed: missing field `id`"),
        ("POST", "/admin/v1/tenants", r#"{"id":"a","x":1}"#, "REQUEST_INVALID", "The body is malformed: unknown field"),
        ("POST", "/admin/v1/tenants", r#"{"id":"../a"}"#, "TENANT_ID_INVALID", "Invalid tenant id: a tenant id begins"),
        ("POST", "/admin/v1/tenants", r#"{"id":"b","name":"\n"}"#, "REQUEST_INVALID", "`name` must have 1 to 200"),
        ("GET", "/admin/v1/tenants/..%2Fa", "", "TENANT_ID_INVALID", "Invalid tenant id"),
        ("GET", "/admin/v1/tenants/%FF", "", "REQUEST_INVALID", "The path is not UTF-8"),
        ("GET", "/admin/v1/tenants/nobody", "", "TENANT_NOT_FOUND", "Tenant not found: nobody"),
        ("GET", "/admin/v1/tenants?limit=201", "", "REQUEST_INVALID", "`limit` must be 1 to 200"),
        ("GET", "/admin/v1/tenants?limit=x", "", "REQUEST_INVALID", "The query is malformed: limit: invalid digit"),
        (
            "GET",
            "/admin/v1/tenants?page=2",
            "",
            "REQUEST_INVALID",
            "The query is malformed: unknown parameter `page`, known here: `cursor`, `limit`",
        ),
        ("GET", "/admin/v1/tenants?cursor=..", "", "REQUEST_INVALID", "`cursor` is not one of this list's"),
        ("GET", "/admin/v1/modules/No", "", "MODULE_NOT_FOUND", "Module not found in registry: No"),
        ("PUT", "/admin/v1/tenants/acme/modules/nope", "", "MODULE_NOT_FOUND", "Module not found in registry: nope"),
        ("PUT", "/admin/v1/tenants/acme/modules/tasks", r#"{"version":"new"}"#, "REQUEST_INVALID", "`new` is no range"),
        (
            "PUT",
            "/admin/v1/tenants/acme/modules/tasks",
            r#"{"isolation":"x"}"#,
            "REQUEST_INVALID",
            "The body is malformed",
        ),
        (
            "DELETE",
            "/admin/v1/tenants/acme?purge=maybe",
            "",
            "REQUEST_INVALID",
            "The query is malformed: purge: `maybe`",
        ),
    ] {
        let answer = desk.send(desk.request(method, path), body.to_owned()).await;
        let (_, found, message) = answer.refusal();
        assert_eq!(found, code, "{method} {path}: {message}");
        assert!(message.starts_with(text), "{method} {path}: {message}");
    }
    let id = "x".repeat(10_240);
    assert_eq!(desk.ask("GET", &format!("/admin/v1/tenants/{id}")).await.refusal().1, "TENANT_ID_INVALID");
    let large = format!(r#"{{"id":"{}"}}"#, "x".repeat(1 << 20));
    let answer = desk.send(desk.request("POST", "/admin/v1/tenants"), large).await;
    assert_eq!(answer.refusal(), refused(413, "BODY_TOO_LARGE", "The request body is larger than 1048576 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_made_changed_by_revision_and_deleted() {
    let desk = Desk::new(false);
    let made = desk.give("POST", "/admin/v1/tenants", json!({ "id": "acme", "name": "Acme Ltd" })).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/admin/v1/tenants/acme"));
    assert_eq!(made.header("etag"), "\"1\"");
    let again = desk.give("POST", "/admin/v1/tenants", json!({ "id": "acme" })).await;
    assert_eq!(again.refusal(), refused(409, "TENANT_EXISTS", "Tenant already exists: acme"));

    let rename = |if_match: Option<&'static str>| {
        let request = desk.request("PATCH", "/admin/v1/tenants/acme");
        let request = if_match.into_iter().fold(request, |request, tag| request.header("if-match", tag));
        desk.send(request, r#"{"name":"Acme Inc"}"#)
    };
    let text = "Send If-Match with the revision that was read";
    assert_eq!(rename(None).await.refusal(), refused(428, "PRECONDITION_REQUIRED", text));
    assert_eq!(rename(Some("\"7\"")).await.refusal().0, 412);
    assert_eq!(rename(Some("seven")).await.refusal().1, "REQUEST_INVALID");
    let renamed = rename(Some("\"1\"")).await;
    assert_eq!((renamed.status.as_u16(), renamed.header("etag")), (200, "\"2\""));
    let shown = desk.ask("GET", "/admin/v1/tenants/acme").await;
    assert_eq!((&shown.json()["name"], shown.header("etag")), (&json!("Acme Inc"), "\"2\""));

    assert_eq!(desk.ask("POST", "/admin/v1/tenants/acme/suspend").await.json()["changed"], true);
    assert_eq!(desk.ask("GET", "/admin/v1/tenants/acme").await.json()["status"], "suspended");
    assert_eq!(desk.ask("POST", "/admin/v1/tenants/acme/resume").await.json()["revision"], 4);
    let stale = desk.request("DELETE", "/admin/v1/tenants/acme").header("if-match", "\"1\"");
    assert_eq!(desk.send(stale, Body::empty()).await.refusal().1, "PRECONDITION_FAILED");
    assert_eq!(desk.ask("DELETE", "/admin/v1/tenants/acme?purge").await.status, 200);
    assert_eq!(desk.ask("GET", "/admin/v1/tenants/acme").await.refusal().1, "TENANT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_pages_of_other_origins_are_set_by_revision_and_taken_away() {
    let desk = Desk::new(false);
    desk.stored("acme", &[]).await;
    let cors = "/admin/v1/tenants/acme/cors";
    assert_eq!(desk.ask("GET", cors).await.json(), json!({ "tenantId": "acme", "revision": 1, "cors": null }));
    let rules = json!({ "origins": ["https://app.example"], "maxAgeSeconds": 600, "credentials": true });
    let set = desk.give("PUT", cors, rules.clone()).await;
    assert_eq!((set.status.as_u16(), set.header("etag")), (200, "\"2\""));
    assert_eq!(desk.ask("GET", "/admin/v1/tenants/acme").await.json()["cors"], rules);
    assert_eq!(desk.give("PUT", cors, rules.clone()).await.json()["changed"], false);
    let stale = desk.request("DELETE", cors).header("if-match", "\"1\"");
    assert_eq!(desk.send(stale, Body::empty()).await.refusal().1, "PRECONDITION_FAILED");
    let bad = desk.give("PUT", cors, json!({ "origins": ["*", "https://A.example"], "credentials": true })).await;
    let (status, code, message) = bad.refusal();
    assert_eq!((status, &*code), (400, "REQUEST_INVALID"));
    assert!(message.contains("`origins[1]` is no origin") && message.contains("`credentials` can't be"), "{message}");
    assert_eq!(desk.give("PUT", cors, json!({ "origin": [] })).await.refusal().1, "REQUEST_INVALID");
    assert_eq!(desk.ask("GET", cors).await.json()["cors"], rules);
    assert_eq!(desk.ask("DELETE", cors).await.json()["revision"], 3);
    assert_eq!(desk.ask("GET", cors).await.json()["cors"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_listed_page_by_page() {
    let desk = Desk::new(false);
    for id in ["c", "a", "b"] {
        desk.stored(id, &["tasks"]).await;
    }
    let (mut path, mut seen) = ("/admin/v1/tenants?limit=2".to_owned(), Vec::new());
    loop {
        let page = desk.ask("GET", &path).await.json();
        seen.extend(page["tenants"].as_array().unwrap().iter().map(|tenant| tenant["tenantId"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/v1/tenants?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_lists_modules_and_what_was_kept_out() {
    let desk = Desk::new(false);
    let mut registry = desk.ask("GET", "/admin/v1/modules").await.json();
    let names: Vec<_> = registry["modules"].as_array().unwrap().iter().map(|module| module["name"].clone()).collect();
    assert_eq!(names, ["hr-core", "lonely", "tasks"]);
    let lonely = registry["modules"][1]["versions"][0].take();
    assert_eq!(
        (&lonely["state"], &lonely["problems"][0]["code"]),
        (&json!("blocked"), &json!("MODULE_DEPENDENCY_MISSING"))
    );
    assert_eq!(registry["modules"][2]["versions"][0]["state"], "available");
    assert_eq!(registry["rejected"][0]["code"], "MANIFEST_INVALID");
    let shown = desk.ask("GET", "/admin/v1/modules/tasks").await.json();
    assert_eq!(shown["versions"][0]["manifest"]["routes"]["base"], "/api/v1/tasks");

    let tree = desk.ask("GET", "/admin/v1/modules/tasks/tree").await.json();
    assert_eq!((&tree["requires"], &tree["valid"]), (&json!(["hr-core"]), &json!(true)));
    let order = desk.give("POST", "/admin/v1/modules/order", json!({ "names": ["tasks", "hr-core"] })).await;
    assert_eq!(order.json()["order"], json!(["hr-core", "tasks"]));
    let order = desk.give("POST", "/admin/v1/modules/order", json!({ "names": ["tasks", "nope"] })).await;
    assert_eq!(order.refusal(), refused(404, "MODULE_NOT_FOUND", "Module not found in registry: nope"));
}

#[tokio::test(flavor = "multi_thread")]
async fn enabling_and_disabling_answer_with_the_written_texts() {
    let desk = Desk::new(false);
    desk.stored("acme", &[]).await;
    desk.stored("full", &["hr-core", "tasks"]).await;
    let tasks = "/admin/v1/tenants/acme/modules/tasks";
    let text = "Cannot enable tasks: missing required dependencies: hr-core";
    assert_eq!(desk.ask("PUT", tasks).await.refusal(), refused(409, "MODULE_DEPENDENCY_MISSING", text));
    let planned = desk.give("PUT", tasks, json!({ "withDependencies": true, "dryRun": true })).await.json();
    assert_eq!((&planned["enabled"], &planned["dryRun"]), (&json!(["hr-core", "tasks"]), &json!(true)));
    // A file that went away after it was listed can't be opened, and then nothing is written.
    std::fs::remove_file(desk.folder.path().join("plugins/hr.so")).unwrap();
    let failed = desk.ask("PUT", "/admin/v1/tenants/acme/modules/hr-core").await;
    assert_eq!(failed.refusal(), refused(503, "MODULE_LOAD_FAILED", "Failed to load module: hr-core"));
    assert!(!failed.json()["reason"].as_str().unwrap().is_empty());
    assert_eq!(desk.ask("GET", "/admin/v1/tenants/acme").await.json()["revision"], 1);
    assert_eq!(
        desk.ask("DELETE", tasks).await.refusal(),
        refused(403, "MODULE_NOT_ENABLED", "Module tasks is not enabled")
    );

    let hr = "/admin/v1/tenants/full/modules/hr-core";
    let text = "Cannot disable hr-core: required by: tasks";
    assert_eq!(desk.ask("DELETE", hr).await.refusal(), refused(409, "MODULE_HAS_DEPENDENTS", text));
    let planned = desk.ask("DELETE", &format!("{hr}?cascade&dryRun=true")).await.json();
    assert_eq!((&planned["disabled"], &planned["revision"]), (&json!(["tasks", "hr-core"]), &json!(1)));
    let done = desk.ask("DELETE", &format!("{hr}?cascade=true")).await.json();
    assert_eq!((&done["modules"], &done["revision"]), (&json!([]), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_set_and_taken_back() {
    let desk = Desk::new(false);
    desk.stored("acme", &["hr-core"]).await;
    let flags = "/admin/v1/tenants/acme/flags";
    let declared = json!({ "flags": [
        { "name": "export", "value": false, "source": "module", "reason": "DEFAULT", "module": "hr-core" },
    ] });
    assert_eq!(desk.ask("GET", flags).await.json(), declared);
    let set = desk.give("PATCH", flags, json!({ "export": true, "theme": "dark" })).await;
    assert_eq!((set.status.as_u16(), set.header("etag")), (200, "\"2\""));
    let shown = desk.ask("GET", &format!("{flags}/export")).await.json();
    assert_eq!(shown, json!({ "name": "export", "value": true, "source": "tenant", "reason": "STATIC" }));
    desk.give("PATCH", flags, json!({ "export": null, "theme": null })).await;
    assert_eq!(desk.ask("GET", flags).await.json(), declared);
    assert_eq!(
        desk.ask("GET", &format!("{flags}/nope")).await.refusal(),
        refused(404, "FLAG_NOT_FOUND", "Flag not found: nope")
    );
    for body in [json!({ "export": "on" }), json!({ "../x": true })] {
        let (status, code, _) = desk.give("PATCH", flags, body).await.refusal();
        assert_eq!((status, &*code), (422, "FLAG_INVALID"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_shown_once_and_revoked() {
    let desk = Desk::new(false);
    desk.stored("acme", &["hr-core"]).await;
    let keys = "/admin/v1/tenants/acme/keys";
    let wish = json!({ "name": "shop", "scopes": ["flags:read", "flags:read"], "expiresAt": "2999-01-01T00:00:00Z" });
    let made = desk.give("POST", keys, wish.clone()).await;
    assert_eq!((made.status.as_u16(), made.header("etag"), made.header("cache-control")), (201, "\"2\"", "no-store"));
    let body = made.json();
    let (id, key) = (body["id"].as_str().unwrap(), body["key"].as_str().unwrap());
    assert_eq!(made.header("location"), format!("{keys}/{id}"));
    assert!(key.starts_with("tenon_") && key.contains(id), "{key}");
    let listed = desk.ask("GET", keys).await;
    let item = &listed.json()["keys"][0];
    assert_eq!(
        (&item["name"], &item["scopes"], &item["expired"]),
        (&json!("shop"), &json!(["flags:read"]), &json!(false))
    );
    assert_eq!((&item["createdBy"], &item["expiresAt"]), (&json!("admin"), &json!("2999-01-01T00:00:00Z")));
    let stored = desk.store.tenant(&"acme".parse().unwrap()).await.unwrap().unwrap();
    let hash = stored.api_keys[0].hash.to_string();
    for shown in [listed.text(), made.text(), desk.ask("GET", "/admin/v1/tenants/acme").await.text()] {
        assert!(!shown.contains(&hash) && !shown.contains("hash"), "{shown}");
    }
    assert!(!listed.text().contains(key.rsplit('.').next().unwrap()));
    for (field, value) in [
        ("name", json!(" ")),
        ("scopes", json!([])),
        ("scopes", json!(["flags:write"])),
        ("expiresAt", json!("2001-01-01T00:00:00Z")),
        ("expiresAt", json!("soon")),
        ("hash", json!("00")),
    ] {
        let mut wrong = wish.clone();
        wrong[field] = value;
        let (status, code, text) = desk.give("POST", keys, wrong).await.refusal();
        assert_eq!((status, &*code), (400, "REQUEST_INVALID"), "{text}");
    }
    let stale = desk.send(desk.request("POST", keys).header("if-match", "\"1\""), wish.to_string()).await;
    assert_eq!(stale.refusal().1, "PRECONDITION_FAILED");
    let revoked = desk.ask("DELETE", &format!("{keys}/{id}")).await;
    // What runs is as it was.
    let plan = json!({ "start": [], "keep": ["hr-core"], "offer": [], "drain": [] });
    assert_eq!((&revoked.json()["revision"], &revoked.json()["plan"]), (&json!(3), &plan));
    let again = desk.ask("DELETE", &format!("{keys}/{id}")).await.refusal();
    assert_eq!(again, refused(404, "API_KEY_NOT_FOUND", &format!("API key not found: {id}")));
    for _ in 0..100 {
        assert_eq!(desk.give("POST", keys, wish.clone()).await.status, 201);
    }
    let text = "The tenant has 100 API keys: revoke one before another is made";
    assert_eq!(desk.give("POST", keys, wish).await.refusal(), refused(409, "TOO_MANY_API_KEYS", text));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_readiness_show_what_needs_a_look() {
    let desk = Desk::new(false);
    desk.stored("acme", &["lonely"]).await;
    desk.ask("GET", "/admin/v1/tenants/acme").await;
    let status = desk.ask("GET", "/admin/v1/status").await.json();
    assert_eq!((&status["state"], &status["store"]["available"]), (&json!("starting"), &json!(true)));
    assert_eq!(status["failing"][0]["code"], "MODULE_DEPENDENCY_MISSING");
    assert_eq!((status["blocked"].as_array().unwrap().len(), status["rejected"].as_array().unwrap().len()), (1, 1));
    let stats = desk.ask("GET", "/admin/v1/stats").await.json();
    assert_eq!(stats["registry"], json!({ "modules": 3, "versions": 3, "rejected": 1 }));
    assert_eq!(stats["tenants"]["inMemory"], 1);

    desk.readiness.ready();
    let ready = desk.ask("GET", "/readyz").await;
    assert_eq!((ready.status.as_u16(), &*ready.text()), (200, "ready\n"));
    let verbose = desk.ask("GET", "/readyz?verbose").await.text();
    assert!(verbose.contains("[+] store: answers\n[-] plugins: 1 rejected files: "), "{verbose}");
    assert!(
        verbose.contains("lonely of acme (MODULE_DEPENDENCY_MISSING)") && verbose.ends_with("\nready\n"),
        "{verbose}"
    );
    let asked = desk.request("GET", "/readyz?verbose").header("accept", "application/json");
    assert_eq!(desk.send(asked, Body::empty()).await.json()["ready"], true);
    desk.readiness.leaving();
    desk.readiness.ready();
    let leaving = desk.ask("GET", "/readyz").await;
    assert_eq!((leaving.status.as_u16(), &*leaving.text()), (503, "stopping\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_answers_and_stops_beside_an_idle_connection() {
    let desk = Desk::new(false);
    let listener = AdminListener::start(([127, 0, 0, 1], 0).into(), None, desk.router.clone()).unwrap();
    let address = listener.address();
    tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        listener.stop();
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_store_and_the_end_of_the_host_are_told() {
    let desk = Desk::new(false);
    desk.sqlite.close().await;
    for path in ["/admin/v1/tenants", "/admin/v1/tenants/acme"] {
        let answer = desk.ask("GET", path).await;
        assert_eq!(answer.refusal(), refused(503, "STORE_UNAVAILABLE", "The store is unavailable"), "{path}");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.json()["reason"].as_str().unwrap().is_empty());
    }
    assert_eq!(desk.ask("GET", "/admin/v1/status").await.json()["store"]["available"], false);
    desk.tenancy.shutdown().await;
    let answer = desk.ask("POST", "/admin/v1/tenants/acme/load").await;
    assert_eq!(answer.refusal(), refused(503, "SHUTTING_DOWN", "The host is shutting down"));
}
