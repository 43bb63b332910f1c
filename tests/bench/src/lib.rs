//! Benchmarks of the host, each against a peer or a goal, as a table of ratios and times. Reports figures; whether
//! they are good enough is for the reader, so a missed goal is no failure of the program.
//!
//! `cargo xtask bench` builds what is needed and runs this. docs/benchmarks.md says what each row means. `bench soak`,
//! which `cargo xtask soak` runs, is another thing: it looks for lost answers, and fails where there are any.

mod background;
mod counted;
mod counting_store;
mod failure;
mod flag_file;
mod host;
mod interrupt;
mod item;
mod line;
mod load;
mod machine;
mod peer;
mod report;
mod rows;
mod server;
mod soak;
mod stats;
mod tenants;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

pub use counted::main as main_counted;

use crate::{
    failure::{Failure, Result},
    report::Report,
    rows::{Effort, Row},
};

/// Benchmarks of the host.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; everything where it is left out.
    row: Option<Row>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measures a few rounds only, to try the program itself.
    #[arg(long)]
    quick: bool,
    /// For how many seconds row `hosts` has both backends away; 60 when it is left out, 5 with --quick.
    #[arg(long, value_name = "SECONDS")]
    outage: Option<u64>,
    /// Is a server for the measuring process.
    #[arg(long, hide = true, requires = "folder")]
    serve: Option<server::Kind>,
    #[arg(long, hide = true, default_value_t = 1)]
    workers: usize,
    #[arg(long, hide = true)]
    core: Option<usize>,
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replaces a module's file in a loop under load, and checks every answer.
    Soak(soak::Options),
}

/// The program `bench`.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What failed because everything is being ended is not worth telling.
            let failure = interrupt::check().err().unwrap_or(failure);
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(Command::Soak(options)) = &arguments.command {
        interrupt::listen()?;
        return soak::soak(options);
    }
    if let (Some(kind), Some(folder)) = (arguments.serve, &arguments.folder) {
        return server::serve(kind, arguments.workers, arguments.core, folder);
    }
    if cfg!(debug_assertions) && !arguments.quick {
        return Err(Failure::new("this is a debug build, whose figures mean nothing\nhint: run `cargo xtask bench`"));
    }
    interrupt::listen()?;
    let mut report = Report { machine: machine::describe(), ..Report::default() };
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let rows = arguments.row.map_or_else(Row::usual, |row| vec![row]);
    for row in rows {
        rows::measure(row, effort, arguments.outage.map(Duration::from_secs), &mut report)?;
    }
    if arguments.json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_table());
    }
    Ok(())
}
