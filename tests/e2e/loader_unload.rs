//! Modules that leave things behind are loaded and unloaded many times, in a process of their own each, so
//! that a crash at the end of a thread is seen.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use e2e::{Asked, FakeServices, ask, request};
use serde_json::Value;

use crate::stage::{LONG, Stage, fixture};

/// Runs the soak over a fixture and gives what it printed.
fn soak(options: &[&str], name: &str, calls: &[&str]) -> Value {
    let run = Command::new(env!("CARGO_BIN_EXE_unload_soak"))
        .args(options)
        .arg(fixture(name).path)
        .args(calls)
        // The default hook would map every object of the process; the module's own must not.
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("the soak starts");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", run.status);
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// Every cycle ended with the library gone, and next to nothing stayed.
fn expect_gone(name: &str, calls: &[&str]) -> Value {
    let cycles = 1000;
    let left = soak(&["--cycles", "1000"], name, calls);
    assert_eq!(left["refused"], Value::Null, "{left:#}");
    assert_eq!(left["unloaded"], cycles, "{left:#}");
    assert_eq!(left["still_mapped"], 0, "{left:#}");
    assert!(left["growth_bytes"].as_i64().is_some_and(|growth| growth < 5 << 20), "{left:#}");
    left
}

/// How often a call came to an outcome.
fn count(left: &Value, outcome: &str) -> u64 {
    left["outcomes"][outcome].as_u64().unwrap_or(0)
}

#[test]
fn thread_locals_of_every_sort_are_unloaded() {
    let calls = ["GET /destructor", "GET /chain", "GET /current", "GET /local-time", "GET /channel", "GET /joined"];
    let left = expect_gone("thread-locals", &calls);
    assert_eq!(left["forgotten_entries"], 0, "{left:#}");
    assert_eq!(count(&left, "GET /local-time: 200"), 3000, "{left:#}");
}

#[test]
fn what_constructors_leave_behind_is_unloaded() {
    let left = expect_gone("early", &["GET /"]);
    assert_eq!(left["forgotten_entries"], 0, "{left:#}");
}

#[test]
fn threads_that_end_by_themselves_are_waited_for() {
    let left = expect_gone("keeps-threads", &["GET /joined", "GET /detached"]);
    assert_eq!(count(&left, "GET /detached: 200"), 3000, "{left:#}");
}

#[test]
fn panics_leave_nothing_behind_even_with_backtraces_on() {
    let calls =
        ["GET /handler", "GET /after-await", "GET /payload", "~GET /drop-of-local", "GET /in-thread", "GET /fine"];
    let left = expect_gone("panics", &calls);
    assert_eq!(count(&left, "GET /drop-of-local: cut"), 3000, "{left:#}");
    assert_eq!(count(&left, "GET /fine: 200"), 3000, "{left:#}");
}

#[test]
fn futures_dropped_half_way_are_unloaded_and_forgotten_ones_wake_nobody() {
    let left = expect_gone("half-way", &["~GET /sleep", "~GET /store", "~GET /nested", "GET /forgotten"]);
    assert_eq!(count(&left, "GET /nested: cut"), 3000, "{left:#}");
}

#[test]
fn streams_cut_and_failed_are_unloaded() {
    let left = expect_gone("streams", &["GET /pieces", "GET /fails", "GET /panics", "~GET /endless", "GET /large"]);
    assert_eq!(count(&left, "GET /large: 200"), 3000, "{left:#}");
}

#[test]
fn modules_that_log_are_unloaded() {
    expect_gone("logs", &["GET /events", "GET /spans", "GET /across"]);
}

#[test]
fn a_unique_symbol_keeps_the_library_and_the_limit_refuses_more() {
    let left = soak(&["--cycles", "300"], "gnu-unique", &["GET /"]);
    assert_eq!(left["unloaded"], 0, "{left:#}");
    assert_eq!(left["still_mapped"], 256, "{left:#}");
    assert_eq!(left["resident"], serde_json::json!({ "it has a GNU_UNIQUE symbol": 256 }));
    assert_eq!(left["refused"], "256 libraries are mapped and the limit is 256; those of 256 can't be unloaded");

    // Nobody said so beforehand: it is found out by looking.
    let left = soak(&["--cycles", "5", "--no-note"], "gnu-unique", &["GET /"]);
    assert_eq!(left["resident"], serde_json::json!({ "the dynamic linker keeps it mapped after it was closed": 1 }));
    assert_eq!(left["still_mapped"], 1, "{left:#}");
}

#[test]
fn a_thread_that_never_ends_keeps_the_library_with_the_reason() {
    let left = soak(&["--cycles", "3"], "endless-thread", &["GET /start"]);
    assert_eq!(left["unloaded"], 0, "{left:#}");
    assert_eq!(left["resident"], serde_json::json!({ "3 threads of the module are still running": 3 }));
}

#[test]
fn a_library_that_waited_for_its_thread_goes_when_the_thread_ends() {
    let stage = Stage::with(|settings| settings.thread_wait = Duration::ZERO);
    let played = stage.play("keeps-threads");
    stage.text(&played, "GET", "/detached", "");
    played.end(&stage).unwrap();
    // Resident for a moment, or gone at once: in the end it is gone.
    stage.expect_empty();
    assert_eq!(stage.loader.report().unloaded, 1);
}

#[test]
fn what_a_deaf_thread_keeps_is_forgotten_and_counted() {
    let stage = Stage::with(|settings| settings.sweep_wait = Duration::from_millis(50));
    let played = stage.play("thread-locals");
    let asked = request(&played.instance, "GET", "/chain", "");
    let instance = Arc::clone(&played.instance);
    let (go, wait) = mpsc::channel::<()>();
    let (done, answered) = mpsc::channel();
    let deaf = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        done.send(matches!(runtime.block_on(ask(&instance, asked, LONG)), Asked::Reply(_, Ok(_)))).unwrap();
        drop(instance);
        let _ = wait.recv();
    });
    assert!(answered.recv_timeout(LONG).unwrap());
    played.end(&stage).unwrap();
    stage.expect_empty();
    assert!(stage.loader.report().forgotten_entries >= 2);
    // It ends after the library is gone, and runs nothing of it.
    drop(go);
    deaf.join().unwrap();
}

#[test]
fn generations_are_swapped_under_load_and_all_of_them_go() {
    const SWAPS: u64 = 40;
    let stage = Stage::new();
    let file = fixture("thread-locals");
    let make = || {
        let services = Arc::new(FakeServices::new("t1", "{}", stage.services.handle()));
        let generation = file.open(&stage.loader).unwrap();
        Arc::new(stage.services.block_on(generation.initialize(services)).unwrap())
    };
    let current = Arc::new(std::sync::RwLock::new(make()));
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let running: Vec<_> = (0..8)
        .map(|task| {
            let (current, stop, answers) = (Arc::clone(&current), Arc::clone(&stop), Arc::clone(&answers));
            stage.workers.begin(task, async move {
                let mut wrong = 0;
                while !stop.load(Ordering::Relaxed) {
                    let instance = Arc::clone(&current.read().unwrap());
                    for path in ["/destructor", "/current", "/channel"] {
                        let asked = request(&instance, "GET", path, "");
                        let fine = matches!(ask(&instance, asked, LONG).await, Asked::Reply(reply, Ok(_)) if reply.status == 200);
                        wrong += u64::from(!fine);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::task::yield_now().await;
                }
                wrong
            })
        })
        .collect();
    let deadline = Instant::now() + LONG;
    for _ in 0..SWAPS {
        let fresh = make();
        let old = std::mem::replace(&mut *current.write().unwrap(), fresh);
        let serial = old.generation().info().serial;
        drop(old);
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(
            stage.loader.wait_for(left, |report| {
                !report.live.iter().chain(&report.closing).any(|info| info.serial == serial)
            })
        );
    }
    stop.store(true, Ordering::Relaxed);
    let wrong: u64 = running.iter().map(|task| task.recv_timeout(LONG).unwrap()).sum();
    assert_eq!(wrong, 0);
    assert!(answers.load(Ordering::Relaxed) > SWAPS);
    drop(current);
    stage.expect_empty();
    assert_eq!(stage.loader.report().unloaded, SWAPS + 1);
    assert!(
        !Path::new("/proc/self/maps").exists() || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            !maps.contains(&*stage.folder.path().to_string_lossy())
        }
    );
}
