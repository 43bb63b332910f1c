//! Row `start`: from the start of the program `tenon` until it says that it is ready, with 100,000 tenants in the
//! embedded store, and with none beside it.

use std::{
    fs,
    path::Path,
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Effort, progress};
use crate::{
    failure::{Doing, Failure, Result},
    host::{HostProcess, any_port},
    load,
    report::{Goal, Line, Report},
    stats::Spread,
    tenants::{self, built_beside},
};

const ROW: &str = "start";
const STORED: usize = 100_000;
/// How long the host may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let mut command = HostProcess::command(folder, [any_port(), any_port()])?;
    command.stderr(Stdio::null());
    let begun = Instant::now();
    let mut host = HostProcess::spawn(command)?;
    host.until_it_listens()?;
    loop {
        let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec();
        let answers = load::answers(host.operators, Rc::from([request]))?;
        if answers.iter().all(|answer| answer.starts_with(b"HTTP/1.1 200")) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new("the host did not get ready"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
