//! The machine: what it is, which core a thread runs on, how much processor time was used.

use std::{fs, time::Duration};

use rustix::{
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

use crate::failure::{Doing, Failure, Result};

/// The kernel counts processor time of processes in these (fixed for user space on every Linux).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// The cores that this process may use, in the order of their numbers.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).doing("ask which cores this process may use")?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect())
}

/// The core for servers and the one for the load.
pub(crate) fn two_cores() -> Result<(usize, usize)> {
    match cores()?[..] {
        [first, second, ..] => Ok((first, second)),
        _ => Err(Failure::new("this row needs two cores: one for the server, one for the load")),
    }
}

/// Keeps the calling thread, and those that it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).doing(format_args!("stay on core {core}"))
}

/// Processor time that the calling thread has used so far.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time that a process has used so far, to 10 ms.
pub(crate) fn process_time(process: u32) -> Result<CpuTime> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).doing(format_args!("read `{path}`"))?;
    parse_stat(&text).ok_or_else(|| Failure::new(format!("`{path}` is not as expected: `{}`", text.trim_end())))
}

/// Fields 14 and 15 of proc_pid_stat(5). The second field, in brackets, may hold anything.
fn parse_stat(text: &str) -> Option<CpuTime> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u32 = fields.nth(11)?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(CpuTime { user: TICK * user, system: TICK * system })
}

/// One line: processor, cores, kernel, and how busy the machine is with other things.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let cores = cores().map_or(0, |cores| cores.len());
    format!("{model}, {cores} cores, Linux {}, load average {load} at the start", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_program_is_called() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 31 6 7 20 0 9 0 8 1 2";
        let time = parse_stat(text).unwrap();
        assert_eq!((time.user, time.system), (Duration::from_millis(2500), Duration::from_millis(310)));
        assert!(parse_stat("7 (a").is_none());
        assert!(process_time(std::process::id()).is_ok());
    }
}
