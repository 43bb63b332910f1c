//! Runs the benchmarks on optimised code. What they measure and print is the business of `tests/bench`.

use std::process::{Command, ExitCode};

use crate::{
    failure::{Doing, Result},
    modules::{self, Selection},
    process::{run_to_end, shown},
    services,
    workspace::{Profile, Workspace},
};

/// The row that starts and kills servers, and is measured only where it is named.
const WITH_SERVERS: &str = "hosts";

/// `cargo xtask bench`: prints the benchmark program's output and ends with its exit code.
pub(crate) fn bench(workspace: &Workspace, row: Option<&str>, outage: Option<u64>, json: bool) -> Result<ExitCode> {
    // Cargo writes to stderr: with `--json`, stdout holds the rows and nothing else.
    let packages = ["--package", "bench", "--package", "tenon-host"];
    run_to_end(workspace.cargo(["build", "--release", "--bins", "--examples"]).args(packages))?;
    modules::build(workspace, Profile::Release, workspace.modules(), Selection::Modules)?;
    let mut command = Command::new(workspace.built(Profile::Release).join("bench"));
    command.args(row).args(json.then_some("--json")).current_dir(workspace.root());
    if let Some(seconds) = outage {
        command.args(["--outage", &seconds.to_string()]);
    }
    if row == Some(WITH_SERVERS) {
        command.envs(services::commands(workspace)?);
    }
    let status = command.status().doing(|| format!("start `{}`", shown(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
