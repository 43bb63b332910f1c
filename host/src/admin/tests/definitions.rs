//! Flags for all tenants, kept in the store.

use axum::body::Body;
use serde_json::json;

use super::{desk::Desk, refused};

const SET: &str = "/admin/v1/flag-definitions";
const ON: &str = r#"{ "state": "ENABLED", "variants": { "b": true, "a": false }, "defaultVariant": "b" }"#;

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_shown_as_written_and_changed_by_revision() {
    let desk = Desk::new(false);
    let none = desk.ask("GET", SET).await;
    assert_eq!((none.text().as_str(), none.header("etag")), ("{\"flags\":{}}\n", "\"0\""));
    assert!(desk.ask("GET", "/admin/v1/status").await.json().get("flagDefinitions").is_none());
    let text = format!("{{ \"flags\": {{ \"z\": {ON}, \"a\": {ON} }}, \"$comment\": 1 }}\n");
    let put = desk.send(desk.request("PUT", SET).header("if-match", "\"0\""), text.clone()).await;
    assert_eq!(put.json(), json!({ "revision": 1, "flags": 2, "changed": true, "inForce": true }));
    assert_eq!(put.header("etag"), "\"1\"");
    let shown = desk.ask("GET", SET).await;
    assert_eq!(
        (shown.text(), shown.header("etag"), shown.header("content-type")),
        (text.clone(), "\"1\"", "application/json")
    );
    let again = desk.send(desk.request("PUT", SET), text.clone()).await.json();
    assert_eq!(again, json!({ "revision": 1, "flags": 2, "changed": false, "inForce": true }));

    let one = format!("{SET}/z");
    let flag = desk.ask("GET", &one).await;
    assert_eq!((flag.text().as_str(), flag.header("etag")), (ON, "\"1\""));
    let stale = desk.request("PATCH", &one).header("if-match", "\"7\"");
    let text_of = "It was changed in the meantime and has revision 1 now";
    let answer = desk.send(stale, r#"{"state":"DISABLED"}"#).await;
    assert_eq!(answer.refusal(), refused(412, "PRECONDITION_FAILED", text_of));
    let off = desk.send(desk.request("PATCH", &one).header("if-match", "\"1\""), r#"{"state":"DISABLED"}"#).await;
    assert_eq!(off.json()["revision"], 2);
    assert_eq!(desk.ask("GET", SET).await.text(), text.replacen("ENABLED", "DISABLED", 1));
    let status = desk.ask("GET", "/admin/v1/status").await.json();
    let item = &status["flagDefinitions"];
    assert_eq!((&item["source"], &item["storeRevision"], &item["flags"]), (&json!("store"), &json!(2), &json!(2)));
    assert!(desk.ask("GET", "/readyz?verbose").await.text().contains("[+] flags: 2 flags of the store (revision "));

    assert_eq!(desk.ask("DELETE", &one).await.json()["flags"], 1);
    let gone = desk.ask("DELETE", &one).await;
    assert_eq!(gone.refusal(), refused(404, "FLAG_NOT_FOUND", "Flag not found: z has no definition"));
    let all = desk.ask("DELETE", SET).await;
    assert_eq!(all.json(), json!({ "revision": 0, "flags": 0, "changed": true, "inForce": true }));
    assert_eq!(desk.ask("DELETE", SET).await.json()["changed"], false);
    assert_eq!(desk.send(desk.request("PUT", &one), ON).await.json()["revision"], 5, "revisions go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_wrong_is_refused_with_all_that_is() {
    let desk = Desk::new(false);
    let wrong = json!({ "flags": { "a": { "state": "on", "variants": {} } } });
    let answer = desk.give("PUT", SET, wrong).await;
    assert_eq!((answer.refusal().0, &*answer.refusal().1), (422, "FLAG_INVALID"));
    let problems = [
        "flags.a.state: must be \"ENABLED\" or \"DISABLED\"",
        "flags.a.variants: must be an object with at least one variant",
    ];
    assert_eq!(answer.json()["problems"], json!(problems));
    for (method, path, body, code) in [
        ("PUT", SET, "", "FLAG_INVALID"),
        ("PUT", "/admin/v1/flag-definitions/a", "{}", "FLAG_INVALID"),
        ("PUT", "/admin/v1/flag-definitions/a", "[]", "FLAG_INVALID"),
        ("PATCH", "/admin/v1/flag-definitions/a", r#"{"state":"ENABLED"}"#, "FLAG_NOT_FOUND"),
        ("PATCH", "/admin/v1/flag-definitions/a", r#"{"state":"on"}"#, "REQUEST_INVALID"),
    ] {
        assert_eq!(desk.send(desk.request(method, path), body.to_owned()).await.refusal().1, code, "{method} {body}");
    }
    let answer = desk.send(desk.request("PUT", SET), vec![0xff]).await;
    assert_eq!(answer.refusal(), refused(400, "REQUEST_INVALID", "The body is not UTF-8"));
    let large = desk.send(desk.request("PUT", SET), Body::from(vec![b' '; (4 << 20) + 1])).await;
    assert_eq!(large.refusal(), refused(413, "BODY_TOO_LARGE", "The request body is larger than 4194304 bytes"));
    assert_eq!(desk.store.definitions().await.unwrap(), None, "nothing was written");

    // What a foreign hand wrote is told of, shown, and can be put right.
    desk.store.put_definitions(Some("no JSON".to_owned()), 0).await.unwrap();
    assert!(desk.tenancy.follow_definitions().await);
    let status = desk.ask("GET", "/admin/v1/status").await.json();
    assert!(
        status["flagDefinitions"]["problems"][0].as_str().unwrap().starts_with("the definitions are no JSON"),
        "{status}"
    );
    assert!(desk.ask("GET", "/readyz?verbose").await.text().contains("[-] flags: the store stays as it was: "));
    assert_eq!(desk.ask("GET", SET).await.text(), "no JSON");
    assert_eq!(desk.send(desk.request("PUT", "/admin/v1/flag-definitions/a"), ON).await.refusal().1, "FLAG_INVALID");
    assert_eq!(desk.give("PUT", SET, json!({ "flags": {} })).await.json()["revision"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_operators_at_once_nobody_loses_a_flag() {
    let desk = Desk::new(false);
    let paths: Vec<String> = (0..4).map(|number| format!("{SET}/f{number}")).collect();
    let writes = paths.iter().map(|path| desk.send(desk.request("PUT", path), ON));
    let answers = futures_util::future::join_all(writes).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let set = desk.ask("GET", SET).await;
    assert_eq!((set.json()["flags"].as_object().unwrap().len(), set.header("etag")), (4, "\"4\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_a_module_does_not_declare_is_warned_of() {
    let desk = Desk::new(false);
    let flag = json!({ "state": "ENABLED", "variants": { "a": "yes" }, "defaultVariant": "a" });
    let put = desk.give("PUT", &format!("{SET}/export"), flag).await.json();
    let text = "flag `export` is defined as a string, and module hr-core declares a boolean: it is off for that module";
    assert_eq!((&put["flags"], &put["warnings"]), (&json!(1), &json!([text])));
    let put = desk.send(desk.request("PUT", &format!("{SET}/export")), ON).await.json();
    assert_eq!((&put["revision"], put.get("warnings")), (&json!(2), None));

    // And so is a tenant's own value.
    desk.stored("acme", &[]).await;
    let own = desk.give("PATCH", "/admin/v1/tenants/acme/flags", json!({ "export": "maybe" })).await;
    let text = "Invalid flag: `export` must be a boolean, as it is defined for all tenants, and not a string";
    assert_eq!(own.refusal(), refused(422, "FLAG_INVALID", text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_says_why() {
    let desk = Desk::new(false);
    desk.stored("acme", &[]).await;
    let rule = json!({ "cat": [{ "var": "tenantId" }, "-plan"] });
    let flag = json!({ "state": "ENABLED", "variants": { "a": true, "b": false }, "targeting": rule });
    assert_eq!(desk.give("PUT", &format!("{SET}/export"), flag).await.json()["revision"], 1);
    let shown = desk.ask("GET", "/admin/v1/tenants/acme/flags/export").await.json();
    let cause = "the rule of `export` names `acme-plan`, which is none of its variants; there are: a, b";
    assert_eq!((&shown["reason"], &shown["cause"]), (&json!("ERROR"), &json!(cause)));
    let listed = desk.ask("GET", "/admin/v1/tenants/acme/flags").await.json();
    assert_eq!(listed["flags"][0]["cause"], cause);
}
