//! A host ends in order: what is inside is answered, then the process is gone, and nothing of it is left.

use std::{fs, net::TcpStream, thread};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Ran, Setup, until, until_some};

#[test]
fn a_request_that_is_inside_is_answered_before_the_host_ends() {
    let mut host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/1000");
    let inside = thread::spawn(move || wait.send());
    until("the request is inside", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"]["inside"] == json!(1)
    });
    host.signal(Signal::TERM);
    inside.join().unwrap().expect_text("waited");
    assert_eq!(host.ended().code(), Some(0), "{}", host.output());
    assert!(TcpStream::connect(host.operators()).is_err(), "nobody listens any more");
    let staged = host.setup().data().join("staging");
    let left = fs::read_dir(staged).map_or(0, Iterator::count);
    assert_eq!(left, 0, "staged copies are gone");
}

#[test]
fn new_requests_are_not_taken_while_the_host_ends() {
    let mut host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/1500");
    let inside = thread::spawn(move || wait.send());
    until("the request is inside", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"]["inside"] == json!(1)
    });
    host.signal(Signal::TERM);
    let leaving = until_some("the host says that it is leaving", || {
        let answer = host.ask_operators("GET", "/readyz").try_send().ok()?;
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(leaving.status, 503, "{leaving:?}");
    assert_eq!(host.ask_operators("GET", "/livez").send().status, 200);
    until("the tenants' listener is closed", || host.of("acme", "GET", "/fixtures/answers/mark").try_send().is_err());
    inside.join().unwrap().expect_text("waited");
    assert_eq!(host.ended().code(), Some(0), "{}", host.output());
}

#[test]
fn changes_are_refused_while_the_host_ends() {
    let mut host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host.tenon(&["flags", "set", "acme", "unhurried=true"]).succeeds();
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.signal(Signal::TERM);
    let refused = until_some("changes are refused", || {
        let ran = host.tenon(&["tenants", "create", "late"]);
        (ran.code != 0 && ran.code != 4).then_some(ran)
    });
    refused.refuses(6, "SHUTTING_DOWN", "The host is shutting down");
    assert_eq!(host.ended().code(), Some(0), "{}", host.output());
}

#[test]
fn an_interrupt_ends_it_as_well_and_a_second_signal_ends_it_at_once() {
    let mut host = Setup::new().start();
    host.signal(Signal::INT);
    assert_eq!(host.ended().code(), Some(0), "{}", host.output());

    let mut host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/600000");
    let inside = thread::spawn(move || wait.try_send());
    until("the request is inside", || {
        host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"]["inside"] == json!(1)
    });
    host.signal(Signal::TERM);
    until("the first signal is seen", || host.output().contains("SIGTERM"));
    host.signal(Signal::TERM);
    assert_eq!(host.ended().code(), Some(1), "{}", host.output());
    assert!(inside.join().unwrap().is_err());
}

#[test]
fn a_second_host_on_the_same_data_folder_does_not_start() {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let ran = Ran::of(host.setup().command());
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(told.contains("another"), "{ran:?}");
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.tenon(&["status"]).succeeds();
    let host = host.stop().start();
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
}

#[test]
fn a_killed_host_leaves_nothing_that_keeps_the_next_one_from_starting() {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    let host = host.killed_and_started();
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    let staged = fs::read_dir(host.setup().data().join("staging")).unwrap().count();
    assert_eq!(staged, 1, "the copies of the killed host are swept away");
}
