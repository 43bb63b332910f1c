//! Everything moves from one host's store to another's, once, twice, and not at all where the file is cut off.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::json;

use crate::harness::{Host, Setup};

const EMPLOYEES: &str = "/api/v1/hr/employees";
const MODULES: [&str; 3] = ["hr-core", "herald", "listener"];

fn definitions() -> String {
    let new = r#"{ "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "on" }"#;
    format!("{{ \"flags\": {{ \"new\": {new} }} }}\n")
}

/// A host with something of everything, and the key that it made.
fn filled() -> (Host, String) {
    let host = Setup::with(&MODULES).start();
    for tenant in ["acme", "other"] {
        host.tenant(tenant, &MODULES);
        // More than a page of them.
        for number in 0..120 {
            let body = json!({ "name": format!("Person {number} \u{e4}"), "email": format!("p{number}@example.com") });
            host.of(tenant, "POST", EMPLOYEES).json(&body).send().expect(201);
        }
    }
    host.of("acme", "POST", "/fixtures/listener/wake/later?in=3600000").send().expect(204);
    host.tenon(&["flags", "set", "acme", "theme=dark"]).succeeds();
    fs::write(host.setup().folder().join("flags.json"), definitions()).unwrap();
    host.tenon(&["definitions", "set", "flags.json"]).succeeds();
    host.tenon(&["definitions", "disable", "new"]).succeeds();
    let key = host.tenon(&["keys", "create", "acme", "--name", "shop"]).succeeds().stdout.trim().to_owned();
    (host, key)
}

/// All that the host's store holds.
fn exported(host: &Host) -> String {
    host.tenon(&["export", "-"]).succeeds().stdout
}

fn imported(host: &Host, file: &str) -> crate::harness::Ran {
    fs::write(host.setup().folder().join("all.jsonl"), file).unwrap();
    host.tenon(&["import", "all.jsonl"])
}

#[test]
fn everything_is_the_same_in_the_other_store_and_a_second_time_too() {
    let (from, key) = filled();
    // What is there under the name that it is written under first is not written to.
    let folder = from.setup().folder().to_owned();
    fs::write(folder.join("another"), "kept").unwrap();
    symlink(folder.join("another"), folder.join("all.jsonl.part")).unwrap();
    from.tenon(&["export", "all.jsonl"]).succeeds();
    assert_eq!(fs::read_to_string(folder.join("another")).unwrap(), "kept");
    fs::write(folder.join("again.jsonl.part"), "readable by all").unwrap();
    from.tenon(&["export", "again.jsonl"]).succeeds();
    for file in ["all.jsonl", "again.jsonl"] {
        let found = fs::symlink_metadata(folder.join(file)).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600, "{file}");
    }
    let all = fs::read_to_string(from.setup().folder().join("all.jsonl")).unwrap();
    assert_eq!(all, exported(&from));
    assert!(all.starts_with("{\"tenonExport\":{\"version\":1}}\n"), "{}", &all[..80]);
    let employees = from.get("acme", &format!("{EMPLOYEES}?limit=100")).text();
    let tenant = from.json(&["tenants", "show", "acme"]);
    from.stop();

    let to = Setup::with(&MODULES).start();
    let told = imported(&to, &all).succeeds();
    assert!(
        told.stdout.starts_with("Imported: ") && told.stdout.ends_with(" written, 0 were there already\n"),
        "{told:?}"
    );
    assert_eq!(exported(&to), all, "to the last revision");
    assert_eq!(to.get("acme", &format!("{EMPLOYEES}?limit=100")).text(), employees);
    assert_eq!(to.json(&["tenants", "show", "acme"])["revision"], tenant["revision"]);
    let client = to.ask("POST", "/ofrep/v1/evaluate/flags/new").header("x-api-key", &key);
    assert_eq!(client.json(&json!({})).send().expect(200)["reason"], "DISABLED", "key and definitions hold");
    assert_eq!(to.json(&["flags", "get", "acme", "theme"])["value"], "dark");
    let waiting = || to.json(&["status"])["deliveries"]["waiting"].clone();
    assert_eq!(waiting(), 1);

    let again = imported(&to, &all).succeeds();
    assert!(again.stdout.starts_with("Imported: 0 records written"), "{again:?}");
    assert_eq!(exported(&to), all);
    to.of("acme", "DELETE", "/fixtures/listener/wake/later").send().expect(204);
    assert_eq!(waiting(), 0, "it is known by its key");

    // What a tenant has made since stays, and the file is refused for it; the other one is as it was.
    let first: serde_json::Value = serde_json::from_str(&employees).unwrap();
    let id = first["items"][0]["id"].as_str().unwrap();
    let path = format!("{EMPLOYEES}/{id}");
    let now = to.get("acme", &path);
    let gone = to.of("acme", "DELETE", &path).header("if-match", now.header("etag")).send();
    assert_eq!(gone.status, 204, "{}", gone.text());
    let before = exported(&to);
    let refused = imported(&to, &all);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("not imported: tenant acme: it is there already, and document `"), "{refused:?}");
    assert!(!refused.stderr.contains("tenant other"), "{refused:?}");
    assert_eq!(exported(&to), before);
    to.stop();
}

#[test]
fn what_is_cut_off_or_is_no_export_is_refused_and_shows_nothing() {
    let (from, _) = filled();
    let all = exported(&from);
    from.stop();
    let to = Setup::with(&MODULES).start();
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    let whole = lines.len();
    let without = [&lines[..10], &lines[11..]].concat().concat();
    for (file, why) in [
        (lines[..whole - 1].concat(), "it is cut off behind line "),
        (lines[..whole / 2].concat(), "it is cut off behind line "),
        (all[..all.len() - 20].to_owned(), "its last line is cut off"),
        (without, "lines are missing"),
        (lines[1..].concat(), "this is no export of Tenon"),
        (all.replacen("\"version\":1", "\"version\":2", 1), "line 1: version 2 is not known, only 1 is"),
        (format!("{all}{}", lines[3]), "it stands behind the end"),
        (String::new(), "it is empty"),
    ] {
        let refused = imported(&to, &file);
        assert!(refused.code == 2 && refused.stderr.contains("code: REQUEST_INVALID"), "{why}: {refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
        assert_eq!(to.json(&["tenants", "list"])["tenants"], json!([]), "{why}");
        assert_eq!(to.tenon(&["definitions", "show"]).succeeds().stderr, "revision 0\n");
    }
    // What the cut ones left is cleared away. Of definitions that can't be read only they are left out.
    let bad = all.replacen("\\\"state\\\": \\\"", "\\\"state\\\": \\\"NO", 1);
    assert_ne!(bad, all);
    let refused = imported(&to, &bad);
    assert!(refused.code == 4 && refused.stderr.contains("not imported: flag definitions: "), "{refused:?}");
    assert_eq!(to.tenon(&["definitions", "show"]).succeeds().stderr, "revision 0\n");
    imported(&to, &all).succeeds();
    assert_eq!(exported(&to), all);
    to.stop();
}
