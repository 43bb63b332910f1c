//! Handlers that take too long, panic, or are too many at once: one request is refused, the others are served.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Instant,
};

use serde_json::json;

use crate::harness::{Answer, Host, LONG, Setup, until};

const MARK: &str = "/fixtures/answers/mark";

fn start(config: &str) -> Host {
    let host = Setup::with(&["answers"]).config(config).start();
    host.tenant("acme", &["answers"]);
    host.tenant("other", &["answers"]);
    host
}

/// Waits until so many requests are inside a tenant's module.
fn until_inside(host: &Host, tenant: &str, count: u64) {
    until("the requests are inside", || {
        host.json(&["tenants", "show", tenant])["enabledModules"][0]["state"]["inside"] == json!(count)
    });
}

#[test]
fn a_handler_that_outlasts_its_deadline_is_ended() {
    let host = start("[limits.modules.answers]\ndeadline = \"200ms\"\n");
    let begun = Instant::now();
    let refused = host.get("acme", "/fixtures/answers/wait/600000");
    refused.refuses(504, "MODULE_TIMEOUT", "Module answers did not answer within 200ms");
    assert!(begun.elapsed() < LONG);
    until_inside(&host, "acme", 0);
    host.get("acme", "/fixtures/answers/wait/1").expect_text("waited");
    host.stop();
}

#[test]
fn requests_over_the_limit_are_refused_and_other_tenants_are_not() {
    let host = start("[limits.modules.answers]\nconcurrency = 2\n");
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/2000");
    let inside: Vec<thread::JoinHandle<Answer>> =
        (0..2).map(|_| wait.clone()).map(|wait| thread::spawn(move || wait.send())).collect();
    until_inside(&host, "acme", 2);
    let refused = host.get("acme", MARK);
    refused.refuses(429, "TOO_MANY_REQUESTS", "Too many requests at once for module answers");
    assert_eq!(refused.header("retry-after"), "1");
    host.get("other", MARK).expect_text("the mark of release one");
    for inside in inside {
        inside.join().unwrap().expect_text("waited");
    }
    host.get("acme", MARK).expect_text("the mark of release one");
}

#[test]
fn a_client_that_takes_too_long_over_a_head_is_cut_off_and_a_slow_handler_is_not() {
    let host = start("[limits]\nheader-timeout = \"200ms\"\n");
    // Nothing at all, half a head, and a second head that never ends.
    let head = b"GET /fixtures/answers/mark HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: acme\r\n";
    let second = [head, &b"\r\n"[..], head].concat();
    for sent in [&b""[..], head, &second] {
        let mut stream = TcpStream::connect(host.tenants()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(sent).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        let text = String::from_utf8(answers).unwrap();
        assert_eq!(text.matches("the mark of release one").count(), usize::from(sent == second), "{text}");
    }
    host.get("acme", "/fixtures/answers/wait/1000").expect_text("waited");
    host.stop();
}

#[test]
fn a_panic_ends_one_request() {
    let host = start("");
    for _ in 0..3 {
        let refused = host.get("acme", "/fixtures/answers/panic");
        refused.refuses(500, "MODULE_PANICKED", "Module answers failed to answer");
        assert!(!refused.text().contains("as it was asked"), "{refused:?}");
        host.get("acme", MARK).expect_text("the mark of release one");
        host.get("other", MARK).expect_text("the mark of release one");
    }
    let said = "as it was asked";
    until("message, place and request are in the log", || {
        let output = host.output();
        let mut lines = output.lines().filter(|line| line.contains(said) && line.contains("lib.rs:"));
        lines.any(|line| line.contains("request_id=") && line.contains("tenant=acme"))
    });
    host.stop();
}

#[test]
fn a_panic_in_one_request_does_not_end_those_beside_it() {
    let host = start("");
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/500");
    let beside = thread::spawn(move || wait.send());
    until_inside(&host, "acme", 1);
    let refused = host.get("acme", "/fixtures/answers/panic");
    refused.refuses(500, "MODULE_PANICKED", "Module answers failed to answer");
    beside.join().unwrap().expect_text("waited");
}

#[test]
fn disabling_lets_requests_end_first() {
    let host = start("");
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/700");
    let inside = thread::spawn(move || wait.send());
    until_inside(&host, "acme", 1);
    host.tenon(&["disable", "acme", "answers"]).succeeds();
    host.get("acme", MARK).refuses(403, "MODULE_NOT_ENABLED", "Module answers is not enabled");
    inside.join().unwrap().expect_text("waited");
    host.stop();
}

#[test]
fn a_request_that_outlasts_the_drain_is_told_to_come_again() {
    let host = start("[tenancy]\ndrain-deadline = \"200ms\"\n");
    let wait = host.of("acme", "GET", "/fixtures/answers/wait/600000");
    let inside = thread::spawn(move || wait.send());
    until_inside(&host, "acme", 1);
    host.tenon(&["disable", "acme", "answers"]).succeeds();
    let cut = inside.join().unwrap();
    cut.refuses(503, "MODULE_BUSY", "Module answers is not ready yet");
    assert_eq!(cut.header("retry-after"), "1");
    assert_eq!(host.json(&["stats"])["tenants"]["cutRequests"], json!(1));
}

#[test]
fn connections_over_the_limit_are_told_so_and_a_free_one_is_served() {
    let host = start("[limits]\nconnections = 3\nheader-timeout = \"1h\"\n");
    // Each is served once, so it is counted and none of those that are only told off.
    let idle: Vec<TcpStream> = (0..3).map(|_| served_once(&host)).collect();
    let refused = host.get("acme", MARK);
    refused.refuses(503, "TOO_MANY_CONNECTIONS", "The host has as many connections as it may have");
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1", "close"));
    drop(idle);
    until("there is room again", || host.get("acme", MARK).status == 200);
    host.stop();
}

/// A connection that was answered once and is kept open.
fn served_once(host: &Host) -> TcpStream {
    let mut stream = TcpStream::connect(host.tenants()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
        .write_all(format!("GET {MARK} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: acme\r\n\r\n").as_bytes())
        .unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"the mark of release one") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    stream
}

/// Asks for a stream without end, and reads no more than its beginning.
fn ask_and_read_no_more(host: &Host) -> TcpStream {
    let mut stream = TcpStream::connect(host.tenants()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let head = "GET /fixtures/streams/endless HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: acme\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    stream
}

fn streaming(config: &str) -> Host {
    let host = Setup::with(&["streams"]).config(config).start();
    host.tenant("acme", &["streams"]);
    host
}

/// Reads what the kernel still has, which must not end as a whole answer does.
fn is_cut_short(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the answer looks whole");
}

#[test]
fn a_drain_cuts_a_stream_whose_client_does_not_read() {
    let host = streaming("[tenancy]\ndrain-deadline = \"2s\"\nlinger = \"0\"\n");
    let stream = ask_and_read_no_more(&host);
    until_inside(&host, "acme", 1);
    host.tenon(&["disable", "acme", "streams"]).succeeds();
    // The client has the connection open, and nothing keeps the instance and the library.
    until("the library is unloaded", || host.json(&["stats"])["libraries"]["unloaded"] == json!(1));
    assert_eq!(host.json(&["stats"])["tenants"]["cutRequests"], json!(1));
    assert!(!host.output().contains("requests did not end when they were cut"), "{}", host.output());
    is_cut_short(stream);
    host.stop();
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_cut_off() {
    let host = streaming("[limits]\nwrite-timeout = \"300ms\"\n");
    let stream = ask_and_read_no_more(&host);
    until_inside(&host, "acme", 1);
    until_inside(&host, "acme", 0);
    is_cut_short(stream);
    host.stop();
}
