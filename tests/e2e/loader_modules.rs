//! The two real modules are opened, asked and unloaded a thousand times each, by turns, in one process.

use std::process::Command;

use serde_json::Value;

use crate::harness::artifacts;

#[test]
fn hr_core_and_tasks_are_unloaded_a_thousand_times_each() {
    let built = artifacts();
    let run = Command::new(env!("CARGO_BIN_EXE_unload_soak"))
        .args(["--cycles", "2000"])
        .arg(built.library("hr-core"))
        .args([
            "POST /departments {\"name\":\"Sales\"}",
            "GET /departments",
            "GET /employees?name=a",
            "~GET /employees",
        ])
        .arg("--")
        .arg(built.library("tasks"))
        .args(["POST /items {\"title\":\"Call Grace\",\"due\":\"2026-12-01\"}", "GET /items", "GET /report"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("the soak starts");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", run.status);
    let left: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!(left["unloaded"], 2000, "{left:#}");
    assert_eq!(left["still_mapped"], 0, "{left:#}");
    assert_eq!(left["outcomes"]["GET /report: 200"], 3000, "{left:#}");
    assert_eq!(left["outcomes"]["POST /departments: 201"], 3000, "{left:#}");
    assert!(left["growth_bytes"].as_i64().is_some_and(|growth| growth < 5 << 20), "{left:#}");
}
