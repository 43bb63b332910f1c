//! The folder of a running host: what comes is available, what goes is reported and served until nobody uses it,
//! what is replaced is served from then on.

use std::{
    fs::{self, File},
    io::Write,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Setup, artifacts, until, until_some};

const MARK: &str = "/fixtures/answers/mark";

fn names(host: &Host) -> Vec<String> {
    let listed = host.json(&["modules", "list"]);
    listed["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap().to_owned()).collect()
}

/// Looks whether a module is available and serves.
fn becomes_available(host: &Host) {
    until("the module is available", || names(host) == ["answers"]);
    assert_eq!(host.json(&["status"])["rejected"], json!([]));
    host.tenant("acme", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
}

fn library() -> Vec<u8> {
    fs::read(artifacts().library("answers")).unwrap()
}

#[test]
fn a_copied_file_is_available_without_a_restart() {
    let host = Setup::new().start();
    assert!(names(&host).is_empty());
    fs::copy(artifacts().library("answers"), host.setup().plugins().join("answers.so")).unwrap();
    becomes_available(&host);
    host.stop();
}

#[test]
fn a_renamed_file_is_available_without_a_restart() {
    let host = Setup::new().start();
    host.setup().add("answers");
    becomes_available(&host);
}

#[test]
fn a_file_that_is_copied_slowly_is_not_taken_for_a_damaged_one_once_it_is_whole() {
    let host = Setup::new().start();
    let bytes = library();
    let mut file = File::create(host.setup().plugins().join("answers.so")).unwrap();
    for piece in bytes.chunks(bytes.len() / 8 + 1) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        // The copy is slow on purpose: longer than a file must rest to be read.
        thread::sleep(Duration::from_millis(60));
        assert!(names(&host).is_empty() || host.json(&["status"])["rejected"] == json!([]));
    }
    drop(file);
    becomes_available(&host);
}

#[test]
fn a_folder_that_comes_later_is_watched_too() {
    let setup = Setup::new().config("[watch]\npoll-interval = \"50ms\"\n");
    fs::remove_dir(setup.plugins()).unwrap();
    let host = setup.start();
    fs::create_dir(host.setup().plugins()).unwrap();
    host.setup().add("answers");
    becomes_available(&host);
}

#[test]
fn a_folder_that_takes_the_place_of_another_is_watched() {
    let host = Setup::with(&["hr-core"]).config("[watch]\npoll-interval = \"50ms\"\n").start();
    host.tenant("acme", &["hr-core"]);
    let told = |text: &str| host.output().matches(text).count();
    fs::rename(host.setup().plugins(), host.setup().folder().join("aside")).unwrap();
    until("it is told that the folder is gone", || told("the plugins folder can't be read") > 0);
    host.get("acme", "/api/v1/hr/employees").expect(200);
    assert_eq!(names(&host), ["hr-core"], "what was there stays while nobody knows better");

    fs::create_dir(host.setup().plugins()).unwrap();
    until("the new folder is read", || told("can be read again") > 0);
    assert_eq!(told("the plugins folder can't be read"), 1, "it is told once, however often it is looked for");
    host.setup().add("answers");
    until("what is there now is available", || names(&host) == ["answers", "hr-core"]);
    assert_eq!(host.json(&["status"])["leaving"][0]["module"], "hr-core");
    host.get("acme", "/api/v1/hr/employees").expect(200);
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_watched() {
    let host = Setup::with(&["hr-core"]).config("[watch]\npoll-interval = \"50ms\"\n").start();
    fs::remove_dir_all(host.setup().plugins()).unwrap();
    fs::create_dir(host.setup().plugins()).unwrap();
    until("what was there is gone", || names(&host).is_empty());
    host.setup().add("answers");
    becomes_available(&host);
}

#[test]
fn a_file_system_without_events_is_polled() {
    let host = Setup::new().config("[watch]\nmode = \"poll\"\npoll-interval = \"50ms\"\n").start();
    host.setup().add("answers");
    becomes_available(&host);
}

#[test]
fn a_removed_file_is_reported_and_serves_until_no_tenant_uses_it() {
    let host = Setup::with(&["answers", "hr-core"]).start();
    host.tenant("acme", &["answers"]);
    host.tenant("other", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
    fs::remove_file(host.setup().plugins().join("answers.so")).unwrap();
    let leaving = until_some("the file is reported as gone", || {
        host.json(&["status"])["leaving"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&leaving["module"], &leaving["version"]), (&json!("answers"), &json!("1.0.0")), "{leaving}");
    assert_eq!(host.json(&["modules", "list"])["leaving"][0]["module"], "answers");
    for _ in 0..3 {
        host.get("acme", MARK).expect_text("the mark of release one");
        host.get("other", MARK).expect_text("the mark of release one");
    }
    host.tenon(&["disable", "acme", "answers"]).succeeds();
    host.get("other", MARK).expect_text("the mark of release one");
    host.tenon(&["disable", "other", "answers"]).succeeds();
    until("it is gone", || names(&host) == ["hr-core"] && host.json(&["status"])["leaving"] == json!([]));
    host.tenon(&["enable", "acme", "answers"]).refuses(3, "MODULE_NOT_FOUND", "Module not found in registry: answers");
    host.stop();
}

#[test]
fn a_removed_file_that_nobody_uses_is_gone_at_once() {
    let host = Setup::with(&["answers", "hr-core"]).start();
    fs::remove_file(host.setup().plugins().join("answers.so")).unwrap();
    until("it is gone", || names(&host) == ["hr-core"]);
    assert_eq!(host.json(&["status"])["leaving"], json!([]));
}

#[test]
fn a_newer_version_beside_the_old_one_is_taken_where_the_tenants_range_allows_it() {
    let host = Setup::with(&["answers"]).start();
    host.tenant("free", &["answers"]);
    host.tenant("pinned", &[]);
    host.tenon(&["enable", "pinned", "answers", "--version", "=1.0.0"]).succeeds();
    host.setup().add_new("answers-1.1.so", &NewModule::answers("1.1.0").mark("the mark of release two"));
    until("the newer one serves", || host.get("free", MARK).text() == "the mark of release two");
    host.get("pinned", MARK).expect_text("the mark of release one");
    let versions = host.json(&["modules", "show", "answers"])["versions"].clone();
    let state = |version: &Value| (version["version"].clone(), version["tenants"].clone());
    let states: Vec<_> = versions.as_array().unwrap().iter().map(state).collect();
    assert_eq!(states, [(json!("1.1.0"), json!(1)), (json!("1.0.0"), json!(1))]);
}

#[test]
fn a_replaced_file_is_served_from_then_on_and_no_request_is_lost() {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host.get("acme", MARK).expect_text("the mark of release one");
    host.setup().add_new("answers.so", &NewModule::answers("1.1.0").mark("the mark of release two"));
    until("the new one serves", || {
        let answer = host.get("acme", MARK);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text() == "the mark of release two"
    });
    // The same version with other bytes is another module too.
    host.setup().add_new("answers.so", &NewModule::answers("1.1.0").mark("the mark of release six"));
    until("the newest one serves", || {
        let answer = host.get("acme", MARK);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text() == "the mark of release six"
    });
    until("the old ones are unloaded", || host.json(&["stats"])["libraries"]["live"] == json!(1));
    host.stop();
}
