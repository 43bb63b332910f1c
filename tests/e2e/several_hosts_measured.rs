//! Row `hosts` of the benchmarks, in short. How long things take is for `cargo xtask bench hosts`; here only what must
//! never happen is looked at.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::artifacts;

#[test]
fn a_short_run_of_row_hosts_fails_nobody_and_loses_nothing() {
    for variable in ["TENON_TEST_MONGODB_SERVER", "TENON_TEST_REDIS_SERVER"] {
        if std::env::var_os(variable).is_none() {
            println!(
                "SKIPPED: row `hosts`: {variable} does not say how to start a server; `cargo xtask test` brings one"
            );
            return;
        }
    }
    let mut bench = Command::new(artifacts().program("bench"));
    bench.args(["--quick", "hosts", "--outage", "2", "--json"]).stdin(Stdio::null());
    let ran = bench.output().expect("the benchmark starts");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{told}", ran.status);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let figure = |end: &str| {
        let rows = report["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["what"].as_str().is_some_and(|what| what.ends_with(end)));
        row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("no {end} in {report}")) as u64
    };
    assert_eq!((figure("documents lost"), figure("tenants lost"), figure("failed among them")), (0, 0, 0), "{report}");
    assert_eq!(figure("answered STORE_UNAVAILABLE"), figure("collection calls"), "{report}");
    let there = ["requests without documents", "collection calls", "documents acknowledged", "tenants acknowledged"];
    assert!(there.iter().all(|what| figure(what) > 0), "{report}");
}
