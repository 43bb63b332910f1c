//! What is counted rather than timed: allocations, and the bytes that are in use. `bench-counted` does it and prints
//! JSON; `bench` asks it. Modules are libraries with an allocator of their own, so what they take is not among it.

use std::{
    alloc::System,
    process::{Command, ExitCode, Stdio},
};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use stats_alloc::StatsAlloc;

use crate::{
    failure::{Doing, Failure, Result},
    interrupt,
    rows::{self, Effort},
    tenants::built_beside,
};

/// What can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Allocations of flag checks.
    Flag,
    /// Bytes of modules, tenants and instances.
    Memory,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) value: f64,
}

impl Count {
    pub(crate) fn new(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value }
    }
}

/// Counts for benchmarks.
#[derive(Debug, Parser)]
#[command(name = "bench-counted")]
struct Arguments {
    subject: Subject,
    #[arg(long)]
    quick: bool,
}

/// The allocator that counts.
#[derive(Clone, Copy)]
pub(crate) struct Counter(&'static StatsAlloc<System>);

impl Counter {
    /// How often memory was asked for so far, by whatever thread.
    pub(crate) fn allocations(self) -> f64 {
        let stats = self.0.stats();
        (stats.allocations + stats.reallocations) as f64
    }

    /// How many bytes are in use.
    pub(crate) fn live(self) -> f64 {
        let stats = self.0.stats();
        stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
    }
}

/// The program `bench-counted`, whose allocator this is.
pub fn main(allocator: &'static StatsAlloc<System>) -> ExitCode {
    let arguments = Arguments::parse();
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let counted = interrupt::listen().and_then(|()| rows::count(arguments.subject, effort, Counter(allocator)));
    let printed = counted.and_then(|counts| serde_json::to_string(&counts).doing("write JSON"));
    match printed {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let failure = interrupt::check().err().unwrap_or(failure);
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Has something counted.
pub(crate) fn ask(subject: Subject, effort: Effort) -> Result<Vec<Count>> {
    let name = subject.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let mut command = Command::new(built_beside("bench-counted")?);
    command.arg(&name).args((effort == Effort::Quick).then_some("--quick")).stdin(Stdio::null());
    let output = command.stderr(Stdio::inherit()).output().doing("start `bench-counted`")?;
    if !output.status.success() {
        return Err(Failure::new(format!("`bench-counted {name}` ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).doing("read what was counted")
}
