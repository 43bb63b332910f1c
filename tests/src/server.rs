//! A server that may be killed and started again: at the same address, with what it had written. Which program it is
//! stands in words, `{port}` and `{folder}` among them; `cargo xtask test` hands them over in variables.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to listen; a guess that is generous for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A server on a port that stays the same; killed and reaped when it is dropped.
#[derive(Debug)]
pub struct Server {
    words: Vec<String>,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with its data and log below a folder, which is made, on a port that is free, and waits until it
    /// listens. The words are a JSON array of texts, the program first.
    ///
    /// # Errors
    ///
    /// Where the words are none, or the program can't be started, ends, or does not listen within a minute.
    pub fn start(words: &str, folder: &Path) -> io::Result<Self> {
        let words: Vec<String> = serde_json::from_str(words)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::create_dir_all(folder.join("data"))?;
        let mut server = Self { words, folder: folder.to_owned(), port, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again at the same address, with what it had written; kills it first where it runs.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let data = self.folder.join("data");
        let fill =
            |word: &String| word.replace("{port}", &self.port.to_string()).replace("{folder}", &data.to_string_lossy());
        let (program, arguments) = self.words.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = Command::new(program);
        command.args(arguments.iter().map(fill)).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // From here on it is killed in any case.
        let child = self.child.insert(command.spawn()?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("`{program}` ended with {status}: {log}")));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("`{program}` does not listen")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends it as `kill -9` does. What it had written stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself can't be killed, and is reaped all the same.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As [`Server::kill`], for whoever only borrows it; it is reaped with its next start, or its end.
    pub fn signal_kill(&self) {
        if let Some(child) = &self.child {
            // It has not been waited for, so its number is not anybody else's.
            let _ = kill_process(Pid::from_child(child), Signal::KILL);
        }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
