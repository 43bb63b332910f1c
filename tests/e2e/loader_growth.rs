//! Modules that were built against a module-api with one service fewer than the host, the same, and one more.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use e2e::ModuleFile;
use tempfile::TempDir;
use tenon_host::loader::FailureKind;

use crate::stage::{Stage, built};

/// Builds the fixture one way after the other and keeps what came out.
fn builds() -> &'static [PathBuf; 3] {
    static BUILDS: OnceLock<(TempDir, [PathBuf; 3])> = OnceLock::new();
    let made = BUILDS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = ["older", "", "newer"].map(|feature| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--offline", "--package", "abi-fixture", "--features", feature]);
            cargo.arg("--target-dir").arg(built().parent().expect("the target folder"));
            cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
            if !cfg!(debug_assertions) {
                cargo.arg("--release");
            }
            assert!(cargo.status().expect("cargo runs").success(), "abi-fixture `{feature}` does not build");
            let kept = folder.path().join(format!("{feature}.so"));
            std::fs::copy(built().join("libabi_fixture.so"), &kept).expect("the built fixture");
            kept
        });
        (folder, paths)
    });
    &made.1
}

#[test]
fn an_older_an_equal_and_a_newer_module_load_and_answer() {
    let stage = Stage::new();
    let [older, same, newer] = builds().clone().map(|path| {
        let generation =
            ModuleFile::read(&path).open(&stage.loader).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        stage.make(&generation)
    });
    for played in [&older, &same, &newer] {
        assert_eq!(stage.text(played, "GET", "/id", ""), (200, "t1".to_owned()));
    }
    for played in [&older, &same] {
        assert_eq!(stage.text(played, "GET", "/beyond", ""), (200, r#"{"Ok":"unknown"}"#.to_owned()));
    }
    let (status, answer) = stage.text(&newer, "GET", "/beyond", "");
    assert_eq!(status, 200);
    insta::assert_snapshot!(answer, @r#"{"Err":"the host lacks `beyond`, which came with module-api 1.1"}"#);
    // A handler that passes the error on answers with a kind of its own.
    let failure = stage.failure(&newer, "GET", "/needed", "");
    assert_eq!(failure.kind, FailureKind::Unsupported);
    drop((older, same, newer));
    stage.expect_empty();
}
