//! A module that does not give its thread back does harm to itself: its tenant's other modules, other tenants and the
//! operators are served.

use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::harness::{Answer, Host, NewModule, Setup, until};

const MARK: &str = "/fixtures/spins/mark";
const UNTIL_RELEASED: &str = "/fixtures/spins/until-released";
const KEPT_OUT: &str = "Module spins is kept from running";

fn ask(host: &Host, tenant: &str, path: &str) -> JoinHandle<Answer> {
    let asked = host.of(tenant, "GET", path);
    thread::spawn(move || asked.send())
}

fn stuck(host: &Host) -> Vec<Value> {
    host.json(&["status"])["stuck"].as_array().unwrap().clone()
}

fn until_stuck(host: &Host, count: usize) -> Vec<Value> {
    until(&format!("{count} threads are stuck"), || stuck(host).len() == count);
    stuck(host)
}

fn release(host: &Host, tenant: &str) {
    host.tenon(&["flags", "set", tenant, "released=true"]).succeeds();
}

/// A host with one thread for tenants, and tenants that use `spins` and `answers`.
fn start(mode: &str, more: &str, tenants: &[&str]) -> Host {
    let config = format!("[runtime]\nworkers = 1\nmode = \"{mode}\"\n{more}");
    let host = Setup::with(&["spins", "answers"]).config(&config).start();
    for tenant in tenants {
        host.tenant(tenant, &["spins", "answers"]);
    }
    host
}

fn a_stuck_handler(mode: &str, thread: &str) {
    let host = start(mode, "", &["acme", "other"]);
    let kept = ask(&host, "acme", UNTIL_RELEASED);
    until("the handler is inside", || {
        let modules = host.json(&["tenants", "show", "acme"])["enabledModules"].clone();
        modules.as_array().unwrap().iter().any(|module| module["state"]["inside"] == json!(1))
    });
    // These come while nobody knows yet that the only thread is stuck: they wait at its socket.
    let waiting: Vec<_> = (0..8).map(|_| ask(&host, "other", MARK)).collect();
    let known = until_stuck(&host, 1);
    assert_eq!((&known[0]["tenantId"], &known[0]["module"]), (&json!("acme"), &json!("spins")), "{known:?}");
    assert_eq!(known[0]["thread"], thread, "{known:?}");
    for waiting in waiting {
        waiting.join().unwrap().expect_text("quick");
    }

    until("nobody else gets in", || host.get("acme", MARK).status == 503);
    let refused = host.get("acme", MARK);
    refused.refuses(503, "MODULE_QUARANTINED", KEPT_OUT);
    assert_eq!(refused.header("retry-after"), "1");
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.get("other", MARK).expect_text("quick");
    assert_eq!(host.ask_operators("GET", "/livez").send().text(), "ok\n");
    let shown = host.tenon(&["status"]);
    assert!(shown.stdout.contains("Stuck: ") && shown.stdout.contains(thread), "{shown:?}");
    let verbose = host.ask_operators("GET", "/readyz?verbose").token(&host.token()).send().text();
    assert!(verbose.contains(&format!("[-] threads: 1 stuck threads: {thread} in spins of acme")), "{verbose}");

    release(&host, "acme");
    kept.join().unwrap().expect_text("released");
    until_stuck(&host, 0);
    until("they get in again", || host.get("acme", MARK).status == 200);
    let output = host.output();
    for told in ["module code does not give its thread back", "module code has given its thread back"] {
        let mut lines = output.lines().filter(|line| line.contains(told));
        assert!(lines.any(|line| line.contains("acme") && line.contains("spins") && line.contains(thread)), "{told}");
    }
    host.stop();
}

#[test]
fn a_stuck_handler_keeps_its_own_module_out_and_nobody_else_per_core() {
    a_stuck_handler("per-core", "tenon-gateway-0");
}

#[test]
fn a_stuck_handler_keeps_its_own_module_out_and_nobody_else_work_stealing() {
    a_stuck_handler("work-stealing", "tenon-gateway");
}

#[test]
fn with_all_threads_lost_the_probe_fails_and_operators_are_answered() {
    let tenants = ["t0", "t1", "t2", "t3", "t4"];
    let host = start("per-core", "[tenancy]\nlinger = \"0\"\n", &tenants);
    let mut kept = Vec::new();
    for (count, tenant) in tenants.iter().enumerate() {
        kept.push(ask(&host, tenant, UNTIL_RELEASED));
        until_stuck(&host, count + 1);
    }
    let livez = || host.ask_operators("GET", "/livez").send();
    until("the probe fails", || livez().status == 503);
    assert_eq!(livez().text(), "modules keep every thread that serves tenants, and every spare one\n");

    // The supervisor, the watch and the reaper go on.
    host.tenon(&["tenants", "create", "late"]).succeeds();
    host.setup().add_new("fresh.so", &NewModule::answers_as("fresh", "/fixtures/fresh"));
    until("the new module is seen", || host.tenon(&["modules", "show", "fresh"]).code == 0);
    host.tenon(&["enable", "late", "fresh"]).succeeds();
    let unloaded = || host.json(&["stats"])["libraries"]["unloaded"].as_u64().unwrap();
    let before = unloaded();
    host.tenon(&["disable", "late", "fresh"]).succeeds();
    until("a library is unloaded", || unloaded() > before);

    for tenant in tenants {
        release(&host, tenant);
    }
    for kept in kept {
        kept.join().unwrap().expect_text("released");
    }
    until("the probe is content", || livez().status == 200);
    until_stuck(&host, 0);
    for tenant in tenants {
        until("all are let in", || host.get(tenant, MARK).status == 200);
    }
    host.stop();
}

#[test]
fn a_task_that_keeps_a_background_thread_leaves_timers_to_others() {
    let host = start("per-core", "", &["acme", "other"]);
    assert_eq!(host.of("acme", "POST", "/fixtures/spins/task").send().status, 204);
    let known = until_stuck(&host, 1);
    assert_eq!(known[0]["thread"], "tenon-background", "{known:?}");
    host.get("acme", MARK).refuses(503, "MODULE_QUARANTINED", KEPT_OUT);
    host.get("other", "/fixtures/answers/wait/50").expect_text("waited");
    release(&host, "acme");
    until_stuck(&host, 0);
    until("they get in again", || host.get("acme", MARK).status == 200);
    host.stop();
}

#[test]
fn blocking_work_may_take_its_time() {
    let host = start("per-core", "", &["acme"]);
    host.get("acme", "/fixtures/spins/blocking/2500").expect_text("blocked");
    assert!(!host.output().contains("does not give its thread back"), "{}", host.output());
}

#[test]
fn who_gets_stuck_again_and_again_is_quarantined_until_it_is_released() {
    let host = start("per-core", "[containment]\nstuck-limit = 2\nstuck-window = \"5m\"\n", &["acme", "other"]);
    for _ in 0..2 {
        until("it is let in", || host.get("acme", MARK).status == 200);
        host.get("acme", "/fixtures/spins/for/1500").expect_text("spun");
    }
    let marks = || host.json(&["quarantine", "list"])["marks"].clone();
    until("the second time is one too many", || marks().as_array().unwrap().len() == 1);
    let mark = marks()[0].clone();
    assert_eq!((&mark["tenantId"], &mark["kind"]), (&json!("acme"), &json!("quarantined")), "{mark}");
    assert_eq!(mark["reason"], "kept a thread for more than a second 2 times within 300s", "{mark}");
    until("it is stopped", || host.get("acme", MARK).status == 503);
    until_stuck(&host, 0);
    host.get("acme", MARK).refuses(503, "MODULE_QUARANTINED", KEPT_OUT);
    host.get("other", MARK).expect_text("quick");
    host.tenon(&["quarantine", "release", "spins", "--tenant", "acme"]).succeeds();
    until("it serves again", || host.get("acme", MARK).status == 200);
    host.stop();
}

#[test]
fn a_module_that_floods_the_log_is_cut_short_and_the_others_are_heard() {
    let config = "[containment]\nlog-lines-per-second = 100\n";
    let host = Setup::with(&["floods", "logs"]).config(config).start();
    host.tenant("acme", &["floods", "logs"]);
    host.tenant("other", &["floods"]);
    host.of("acme", "POST", "/fixtures/floods/log/5000").send().expect(204);
    host.of("other", "POST", "/fixtures/floods/log/10").send().expect(204);
    host.get("acme", "/fixtures/logs/events");
    let told = "lines of a module were dropped";
    until("it is told how many were dropped", || host.output().contains(told));
    // The lines may have fallen into two seconds, or into three where the machine is slow.
    let dropped = || -> u64 {
        let output = host.output();
        let figures = output.lines().filter(|line| line.contains(told)).map(|line| {
            assert!(line.contains("acme") && line.contains("floods"), "{line}");
            let (_, rest) = line.split_once("dropped=").unwrap();
            rest.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        figures.sum()
    };
    let written = |tenant: &str| {
        let output = host.output();
        output.lines().filter(|line| line.contains("one of many") && line.contains(&format!("\"{tenant}\""))).count()
    };
    until("none is lost without a word", || dropped() + written("acme") as u64 == 5_000);
    assert!(written("acme") <= 1_000, "{}", written("acme"));
    until("the other tenant is heard", || written("other") == 10);
    until("the other module is heard", || host.output().contains("a plain error"));
    host.stop();
}

#[test]
fn a_module_that_floods_its_subscribers_is_told_that_no_more_is_taken() {
    let manifest = include_str!("../fixtures/listener/module.toml").replace("herald", "floods");
    let listener = NewModule::of("listener", manifest.replace("floods:said", "floods:flood"));
    let config = "[containment]\nevents-waiting = 20\n[deliveries]\nretry-base = \"1h\"\nretry-limit = \"1h\"\n";
    let setup = Setup::with(&["floods"]).config(config);
    setup.add_new("listener.so", &listener);
    let host = setup.start();
    for tenant in ["acme", "other"] {
        host.tenant(tenant, &["floods", "listener"]);
    }
    let flood = |tenant: &str, count: u32| host.of(tenant, "POST", &format!("/fixtures/floods/publish/{count}")).send();
    flood("acme", 1_000).expect_text("20: too many events wait to be delivered: 20 of at most 20");
    flood("other", 20).expect_text("all");
    assert_eq!(host.json(&["status"])["deliveries"]["waiting"], json!(40));
    host.stop();
}
