//! OpenFeature's clients, which the end-to-end tests run against a host: installed below `target/`, in the versions that
//! the files in `tests/e2e/clients` pin. What can't be installed is not: the test of it says that it was skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    failure::{Doing, Result},
    process::run_to_end,
    workspace::Workspace,
};

/// Where the tests look for the folder.
const VARIABLE: &str = "TENON_TEST_CLIENTS";

/// How the names of the tests that want it begin.
const TESTS: &str = "ofrep_clients::the_client_for_";

/// Written last: what was installed, so that it need not be again.
const STAMP: &str = ".installed";

/// What the tests are told, where any of them runs.
pub(super) fn prepare(workspace: &Workspace, filter: Option<&str>) -> Option<(&'static str, PathBuf)> {
    let is_wanted = |filter: &str| {
        TESTS.contains(filter) || ["ofrep_clients", "the_client_for"].iter().any(|it| filter.contains(it))
    };
    if !filter.is_none_or(is_wanted) {
        return None;
    }
    let from = workspace.root().join("tests/e2e/clients");
    let folder = workspace.target().join("clients");
    for (what, installed) in [("npm", in_node(&from, &folder)), ("Python", in_python(&from, &folder))] {
        if let Err(failure) = installed {
            println!("OpenFeature's clients for {what} are not installed: {failure}");
        }
    }
    Some((VARIABLE, folder))
}

fn in_node(from: &Path, folder: &Path) -> Result<()> {
    install(from, folder, "node_modules", &["package-lock.json", "package.json"], || {
        run_to_end(quiet("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder))
    })
}

fn in_python(from: &Path, folder: &Path) -> Result<()> {
    install(from, folder, "venv", &["requirements.txt"], || {
        run_to_end(quiet("python3").args(["-m", "venv", "venv"]).current_dir(folder))?;
        let pip = folder.join("venv/bin/python");
        let arguments = ["-m", "pip", "install", "--quiet", "--no-deps", "--requirement", "requirements.txt"];
        run_to_end(Command::new(pip).args(arguments).current_dir(folder).stdin(Stdio::null()))
    })
}

/// A program that says on stderr alone what goes wrong.
fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Installs what `files` pin into `part` of the folder, unless the same is there already. A part that is there is whole.
fn install(
    from: &Path,
    folder: &Path,
    part: &str,
    files: &[&str],
    installing: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let read = |file: &&str| fs::read_to_string(from.join(file)).doing(|| format!("read `{file}`"));
    let contents: Vec<String> = files.iter().map(read).collect::<Result<_>>()?;
    let (part, pinned) = (folder.join(part), contents.concat());
    let stamp = part.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
        return Ok(());
    }
    let make = || format!("prepare `{}`", folder.display());
    fs::create_dir_all(folder).doing(make)?;
    if part.exists() {
        fs::remove_dir_all(&part).doing(make)?;
    }
    for (file, content) in files.iter().zip(&contents) {
        fs::write(folder.join(file), content).doing(make)?;
    }
    let installed = installing().and_then(|()| fs::write(&stamp, pinned).doing(make));
    if installed.is_err() {
        // Half of it would be taken for all of it.
        let _ = fs::remove_dir_all(&part);
    }
    installed
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::failure::Failure;

    #[test]
    fn what_is_pinned_is_installed_once_and_never_by_halves() {
        let folder = env::temp_dir().join(format!("xtask-clients-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(&from).unwrap();
        let pin = |version: &str| fs::write(from.join("pins"), version).unwrap();
        let install = |installing: &dyn Fn() -> Result<()>| install(&from, &to, "part", &["pins"], installing);
        let good = || fs::create_dir(to.join("part")).doing(|| "make it".to_owned());
        let bad = || good().and_then(|()| Err(Failure::new("no network")));
        pin("1");
        assert!(install(&bad).is_err() && !to.join("part").exists());
        install(&good).unwrap();
        install(&|| panic!("it is there already")).unwrap();
        pin("2");
        assert!(install(&bad).is_err() && !to.join("part").exists(), "the old one is not what is pinned");
        install(&good).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
