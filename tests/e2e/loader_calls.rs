//! From a module's file to an answer, or to an error with nothing left behind.

use std::{path::PathBuf, sync::Arc, time::Duration};

use e2e::{Asked, ask, request};
use tenon_host::loader::{FailureKind, LoadError, OpenRequest, Route};

use crate::stage::{LONG, Stage, fixture, text};

#[test]
fn every_service_answers() {
    let stage = Stage::new();
    let generation = stage.open("asks");
    let played = stage.try_make(&generation, r#"{"limit":3}"#).unwrap();
    let get = |path: &str| stage.text(&played, "GET", path, "");
    assert_eq!(
        get("/tenant"),
        (200, r#"{"tenant":"t1","settings":{"limit":3},"clock_runs":true,"id_len":36}"#.to_owned())
    );
    assert_eq!(get("/flag/lit"), (200, "true".to_owned()));
    assert_eq!(get("/flag/unlit"), (200, "false".to_owned()));
    assert_eq!(get("/flag/undeclared"), (200, "false".to_owned()));
    assert_eq!(get("/sleep"), (200, "true".to_owned()));
    assert_eq!(get("/spawn"), (200, "ran".to_owned()));
    let (status, blocking) = get("/blocking");
    assert_eq!(status, 200);
    assert!(blocking.starts_with(r#"[55,"the closure panicked: in a blocking closure at "#), "{blocking}");
    assert!(blocking.contains("fixtures/asks/lib.rs:"), "{blocking}");

    for (id, title) in [("a", "one"), ("b", "two"), ("c", "three"), ("d", "gone")] {
        let (status, body) =
            stage.text(&played, "POST", &format!("/documents/{id}"), &format!(r#"{{"title":"{title}"}}"#));
        assert_eq!((status, body.as_str()), (201, "1"));
    }
    assert_eq!(stage.text(&played, "POST", "/documents/a", r#"{"title":"zero"}"#), (201, "2".to_owned()));
    assert_eq!(get("/documents"), (200, r#"[["three","two"],true]"#.to_owned()));
    assert_eq!(get("/documents?prefix=z"), (200, r#"[["zero"],false]"#.to_owned()));
    drop(generation);
    played.end(&stage).unwrap();
    stage.expect_empty();
}

#[test]
fn a_request_arrives_whole_and_errors_come_back_as_what_they_are() {
    let stage = Stage::new();
    let played = stage.play("asks");
    let (status, echo) = stage.text(&played, "POST", "/echo?a=1&b=%C3%A4+x&a=2", r#"{"n":5}"#);
    assert_eq!(status, 200);
    insta::assert_snapshot!(echo, @r#"{"id":"0198a0b0-0000-7000-8000-000000000001","method":"POST","path":"/echo","query":[["a","1"],["b","ä x"],["a","2"]],"header":"1","user":"anna","roles":["Admin","Member"],"deadline":4000000000000,"body":{"n":5}}"#);

    let invalid = stage.failure(&played, "POST", "/echo", "{not json");
    assert_eq!(invalid.kind, FailureKind::Invalid);
    insta::assert_snapshot!(invalid, @"the body is not valid: key must be a string at line 1 column 2");

    let mut with_fault = request(&played.instance, "POST", "/echo", "{}");
    with_fault.parts.headers.insert("x-fault", http::HeaderValue::from_static("1"));
    let instance = Arc::clone(&played.instance);
    let Asked::Failed(fault) = stage.workers.run(0, async move { ask(&instance, with_fault, LONG).await }) else {
        panic!("a fault was asked for");
    };
    assert_eq!(fault.kind, FailureKind::Fault { status: 409, code: "taken".to_owned() });
    assert_eq!(fault.message, "somebody has it");

    let mut nowhere = request(&played.instance, "POST", "/echo", "{}");
    nowhere.route = 99;
    let instance = Arc::clone(&played.instance);
    let Asked::Failed(failure) = stage.workers.run(0, async move { ask(&instance, nowhere, LONG).await }) else {
        panic!("there is no route 99");
    };
    assert_eq!(failure.kind, FailureKind::Internal);
}

#[test]
fn headers_that_are_not_the_modules_to_set_are_left_out() {
    let stage = Stage::new();
    let played = stage.play("streams");
    let Asked::Reply(reply, Ok(body)) = stage.ask(&played, "GET", "/headers", "") else { panic!("an answer") };
    assert_eq!((reply.status.as_u16(), text(&body).as_str()), (500, "x"));
    assert_eq!(reply.content_type, None);
    let headers: Vec<_> = reply.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("content-type", "text/csv"), ("x-good", "1"), ("x-good", "2")]);
}

#[test]
fn a_stream_ends_fails_or_panics_as_the_module_does() {
    let stage = Stage::new();
    let played = stage.play("streams");
    assert_eq!(stage.text(&played, "GET", "/pieces", ""), (200, "aaaabbbbcccc".to_owned()));
    let Asked::Reply(_, Err(failed)) = stage.ask(&played, "GET", "/fails", "") else { panic!("a stream that fails") };
    assert_eq!((failed.kind, failed.message.as_str()), (FailureKind::Internal, "the source dried up"));
    let Asked::Reply(_, Err(failed)) = stage.ask(&played, "GET", "/panics", "") else { panic!("a stream that panics") };
    assert!(matches!(&failed.kind, FailureKind::Panicked { place } if place.contains("streams/lib.rs:")), "{failed:?}");
    assert_eq!(failed.message, "in a stream");
}

#[test]
fn a_large_body_keeps_its_generation_and_a_small_one_does_not() {
    let stage = Stage::new();
    let played = stage.play("streams");
    let Asked::Reply(_, Ok(large)) = stage.ask(&played, "GET", "/large", "") else { panic!("an answer") };
    let Asked::Reply(_, Ok(small)) = stage.ask(&played, "GET", "/headers", "") else { panic!("an answer") };
    let slice = large.slice(100..200);
    played.end(&stage).unwrap();
    assert!(stage.loader.wait_idle(LONG));
    assert_eq!(stage.loader.report().live.len(), 1);
    drop(large);
    assert_eq!(stage.loader.report().live.len(), 1);
    assert!(slice.iter().all(|byte| *byte == 7));
    drop(slice);
    stage.expect_empty();
    assert_eq!(text(&small), "x");
}

#[test]
fn a_call_outlives_everything_else_and_may_be_dropped_at_any_time() {
    let stage = Stage::new();
    let played = stage.play("half-way");
    let asked = request(&played.instance, "GET", "/sleep", "");
    let never_begun = played.instance.call(asked);
    let begun = played.instance.call(request(&played.instance, "GET", "/sleep", ""));
    played.end(&stage).unwrap();
    let cut = stage.workers.run(0, async move { tokio::time::timeout(Duration::from_millis(5), begun).await.is_err() });
    assert!(cut);
    assert_eq!(stage.loader.report().live.len(), 1);
    drop(never_begun);
    stage.expect_empty();
}

#[test]
fn two_generations_of_one_file_are_apart_and_the_file_may_be_overwritten() {
    let stage = Stage::new();
    let mut file = fixture("thread-locals");
    let copy = stage.folder.path().join("module.so");
    std::fs::copy(&file.path, &copy).unwrap();
    file.path = copy;
    let (one, two) = (stage.make(&file.open(&stage.loader).unwrap()), stage.make(&file.open(&stage.loader).unwrap()));
    std::fs::write(&file.path, vec![0; 1024]).unwrap();
    assert_eq!(stage.text(&one, "GET", "/destructor", ""), (200, "1".to_owned()));
    assert_eq!(stage.text(&one, "GET", "/destructor", ""), (200, "2".to_owned()));
    assert_eq!(stage.text(&two, "GET", "/destructor", ""), (200, "1".to_owned()));
    let (first, second) = (one.instance.generation().info().clone(), two.instance.generation().info().clone());
    assert_eq!(first.hash, second.hash);
    assert!(second.serial > first.serial && first.bytes > 0 && first.staged != second.staged);
    drop((one, two));
    stage.expect_empty();
}

fn route(method: &str, path: &str) -> Route {
    Route { method: method.to_owned(), path: path.to_owned() }
}

#[test]
fn routes_that_differ_from_the_manifests_are_named() {
    let stage = Stage::new();
    let mut file = fixture("half-way");
    file.routes[0] = route("POST", "/sleep");
    let error = file.open(&stage.loader).unwrap_err();
    assert_eq!(error.code(), "MODULE_LOAD_FAILED");
    insta::assert_snapshot!(error, @"the routes of half-way 1.0.0 differ: only in the manifest: POST /sleep; only in the code: GET /sleep");
    stage.expect_empty();
}

/// Opens a file under made-up names.
fn open(
    stage: &Stage,
    path: &std::path::Path,
    verify: &dyn Fn(&std::path::Path, &str) -> Result<(), String>,
) -> LoadError {
    let opened = stage.loader.open(&OpenRequest {
        path,
        name: "x",
        version: "1.0.0",
        expected_routes: &[],
        verify,
        unload_note: None,
    });
    opened.map(|generation| generation.info().clone()).expect_err("it is no module")
}

#[test]
fn a_file_that_is_no_module_is_refused_in_one_line() {
    let stage = Stage::new();
    let garbage = stage.folder.path().join("garbage.so");
    std::fs::write(&garbage, b"not a library at all").unwrap();
    let error = open(&stage, &garbage, &|_, _| Ok(()));
    assert_eq!(error.code(), "MODULE_LOAD_FAILED");
    insta::assert_snapshot!(error, @"the dynamic linker refused x 1.0.0: file too short");

    // A real library of the system, without an entry for a host.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let found =
        maps.lines().find_map(|line| line.find('/').map(|at| &line[at..]).filter(|path| path.contains("libgcc_s")));
    let error = open(&stage, &PathBuf::from(found.expect("libgcc_s is mapped")), &|_, _| Ok(()));
    assert_eq!(error.code(), "MODULE_INCOMPATIBLE");
    insta::assert_snapshot!(error, @"x 1.0.0 was built against an interface that this host does not speak: it has no entry for a host; was it made with `export_module!`?");

    let changed = open(&stage, &fixture("asks").path, &|copy, _| {
        assert!(copy.starts_with(stage.folder.path().canonicalize().unwrap().join("staging")));
        Err("its version is 2.0.0".to_owned())
    });
    assert_eq!(changed.code(), "MODULE_LOAD_FAILED");
    insta::assert_snapshot!(changed, @"the file of x 1.0.0 is no longer what was read from it: its version is 2.0.0");
    stage.expect_empty();
}

#[test]
fn no_more_libraries_than_the_limit_are_mapped() {
    let stage = Stage::with(|settings| settings.max_generations = 2);
    let (one, two) = (stage.open("asks"), stage.open("asks"));
    let error = fixture("asks").open(&stage.loader).unwrap_err();
    assert_eq!(error.code(), "MODULE_LOAD_FAILED");
    insta::assert_snapshot!(error, @"2 libraries are mapped and the limit is 2; those of 0 can't be unloaded");
    drop(one);
    assert!(stage.loader.wait_idle(LONG));
    drop((stage.open("asks"), two));
    stage.expect_empty();
}
