//! Servers that a test may kill and start again: one that speaks MongoDB's protocol, and one that speaks Redis's. How
//! they are started stands in variables, which `cargo xtask test` sets.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::until;

/// A server on a port that stays the same; killed with its test.
struct Server {
    words: Vec<String>,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// `None`, and says that `what` is skipped, where the variable is missing.
    fn start(what: &str, variable: &str, folder: &Path) -> Option<Self> {
        let Ok(words) = std::env::var(variable) else {
            println!("SKIPPED: {what}: {variable} does not say how to start a server; `cargo xtask test` brings one");
            return None;
        };
        let words = serde_json::from_str(&words).expect("the variable has words as JSON");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        fs::create_dir_all(folder.join("data")).unwrap();
        let mut server = Self { words, folder: folder.to_owned(), port, child: None };
        server.restart();
        Some(server)
    }

    fn restart(&mut self) {
        self.kill();
        let data = self.folder.join("data");
        let fill =
            |word: &String| word.replace("{port}", &self.port.to_string()).replace("{folder}", &data.to_string_lossy());
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(&self.words[0]);
        command.args(self.words[1..].iter().map(fill)).stdin(Stdio::null());
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        until("a server listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
        self.child = Some(child);
    }

    fn signal_kill(&self) {
        if let Some(child) = &self.child {
            // It has not been waited for, so its number is not anybody else's.
            kill_process(Pid::from_child(child), Signal::KILL).unwrap();
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

macro_rules! servers {
    ($($(#[$about:meta])* $name:ident: $variable:literal;)*) => {
        $(
            $(#[$about])*
            pub(crate) struct $name(Server);

            impl $name {
                /// Starts one with its data and log below a folder, on a port of its own. `None`, and says that `what` is
                /// skipped, where there is no such server on this machine.
                pub(crate) fn start(what: &str, folder: &Path) -> Option<Self> {
                    Server::start(what, $variable, folder).map(Self)
                }

                /// Ends it as `kill -9` does. What it had written stays.
                pub(crate) fn kill(&mut self) {
                    self.0.kill();
                }

                /// Starts it again at the same address, with what it had written; kills it first where it runs.
                pub(crate) fn restart(&mut self) {
                    self.0.restart();
                }
            }
        )*
    };
}

servers! {
    /// Speaks MongoDB's protocol.
    MongoServer: "TENON_TEST_MONGODB_SERVER";
    /// Speaks Redis's; keeps nothing over a restart.
    RedisServer: "TENON_TEST_REDIS_SERVER";
}

impl MongoServer {
    /// As [`MongoServer::kill`], for whoever only borrows it; it is reaped with its next start, or its end.
    pub(crate) fn signal_kill(&self) {
        self.0.signal_kill();
    }

    /// Where a database of this name is.
    pub(crate) fn uri(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}", self.0.port)
    }
}

impl RedisServer {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.0.port)
    }
}
