//! What is written at one host, at two at once, and by a program that knows nothing of hosts.

use std::thread;

use mongodb::bson::doc;
use serde_json::json;

use super::{Site, flag, set, status};
use crate::harness::until;

#[test]
fn a_change_at_one_host_is_seen_by_all() {
    let Some(site) = Site::start("three hosts on one store") else { return };
    for (number, host) in site.hosts.iter().enumerate() {
        assert_eq!(set(host, "acme", &format!("x={number}")), 0);
        site.until_all_say("acme", "x", &json!(number));
    }
    let revisions: Vec<_> =
        site.hosts.iter().map(|host| host.json(&["tenants", "show", "acme"])["revision"].clone()).collect();
    assert!(revisions.iter().all(|revision| *revision == revisions[0]), "{revisions:?}");

    // A tenant that is deleted at one is gone from all, and one made again is another.
    site.hosts[0].tenant("brief", &["asks"]);
    site.hosts.iter().for_each(|host| until("the new tenant is served", || flag(host, "brief", "x").is_ok()));
    assert_eq!(set(&site.hosts[0], "brief", "x=1"), 0);
    site.until_all_say("brief", "x", &json!(1));
    site.hosts[1].tenon(&["tenants", "delete", "brief"]).succeeds();
    for host in &site.hosts {
        let is_gone =
            || flag(host, "brief", "x").is_err_and(|answer| answer.text().contains("Tenant not found: brief"));
        until("the deleted tenant is gone", is_gone);
    }
    site.hosts[2].tenon(&["tenants", "create", "brief"]).succeeds();
    site.until_all_say("brief", "x", &json!(null));
}

#[test]
fn of_two_operators_at_once_one_is_refused_and_nothing_is_lost() {
    let Some(site) = Site::start("two operators of two hosts") else { return };
    for round in 0..10 {
        let revision = site.hosts[0].json(&["tenants", "show", "acme"])["revision"].to_string();
        let etag = format!("\"{revision}\"");
        let change = |host: usize| {
            let body = json!({ format!("by-{host}"): round });
            let (host, etag) = (&site.hosts[host], etag.clone());
            let path = "/admin/v1/tenants/acme/flags";
            let ask = host.ask_operators("PATCH", path).token(&host.token()).header("if-match", &etag);
            ask.json(&body).send()
        };
        let answers =
            thread::scope(|scope| [scope.spawn(|| change(0)), scope.spawn(|| change(1))].map(|it| it.join().unwrap()));
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        let refused =
            answers.iter().filter(|it| it.status == 412 && it.json()["code"] == "PRECONDITION_FAILED").count();
        assert_eq!((good, refused), (1, 1), "{answers:?}");
        let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
        site.until_all_say("acme", &format!("by-{winner}"), &json!(round));
    }
    // Without a revision both are carried out, one after the other.
    let name = |host: usize, number: usize| format!("free-{host}-{number}");
    thread::scope(|scope| {
        for (host, tenon) in site.hosts.iter().enumerate() {
            scope.spawn(move || {
                (0..5).for_each(|number| {
                    let assignment = format!("{}=true", name(host, number));
                    until("a change gets its turn", || set(tenon, "acme", &assignment) == 0);
                })
            });
        }
    });
    for host in 0..3 {
        (0..5).for_each(|number| site.until_all_say("acme", &name(host, number), &json!(true)));
    }
}

#[test]
fn a_program_that_knows_nothing_of_hosts_may_change_a_tenant() {
    let Some(site) = Site::start("a foreign program on the store") else { return };
    let foreign = site.foreign();
    let before = foreign.find("acme").get("revision").cloned();
    foreign.update("acme", doc! { "$set": { "featureFlags.x": "foreign", "plan": { "seats": 3 } } });
    site.until_all_say("acme", "x", &json!("foreign"));
    let after = foreign.find("acme");
    assert_ne!(after.get("revision").cloned(), before, "it was given the next revision");
    // What it wrote beside Tenon's fields outlives Tenon's own writes.
    assert_eq!(set(&site.hosts[1], "acme", "y=1"), 0);
    site.until_all_say("acme", "y", &json!(1));
    assert!(foreign.find("acme").get_document("plan").is_ok_and(|plan| plan.get("seats").is_some()));

    // A module that it takes away stops.
    foreign.update("acme", doc! { "$pull": { "enabledModules": { "moduleId": "asks" } } });
    for host in &site.hosts {
        until("the module is gone", || host.get("acme", "/fixtures/asks/flag/x").status == 403);
    }
    // A document that can't be understood changes nothing, and the others are served.
    foreign.update("acme", doc! { "$set": { "status": "asleep" } });
    assert_eq!(set(&site.hosts[0], "acme", "z=1"), 6);
    assert!(site.hosts.iter().all(|host| flag(host, "acme", "x").is_ok_and(|x| x == "foreign")));
    foreign.update("acme", doc! { "$set": { "status": "active", "featureFlags.x": "again" } });
    site.until_all_say("acme", "x", &json!("again"));
    assert_eq!(status(&site.hosts[0])["state"], "ready");
}
