//! Panics of a module end one request, with message and place, and nothing else.

use std::time::Duration;

use e2e::request;
use tenon_host::loader::{Failure, FailureKind};

use crate::stage::{Stage, fixture};

fn expect_panic(failure: &Failure, message: &str) {
    assert_eq!(failure.message, message);
    let FailureKind::Panicked { place } = &failure.kind else { panic!("{failure:?}") };
    assert!(place.contains("fixtures/panics/lib.rs:"), "{place}");
}

#[test]
fn a_panic_of_a_handler_comes_back_with_its_place_and_the_next_request_is_fine() {
    let stage = Stage::new();
    let played = stage.play("panics");
    expect_panic(&stage.failure(&played, "GET", "/handler", ""), "a handler of t1");
    expect_panic(&stage.failure(&played, "GET", "/after-await", ""), "after an await");
    let odd = stage.failure(&played, "GET", "/payload", "");
    assert_eq!(odd.message, "a panic without a text");
    assert!(matches!(odd.kind, FailureKind::Panicked { .. }));
    assert_eq!(stage.text(&played, "GET", "/in-thread", ""), (200, "true".to_owned()));
    assert_eq!(stage.text(&played, "GET", "/fine", ""), (200, "fine".to_owned()));
    played.end(&stage).unwrap();
    stage.expect_empty();
}

#[test]
fn a_local_that_panics_while_its_future_is_dropped_harms_nobody() {
    let stage = Stage::new();
    let played = stage.play("panics");
    let call = played.instance.call(request(&played.instance, "GET", "/drop-of-local", ""));
    let cut = stage.workers.run(0, async move { tokio::time::timeout(Duration::from_millis(5), call).await.is_err() });
    assert!(cut);
    assert_eq!(stage.text(&played, "GET", "/fine", ""), (200, "fine".to_owned()));
    played.end(&stage).unwrap();
    stage.expect_empty();
}

#[test]
fn panics_of_initialize_cleanup_and_drop_are_contained() {
    let stage = Stage::new();
    let generation = fixture("panics").open(&stage.loader).unwrap();
    let Err(failure) = stage.try_make(&generation, r#"{"panic":"initialize"}"#) else { panic!("it should panic") };
    expect_panic(&failure, "initialize of t1");
    let Err(failure) = stage.try_make(&generation, r#"{"panic":1}"#) else { panic!("such settings can't be read") };
    assert_eq!(failure.kind, FailureKind::Internal);

    let played = stage.try_make(&generation, r#"{"panic":"cleanup"}"#).unwrap();
    expect_panic(&played.end(&stage).unwrap_err(), "cleanup of t1");

    let played = stage.try_make(&generation, r#"{"panic":"drop"}"#).unwrap();
    played.end(&stage).unwrap();

    let played = stage.make(&generation);
    drop(generation);
    assert_eq!(stage.text(&played, "GET", "/fine", ""), (200, "fine".to_owned()));
    played.end(&stage).unwrap();
    stage.expect_empty();
}
