//! A host process with folders of its own, on ports that the system chose. It is told to end, killed if it does
//! not, and reaped in any case: also when its test fails.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Answer, Ask, NewModule, Ran, artifacts, tenon, until_some};

/// How long a host that a failed test leaves may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Folders and flags of a host that is still to be started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    folder: Arc<TempDir>,
    dev: bool,
    config: String,
}

/// A running host.
#[derive(Debug)]
pub(crate) struct Host {
    setup: Setup,
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    tenants: SocketAddr,
    operators: SocketAddr,
}

impl Setup {
    /// Empty folders, and `--dev`.
    pub(crate) fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        fs::create_dir(folder.path().join("plugins")).expect("a plugins folder");
        Self { folder, dev: true, config: String::new() }
    }

    /// As [`Setup::new`], with modules or fixtures.
    pub(crate) fn with(modules: &[&str]) -> Self {
        let setup = Self::new();
        for module in modules {
            setup.add(module);
        }
        setup
    }

    /// Without `--dev`.
    pub(crate) fn without_dev(mut self) -> Self {
        self.dev = false;
        self
    }

    /// With these lines in `tenon.toml`.
    pub(crate) fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// The folder around all others.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The plugins folder.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.folder().join("plugins")
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Puts a module or fixture into the plugins folder, under its own name.
    pub(crate) fn add(&self, module: &str) {
        self.place(&format!("{module}.so"), &fs::read(artifacts().library(module)).expect("a library"));
    }

    /// Puts a module that a test made into the plugins folder.
    pub(crate) fn add_new(&self, file: &str, module: &NewModule) {
        self.place(file, &module.build());
    }

    /// Puts bytes into the plugins folder, all at once.
    pub(crate) fn place(&self, file: &str, bytes: &[u8]) {
        let beside = self.folder().join(format!("{file}.part"));
        fs::write(&beside, bytes).expect("a file is written");
        fs::rename(beside, self.plugins().join(file)).expect("a file is renamed");
    }

    /// The command that starts the host.
    pub(crate) fn command(&self) -> std::process::Command {
        let config = self.folder().join("tenon.toml");
        fs::write(&config, &self.config).expect("the configuration is written");
        let mut command = tenon(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"]);
        command.arg(config).arg("--plugins").arg(self.plugins()).arg("--data").arg(self.data());
        if self.dev {
            command.arg("--dev");
        }
        command.current_dir(self.folder());
        command
    }

    /// Starts the host and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Where it does not get ready in time; its output is told.
    pub(crate) fn start(self) -> Host {
        let command = self.command();
        self.run(command)
    }

    /// As [`Setup::start`], with a command that is changed before.
    pub(crate) fn start_with(self, change: impl FnOnce(&mut std::process::Command)) -> Host {
        let mut command = self.command();
        change(&mut command);
        self.run(command)
    }

    /// Starts an example with the folders as its first arguments and waits until it is ready.
    ///
    /// # Panics
    ///
    /// As [`Setup::start`].
    pub(crate) fn start_example(self, name: &str, arguments: &[&str]) -> Host {
        let mut command = std::process::Command::new(artifacts().program(name));
        command.arg(self.plugins()).arg(self.data()).args(arguments).current_dir(self.folder()).stdin(Stdio::null());
        self.run(command)
    }

    fn run(self, mut command: std::process::Command) -> Host {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the host starts");
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().expect("a pipe"), &output),
            follow(child.stderr.take().expect("a pipe"), &output),
        ];
        // From here on the child belongs to something that ends it.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut host = Host { setup: self, child, output, readers, tenants: nowhere, operators: nowhere };
        let (tenants, operators) = until_some("the host says where it listens", || {
            if let Some(status) = host.child.try_wait().expect("the host is looked at") {
                panic!("the host ended with {status}:\n{}", host.output());
            }
            addresses(&host.output())
        });
        (host.tenants, host.operators) = (tenants, operators);
        host
    }
}

/// Collects lines as they come.
fn follow(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut all = lock(&into);
            all.push_str(&String::from_utf8_lossy(&line));
            all.push('\n');
        }
    })
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both addresses out of the lines in which the host tells them, tenants' first.
fn addresses(output: &str) -> Option<(SocketAddr, SocketAddr)> {
    let told = |who: &str| {
        let (_, rest) = output.split_once(&format!("{who}: http://"))?;
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
        rest[..end].parse().ok()
    };
    Some((told("tenants")?, told("operators")?))
}

impl Host {
    /// Folders and flags.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Where tenants ask.
    pub(crate) fn tenants(&self) -> SocketAddr {
        self.tenants
    }

    /// Where operators ask.
    pub(crate) fn operators(&self) -> SocketAddr {
        self.operators
    }

    /// All that it has printed so far.
    pub(crate) fn output(&self) -> String {
        lock(&self.output).clone()
    }

    /// A request without a tenant.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.tenants, method, path)
    }

    /// A request of a tenant's administrator.
    pub(crate) fn of(&self, tenant: &str, method: &str, path: &str) -> Ask {
        self.ask(method, path).header("x-tenant-id", tenant).by("ada", "Admin")
    }

    /// What a tenant's administrator gets.
    pub(crate) fn get(&self, tenant: &str, path: &str) -> Answer {
        self.of(tenant, "GET", path).send()
    }

    /// A request on the operators' side.
    pub(crate) fn ask_operators(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.operators, method, path)
    }

    /// The operators' token.
    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.setup.data().join("admin.token")).expect("the operators' token").trim().to_owned()
    }

    /// A command for this host, not run yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = tenon(arguments);
        command.env("TENON_URL", format!("http://{}", self.operators)).env("TENON_DATA", self.setup.data());
        command.current_dir(self.setup.folder());
        command
    }

    /// Runs a command for this host.
    pub(crate) fn tenon(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// What a command prints as JSON; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.tenon(&[arguments, &["--json"]].concat()).json(0)
    }

    /// A tenant with modules.
    pub(crate) fn tenant(&self, tenant: &str, modules: &[&str]) {
        self.tenon(&["tenants", "create", tenant]).succeeds();
        for module in modules {
            self.tenon(&["enable", tenant, module]).succeeds();
        }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Kills it where that was not done yet, and starts it again on the same folders.
    pub(crate) fn killed_and_started(mut self) -> Self {
        self.child.kill().expect("the host is killed");
        self.child.wait().expect("the host is reaped");
        self.setup.clone().start()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // The child has not been waited for, so its number is not anybody else's.
        kill_process(Pid::from_child(&self.child), signal).expect("the signal is sent");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// Where it does not.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until_some("the host ends", || self.child.try_wait().expect("the host is looked at"))
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    ///
    /// Where it ends with another code than 0, or not in time.
    pub(crate) fn stop(mut self) -> Setup {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "the host ended with {status}:\n{}", self.output());
        self.setup.clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            let deadline = Instant::now() + GRACE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if thread::panicking() {
            println!("the output of the host:\n{}", self.output());
        }
    }
}
