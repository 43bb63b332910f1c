//! Files are replaced by better and by worse ones: tenants move one by one, and go back from what is bad.

use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Setup, until, until_some};

const MARK: &str = "/fixtures/moody/mark";
const GOOD: &str = "the mark of release one";

/// Long enough that what is bad is found out within it, whatever the machine is doing.
const LONG_PROBATION: &str = "[reload]\nprobation = \"1h\"\nmin-requests = 40\n";
/// Over with the next sweep.
const SHORT_PROBATION: &str = "[reload]\nprobation = \"1ms\"\n";

fn start(config: &str, tenants: &[&str]) -> Host {
    let host = Setup::with(&["moody"]).config(config).start();
    for tenant in tenants {
        host.tenant(tenant, &["moody"]);
        host.get(tenant, MARK).expect_text(GOOD);
    }
    host
}

fn replace(host: &Host, version: &str, mood: &str) {
    host.setup().add_new("moody.so", &NewModule::moody(version, mood));
}

fn marks(host: &Host) -> Vec<Value> {
    host.json(&["quarantine", "list"])["marks"].as_array().unwrap().clone()
}

fn mark_of(host: &Host, tenant: &str) -> Option<Value> {
    marks(host).into_iter().find(|mark| mark["tenantId"] == tenant)
}

fn mark_for_all(host: &Host) -> Option<Value> {
    marks(host).into_iter().find(|mark| mark.get("tenantId").is_none())
}

fn version_of(host: &Host, tenant: &str) -> Value {
    host.json(&["tenants", "show", tenant])["enabledModules"][0]["state"]["version"].clone()
}

#[test]
fn a_tenant_whose_new_instance_fails_stays_where_it_is_and_the_others_move() {
    let host = start(LONG_PROBATION, &["bad-1", "good-1", "good-2"]);
    replace(&host, "1.1.0", "fails for bad tenants");
    for tenant in ["good-1", "good-2"] {
        until("the others move", || host.get(tenant, MARK).text().starts_with("fails for bad"));
    }
    let mark = until_some("it is reported", || mark_of(&host, "bad-1"));
    assert_eq!((&mark["module"], &mark["version"], &mark["kind"]), (&json!("moody"), &json!("1.1.0"), &json!("bad")));
    assert_eq!(mark["reason"], "initialize failed: not in the mood", "{mark}");
    host.get("bad-1", MARK).expect_text(GOOD);
    assert!(host.tenon(&["status"]).succeeds().stdout.contains("initialize failed: not in the mood"));
    // A panic makes a new instance, of the code that the tenant stayed on.
    assert_eq!(host.get("bad-1", "/fixtures/moody/panic").status, 500);
    host.get("bad-1", MARK).expect_text(GOOD);
    // The next file is tried again.
    replace(&host, "1.2.0", "the mark of release two");
    for tenant in ["bad-1", "good-1", "good-2"] {
        until("all move", || host.get(tenant, MARK).text() == "the mark of release two");
    }
    host.stop();
}

#[test]
fn what_too_many_tenants_can_not_use_is_left_by_all() {
    let host = start(LONG_PROBATION, &["bad-1", "bad-2", "good-1"]);
    replace(&host, "1.1.0", "fails for bad tenants");
    let mark = until_some("it is bad for all", || mark_for_all(&host));
    assert_eq!(mark["reason"], "2 of 3 tenants can't use it: initialize failed: not in the mood", "{mark}");
    for tenant in ["bad-1", "bad-2", "good-1"] {
        until("all are where they were", || host.get(tenant, MARK).text() == GOOD);
    }
    // Who comes later gets the version that all have.
    host.tenant("late", &["moody"]);
    host.get("late", MARK).expect_text(GOOD);
    host.stop();
}

#[test]
fn an_instance_that_hangs_or_is_not_healthy_is_not_put_into_service() {
    let config = format!("{LONG_PROBATION}[tenancy]\ninitialize-deadline = \"500ms\"\n");
    let host = start(&config, &["acme"]);
    for (version, mood, reason) in [
        ("1.1.0", "hangs in initialize", "initialize did not end within 500ms"),
        ("1.2.0", "is not healthy", "health failed: not feeling well"),
        ("1.3.0", "fails to initialize", "initialize failed: not in the mood"),
    ] {
        replace(&host, version, mood);
        let mark = until_some("it is reported", || {
            mark_of(&host, "acme").filter(|_| marks(&host).iter().any(|mark| mark["version"] == version))
        });
        assert_eq!(mark["tenantId"], "acme");
        assert!(marks(&host).iter().any(|mark| mark["reason"] == reason), "{:?}", marks(&host));
        host.get("acme", MARK).expect_text(GOOD);
    }
    host.stop();
}

#[test]
fn a_panic_during_probation_takes_the_tenant_back() {
    let host = start(LONG_PROBATION, &["bad-1", "good-1", "good-2"]);
    replace(&host, "1.1.0", "panics for bad tenants");
    for tenant in ["good-1", "good-2"] {
        until("the others move", || host.get(tenant, MARK).text().starts_with("panics for bad"));
    }
    until("the bad one has moved too", || {
        let answer = host.get("bad-1", MARK);
        assert!(answer.status == 200 || answer.status == 500, "{}", answer.text());
        answer.status == 500
    });
    until("it is back", || host.get("bad-1", MARK).text() == GOOD);
    let mark = until_some("it is reported", || mark_of(&host, "bad-1"));
    assert_eq!(mark["reason"], "it panicked, which 1.0.0 did not", "{mark}");
    host.get("good-1", MARK).expect_text("panics for bad tenants.");
    // It is not tried again, also by the next host.
    let host = host.killed_and_started();
    host.get("bad-1", MARK).expect_text(GOOD);
    host.get("good-1", MARK).expect_text("panics for bad tenants.");
    // Until somebody says so.
    host.tenon(&["quarantine", "release", "moody", "--tenant", "bad-1"]).succeeds();
    until("it is tried again", || host.get("bad-1", MARK).status == 500);
    host.stop();
}

#[test]
fn too_many_failures_during_probation_take_the_tenant_back() {
    let host = start(LONG_PROBATION, &["acme", "other"]);
    replace(&host, "1.1.0", "fails every fourth");
    let mark = until_some("it is found out", || {
        let answer = host.get("acme", MARK);
        assert!([200, 500].contains(&answer.status), "{}", answer.text());
        mark_of(&host, "acme")
    });
    let reason = mark["reason"].as_str().unwrap();
    assert!(reason.contains("requests failed (2") && reason.ends_with("0.0 % with 1.0.0"), "{reason}");
    until("it is back", || host.get("acme", MARK).text() == GOOD);
    host.stop();
}

#[test]
fn the_same_version_with_other_bytes_is_gone_back_from_too() {
    let host = start(LONG_PROBATION, &["acme"]);
    replace(&host, "1.0.0", "panics");
    until("it has moved", || host.get("acme", MARK).status == 500);
    until("it is back", || host.get("acme", MARK).text() == GOOD);
    host.stop();
}

#[test]
fn code_that_replaces_code_on_probation_is_measured_by_what_passed_last() {
    let host = start(LONG_PROBATION, &["acme"]);
    replace(&host, "1.1.0", "the mark of release two");
    until("it has moved", || host.get("acme", MARK).text() == "the mark of release two");
    replace(&host, "1.2.0", "panics");
    until("it has moved again", || host.get("acme", MARK).status == 500);
    let mark = until_some("it is reported", || mark_of(&host, "acme"));
    assert_eq!(mark["reason"], "it panicked, which 1.0.0 did not", "{mark}");
    until("it is back", || host.get("acme", MARK).status == 200);
    host.stop();
}

#[test]
fn a_version_that_was_replaced_long_ago_can_be_gone_back_to_after_a_restart() {
    let host = start(SHORT_PROBATION, &["acme", "other"]);
    let good = |host: &Host| {
        let files = std::fs::read_dir(host.setup().data().join("versions")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "good")).count()
    };
    until("the first has proved itself", || good(&host) == 1);
    replace(&host, "1.1.0", "the mark of release two");
    for tenant in ["acme", "other"] {
        until("all move", || host.get(tenant, MARK).text() == "the mark of release two");
    }
    until("the second has proved itself", || good(&host) == 2);
    let host = host.stop().start();
    host.get("acme", MARK).expect_text("the mark of release two");
    host.get("other", MARK).expect_text("the mark of release two");
    let said = host.tenon(&["rollback", "moody", "--tenant", "acme"]).succeeds();
    assert!(said.stderr.contains("moody 1.1.0 is left for 1.0.0 for tenant acme"), "{}", said.stderr);
    host.get("acme", MARK).expect_text(GOOD);
    host.get("other", MARK).expect_text("the mark of release two");
    host.tenon(&["rollback", "moody"]).succeeds();
    until("the other follows", || host.get("other", MARK).text() == GOOD);
    // There is nothing before the first.
    host.tenon(&["rollback", "moody"]).refuses(
        4,
        "MODULE_VERSION_UNSATISFIABLE",
        "There is no other version of moody to go back to",
    );
    host.get("acme", MARK).expect_text(GOOD);
    host.tenon(&["quarantine", "release", "moody"]).succeeds();
    for tenant in ["acme", "other"] {
        until("all are on the newest again", || host.get(tenant, MARK).text() == "the mark of release two");
    }
    assert_eq!(marks(&host), Vec::<Value>::new());
    host.stop();
}

#[test]
fn a_module_that_panics_again_and_again_is_quarantined_for_its_tenant() {
    let host = start("[reload]\npanic-limit = 3\n", &["acme", "other"]);
    let panicking = || host.get("acme", "/fixtures/moody/panic").status;
    until("it is quarantined", || {
        let status = panicking();
        assert!([500, 503].contains(&status), "{status}");
        status == 503
    });
    host.get("acme", MARK).refuses(503, "MODULE_QUARANTINED", "Module moody is kept from running");
    host.get("other", MARK).expect_text(GOOD);
    let mark = mark_of(&host, "acme").expect("the mark");
    assert_eq!((&mark["kind"], &mark["reason"]), (&json!("quarantined"), &json!("it panicked 3 times within 60s")));
    // It stays so for the next host, and there is a way out.
    let host = host.killed_and_started();
    host.get("acme", MARK).refuses(503, "MODULE_QUARANTINED", "Module moody is kept from running");
    host.tenon(&["quarantine", "release", "moody"]).succeeds();
    until("it serves again", || host.get("acme", MARK).status == 200);
    host.stop();
}

#[test]
fn nobody_waits_for_a_slow_tenant() {
    let tenants: Vec<String> = (0..20).map(|number| format!("t{number}")).chain(["slow-1".to_owned()]).collect();
    let names: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let host = start("", &names);
    replace(&host, "1.1.0", "slow for slow tenants");
    for tenant in &names[..20] {
        until("the quick ones move", || host.get(tenant, MARK).text().starts_with("slow for slow"));
    }
    host.get("slow-1", MARK).expect_text(GOOD);
    until("the slow one moves too", || host.get("slow-1", MARK).text().starts_with("slow for slow"));
    host.stop();
}

#[test]
fn a_body_that_is_being_streamed_keeps_its_code() {
    let host = start("", &["acme"]);
    let stream = host.of("acme", "GET", "/fixtures/moody/stream");
    let reading = std::thread::spawn(move || stream.send());
    let inside = || host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"]["inside"] == json!(1);
    until("the stream has begun", inside);
    replace(&host, "1.1.0", "the mark of release two");
    until("the tenant has moved", || host.get("acme", MARK).text() == "the mark of release two");
    let text = reading.join().unwrap().text();
    assert_eq!(text.lines().filter(|line| *line == GOOD).count(), 100, "{text}");
    until("the old code is unloaded", || host.json(&["stats"])["libraries"]["live"] == json!(1));
    host.stop();
}

#[test]
fn a_cleanup_that_hangs_or_panics_holds_nobody_up() {
    let host = start("[tenancy]\ninitialize-deadline = \"500ms\"\n", &["acme"]);
    for (version, mood) in [("1.1.0", "hangs in cleanup"), ("1.2.0", "panics in cleanup"), ("1.3.0", "calm")] {
        replace(&host, version, mood);
        until("it moves", || host.get("acme", MARK).text().starts_with(mood));
    }
    until("what is left is unloaded", || host.json(&["stats"])["libraries"]["live"] == json!(1));
    host.stop();
}

#[test]
fn a_lower_version_in_the_place_of_a_higher_one_is_served() {
    let host = start("", &["acme"]);
    replace(&host, "2.0.0", "the mark of release two");
    until("it moves up", || host.get("acme", MARK).text() == "the mark of release two");
    replace(&host, "1.0.1", "back to the roots");
    until("it moves down", || host.get("acme", MARK).text().starts_with("back to the roots"));
    assert_eq!(version_of(&host, "acme"), json!("1.0.1"));
    host.stop();
}

#[test]
fn starts_that_hang_hold_up_no_others() {
    let config = "[tenancy]\nstart-concurrency = 1\ninitialize-deadline = \"20s\"\n";
    let setup = start(config, &["one", "two", "three"]).stop();
    setup.add_new("moody.so", &NewModule::moody("1.0.0", "hangs in initialize"));
    setup.add("answers");
    let host = setup.start();
    host.tenant("other", &["answers"]);
    let hanging: Vec<_> = ["one", "two", "three"]
        .map(|tenant| host.of(tenant, "GET", MARK))
        .into_iter()
        .map(|ask| std::thread::spawn(move || ask.send()))
        .collect();
    // Far below the deadline of those that hang: one that had to wait for one of them would be told MODULE_BUSY.
    host.tenon(&["disable", "other", "answers"]).succeeds();
    host.tenon(&["enable", "other", "answers"]).succeeds();
    host.get("other", "/fixtures/answers/mark").expect_text(GOOD);
    assert!(hanging.iter().all(|hanging| !hanging.is_finished()), "they still hang");
    for hanging in hanging {
        hanging.join().unwrap().refuses(503, "MODULE_LOAD_FAILED", "Failed to load module: moody");
    }
    host.stop();
}

/// A host that may have two libraries mapped, one of them taken by another module.
fn full(config: &str) -> Host {
    let host =
        Setup::with(&["moody", "answers"]).config(config).config("[tenancy]\nmax-generations = 2\nlinger = \"0s\"\n");
    let host = host.start();
    host.tenant("acme", &["moody"]);
    host.get("acme", MARK).expect_text(GOOD);
    host.tenon(&["tenants", "create", "other"]).succeeds();
    host
}

#[test]
fn a_host_that_has_no_room_for_new_code_holds_nothing_against_it() {
    let host = full(LONG_PROBATION);
    host.tenon(&["enable", "other", "answers"]).succeeds();
    replace(&host, "1.1.0", "the mark of release two");
    until("it was tried", || host.output().contains("2 libraries are mapped and the limit is 2"));
    host.get("acme", MARK).expect_text(GOOD);
    assert_eq!(marks(&host), Vec::<Value>::new());
    host.tenon(&["disable", "other", "answers"]).succeeds();
    until("it is tried again", || host.get("acme", MARK).text() == "the mark of release two");
    assert_eq!(marks(&host), Vec::<Value>::new());
    host.stop();
}

#[test]
fn a_way_back_that_is_barred_is_tried_until_it_is_free() {
    let host = full(LONG_PROBATION);
    replace(&host, "1.1.0", "fails every fourth");
    until("it has moved", || host.get("acme", MARK).text() != GOOD);
    until("the old library is unloaded", || host.json(&["stats"])["libraries"]["unloaded"] == json!(1));
    host.tenon(&["enable", "other", "answers"]).succeeds();
    until("it is found out", || {
        host.get("acme", MARK);
        host.output().contains("2 libraries are mapped and the limit is 2")
    });
    host.tenon(&["disable", "other", "answers"]).succeeds();
    until("it is back", || version_of(&host, "acme") == "1.0.0");
    host.get("acme", MARK).expect_text(GOOD);
    assert!(mark_of(&host, "acme").is_some());
    host.stop();
}
