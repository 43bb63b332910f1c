//! Modules of one tenant ask each other, in the name of whoever asked them or in their own. The modules are links of a
//! chain: `link-2` asks `link-1`, which asks `link-0`.

use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Host, NewModule, Setup};

/// A setup with links from 0 to the last.
fn chain(last: u32) -> Setup {
    let setup = Setup::new();
    let manifest = include_str!("../fixtures/link/module.toml");
    for link in 0..=last {
        let name = |number: u32| format!("link-{number}");
        // The first one depends on a module that is never there.
        let next = link.checked_sub(1).map_or_else(|| "nobody".to_owned(), name);
        let marked = manifest.replace("link-2", "<above>").replace("link-1", "<own>").replace("link-0", &next);
        let own = marked.replace("<above>", &name(link + 1)).replace("<own>", &name(link));
        setup.add_new(&format!("link-{link}.so"), &NewModule::of("link", own));
    }
    setup
}

fn enable(host: &Host, tenant: &str, last: u32) {
    let names: Vec<String> = (0..=last).map(|link| format!("link-{link}")).collect();
    host.tenant(tenant, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

fn start(last: u32) -> Host {
    let host = chain(last).start();
    enable(&host, "acme", last);
    host
}

/// A request of nobody.
fn ask(host: &Host, method: &str, path: &str) -> Ask {
    host.ask(method, path).header("x-tenant-id", "acme")
}

fn relay(host: &Host, first: u32, how: &str) -> Answer {
    let path = format!("/fixtures/link-{first}/relay?as={how}");
    ask(host, "POST", &path).by("ada", "Member,Reader").body("text/plain", "begin").send()
}

fn other(host: &Host, how: &str, path: &str) -> Answer {
    ask(host, "GET", &format!("/fixtures/link-1/other?as={how}&path={path}")).by("ada", "Reader").send()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{}", answer.text());
}

#[test]
fn the_one_who_is_asked_sees_who_asked_first() {
    let host = start(1);
    let direct = relay(&host, 0, "user").expect(200);
    assert_eq!(direct["module"], "link-0");
    let answer = relay(&host, 1, "user");
    let id = answer.header("x-request-id").to_owned();
    let seen = answer.expect(200);
    assert_eq!(seen["tenant"], "acme", "{seen}");
    assert_eq!(
        (&seen["module"], &seen["user"], &seen["body"]),
        (&json!("link-0"), &json!("ada"), &json!("1")),
        "{seen}"
    );
    assert_eq!(seen["roles"], json!(["Member", "Reader"]), "{seen}");
    assert_eq!(seen["id"], Value::from(id), "{seen}");
    assert_eq!((&seen["header"], &seen["forged"]), (&json!("1"), &Value::Null), "{seen}");
    host.stop();
}

#[test]
fn a_module_in_its_own_name_has_no_user_and_one_role() {
    let host = start(1);
    let seen = relay(&host, 1, "module").expect(200);
    assert_eq!((&seen["user"], &seen["roles"]), (&Value::Null, &json!(["module:link-1"])), "{seen}");
    let direct = relay(&host, 0, "user").expect(200);
    assert!(seen["deadline"].as_i64().unwrap() >= direct["deadline"].as_i64().unwrap() - 60_000, "{seen}");
    assert_eq!(other(&host, "module", "/modules").expect(200)["module"], "link-0");
    refused(&other(&host, "module", "/members"), 403, "FORBIDDEN");
    // Nobody from outside can have a module's role.
    let forged = ask(&host, "GET", "/fixtures/link-0/modules").by("eve", "module:link-1");
    refused(&forged.send(), 403, "FORBIDDEN");
    host.stop();
}

#[test]
fn the_guards_of_the_one_who_is_asked_apply() {
    let host = start(1);
    refused(&other(&host, "user", "/members"), 403, "FORBIDDEN");
    refused(&other(&host, "user", "/modules"), 403, "FORBIDDEN");
    other(&host, "user", "/feature").refuses(403, "FEATURE_NOT_ENABLED", "Feature lit is not enabled");
    host.tenon(&["flags", "set", "acme", "lit=true"]).succeeds();
    assert_eq!(other(&host, "user", "/feature").expect(200)["module"], "link-0");
    refused(&other(&host, "user", "/nowhere"), 404, "ROUTE_NOT_FOUND");
    let nobody = ask(&host, "GET", "/fixtures/link-1/other?path=/members").send();
    refused(&nobody, 401, "UNAUTHENTICATED");
    host.stop();
}

#[test]
fn eight_calls_may_be_inside_each_other_and_no_more() {
    let host = start(9);
    for how in ["user", "module"] {
        assert_eq!(relay(&host, 8, how).expect(200)["module"], "link-0");
        let deep = relay(&host, 9, how);
        assert_eq!(deep.status, 424, "{}", deep.text());
        assert!(deep.text().contains("more than 8 calls"), "{}", deep.text());
    }
    host.stop();
}

#[test]
fn who_is_absent_or_unknown_is_told_apart() {
    let host = start(1);
    host.tenon(&["disable", "acme", "link-0"]).succeeds();
    assert_eq!(relay(&host, 1, "user").text(), "absent");
    host.tenon(&["enable", "acme", "link-0"]).succeeds();
    assert_eq!(relay(&host, 1, "user").expect(200)["module"], "link-0");
    let stranger = relay(&host, 1, "stranger");
    assert!(stranger.text().contains("stranger` is not among the dependencies"), "{}", stranger.text());
    host.stop();
}

#[test]
fn a_panic_or_a_hang_of_the_one_who_is_asked_stays_theirs() {
    let host = chain(1).config("[limits.modules.link-0]\ndeadline = \"200ms\"\n").start();
    enable(&host, "acme", 1);
    refused(&other(&host, "user", "/panic"), 500, "MODULE_PANICKED");
    let late = other(&host, "user", "/wait");
    assert!(late.text().starts_with("Timeout("), "{}", late.text());
    assert_eq!(relay(&host, 1, "user").expect(200)["module"], "link-0");
    host.stop();
}

#[test]
fn calls_never_leave_their_tenant() {
    let host = start(1);
    enable(&host, "other", 1);
    for tenant in ["acme", "other"] {
        let asked = host.of(tenant, "POST", "/fixtures/link-1/relay?as=module").body("text/plain", "x").send();
        assert_eq!(asked.expect(200)["tenant"], tenant);
    }
    // The other tenant's module is there, and is not reached.
    host.tenon(&["disable", "other", "link-0"]).succeeds();
    let asked = host.of("other", "POST", "/fixtures/link-1/relay?as=user").body("text/plain", "x").send();
    assert_eq!(asked.text(), "absent");
    host.stop();
}
