//! The very program that operators run, in a process of its own: started on folders of its own, told to end, killed.
//! Reaped in any case.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    failure::{Doing, Failure, Result},
    tenants::built_beside,
};

/// How long a host may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that the kernel chooses.
pub(crate) fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A running host. Ended and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct HostProcess {
    child: Child,
    /// Where tenants ask, once it listens.
    pub(crate) tenants: SocketAddr,
    /// Where operators ask, once it listens.
    pub(crate) operators: SocketAddr,
}

impl HostProcess {
    /// The command of a host on folders `plugins` and `data` below one that is there; tenants' address first.
    pub(crate) fn command(folder: &Path, [tenants, operators]: [SocketAddr; 2]) -> Result<Command> {
        let mut command = Command::new(built_beside("tenon")?);
        command.args(["serve", "--listen", &tenants.to_string(), "--admin-listen", &operators.to_string()]);
        command.arg("--plugins").arg(folder.join("plugins")).arg("--data").arg(folder.join("data")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    /// Starts a host, which does not listen yet.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command.spawn().doing("start the host")?;
        Ok(Self { child, tenants: any_port(), operators: any_port() })
    }

    /// Its log, where the command said that it is piped; once.
    pub(crate) fn log(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until it says where it listens, or ends.
    pub(crate) fn until_it_listens(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().ok_or_else(|| Failure::new("the host has no output"))?;
        let (mut tenants, mut operators) = (None, None);
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            tenants = tenants.or(address(&line, "tenants"));
            operators = operators.or(address(&line, "operators"));
            if let (Some(tenants), Some(operators)) = (tenants, operators) {
                (self.tenants, self.operators) = (tenants, operators);
                return Ok(());
            }
        }
        Err(Failure::new("the host did not start"))
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().doing("look at the host")? {
            None => Ok(()),
            Some(status) => Err(Failure::new(format!("the host ended with {status}"))),
        }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // One that has ended by itself can't be killed, and is reaped all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it orderly; `None` where it does not end in time.
    pub(crate) fn leave(&mut self) -> Option<ExitStatus> {
        if let Ok(None) = self.child.try_wait() {
            // Not waited for yet, so its number is nobody else's.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        if self.leave().is_none() {
            self.kill();
        }
    }
}

/// Where somebody asks, out of the line in which the host tells it.
fn address(line: &str, who: &str) -> Option<SocketAddr> {
    line.strip_prefix(who)?.strip_prefix(": http://")?.split(' ').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_a_host_prints() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert_eq!(address("operators: http://127.0.0.1:4711 (token: /data/admin.token)", "operators"), expected);
        assert_eq!(address("tenants: http://127.0.0.1:4711", "tenants"), expected);
        assert_eq!(address("tenants: http://127.0.0.1:4711", "operators"), None);
    }
}
