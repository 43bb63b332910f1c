//! Clients are told when to ask for their flags again, by a stream of server-sent events.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Events, Host, Setup, until, until_some};

const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const PAGE: &str = "https://app.example";

fn start(config: &str) -> (Host, String) {
    let host = Setup::new().config(config).without_dev().start();
    host.tenant("acme", &[]);
    host.tenant("other", &[]);
    let key = key(&host, "acme");
    (host, key)
}

fn key(host: &Host, tenant: &str) -> String {
    host.tenon(&["keys", "create", tenant, "--name", "page"]).succeeds().stdout.trim().to_owned()
}

fn ask(host: &Host, key: &str, prefix: &str) -> Ask {
    host.ask("POST", &format!("{prefix}{FLAGS}")).header("x-api-key", key).json(&json!({ "context": {} }))
}

/// Where an answer says that the stream is.
fn address(answer: &Answer) -> String {
    let stream = answer.expect(200)["eventStreams"][0].clone();
    assert_eq!((&stream["type"], &stream["inactivityDelaySec"]), (&json!("sse"), &json!(120)));
    assert_eq!(
        (stream.get("url"), stream["endpoint"].get("origin")),
        (None, None),
        "a client adds the host that it knows"
    );
    stream["endpoint"]["requestUri"].as_str().unwrap().to_owned()
}

fn open(host: &Host, key: &str) -> Events {
    Events::open(host.tenants(), &address(&ask(host, key, "").send()), &[])
}

fn set(host: &Host, assignment: &str) {
    host.tenon(&["flags", "set", "acme", assignment]).succeeds();
}

fn refused(mut events: Events, status: u16, text: &str) {
    assert_eq!(events.status, status);
    let body: Value = serde_json::from_str(&events.line().unwrap()).unwrap();
    assert_eq!(body["errorDetails"], text);
}

#[test]
fn a_change_of_flags_is_told_and_no_other() {
    let (host, key) = start("[ofrep]\nheartbeat = \"200ms\"\n");
    let before = ask(&host, &key, "").send();
    let mut events = Events::open(host.tenants(), &address(&before), &[]);
    assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"));
    assert_eq!((events.header("cache-control"), events.header("x-accel-buffering")), ("no-store", "no"));
    assert_eq!(events.line().as_deref(), Some("retry: 3000"));
    assert_eq!((events.line().as_deref(), events.line().as_deref()), (Some(""), Some(":")), "it says that it is there");
    // None of these is about flags.
    host.tenon(&["tenants", "cors", "acme", "--origin", PAGE]).succeeds();
    host.tenon(&["flags", "set", "other", "theme=dark"]).succeeds();
    set(&host, "theme=dark");
    let told = events.next().unwrap();
    assert_eq!((&told.data["type"], &told.data["etag"]), (&json!("refetchEvaluation"), &json!(told.id)));
    assert!(told.data["lastModified"].as_u64().unwrap() > 1_600_000_000);
    let etag = before.header("etag");
    let query = format!("?flagConfigEtag={}&flagConfigLastModified={}", told.id, told.data["lastModified"]);
    let fetched = host.ask("POST", &format!("{FLAGS}{query}")).header("x-api-key", &key).header("if-none-match", etag);
    let flags = fetched.send().expect(200);
    assert_eq!(flags["flags"][0]["value"], "dark");
    set(&host, "theme=light");
    let second = events.next().unwrap();
    assert_ne!(second.id, told.id);
    host.stop();
}

#[test]
fn what_was_missed_is_told_on_coming_back() {
    let (host, key) = start("[ofrep]\nheartbeat = \"200ms\"\n");
    let path = address(&ask(&host, &key, "").send());
    set(&host, "theme=dark");
    let first = Events::open(host.tenants(), &path, &[]).next().unwrap();
    // Who has seen it is not told again, and is still told of the next change.
    let last = format!("Last-Event-ID: {}", first.id);
    let mut again = Events::open(host.tenants(), &path, &[&last]);
    assert_eq!((again.line().as_deref(), again.line().as_deref()), (Some("retry: 3000"), Some("")));
    assert_eq!(again.line().as_deref(), Some(":"));
    set(&host, "theme=light");
    let second = again.next().unwrap();
    assert_eq!(Events::open(host.tenants(), &path, &[&last]).next().unwrap().id, second.id);
    assert_eq!(Events::open(host.tenants(), &path, &["Last-Event-ID: nonsense"]).next().unwrap().id, second.id);
    // A host that was started anew knows the ids of the one before it, and its tickets.
    let host = host.killed_and_started();
    let last = format!("Last-Event-ID: {}", second.id);
    let mut events = Events::open(host.tenants(), &path, &[&last]);
    set(&host, "theme=dim");
    assert_ne!(events.next().unwrap().id, second.id);
    host.stop();
}

#[test]
fn a_stream_ends_with_what_it_was_opened_by() {
    let (host, acme) = start("");
    let (mine, by_header) = (open(&host, &acme), format!("X-API-Key: {acme}"));
    let same_key = Events::open(host.tenants(), "/ofrep/v1/events", &[&by_header]);
    let mut others = open(&host, &key(&host, "acme"));
    let path = address(&ask(&host, &acme, "").send());
    host.tenon(&["keys", "revoke", "acme", acme.split('.').nth(1).unwrap()]).succeeds();
    mine.ends();
    same_key.ends();
    refused(Events::open(host.tenants(), &path, &[]), 401, "The token or API key is not valid");
    set(&host, "theme=dark");
    assert!(others.next().is_some(), "a stream of another key goes on");
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    others.ends();
    host.tenon(&["tenants", "resume", "acme"]).succeeds();
    let deleted = open(&host, &key(&host, "acme"));
    host.tenon(&["tenants", "delete", "acme"]).succeeds();
    deleted.ends();
    let stopped = open(&host, &key(&host, "other"));
    // A stream holds up nobody's end.
    host.stop();
    stopped.ends();
}

#[test]
fn a_ticket_is_for_one_tenant_and_one_host_s_key() {
    let (host, acme) = start("[tenant-source]\npath-prefix = \"/t\"\n");
    let path = address(&ask(&host, &acme, "/t/acme").send());
    assert!(path.starts_with("/t/acme/ofrep/v1/events?ticket="), "{path}");
    assert_eq!(Events::open(host.tenants(), &path, &[]).status, 200);
    let again = address(&ask(&host, &acme, "/t/acme").send());
    until("the same ticket is given again", || again == path || address(&ask(&host, &acme, "/t/acme").send()) == again);
    refused(
        Events::open(host.tenants(), &path.replace("/t/acme/", "/t/other/"), &[]),
        403,
        "The key is for another tenant",
    );
    refused(
        Events::open(host.tenants(), &path, &["X-Tenant-Id: other"]),
        400,
        "The request names the tenant more than once",
    );
    for wrong in [path.replace("ticket=", "ticket=1"), "/ofrep/v1/events?ticket=".to_owned()] {
        refused(Events::open(host.tenants(), &wrong, &[]), 401, "The token or API key is not valid");
    }
    refused(
        Events::open(host.tenants(), "/ofrep/v1/events", &["X-Tenant-Id: acme"]),
        401,
        "A token or API key is required",
    );
    let post = host.ask("POST", &path).send();
    assert_eq!((post.status, post.header("allow")), (405, "GET"));
    // A ticket opens streams and nothing else.
    let flags = path.replace("/ofrep/v1/events", FLAGS);
    assert_eq!(host.ask("POST", &flags).send().status, 401);
    let file = host.setup().data().join("ticket.key");
    let own = fs::read_to_string(&file).unwrap();
    assert!(own.trim().len() > 40);
    let setup = host.stop();
    fs::remove_file(file).unwrap();
    let host = setup.start();
    refused(Events::open(host.tenants(), &path, &[]), 401, "The token or API key is not valid");
    host.stop();
}

#[test]
fn a_page_of_another_origin_listens_by_the_tenant_s_rules() {
    let (host, key) = start("");
    host.tenon(&["tenants", "cors", "acme", "--origin", PAGE]).succeeds();
    let path = address(&ask(&host, &key, "").send());
    // A browser says its origin and nothing else: the ticket names the tenant.
    let events = Events::open(host.tenants(), &path, &[&format!("Origin: {PAGE}")]);
    assert_eq!((events.status, events.header("access-control-allow-origin")), (200, PAGE));
    let evil = Events::open(host.tenants(), &path, &["Origin: https://evil.example"]);
    assert_eq!((evil.header("access-control-allow-origin"), evil.header("vary")), ("", "Origin"));
    host.stop();
}

#[test]
fn there_are_so_many_streams_for_a_tenant_and_no_more() {
    let (host, acme) = start("[ofrep]\nevent-streams = 2\n");
    let (first, _second) = (open(&host, &acme), open(&host, &acme));
    let third = open(&host, &acme);
    assert_eq!(third.header("retry-after"), "30");
    refused(third, 429, "Too many event streams at once for this tenant");
    let other = key(&host, "other");
    assert_eq!(open(&host, &other).status, 200, "others have a count of their own");
    assert_eq!(ask(&host, &acme, "").send().status, 200, "and flags are asked for all the same");
    drop(first);
    // Who waits for a change that nobody has made is no stream, and gets what there is.
    let made_up = format!("{FLAGS}?flagConfigEtag=1-abc-0000000000000000");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| host.ask("POST", &made_up).header("x-api-key", &other).send().status))
            .collect();
        until_some("a stream while they wait", || Some(open(&host, &other)).filter(|events| events.status == 200));
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers, [200; 4]);
    // That a client is gone is noticed when something is sent.
    set(&host, "theme=dark");
    let reopened = until_some("a place is free", || Some(open(&host, &acme)).filter(|events| events.status == 200));
    drop(reopened);
    host.stop();
    // All tenants together have half of the connections.
    let (host, acme) = start("[limits]\nconnections = 9\n");
    let other = key(&host, "other");
    let _open = [open(&host, &acme), open(&host, &acme), open(&host, &other), open(&host, &other)];
    let fifth = open(&host, &other);
    assert_eq!(fifth.header("retry-after"), "30");
    refused(fifth, 429, "The host has as many event streams as it may have");
    assert_eq!(ask(&host, &acme, "").send().status, 200);
    host.stop();
    let (host, acme) = start("[ofrep]\nevent-streams = 0\n");
    let answer = ask(&host, &acme, "").send().expect(200);
    assert_eq!(answer.get("eventStreams"), None, "nobody is sent where they are refused");
    host.stop();
}

fn define(setup: &Setup, default: &str) {
    let flag = json!({ "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": default });
    let beside = setup.folder().join("flags.json.part");
    fs::write(&beside, json!({ "flags": { "new": flag } }).to_string()).unwrap();
    fs::rename(beside, setup.folder().join("flags.json")).unwrap();
}

#[test]
fn definitions_are_told_of_though_the_tenant_was_idle_for_long() {
    // Nothing but the tenant's leaving wakes the stream.
    let config =
        "[tenancy]\nidle-release = \"1s\"\n[ofrep]\nheartbeat = \"1h\"\n[flags]\ndefinitions = \"flags.json\"\n";
    let setup = Setup::new().config(config).without_dev();
    define(&setup, "off");
    let host = setup.start();
    host.tenant("acme", &[]);
    let key = key(&host, "acme");
    let mut events = open(&host, &key);
    host.tenant("other", &[]);
    // It came into memory after the first one and is as idle: by now the first one has left, too.
    until("idle tenants leave", || host.json(&["stats"])["tenants"]["inMemory"].as_u64().unwrap() < 2);
    define(host.setup(), "on");
    let told = events.next().unwrap();
    let fresh = host.ask("POST", &format!("{FLAGS}/new?flagConfigEtag={}", told.id)).header("x-api-key", &key).send();
    assert_eq!(fresh.expect(200)["value"], true);
    host.stop();
}

#[test]
fn a_rule_that_reads_the_time_has_its_clients_come_again_each_minute() {
    let setup =
        Setup::new().config("[ofrep]\nheartbeat = \"100ms\"\n[flags]\ndefinitions = \"flags.json\"\n").without_dev();
    let rule = json!({ "if": [{ ">": [{ "var": "$flagd.timestamp" }, 0] }, "on", null] });
    let flag = json!({ "state": "ENABLED", "variants": { "on": true }, "targeting": rule });
    fs::write(setup.folder().join("flags.json"), json!({ "flags": { "later": flag } }).to_string()).unwrap();
    let host = setup.start();
    host.tenant("acme", &[]);
    let path = address(&ask(&host, &key(&host, "acme"), "").send());
    // A client that came a minute ago.
    let (head, minute) = path.rsplit_once('-').unwrap();
    let before = format!("{head}-{}", minute.parse::<u64>().unwrap() - 1);
    let told = Events::open(host.tenants(), &before, &[]).next().unwrap();
    assert!(told.id.rsplit('-').next().unwrap().parse::<u64>().unwrap() >= minute.parse().unwrap(), "{told:?}");
    host.stop();
}
