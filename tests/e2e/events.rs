//! Events and wake-ups: fixture `herald` publishes what it is told, `listener` writes down what it hears.

use serde_json::Value;

use crate::harness::{Host, NewModule, Setup, until, until_some};

/// Tries that come soon, so that ten of them fit into a test.
const QUICK: &str = "[deliveries]\nretry-base = \"1ms\"\nretry-limit = \"5ms\"\nlook-every = \"20ms\"\n";

fn setup() -> Setup {
    Setup::with(&["herald", "listener"]).config(QUICK)
}

fn start() -> Host {
    let host = setup().start();
    host.tenant("acme", &["herald", "listener"]);
    host
}

fn say(host: &Host, tenant: &str, text: &str) {
    host.of(tenant, "POST", &format!("/fixtures/herald/say/{text}")).send().expect(204);
}

fn wake(host: &Host, tenant: &str, key: &str, millis: u64) {
    host.of(tenant, "POST", &format!("/fixtures/listener/wake/{key}?in={millis}")).send().expect(204);
}

fn log(host: &Host, tenant: &str, name: &str) -> Vec<String> {
    let lines = host.get(tenant, &format!("/fixtures/listener/log/{name}")).expect(200);
    lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn events_come_in_the_order_in_which_they_were_published_to_those_who_listen() {
    let host = start();
    host.tenant("other", &["herald", "listener"]);
    for number in 0..30 {
        say(&host, "acme", &number.to_string());
    }
    until("all are heard", || log(&host, "acme", "events").len() >= 30);
    assert_eq!(log(&host, "acme", "events"), numbers(0..30));
    assert_eq!(log(&host, "other", "events"), Vec::<String>::new(), "nothing reaches another tenant");
    let undeclared = host.of("acme", "POST", "/fixtures/herald/undeclared").send();
    undeclared.expect_text("event `whispered` is not listed under `publishes` in the manifest");
    // Who is off hears nothing of what is published then.
    host.tenon(&["disable", "acme", "listener"]).succeeds();
    say(&host, "acme", "unheard");
    host.tenon(&["enable", "acme", "listener"]).succeeds();
    say(&host, "acme", "heard");
    until("the next is heard", || log(&host, "acme", "events").len() > 30);
    assert_eq!(log(&host, "acme", "events")[30..], ["heard"]);
    host.stop();
}

#[test]
fn what_fails_ten_times_is_a_dead_letter_that_can_be_retried_or_discarded() {
    let host = start();
    for text in ["fail-1", "between", "fail-2"] {
        say(&host, "acme", text);
    }
    let dead = until_some("both are dead letters", || {
        let status = host.json(&["status"]);
        (status["deliveries"]["dead"] == 2).then_some(status)
    });
    assert_eq!(log(&host, "acme", "events"), ["between"]);
    let letters = dead["deadLetters"].as_array().unwrap();
    let first = &letters[0];
    assert_eq!(
        (&first["tenantId"], &first["module"], &first["failures"]),
        (&"acme".into(), &"listener".into(), &10.into())
    );
    assert_eq!(first["what"], "event herald:said", "{first}");
    assert_eq!(first["error"], "fail-1 from herald on attempt 10", "{first}");
    let told = host.tenon(&["status"]).succeeds();
    assert!(told.stdout.contains("fail-1 from herald on attempt 10"), "{}", told.stdout);

    let id = |at: usize| letters[at]["id"].to_string();
    host.tenon(&["flags", "set", "acme", "forgiving=true"]).succeeds();
    host.tenon(&["dead-letters", "retry", &id(0)]).succeeds();
    host.tenon(&["dead-letters", "discard", &id(1)]).succeeds();
    until("the retried one is heard", || log(&host, "acme", "events").len() == 2);
    assert_eq!(log(&host, "acme", "events"), ["between", "fail-1"]);
    assert_eq!(host.json(&["dead-letters", "list"])["deadLetters"], Value::Array(Vec::new()));
    host.tenon(&["dead-letters", "retry", &id(0)]).refuses(
        3,
        "DEAD_LETTER_NOT_FOUND",
        &format!("Dead letter not found: {}", id(0)),
    );
    host.stop();
}

#[test]
fn a_handler_that_panics_is_tried_again_and_the_host_lives() {
    let host = start();
    say(&host, "acme", "panic");
    say(&host, "acme", "after");
    until("both are heard", || log(&host, "acme", "events").len() == 2);
    assert_eq!(log(&host, "acme", "events"), ["panic", "after"]);
    host.stop();
}

#[test]
fn kill_9_between_publish_and_delivery_loses_nothing_and_repeats_at_most_what_was_in_flight() {
    const KILLS: u32 = 50;
    let mut host = start();
    let mut said = 0;
    for _ in 0..KILLS {
        for _ in 0..3 {
            say(&host, "acme", &said.to_string());
            said += 1;
        }
        // Somewhere between the publication of the last and the delivery of all.
        host = host.killed_and_started();
    }
    until("the last is heard", || {
        log(&host, "acme", "events").last().is_some_and(|last| *last == (said - 1).to_string())
    });
    let heard = log(&host, "acme", "events");
    let mut once = heard.clone();
    once.dedup();
    assert_eq!(once, numbers(0..said), "nothing is lost, and the order holds");
    let repeated = heard.len() - once.len();
    assert!(repeated <= KILLS as usize, "{repeated} were repeated by {KILLS} kills");
    println!("{said} events, {KILLS} kills, {repeated} repeated");
    host.stop();
}

#[test]
fn wake_ups_come_when_they_are_due_survive_a_kill_and_can_be_taken_back() {
    let mut host = start();
    wake(&host, "acme", "soon", 0);
    until("it is woken", || log(&host, "acme", "wakes") == ["soon"]);
    wake(&host, "acme", "moved", 3_600_000);
    wake(&host, "acme", "never", 3_600_000);
    wake(&host, "acme", "later", 400);
    host.of("acme", "DELETE", "/fixtures/listener/wake/never").send().expect(204);
    host = host.killed_and_started();
    // Nobody has asked for the tenant since: the wake-up itself makes the instance.
    until("the tenant is awake", || host.json(&["stats"])["tenants"]["inMemory"] == 1);
    until("it is woken after the kill", || log(&host, "acme", "wakes").len() == 2);
    wake(&host, "acme", "moved", 0);
    until("it is woken at the new time", || log(&host, "acme", "wakes").len() == 3);
    assert_eq!(log(&host, "acme", "wakes"), ["soon", "later", "moved"]);
    assert_eq!(host.json(&["status"])["deliveries"]["waiting"], 0);
    host.stop();
}

#[test]
fn a_wake_up_that_sets_itself_again_comes_again_and_one_that_fails_is_a_dead_letter() {
    let host = start();
    wake(&host, "acme", "again-3", 0);
    until("it came three times", || log(&host, "acme", "wakes").len() == 3);
    assert_eq!(log(&host, "acme", "wakes"), ["again-3"; 3]);
    wake(&host, "acme", "fail", 0);
    let dead = until_some("it is a dead letter", || {
        let letters = host.json(&["dead-letters", "list"]);
        letters["deadLetters"].get(0).cloned()
    });
    assert_eq!((&dead["what"], &dead["error"]), (&"wake-up fail".into(), &"not-yet: the key says so".into()), "{dead}");
    host.stop();
}

#[test]
fn what_is_due_to_a_suspended_tenant_waits_for_it() {
    let host = start();
    host.tenant("other", &["herald", "listener"]);
    wake(&host, "acme", "waits", 300);
    host.tenon(&["tenants", "suspend", "acme"]).succeeds();
    wake(&host, "other", "goes", 300);
    until("the other's came", || log(&host, "other", "wakes") == ["goes"]);
    assert_eq!(host.json(&["status"])["deliveries"]["waiting"], 1);
    host.tenon(&["tenants", "resume", "acme"]).succeeds();
    until("it came after the resume", || log(&host, "acme", "wakes") == ["waits"]);
    assert_eq!(log(&host, "other", "wakes"), ["goes"]);
    host.stop();
}

#[test]
fn a_long_queue_is_worked_off() {
    let host = start();
    for key in 0..100 {
        wake(&host, "acme", &format!("k{key}"), 0);
    }
    until("all came", || log(&host, "acme", "wakes").len() == 100);
    let mut keys = log(&host, "acme", "wakes");
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 100);
    host.stop();
}

#[test]
fn events_for_a_module_that_is_held_back_are_kept_for_it() {
    let host = start();
    say(&host, "acme", "before");
    until("it is heard", || log(&host, "acme", "events") == ["before"]);
    let host = host.stop().start_with(|command| {
        command.arg("--safe");
    });
    host.tenon(&["quarantine", "release", "herald"]).succeeds();
    until("the herald is back", || host.of("acme", "POST", "/fixtures/herald/say/meanwhile").send().status == 204);
    assert_eq!(host.json(&["status"])["deliveries"]["waiting"], 1);
    host.tenon(&["quarantine", "release", "listener"]).succeeds();
    until("what was said meanwhile is heard", || {
        let answer = host.get("acme", "/fixtures/listener/log/events");
        answer.status == 200 && answer.json().as_array().is_some_and(|lines| lines.len() == 2)
    });
    assert_eq!(log(&host, "acme", "events"), ["before", "meanwhile"]);
    host.stop();
}

#[test]
fn an_event_that_the_version_that_runs_does_not_want_is_given_up_and_not_forgotten() {
    let manifest = |version: &str, subscribes: &str| {
        let text = include_str!("../fixtures/listener/module.toml").replace("1.0.0", version);
        NewModule::of("listener", text.replace("subscribes = [\"herald:said\"]", subscribes))
    };
    let host = setup().config("[reload]\nprobation = \"0s\"\n").start();
    host.tenant("acme", &["herald", "listener"]);
    host.setup().add_new("listener.so", &manifest("1.1.0", "subscribes = []"));
    until("the other version runs", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][1]["state"]["version"] == "1.1.0"
    });
    // As another host would put it up that has the version which subscribes.
    host.setup().add_new("listener.so", &manifest("1.2.0", "subscribes = [\"herald:said\"]"));
    until("the next version runs", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][1]["state"]["version"] == "1.2.0"
    });
    say(&host, "acme", "hold");
    until("it is being handled", || log(&host, "acme", "begun").len() == 1);
    say(&host, "acme", "kept");
    host.setup().add_new("listener.so", &manifest("1.3.0", "subscribes = []"));
    let letters = until_some("both are given up", || {
        let status = host.json(&["status"]);
        status["deadLetters"].as_array().filter(|letters| letters.len() == 2).cloned()
    });
    let error = letters[1]["error"].as_str().unwrap();
    assert_eq!(error, "version 1.3.0, which runs for the tenant, does not subscribe to it", "{letters:?}");
    host.setup().add_new("listener.so", &manifest("1.4.0", "subscribes = [\"herald:said\"]"));
    until("a version that wants it runs", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][1]["state"]["version"] == "1.4.0"
    });
    host.tenon(&["dead-letters", "retry", &letters[1]["id"].to_string()]).succeeds();
    until("it is heard", || log(&host, "acme", "events") == ["kept"]);
    host.stop();
}
