//! Backends and hosts that go away, one after the other and together, and come back.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{NOTES, Site, again, ask_flag, flag, is_below, set, status};
use crate::harness::{Host, until};

fn is_stale(host: &Host) -> bool {
    !ask_flag(host, "acme", "x").send().header("x-tenon-stale").is_empty()
}

fn write_note(host: &Host, text: &str) -> u16 {
    host.of("acme", "POST", NOTES).json(&json!({ "text": text })).send().status
}

#[test]
fn without_the_shared_cache_changes_arrive_all_the_same() {
    let Some(mut site) = Site::start("a shared cache that is killed") else { return };
    site.redis.kill();
    for number in 0..3 {
        assert_eq!(set(&site.hosts[number], "acme", &format!("x={number}")), 0);
        site.until_all_say("acme", "x", &json!(number));
    }
    assert_eq!(status(&site.hosts[0])["store"]["tiers"]["shared"]["available"], false);
    assert!(!is_stale(&site.hosts[0]), "the store is the truth, and it is there");
    let told = site.hosts[0].tenon(&["status"]).succeeds().stdout;
    assert!(told.lines().any(|line| line.starts_with("cache ") && line.contains("unavailable")), "{told}");
    let ready = site.hosts[0].ask_operators("GET", "/readyz?verbose").token(&site.hosts[0].token()).send();
    assert!(ready.status == 200 && ready.text().contains("[-] cache: "), "{}", ready.text());
    // A tenant that nobody has in memory.
    site.hosts[0].tenon(&["tenants", "create", "late"]).succeeds();
    assert!(site.hosts.iter().all(|host| flag(host, "late", "x").is_ok()));
    site.redis.restart();
    for host in &site.hosts {
        until("the shared cache is back", || status(host)["store"]["tiers"]["shared"]["available"] == true);
    }
    assert_eq!(set(&site.hosts[1], "acme", "x=back"), 0);
    site.until_all_say("acme", "x", &json!("back"));
}

#[test]
fn known_tenants_are_served_while_all_backends_are_away_and_writes_refused() {
    let Some(mut site) = Site::start("both backends killed") else { return };
    assert_eq!(set(&site.hosts[0], "acme", "x=known"), 0);
    site.until_all_say("acme", "x", &json!("known"));
    for host in &site.hosts {
        // Each has an instance, and what it would start without the store.
        assert_eq!(host.get("acme", "/fixtures/answers/mark").status, 200);
        let copied = host.setup().data().join("last-good");
        until("the tenant is kept on the disk", || is_below(&copied, "tenon.db"));
    }
    assert_eq!(write_note(&site.hosts[0], "before"), 201);
    let (failed, asked, end) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for host in &site.hosts[..2] {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    for path in ["/fixtures/answers/mark", "/fixtures/asks/flag/x"] {
                        asked.fetch_add(1, Ordering::Relaxed);
                        failed.fetch_add(usize::from(host.get("acme", path).status != 200), Ordering::Relaxed);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    let is_good = flag(host, "acme", "x").is_ok_and(|value| value == "known");
                    failed.fetch_add(usize::from(!is_good), Ordering::Relaxed);
                }
            });
        }
        site.mongo.kill();
        site.redis.kill();
        until("all hosts say that they may be behind", || site.hosts.iter().all(is_stale));
        let (host, other) = (&site.hosts[0], &site.hosts[1]);
        host.of("acme", "POST", NOTES).json(&json!({ "text": "meanwhile" })).send().refuses(
            503,
            "STORE_UNAVAILABLE",
            "The store is unavailable",
        );
        host.get("acme", NOTES).refuses(503, "STORE_UNAVAILABLE", "The store is unavailable");
        let listed = host.tenon(&["tenants", "list"]).succeeds();
        assert!(listed.stdout.contains("acme") && listed.stderr.contains(" s behind the store"), "{listed:?}");
        let copy = host.setup().folder().join("all.jsonl");
        let copy = copy.to_str().unwrap();
        host.tenon(&["export", copy]).refuses(6, "STORE_UNAVAILABLE", "The store is unavailable");
        assert!(!fs::exists(copy).unwrap());
        host.tenon(&["invalidate"]).refuses(6, "STORE_UNAVAILABLE", "The store is unavailable");
        host.tenon(&["flags", "set", "acme", "x=lost"]).refuses(6, "STORE_UNAVAILABLE", "The store is unavailable");
        let ready = other.ask_operators("GET", "/readyz?verbose").token(&other.token()).send();
        assert_eq!(ready.status, 200, "it is ready");
        assert!(ready.text().contains("[-] store: "), "{}", ready.text());
        assert!(status(other)["store"]["behindSeconds"].is_u64());
        let before = asked.load(Ordering::Relaxed);
        until("many were served", || asked.load(Ordering::Relaxed) > before + 300);
        end.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", asked.load(Ordering::Relaxed));

    // A host that starts now serves the tenants that it knew, and no others.
    let host = site.hosts.pop().unwrap();
    let host = again(&host.stop());
    until("it is known on the new host", || flag(&host, "acme", "x").is_ok_and(|value| value == "known"));
    assert!(is_stale(&host));
    assert_eq!(ask_flag(&host, "acme", "x").send().json()["metadata"]["stale"], true);
    assert_eq!(host.get("acme", "/fixtures/asks/flag/x").status, 200);
    let unknown = flag(&host, "nobody", "x").unwrap_err();
    assert_eq!((unknown.status, unknown.json()["errorCode"].clone()), (503, Value::Null), "{}", unknown.text());
    site.hosts.push(host);

    site.mongo.restart();
    site.redis.restart();
    until("nobody is behind any more", || !site.hosts.iter().any(is_stale));
    assert_eq!(set(&site.hosts[2], "acme", "x=after"), 0);
    site.until_all_say("acme", "x", &json!("after"));
    assert_eq!(site.hosts[1].get("acme", NOTES).expect(200), json!(["before"]));
}

#[test]
fn a_host_that_was_killed_or_paused_learns_what_it_missed() {
    let Some(mut site) = Site::start("a host that is killed, one that is paused") else { return };
    let killed = site.hosts.pop().unwrap();
    let paused = site.hosts.pop().unwrap();
    paused.signal(Signal::STOP);
    assert_eq!(set(&site.hosts[0], "acme", "x=missed"), 0);
    let killed = killed.killed_and_started();
    paused.signal(Signal::CONT);
    for host in [&killed, &paused] {
        until("what was missed is there", || flag(host, "acme", "x").is_ok_and(|value| value == "missed"));
    }
    // Whoever was paused in the middle of things does not write over what came after.
    assert_eq!(set(&paused, "acme", "x=1"), 0);
    site.hosts.extend([paused, killed]);
    site.until_all_say("acme", "x", &json!(1));
}

#[test]
fn no_acknowledged_write_is_lost_when_the_server_is_killed_again_and_again() {
    let Some(mut site) = Site::start("acknowledged writes over kills of the server") else { return };
    let mut acknowledged = Vec::new();
    for round in 0..20 {
        let written = thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut written = Vec::new();
                for number in 0.. {
                    let name = format!("r{round}-{number}");
                    let body = json!({ name.as_str(): number });
                    let host = &site.hosts[number % 3];
                    let ask = host.ask_operators("PATCH", "/admin/v1/tenants/acme/flags").token(&host.token());
                    match ask.json(&body).send().status {
                        200 => written.push((name, number)),
                        _ if written.len() < 3 => {}
                        _ => break,
                    }
                }
                written
            });
            let name = format!("r{round}-6");
            until("some were written", || flag(&site.hosts[0], "acme", &name).is_ok_and(|value| !value.is_null()));
            // As `kill -9`, with writes under way; the servers of the test are the test's own.
            site.mongo.signal_kill();
            writing.join().unwrap()
        });
        site.mongo.restart();
        until("the hosts write again", || site.hosts.iter().all(|host| set(host, "acme", "alive=1") == 0));
        acknowledged.extend(written);
    }
    let list = site.hosts[1].json(&["flags", "list", "acme"]);
    let flags = list["flags"].as_array().unwrap();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(name, number)| !flags.iter().any(|flag| flag["name"] == **name && flag["value"] == *number))
        .collect();
    assert!(lost.is_empty(), "of {} acknowledged writes {} are lost: {lost:?}", acknowledged.len(), lost.len());
    println!("{} acknowledged writes over 20 kills, none lost", acknowledged.len());
}
