//! The host under load: the very program that operators run, on folders of its own. What its log tells is read as it
//! comes; memory and mappings are the kernel's word.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::versions::version_of_text;
use crate::{
    failure::{Doing, Failure, Result},
    tenants::built_beside,
};

/// How long the host may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the soak needs: each move in the log; no version proves itself, so that a panic always leads back to the one
/// before; what is unused is unloaded with the next sweep.
const CONFIG: &str = r#"
[log]
format = "json"
filter = "info,tenon_host::tenancy=debug"
[tenancy]
linger = "0s"
[reload]
probation = "1h"
"#;

/// What the log tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    /// A tenant's new picture is in force.
    Swapped { at: Instant, lasted: Duration },
    /// A version can't be used.
    Refused { version: usize },
}

#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Timestamp,
    message: String,
    version: Option<String>,
    swap_micros: Option<u64>,
}

/// A running host. Ended and reaped when it is dropped.
#[derive(Debug)]
pub(super) struct Host {
    child: Child,
    staging: PathBuf,
    log: Option<JoinHandle<()>>,
    pub(super) tenants: SocketAddr,
}

/// Resident memory in MB; a million bytes each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) all: f64,
    /// Without the pages of files: heap and stacks.
    pub(super) anonymous: f64,
}

impl Host {
    /// Starts a host on folders `plugins` and `data` below one that is there.
    pub(super) fn start(folder: &Path, told: impl FnMut(Told) + Send + 'static) -> Result<Self> {
        let program = built_beside("tenon")?;
        let config = folder.join("tenon.toml");
        fs::write(&config, CONFIG).doing(format_args!("write `{}`", config.display()))?;
        let data = folder.join("data");
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"]).arg(config);
        command.arg("--plugins").arg(folder.join("plugins")).arg("--data").arg(&data).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().doing("start the host")?;
        let staging = data.join("staging");
        let mut host = Self { child, staging, log: None, tenants: ([127, 0, 0, 1], 0).into() };
        let log = folder.join("host.log");
        let file = File::create(&log).doing(format_args!("make `{}`", log.display()))?;
        if let Some(stderr) = host.child.stderr.take() {
            let following = std::thread::Builder::new().name("log".to_owned());
            host.log = Some(following.spawn(move || follow(stderr, file, told)).doing("start the log's thread")?);
        }
        let mut line = String::new();
        if let Some(stdout) = host.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).doing("hear from the host")?;
        }
        let address = line.trim().strip_prefix("tenants: http://").and_then(|address| address.parse().ok());
        host.tenants =
            address.ok_or_else(|| Failure::new(format!("the host did not start: see `{}`", log.display())))?;
        Ok(host)
    }

    /// Whether it still runs.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().doing("look at the host")? {
            None => Ok(()),
            Some(status) => Err(Failure::new(format!("the host ended with {status}"))),
        }
    }

    /// How much memory it has.
    pub(super) fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).doing(format_args!("read `{path}`"))?;
        let field = |name: &str| megabytes(&text, name);
        let (all, anonymous) = field("VmRSS:")
            .zip(field("RssAnon:"))
            .ok_or_else(|| Failure::new(format!("`{path}` does not say how much memory there is")))?;
        Ok(Memory { all, anonymous })
    }

    /// How many copies of module files are mapped into it.
    pub(super) fn mapped(&self) -> Result<usize> {
        let path = format!("/proc/{}/maps", self.child.id());
        let text = fs::read_to_string(&path).doing(format_args!("read `{path}`"))?;
        let staging = self.staging.to_string_lossy();
        let files: BTreeSet<&str> = text.lines().filter_map(|line| Some(&line[line.find(&*staging)?..])).collect();
        Ok(files.len())
    }

    /// Ends it orderly.
    pub(super) fn stop(mut self) -> Result<()> {
        let status = self.leave().ok_or_else(|| Failure::new("the host did not end in time"))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("the host ended with {status}"))) }
    }

    fn leave(&mut self) -> Option<std::process::ExitStatus> {
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

impl Drop for Host {
    fn drop(&mut self) {
        if self.leave().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

/// A figure of proc_pid_status(5), which is in KiB there.
fn megabytes(status: &str, name: &str) -> Option<f64> {
    let text = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u32 = text.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0 / 1e6)
}

/// Reads the log to its end.
fn follow(stderr: ChildStderr, mut file: File, mut told: impl FnMut(Told)) {
    for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
        let _ = writeln!(file, "{line}");
        if let Ok(line) = serde_json::from_str::<Line>(&line)
            && let Some(it) = read(&line)
        {
            told(it);
        }
    }
}

fn read(line: &Line) -> Option<Told> {
    match (line.message.as_str(), line.swap_micros) {
        ("a tenant runs other code", Some(micros)) => {
            // Both clocks are looked at now, so that a clock that is set does no harm.
            let ago = SystemTime::now().duration_since(line.timestamp.into()).unwrap_or_default();
            let at = Instant::now().checked_sub(ago)?;
            Some(Told::Swapped { at, lasted: Duration::from_micros(micros) })
        }
        (message, _) if message.starts_with("a version is marked bad") => {
            Some(Told::Refused { version: version_of_text(line.version.as_deref()?)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_megabytes() {
        let status = "Name:\ttenon\nVmRSS:\t   12000 kB\nRssAnon:\t    5000 kB\n";
        assert_eq!(megabytes(status, "VmRSS:"), Some(12.288));
        assert_eq!(megabytes(status, "RssFile:"), None);
    }
}
