//! The host under load: the very program that operators run, on folders of its own. What its log tells is read as it
//! comes; memory and mappings are the kernel's word.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStderr, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use serde::Deserialize;

use super::versions::version_of_text;
use crate::{
    failure::{Doing, Failure, Result},
    host::{HostProcess, any_port},
};

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
    process: HostProcess,
    staging: PathBuf,
    log: Option<JoinHandle<()>>,
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
        let config = folder.join("tenon.toml");
        fs::write(&config, CONFIG).doing(format_args!("write `{}`", config.display()))?;
        let mut command = HostProcess::command(folder, [any_port(), any_port()])?;
        command.arg("--config").arg(config).stderr(Stdio::piped());
        let process = HostProcess::spawn(command)?;
        let mut host = Self { process, staging: folder.join("data/staging"), log: None };
        let log = folder.join("host.log");
        let file = File::create(&log).doing(format_args!("make `{}`", log.display()))?;
        if let Some(stderr) = host.process.log() {
            let following = std::thread::Builder::new().name("log".to_owned());
            host.log = Some(following.spawn(move || follow(stderr, file, told)).doing("start the log's thread")?);
        }
        host.process.until_it_listens()?;
        Ok(host)
    }

    /// Where tenants ask.
    pub(super) fn tenants(&self) -> SocketAddr {
        self.process.tenants
    }

    /// Whether it still runs.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// How much memory it has.
    pub(super) fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(&path).doing(format_args!("read `{path}`"))?;
        let field = |name: &str| megabytes(&text, name);
        let (all, anonymous) = field("VmRSS:")
            .zip(field("RssAnon:"))
            .ok_or_else(|| Failure::new(format!("`{path}` does not say how much memory there is")))?;
        Ok(Memory { all, anonymous })
    }

    /// How many copies of module files are mapped into it.
    pub(super) fn mapped(&self) -> Result<usize> {
        let path = format!("/proc/{}/maps", self.process.id());
        let text = fs::read_to_string(&path).doing(format_args!("read `{path}`"))?;
        let staging = self.staging.to_string_lossy();
        let files: BTreeSet<&str> = text.lines().filter_map(|line| Some(&line[line.find(&*staging)?..])).collect();
        Ok(files.len())
    }

    /// Ends it orderly.
    pub(super) fn stop(mut self) -> Result<()> {
        let status = self.process.leave().ok_or_else(|| Failure::new("the host did not end in time"))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("the host ended with {status}"))) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The log ends with the process.
        if self.process.leave().is_none() {
            self.process.kill();
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
