//! The developer's commands: `cargo xtask --help` lists them.
//!
//! Each command is a room of its own. None of them knows how the host works inside: they build, start, ask over
//! HTTP and through the command line, and read source text.

mod bench;
mod ci;
mod dev;
mod failure;
mod modules;
mod new;
mod process;
mod run;
mod services;
mod soak;
mod test;
mod tidy;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{failure::Result, workspace::Workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The developer's commands", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds all modules, starts the host on the embedded store with a demo tenant, prints what to try
    Run {
        /// The folder that modules are laid in and served from
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
        /// The folder of the host's data
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Runs every printed command against a host in a temporary folder, compares what comes back, and stops
        #[arg(long)]
        check: bool,
    },
    /// Runs a host that serves all modules, and rebuilds a module when its source is saved
    Dev {
        /// The folder that modules are laid in and served from
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
        /// The folder of the host's data
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Tests everything and starts what it needs by itself, without root
    ///
    /// TENON_TEST_NO_SKIP=1 makes a skipped test a failed one.
    Test {
        /// Runs only the tests whose name contains this, and not the commands that `run` prints
        filter: Option<String>,
    },
    /// Builds modules and lays them into the plugins folder as NAME.so
    Build {
        /// With optimisations
        #[arg(long)]
        release: bool,
        /// The folder they are laid in
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
        /// Which modules; all when none is named
        #[arg(value_name = "MODULE")]
        modules: Vec<String>,
    },
    /// Starts a module that builds, passes its tests and answers a request
    New {
        /// Lower-case letters, digits and `-`, a letter first
        name: String,
        /// Makes a repository of its own in this folder, instead of a module under modules/
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Checks the rules of the source tree that the compiler doesn't know
    Tidy,
    /// Everything that must hold before a change is taken: fmt, clippy, tidy, test, docs
    Ci,
    /// Runs the benchmarks, each against a peer in the same run
    Bench {
        /// Which row; when none is named all but `hosts`, which needs servers
        row: Option<String>,
        /// For how many seconds row `hosts` has both of its servers away; 60 when it is left out
        #[arg(long, value_name = "SECONDS")]
        outage: Option<u64>,
        /// The rows as JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Replaces a module's file in a loop under load, and fails when an answer is lost or impossible
    Soak {
        /// For how long; fractions are allowed, 5 when it is left out
        #[arg(long, value_name = "MINUTES")]
        minutes: Option<String>,
        /// How many tenants use the module; 4 when it is left out
        #[arg(long)]
        tenants: Option<u32>,
        /// The figures as JSON on stdout
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Run { plugins, data, check } => {
            if check {
                run::check(&workspace, plugins, data)
            } else {
                run::serve(&workspace, plugins, data)
            }
        }
        Command::Dev { plugins, data } => dev::dev(workspace, plugins, data),
        Command::Test { filter } => test::test(&workspace, filter.as_deref(), test::skips_from_environment()),
        Command::Build { release, plugins, modules } => {
            modules::build_command(&workspace, workspace::Profile::from_release_flag(release), plugins, &modules)
        }
        Command::New { name, out } => new::new_command(&workspace, &name, out),
        Command::Tidy => tidy::tidy(&workspace),
        Command::Ci => ci::ci(&workspace),
        Command::Bench { row, outage, json } => bench::bench(&workspace, row.as_deref(), outage, json),
        Command::Soak { minutes, tenants, json } => soak::soak(&workspace, minutes.as_deref(), tenants, json),
    }
}
