//! Runs every test there is, and tells what was tested, what was skipped and what was left running.

mod clients;
mod leftovers;
mod output;

use std::{
    env,
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{
    failure::{Doing, Failure, Result},
    modules::Selection,
    process::shown,
    run,
    services::Services,
    workspace::Workspace,
};

use self::{leftovers::Watch, output::Report};

/// What a skipped test means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    /// It is told at the end.
    Told,
    /// It is told and counts as failed.
    Refused,
}

/// `TENON_TEST_NO_SKIP=1` refuses skipped tests.
pub(crate) fn skips_from_environment() -> Skips {
    let refused = env::var("TENON_TEST_NO_SKIP").is_ok_and(|value| !value.is_empty() && value != "0");
    if refused { Skips::Refused } else { Skips::Told }
}

/// `cargo xtask test`. The last line on stdout is `N passed, N failed`.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>, skips: Skips) -> Result<ExitCode> {
    // `cargo test` alone does not build the libraries of modules and fixtures that tests open.
    workspace.run_cargo(["build", "--workspace", "--all-targets"])?;
    let watch = Watch::begin()?;
    let services = Services::start(workspace)?;
    let mut report = cargo_test(workspace, filter, &services)?;
    // Before the look for what is left: they are wanted until here.
    drop(services);
    if filter.is_none() {
        test_story(workspace, &mut report);
    }
    match watch.map(Watch::end).transpose()? {
        None => report.skip("processes left behind", "they can be found on Linux only"),
        Some(left) if left.is_empty() => report.add("no process is left behind", 1, 0),
        Some(left) => {
            println!("\nleft behind, and killed now:\n  {}", left.join("\n  "));
            report.add("no process is left behind", 0, left.len());
        }
    }
    Ok(conclude(&report, skips))
}

/// Runs what `cargo xtask run` prints.
fn test_story(workspace: &Workspace, report: &mut Report) {
    const NAME: &str = "commands of `cargo xtask run`";
    println!("\nthe commands that `cargo xtask run` prints:");
    let curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if !curl.is_ok_and(|status| status.success()) {
        return report.skip(NAME, "they call curl, which is not here");
    }
    match run::check_in(workspace, None, None, Selection::AllTargets) {
        Ok(tally) => report.add(NAME, tally.passed, tally.failed),
        Err(failure) => {
            println!("FAILED  {failure}");
            report.add(NAME, 0, 1);
        }
    }
}

fn conclude(report: &Report, skips: Skips) -> ExitCode {
    println!("\n{}", report.told());
    let skipped = report.skipped().len() + report.ignored();
    let refused = if skips == Skips::Refused { skipped } else { 0 };
    if refused > 0 {
        println!("skipped or ignored tests count as failed here: {refused}");
    }
    println!("{} passed, {} failed", report.passed(), report.failed() + refused);
    if report.failed() + refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs `cargo test`, shows its output as it comes, and sums it up.
fn cargo_test(workspace: &Workspace, filter: Option<&str>, services: &Services) -> Result<Report> {
    let mut command = workspace.cargo(["test", "--workspace", "--no-fail-fast"]);
    command.args(filter);
    services.tell(&mut command);
    command.envs(clients::prepare(workspace, filter));
    // A test that passes says `SKIPPED: ...` on its own stdout, which is thrown away without this.
    command.args(["--", "--show-output"]);
    let name = shown(&command);
    // One pipe for both streams keeps the order: cargo names a binary on stderr, the binary answers on stdout.
    let (reader, writer) = io::pipe().doing(|| "make a pipe".to_owned())?;
    let second = writer.try_clone().doing(|| "make a pipe".to_owned())?;
    let mut child =
        command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn().doing(|| format!("start `{name}`"))?;
    // The command holds the writing ends; while they are open, the pipe never ends.
    drop(command);

    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(io::Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut report = Report::default();
    let status = follow(&mut child, &lines, &mut |line| {
        if report.read(&line) {
            println!("{line}");
        }
    })
    .doing(|| format!("run `{name}`"))?;
    report.end(status.success());
    Ok(report)
}

/// Hands over each line until the child has ended and its output too. A process that the child left behind may hold
/// the pipe open for ever, so after the child's end only what is there is read.
fn follow(child: &mut Child, lines: &Receiver<String>, take: &mut dyn FnMut(String)) -> Result<ExitStatus> {
    const PATIENCE: Duration = Duration::from_millis(500);
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => take(line),
            Err(RecvTimeoutError::Disconnected) => {
                return child.wait().map_err(|error| Failure::new(error.to_string()));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait().map_err(|error| Failure::new(error.to_string()))? {
                    lines.try_iter().for_each(&mut *take);
                    return Ok(status);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_followed_past_a_process_that_keeps_the_pipe_open() {
        let (reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", "echo one; sleep 30 & echo two $!"]).stdout(writer).spawn().unwrap();
        drop(command);
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(io::Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut seen = Vec::new();
        let begun = std::time::Instant::now();
        assert!(follow(&mut child, &lines, &mut |line| seen.push(line)).unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(seen[0], "one");
        let pid = seen[1].strip_prefix("two ").unwrap();
        Command::new("sh").args(["-c", &format!("kill {pid}")]).status().unwrap();
    }

    #[test]
    fn a_skip_fails_where_it_is_refused() {
        let mut report = Report::default();
        report.add("a", 1, 0);
        report.skip("redis", "no server");
        assert_eq!(conclude(&report, Skips::Told), ExitCode::SUCCESS);
        assert_eq!(conclude(&report, Skips::Refused), ExitCode::FAILURE);
    }
}
