//! Runs the commands of a story as a person would paste them, and compares.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::failure::{Doing, Failure, Result};

use super::story::{Expected, Step, Story};

/// How many did what they should.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// As expected.
    pub(crate) passed: usize,
    /// Not so; each has been told.
    pub(crate) failed: usize,
}

impl Tally {
    /// Counts one and tells how it went.
    pub(super) fn add(&mut self, what: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {what}");
            }
            Err(failure) => {
                self.failed += 1;
                println!("FAILED  {what}: {failure}");
            }
        }
    }
}

/// Runs all steps in `folder`, those after a failed one too.
pub(super) fn check(story: &Story, folder: &Path) -> Tally {
    let mut tally = Tally::default();
    for step in &story.steps {
        tally.add(step.shows, check_step(step, story.prelude().as_deref(), folder));
    }
    tally
}

fn check_step(step: &Step, prelude: Option<&str>, folder: &Path) -> Result<()> {
    let text = [prelude.unwrap_or_default(), &step.command].join("\n");
    let mut command = Command::new("sh");
    command.args(["-c", &text]).current_dir(folder).stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    let output = command.output().doing(|| "start `sh`".to_owned())?;
    let wrong = differences(step.expected, &output);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n  command: {}\n  exit: {}\n  stdout: {}\n  stderr: {}",
        wrong.join("; "),
        step.command,
        output.status,
        String::from_utf8_lossy(&output.stdout).trim(),
        String::from_utf8_lossy(&output.stderr).trim(),
    )))
}

/// What is not as expected; all of it.
fn differences(expected: Expected, output: &Output) -> Vec<String> {
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut wrong = Vec::new();
    match expected {
        Expected::Answer(status, _) => {
            let found = said.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
            if found != Some(status.to_string().as_str()) {
                wrong.push(format!("expected status {status}, found {}", found.unwrap_or("no answer")));
            }
        }
        Expected::Exit(code, _) => {
            if output.status.code() != Some(code) {
                wrong.push(format!("expected exit code {code}, found {}", output.status));
            }
        }
    }
    for text in expected.texts().iter().filter(|text| !said.contains(**text)) {
        wrong.push(format!("`{text}` is not in the output"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(command: &str, prelude: Option<&str>, expected: Expected) -> std::result::Result<(), String> {
        let step = Step { shows: "a test", command: command.to_owned(), expected };
        check_step(&step, prelude, Path::new("."))
            .map_err(|failure| failure.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn an_answer_is_compared_by_status_and_text() {
        let command = r#"printf 'HTTP/1.1 403 Forbidden\r\n\r\n{"code":"MODULE_NOT_ENABLED"}\n'"#;
        assert_eq!(outcome(command, None, Expected::Answer(403, &["MODULE_NOT_ENABLED"])), Ok(()));
        assert_eq!(
            outcome(command, None, Expected::Answer(201, &["Sales"])),
            Err("expected status 201, found 403; `Sales` is not in the output".to_owned())
        );
        assert_eq!(
            outcome("true", None, Expected::Answer(200, &[])),
            Err("expected status 200, found no answer".to_owned())
        );
    }

    #[test]
    fn the_command_line_is_compared_by_exit_code_and_either_stream() {
        assert_eq!(outcome("echo no >&2; exit 4", None, Expected::Exit(4, &["no"])), Ok(()));
        assert_eq!(
            outcome("exit 1", None, Expected::Exit(0, &[])),
            Err("expected exit code 0, found exit status: 1".to_owned())
        );
    }

    #[test]
    fn the_prelude_is_in_force() {
        assert_eq!(
            outcome(r#"echo "$WHERE""#, Some("export WHERE='over here'"), Expected::Exit(0, &["over here"])),
            Ok(())
        );
    }
}
