//! What a command has to say: data for stdout, remarks for stderr, an exit code.

use std::{
    fmt::Display,
    io::{self, Write},
};

use serde_json::Value;

use super::{exit, failure::Failure};

/// What a command has to say.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// For stdout.
    pub(super) data: String,
    /// For stderr, line by line.
    pub(super) remarks: Vec<String>,
    pub(super) exit: u8,
}

impl Output {
    /// Data for people.
    pub(super) fn text(data: impl Display) -> Self {
        Self { data: data.to_string(), ..Self::default() }
    }

    /// Data for programs: one JSON document, indented.
    pub(super) fn json(data: &Value) -> Self {
        Self::text(format_args!("{data:#}\n"))
    }

    /// The same with a line for stderr.
    pub(super) fn remark(mut self, line: impl Into<String>) -> Self {
        self.remarks.push(line.into());
        self
    }

    /// Prints it and returns the exit code. Whoever reads may have read enough and gone away.
    pub(super) fn print(self) -> u8 {
        for line in &self.remarks {
            let _ = writeln!(io::stderr(), "{line}");
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(self.data.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let _ = writeln!(io::stderr(), "error: stdout can't be written: {error}");
                exit::OTHER
            }
            _ => self.exit,
        }
    }
}

/// Prints what came of a command and returns the exit code.
pub(super) fn finish(outcome: Result<Output, Failure>) -> u8 {
    match outcome {
        Ok(output) => output.print(),
        Err(failure) => {
            let _ = io::stderr().write_all(failure.lines().as_bytes());
            failure.exit()
        }
    }
}
