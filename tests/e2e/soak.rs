//! The soak itself, for a few files. What it finds in minutes is for `cargo xtask soak`.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::artifacts;

/// Of twelve files two fail to initialize and one panics; one more comes at the end.
const FILES: &str = "12";

#[test]
fn a_short_soak_loses_nothing() {
    let mut soak = Command::new(artifacts().program("bench"));
    soak.args(["soak", "--files", FILES, "--panics-at", "40", "--tenants", "4", "--json"]).stdin(Stdio::null());
    let ran = soak.output().expect("the soak starts");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{told}", ran.status);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let figure = |what: &str| {
        let row = report["rows"].as_array().unwrap().iter().find(|row| row["what"] == what);
        row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("no {what} in {report}")) as u64
    };
    assert_eq!((figure("lost"), figure("wrong"), figure("generations still mapped")), (0, 0, 0), "{told}");
    assert_eq!((figure("files replaced"), figure("put in force")), (13, 11), "{told}");
    assert_eq!(figure("refused, as they should be"), 2, "{told}");
    assert!(figure("requests") > 100 && figure("streams among them") > 0, "{report}");
    // It goes back from the one that panics, and once it is bad for three of four it is for all.
    assert!((1..=4).contains(&figure("declared panics")), "{report}");
}
