//! Nothing of one tenant reaches another, whichever way. Calls are in `calls`, events in `events`; that a foreign token
//! proves nothing is in `tokens`.

use serde_json::{Value, json};

use crate::harness::{Host, Setup, until};

fn start(tenants: &[&str], isolation: &str) -> Host {
    let host = Setup::with(&["mirror"]).start();
    for tenant in tenants {
        host.tenant(tenant, &[]);
        host.tenon(&["enable", tenant, "mirror", "--isolation", isolation]).succeeds();
    }
    host
}

fn count(host: &Host, tenant: &str) -> String {
    host.of(tenant, "POST", "/fixtures/mirror/count").send().text()
}

fn mirror(host: &Host, tenant: &str, path: &str) -> Value {
    host.get(tenant, &format!("/fixtures/mirror/{path}")).expect(200)
}

#[test]
fn tenants_with_a_library_of_their_own_have_statics_of_their_own() {
    let host = start(&["red", "blue"], "library");
    assert_eq!(count(&host, "red"), "1");
    assert_eq!(count(&host, "blue"), "1", "nobody has counted here");
    assert_eq!(count(&host, "red"), "2");
    for tenant in ["acme", "other"] {
        host.tenant(tenant, &["mirror"]);
    }
    assert_eq!(count(&host, "acme"), "1", "those who share have another copy");
    assert_eq!(count(&host, "other"), "2", "and one between them");
    assert_eq!((count(&host, "blue"), count(&host, "red")), ("2".to_owned(), "3".to_owned()));
    // A tenant that asks for its own gets a fresh one, without a restart, and leaves the others theirs.
    host.tenon(&["enable", "other", "mirror", "--isolation", "library"]).succeeds();
    assert_eq!((count(&host, "other"), count(&host, "acme")), ("1".to_owned(), "3".to_owned()));
    host.stop();
}

#[test]
fn documents_flags_and_settings_are_each_tenant_s_own() {
    for isolation in ["shared", "library"] {
        let host = start(&["acme", "other"], isolation);
        let write = |text: &str| {
            host.of("acme", "PUT", "/fixtures/mirror/note").body("text/plain", text).send().expect(204);
        };
        write("acme's");
        assert_eq!((mirror(&host, "acme", "note"), mirror(&host, "other", "note")), (json!("acme's"), Value::Null));
        host.of("other", "PUT", "/fixtures/mirror/note").body("text/plain", "other's").send().expect(204);
        write("acme's again");
        assert_eq!(mirror(&host, "other", "note"), "other's", "the same id is another document");

        host.tenon(&["settings", "set", "acme", "mirror", "server=acme.example"]).succeeds();
        until("acme's instance is told", || mirror(&host, "acme", "told") == json!([{ "server": "acme.example" }]));
        assert_eq!((mirror(&host, "other", "settings"), mirror(&host, "other", "told")), (json!({}), json!([])));

        host.tenon(&["flags", "set", "acme", "release=true"]).succeeds();
        host.get("acme", "/fixtures/mirror/hold").expect_text("released");
        let other = host.json(&["flags", "get", "other", "release"]);
        assert!(other.to_string().contains("false"), "{other}");
        host.tenon(&["tenants", "delete", "acme", "--purge"]).succeeds();
        assert_eq!(mirror(&host, "other", "note"), "other's", "deleting one leaves the other");
        host.stop();
    }
}

#[test]
fn a_wake_up_of_one_name_is_another_for_each_tenant() {
    let host = Setup::with(&["herald", "listener"]).start();
    for tenant in ["acme", "other", "quiet"] {
        host.tenant(tenant, &["herald", "listener"]);
    }
    let ask = |tenant: &str, method: &str, path: &str| {
        host.of(tenant, method, &format!("/fixtures/listener/{path}")).send().expect(204);
    };
    ask("acme", "POST", "wake/same?in=3600000");
    ask("other", "POST", "wake/same?in=0");
    // Moving and taking back are the tenant's own as well.
    ask("quiet", "DELETE", "wake/same");
    let log = |tenant: &str| host.get(tenant, "/fixtures/listener/log/wakes").expect(200);
    until("the other's came", || log("other") == json!(["same"]));
    assert_eq!(host.json(&["status"])["deliveries"]["waiting"], 1, "acme's still waits");
    ask("acme", "POST", "wake/same?in=0");
    until("acme's came", || log("acme") == json!(["same"]));
    assert_eq!((log("other"), log("quiet")), (json!(["same"]), json!([])));
    host.stop();
}

#[test]
fn a_handle_that_was_kept_stays_its_tenant_s_and_takes_nobody_else_s_request() {
    let host = start(&["acme", "other"], "shared");
    host.of("acme", "PUT", "/fixtures/mirror/note").body("text/plain", "acme's").send().expect(204);
    host.of("other", "PUT", "/fixtures/mirror/note").body("text/plain", "other's").send().expect(204);
    host.tenon(&["settings", "set", "other", "mirror", "server=other.example"]).succeeds();
    host.tenon(&["flags", "set", "other", "bright=true"]).succeeds();
    host.of("acme", "POST", "/fixtures/mirror/stash").send().expect(204);
    // Who shares a library shares its statics: the handle can be had there. It does not turn into the other's.
    let seen = mirror(&host, "other", "stolen");
    assert_eq!((&seen["own"], &seen["stolen"]), (&json!("other"), &json!("acme")), "{seen}");
    assert_eq!((&seen["settings"], &seen["bright"], &seen["note"]), (&json!({}), &json!(false), &json!("acme's")));
    assert!(seen["called"].as_str().unwrap().contains("the request was not made to this instance"), "{seen}");
    host.stop();

    let host = start(&["acme", "other"], "library");
    host.of("acme", "POST", "/fixtures/mirror/stash").send().expect(204);
    assert_eq!(mirror(&host, "other", "stolen"), Value::Null, "with a library of its own it can't be had");
    host.stop();
}
