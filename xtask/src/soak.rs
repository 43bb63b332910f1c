//! Runs the soak on optimised code. What it does and prints is the business of `tests/bench`.

use std::process::{Command, ExitCode};

use crate::{
    failure::{Doing, Result},
    process::{run_to_end, shown},
    workspace::{Profile, Workspace},
};

/// `cargo xtask soak`: builds the host, the module and the soak, prints its output and ends with its exit code.
pub(crate) fn soak(workspace: &Workspace, minutes: Option<&str>, tenants: Option<u32>, json: bool) -> Result<ExitCode> {
    // Cargo writes to stderr: with `--json`, stdout holds the figures and nothing else.
    let packages = ["--package", "bench", "--package", "tenon-host"];
    run_to_end(workspace.cargo(["build", "--release", "--bins", "--examples"]).args(packages))?;
    let mut command = Command::new(workspace.built(Profile::Release).join("bench"));
    command.arg("soak").current_dir(workspace.root());
    if let Some(minutes) = minutes {
        command.args(["--minutes", minutes]);
    }
    if let Some(tenants) = tenants {
        command.args(["--tenants", &tenants.to_string()]);
    }
    command.args(json.then_some("--json"));
    let status = command.status().doing(|| format!("start `{}`", shown(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
