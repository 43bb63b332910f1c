//! Starts a host that serves a demo tenant, and tells what to try on it.
//!
//! What is printed and what `--check` runs is one table, [`story`]; a command that stopped working can't stay printed.

mod check;
mod host;
mod ports;
mod story;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
    time::Duration,
};

use crate::{
    failure::{Doing, Failure, Result},
    modules::{self, Selection},
    process,
    workspace::{Profile, Workspace},
};

use self::{host::RunningHost, ports::Ports, story::Story};

pub(crate) use self::check::Tally;

/// A guess: a debug build opens two modules and an empty store in well under a second.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Where a host that was started here keeps its things, and how its tools are told.
struct Place {
    plugins: PathBuf,
    data: PathBuf,
    ports: Ports,
}

/// A host that is ready, and how to reach it.
pub(crate) struct Started {
    /// The host itself.
    pub(crate) host: RunningHost,
    tenon: PathBuf,
    place: Place,
}

impl Started {
    /// Builds host and modules, lays the modules, and starts the host on the usual ports where they are free.
    pub(crate) fn begin(workspace: &Workspace, plugins: Option<PathBuf>, data: Option<PathBuf>) -> Result<Self> {
        let plugins = absolute(plugins, || workspace.root().join("plugins"))?;
        let data = absolute(data, || workspace.root().join("data"))?;
        let place = Place { plugins, data, ports: Ports::usual_or_free()? };
        let tenon = build(workspace, &place, Selection::ModulesAndHost)?;
        let mut host = RunningHost::start(&mut host_command(workspace, &tenon, &place), place.ports.admin)?;
        host.wait_until_ready(READY_WITHIN)?;
        Ok(Self { host, tenon, place })
    }

    /// The folder that the host watches.
    pub(crate) fn plugins(&self) -> &Path {
        &self.place.plugins
    }

    /// Where tenants are answered, such as `http://127.0.0.1:8080`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.place.ports.tenants)
    }

    /// Runs `tenon` with these arguments against the host; any exit code is an answer.
    pub(crate) fn ask(&self, workspace: &Workspace, arguments: &[&str]) -> Result<Output> {
        ask(workspace, &self.tenon, &self.place, arguments)
    }
}

/// `cargo xtask run`: until the host ends or is told to stop.
pub(crate) fn serve(workspace: &Workspace, plugins: Option<PathBuf>, data: Option<PathBuf>) -> Result<ExitCode> {
    let data_was_there = absolute(data.clone(), || workspace.root().join("data"))?.exists();
    let Started { host, tenon, place } = Started::begin(workspace, plugins, data)?;
    prepare_demo(workspace, &tenon, &place)?;
    let story = story_of(workspace, &tenon, &place);

    println!("{}", story.printed());
    if data_was_there {
        println!(
            "The data folder {} was there already, so some answers may differ from those noted above.\n",
            workspace.shown(&place.data)
        );
    }
    if !place.ports.are_usual() {
        println!("A usual port was taken: this host listens on {} and {}.\n", place.ports.tenants, place.ports.admin);
    }
    println!("Ctrl-C stops the host.");
    host.wait_until_ended()
}

/// `cargo xtask run --check`: what is printed last is how many commands did what they should.
pub(crate) fn check(workspace: &Workspace, plugins: Option<PathBuf>, data: Option<PathBuf>) -> Result<ExitCode> {
    let tally = check_in(workspace, plugins, data, Selection::ModulesAndHost)?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every printed command against a fresh host in a temporary folder, on ports that nobody uses.
pub(crate) fn check_in(
    workspace: &Workspace,
    plugins: Option<PathBuf>,
    data: Option<PathBuf>,
    selection: Selection,
) -> Result<Tally> {
    let folder = tempfile::tempdir().doing(|| "make a temporary folder".to_owned())?;
    let place = Place {
        plugins: absolute(plugins, || folder.path().join("plugins"))?,
        data: absolute(data, || folder.path().join("data"))?,
        ports: Ports::free()?,
    };
    let log = folder.path().join("host.log");
    let log_file = File::create(&log).doing(|| format!("create `{}`", log.display()))?;
    let second = log_file.try_clone().doing(|| format!("open `{}` twice", log.display()))?;

    let tenon = build(workspace, &place, selection)?;
    let mut command = host_command(workspace, &tenon, &place);
    let checked = (|| {
        let mut host = RunningHost::start(command.stdout(second).stderr(log_file), place.ports.admin)?;
        host.wait_until_ready(READY_WITHIN)?;
        prepare_demo(workspace, &tenon, &place)?;
        let mut tally = check::check(&story_of(workspace, &tenon, &place), workspace.root());
        if host.told_to_stop() {
            return Err(Failure::new("told to stop"));
        }
        tally.add("the host stops in order when it is told to", host.stop());
        Ok(tally)
    })();
    if checked.as_ref().map_or(true, |tally: &Tally| tally.failed > 0) {
        let text = std::fs::read(&log).unwrap_or_default();
        eprintln!("the host's log:\n{}", String::from_utf8_lossy(&text));
    }
    checked
}

fn absolute(given: Option<PathBuf>, otherwise: impl FnOnce() -> PathBuf) -> Result<PathBuf> {
    let path = given.unwrap_or_else(otherwise);
    std::path::absolute(&path).doing(|| format!("find `{}`", path.display()))
}

/// Builds host and modules, lays the modules, and returns the host program.
fn build(workspace: &Workspace, place: &Place, selection: Selection) -> Result<PathBuf> {
    for library in modules::build(workspace, Profile::Dev, workspace.modules(), selection)? {
        modules::lay(&library, &place.plugins)?;
    }
    Ok(workspace.built(Profile::Dev).join(format!("tenon{}", std::env::consts::EXE_SUFFIX)))
}

fn host_command(workspace: &Workspace, tenon: &Path, place: &Place) -> Command {
    let mut command = Command::new(tenon);
    command.args(["serve", "--dev", "--plugins"]).arg(&place.plugins).arg("--data").arg(&place.data);
    command.args(["--listen", &place.ports.tenants.to_string()]);
    command.args(["--admin-listen", &place.ports.admin.to_string()]);
    // Cargo adds its own folders to the library path; the host must work without.
    command.current_dir(workspace.root()).env_remove("LD_LIBRARY_PATH").stdin(Stdio::null());
    command
}

fn ask(workspace: &Workspace, tenon: &Path, place: &Place, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(tenon);
    command.args(arguments).current_dir(workspace.root()).stdin(Stdio::null());
    command.env("TENON_URL", format!("http://{}", place.ports.admin)).env("TENON_DATA", &place.data);
    command.output().doing(|| format!("start `{}`", process::shown(&command)))
}

/// Leaves tenant `demo` with `hr-core` enabled and nothing else, unless it was there with more.
fn prepare_demo(workspace: &Workspace, tenon: &Path, place: &Place) -> Result<()> {
    const NOT_FOUND: i32 = 3;
    let ask = |arguments: &[&str]| -> Result<i32> {
        let output = ask(workspace, tenon, place, arguments)?;
        match output.status.code() {
            Some(code @ (0 | NOT_FOUND)) => Ok(code),
            _ => Err(Failure::new(format!(
                "`tenon {}` ended with {}: {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    };
    let mut must = vec![];
    if ask(&["tenants", "show", "demo"])? == NOT_FOUND {
        must.push(["tenants", "create", "demo"]);
    }
    must.push(["enable", "demo", "hr-core"]);
    for arguments in must {
        if ask(&arguments)? != 0 {
            return Err(Failure::new(format!("`tenon {}` found nothing to work on", arguments.join(" "))));
        }
    }
    Ok(())
}

fn story_of(workspace: &Workspace, tenon: &Path, place: &Place) -> Story {
    let mut settings = Vec::new();
    if !place.ports.admin_is_usual() {
        settings.push(("TENON_URL", format!("http://{}", place.ports.admin)));
    }
    if place.data != workspace.root().join("data") {
        settings.push(("TENON_DATA", place.data.display().to_string()));
    }
    Story::new(&workspace.shown(tenon).to_string(), &format!("http://{}", place.ports.tenants), settings)
}
