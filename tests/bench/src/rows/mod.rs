//! The rows: what is measured, one file each.

mod blocking;
mod discovery;
mod dispatch;
mod flag;
mod gateway;
mod hosts;
mod memory;
mod ofrep;
mod stampede;
mod start;

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    counted::{Count, Counter, Subject},
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
    /// One flag check in process, and its allocations.
    Flag,
    /// All flags of a tenant for one user, over HTTP.
    Ofrep,
    /// From the start of the program until it is ready, with 100,000 tenants stored.
    Start,
    /// Many who look for one tenant at once.
    Stampede,
    /// What modules, tenants and instances take.
    Memory,
    /// Three hosts on one MongoDB and one Redis, which are killed. Only where it is named, as it needs both.
    Hosts,
}

impl Row {
    /// What is measured where no row is named.
    pub(crate) fn usual() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|row| *row != Self::Hosts).collect()
    }
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

/// Measures a row and adds its lines. For so long backends are away, where some are; `None`: as the effort says.
pub(crate) fn measure(row: Row, effort: Effort, outage: Option<Duration>, report: &mut Report) -> Result<()> {
    match row {
        Row::Gateway => {
            gateway::one_core(effort, report)?;
            gateway::two_workers(effort, report)?;
            blocking::neighbours(effort, report)
        }
        Row::Dispatch => dispatch::dispatch(effort, report),
        Row::Discovery => discovery::discovery(effort, report),
        Row::Flag => flag::flag(effort, report),
        Row::Ofrep => ofrep::ofrep(effort, report),
        Row::Start => start::start(effort, report),
        Row::Stampede => stampede::stampede(effort, report),
        Row::Memory => memory::memory(effort, report),
        Row::Hosts => hosts::hosts(effort, outage, report),
    }
}

/// Counts for a row, in the program whose allocator counts.
pub(crate) fn count(subject: Subject, effort: Effort, counter: Counter) -> Result<Vec<Count>> {
    match subject {
        Subject::Flag => flag::count(effort, counter),
        Subject::Memory => memory::count(effort, counter),
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
