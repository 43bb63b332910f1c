//! Row `start`: from the start of the program `tenon` until it says that it is ready, with 100,000 tenants in the
//! embedded store, and with none beside it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Effort, progress};
use crate::{
    failure::{Doing, Failure, Result},
    load,
    report::{Goal, Line, Report},
    stats::Spread,
    tenants::{self, built_beside},
};

const ROW: &str = "start";
const STORED: usize = 100_000;
/// How long the host may take to get ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A started host. Ended and reaped when it is dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // Not waited for yet, so its number is nobody else's.
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn start(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
    for made in [&full, &empty] {
        let plugins = made.join("plugins");
        fs::create_dir_all(&plugins).doing(format_args!("make folder `{}`", plugins.display()))?;
        let library = built_beside("examples/libecho.so")?;
        fs::copy(&library, plugins.join("echo.so")).doing(format_args!("copy `{}`", library.display()))?;
    }
    let stored = match effort {
        Effort::Full => STORED,
        Effort::Quick => STORED / 20,
    };
    eprintln!("start: storing {stored} tenants");
    tenants::store(&full.join("data"), "echo", stored)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let rounds = effort.rounds(15);
    // The first round is not counted: it makes what a data folder lacks.
    for round in 0..=rounds {
        progress("start", round, rounds + 1)?;
        let (one, other) = (until_ready(&full)?, until_ready(&empty)?);
        if round > 0 {
            with.push(one.as_secs_f64() * 1e3);
            without.push(other.as_secs_f64() * 1e3);
        }
    }
    let lines = [
        (format!("{stored} tenants stored: until ready"), Spread::of(with.iter().copied()), "ms", Some(1000.0)),
        ("none stored: until ready".to_owned(), Spread::of(without.iter().copied()), "ms", None),
        (format!("{stored} tenants over none"), Spread::of_ratios(&with, &without), "x", None),
    ];
    for (what, spread, unit, goal) in lines {
        let Some(spread) = spread else { continue };
        let line = Line::of_spread(ROW, what, spread, unit);
        report.lines.push(match goal {
            Some(most) => line.with_goal(Goal::AtMost(most)),
            None => line,
        });
    }
    Ok(())
}

/// How long a host on this folder takes from the start of its program until `/readyz` answers 200.
fn until_ready(folder: &Path) -> Result<Duration> {
    let mut command = Command::new(built_beside("tenon")?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.arg("--plugins").arg(folder.join("plugins")).arg("--data").arg(folder.join("data")).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut host = Started(command.spawn().doing("start the host")?);
    let stdout = host.0.stdout.take().ok_or_else(|| Failure::new("the host has no output"))?;
    let mut lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
    let address = lines.find_map(|line| admin_address(&line)).ok_or_else(|| Failure::new("the host did not start"))?;
    loop {
        let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec();
        let answers = load::answers(address, Rc::from([request]))?;
        if answers.iter().all(|answer| answer.starts_with(b"HTTP/1.1 200")) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new("the host did not get ready"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn admin_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("operators: http://")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_address_is_found_in_what_a_host_prints() {
        let address = admin_address("operators: http://127.0.0.1:4711 (token: /data/admin.token)");
        assert_eq!(address, Some(([127, 0, 0, 1], 4711).into()));
        assert_eq!(admin_address("tenants: http://127.0.0.1:4711"), None);
    }
}
