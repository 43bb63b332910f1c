//! The rows: what is measured, one file each.

mod blocking;
mod discovery;
mod dispatch;
mod gateway;

use clap::ValueEnum;

use crate::{
    failure::{Doing, Result},
    interrupt,
    report::Report,
};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// Throughput of the tenant listener against axum, and both runtime modes.
    Gateway,
    /// From a request's head to the handler and back, over a direct call of the handler.
    Dispatch,
    /// Reading a folder of 1,000 module files.
    Discovery,
}

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For figures.
    Full,
    /// To try the program itself; the figures mean little.
    Quick,
}

impl Effort {
    fn rounds(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => (full / 7).max(2),
        }
    }
}

/// Measures a row and adds its lines.
pub(crate) fn measure(row: Row, effort: Effort, report: &mut Report) -> Result<()> {
    match row {
        Row::Gateway => {
            gateway::one_core(effort, report)?;
            gateway::two_workers(effort, report)?;
            blocking::neighbours(effort, report)
        }
        Row::Dispatch => dispatch::dispatch(effort, report),
        Row::Discovery => discovery::discovery(effort, report),
    }
}

/// Says on stderr what goes on, and ends the measuring after Ctrl-C.
fn progress(what: &str, round: usize, rounds: usize) -> Result<()> {
    eprintln!("{what}: round {} of {rounds}", round + 1);
    interrupt::check()
}

/// A folder that goes when it is dropped.
fn folder() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("tenon-bench-").tempdir().doing("make a temporary folder")
}
