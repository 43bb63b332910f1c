//! A host process that was started here: it is waited for, told to stop, and never left behind.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use crate::{
    failure::{Doing, Failure, Result},
    process::shown,
};

/// How often a starting or ending host is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A host drains for at most 30 seconds by its documents; what takes longer hangs.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// A running host. Dropping it kills what still runs.
///
/// It stays in this program's process group: whoever ends the group ends both.
pub(crate) struct RunningHost {
    child: Child,
    admin: SocketAddr,
    signals: Signals,
    /// Set when there is no host any more: from then on, signals do to this program what they always do.
    over: Arc<AtomicBool>,
}

impl RunningHost {
    /// Starts the host whose operator side will answer at `admin`. From here on, signals that ask this program to
    /// stop are handed to the host.
    pub(super) fn start(command: &mut Command, admin: SocketAddr) -> Result<Self> {
        let listening = || "listen for signals".to_owned();
        let over = Arc::new(AtomicBool::new(false));
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).doing(listening)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&over)).doing(listening)?;
        }
        let child = command.spawn().doing(|| format!("start `{}`", shown(command)))?;
        Ok(Self { child, admin, signals, over })
    }

    /// Returns as soon as `/readyz` answers 200.
    ///
    /// # Errors
    ///
    /// The host ended, somebody asked to stop, or the time is over; the last answer is told.
    pub(super) fn wait_until_ready(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Err(Failure::new(format!("the host ended before it was ready, with {status}")));
            }
            if self.told_to_stop() {
                self.stop()?;
                return Err(Failure::new("told to stop before the host was ready"));
            }
            let answer = status_of(self.admin, "/readyz");
            if matches!(answer, Ok(200)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let last = answer.map_or_else(|error| error.to_string(), |status| format!("status {status}"));
                return Err(Failure::new(format!(
                    "the host was not ready after {} s: /readyz on {} gives {last}",
                    within.as_secs(),
                    self.admin
                )));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// True where somebody asked this program to stop since it was last looked at.
    pub(super) fn told_to_stop(&mut self) -> bool {
        self.signals.pending().any(|signal| signal != SIGCHLD)
    }

    /// Waits for the host to end by itself or because somebody asked; its exit code becomes this program's.
    pub(crate) fn wait_until_ended(mut self) -> Result<ExitCode> {
        loop {
            if let Some(code) = self.look_whether_ended()? {
                return Ok(code);
            }
            for signal in self.signals.wait().collect::<Vec<_>>() {
                if let Some(code) = self.obey(signal)? {
                    return Ok(code);
                }
            }
        }
    }

    /// The exit code for this program where the host has ended, or where somebody asked to stop and it is stopped
    /// now; `None` at once where it goes on.
    pub(crate) fn look_whether_ended(&mut self) -> Result<Option<ExitCode>> {
        if let Some(status) = self.ended()? {
            return exit_code(status).map(Some);
        }
        for signal in self.signals.pending().collect::<Vec<_>>() {
            if let Some(code) = self.obey(signal)? {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }

    fn obey(&mut self, signal: i32) -> Result<Option<ExitCode>> {
        match signal {
            SIGCHLD => Ok(None),
            // The terminal sends Ctrl-C to the whole group: the host has it and is stopping, and a second
            // signal could cut its draining short.
            SIGINT => match self.ended_within(STOP_WITHIN)? {
                Some(status) => exit_code(status).map(Some),
                None => self.stop().map(|()| Some(ExitCode::SUCCESS)),
            },
            _ => self.stop().map(|()| Some(ExitCode::SUCCESS)),
        }
    }

    /// Asks the host to end and waits for it.
    ///
    /// # Errors
    ///
    /// It ended with something else than success, or did not end in time and was killed.
    pub(super) fn stop(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.send(Signal::TERM)?;
        }
        match self.ended_within(STOP_WITHIN)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure::new(format!("the host ended with {status}"))),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(Failure::new(format!("the host did not stop within {} s and was killed", STOP_WITHIN.as_secs())))
            }
        }
    }

    fn send(&self, signal: Signal) -> Result<()> {
        // The child has not been waited for, so its number is not anybody else's.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).doing(|| format!("send {signal:?} to the host"))
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().doing(|| "look after the host".to_owned())
    }

    fn ended_within(&mut self, time: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            let status = self.ended()?;
            if status.is_some() || Instant::now() > deadline {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.over.store(true, Ordering::SeqCst);
    }
}

fn exit_code(status: ExitStatus) -> Result<ExitCode> {
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::new(format!("the host ended with {status}"))),
    }
}

/// Why a question over HTTP got no answer.
#[derive(Debug)]
struct NoAnswer(String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for NoAnswer {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The status of a GET. One line of HTTP needs no client library.
fn status_of(address: SocketAddr, path: &str) -> std::result::Result<u16, NoAnswer> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    std::str::from_utf8(&answer)
        .ok()
        .and_then(|text| text.strip_prefix("HTTP/1.1 ")?.parse().ok())
        .ok_or_else(|| NoAnswer("something that is no HTTP answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn script(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    /// Answers each connection with the next of these statuses, then with the last one.
    fn answering(statuses: &'static [u16]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let (Ok(mut stream), status) = (stream, statuses[count.min(statuses.len() - 1)]) else { return };
                let mut request = [0; 256];
                let _ = stream.read(&mut request);
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    #[test]
    fn ready_is_waited_for_and_the_host_stops_when_told() {
        let admin = answering(&[503, 503, 200]);
        let mut host =
            RunningHost::start(&mut script("trap 'exit 0' TERM; while :; do sleep 0.05; done"), admin).unwrap();
        host.wait_until_ready(Duration::from_secs(20)).unwrap();
        host.stop().unwrap();
        assert!(host.ended().unwrap().is_some());
    }

    #[test]
    fn a_host_that_ends_early_is_noticed_at_once() {
        let nobody = answering(&[503]);
        let mut host = RunningHost::start(&mut script("exit 3"), nobody).unwrap();
        let failure = host.wait_until_ready(Duration::from_secs(20)).unwrap_err();
        assert_eq!(failure.to_string(), "the host ended before it was ready, with exit status: 3");
    }

    #[test]
    fn a_host_that_never_gets_ready_is_given_up_and_killed() {
        let admin = answering(&[503]);
        let mut host = RunningHost::start(&mut script("exec sleep 60"), admin).unwrap();
        let pid = host.child.id();
        let failure = host.wait_until_ready(Duration::from_millis(200)).unwrap_err();
        assert!(failure.to_string().ends_with("gives status 503"), "{failure}");
        drop(host);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_failing_stop_is_told() {
        let admin = answering(&[200]);
        let ready = tempfile::tempdir().unwrap();
        let file = ready.path().join("trapped");
        let text = format!("trap 'exit 9' TERM; : > '{}'; while :; do sleep 0.05; done", file.display());
        let mut host = RunningHost::start(&mut script(&text), admin).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !file.exists() && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        assert_eq!(host.stop().unwrap_err().to_string(), "the host ended with exit status: 9");
    }
}
