//! The soak: the real program under load while its module's file is replaced in a loop, by good versions, by one that
//! fails to initialize and by one that panics. Every answer is checked against the versions that may have given it.
//! A missed goal is no failure; a lost or impossible answer and a library that stays mapped are.

mod asking;
mod figures;
mod host;
mod ledger;
mod replacing;
mod versions;
mod windows;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;

use self::{
    asking::{CONNECTIONS, Shared},
    figures::Figures,
    host::{Host, Memory, Told},
    ledger::Ledger,
    replacing::Replacing,
    versions::{MODULE, Mood, Versions},
};
use crate::{
    background::Background,
    failure::{Doing, Failure, Result},
    interrupt, load, machine,
    report::Report,
    tenants,
};

/// Which part of the peak rate is asked for.
const PART_OF_PEAK: f64 = 0.5;

/// Which part of the time is for warming up: what is mapped and allocated once has been by then.
const WARM_UP: f64 = 0.15;

/// How long a version that panics is left in its place, so that it comes to that; and where files are counted and
/// not time.
const UNTIL_PANIC: Duration = Duration::from_millis(1_200);
const UNTIL_PANIC_COUNTED: Duration = Duration::from_secs(10);

/// The soak's options.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How long files are replaced; fractions are allowed.
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    minutes: f64,
    /// How many tenants use the module.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    tenants: u32,
    /// Ends after so many files in the place of a time.
    #[arg(long, hide = true)]
    files: Option<usize>,
    /// Which request panics where one does.
    #[arg(long, hide = true, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    panics_at: u32,
    /// Prints JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 10_000.0 => Ok(number),
        _ => Err("must be a number of minutes above 0".to_owned()),
    }
}

/// Runs the soak and reports it; fails when something was lost, after the report is printed.
pub(crate) fn soak(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir().doing("make a temporary folder")?;
    let done = run(options, folder.path()).and_then(|(report, problems)| {
        if options.json {
            println!("{}", report.to_json());
        } else {
            print!("{}", report.to_table());
        }
        problems.map_or(Ok(()), |problems| Err(Failure::new(problems)))
    });
    done.map_err(|failure| {
        if interrupt::check().is_err() {
            return failure;
        }
        Failure::new(format!("{failure}\nhint: the host's log is in `{}`", folder.keep().display()))
    })
}

fn run(options: &Options, folder: &Path) -> Result<(Report, Option<String>)> {
    let (tenants, panics_at) = (options.tenants as usize, options.panics_at);
    let machine = machine::describe();
    let plugins = folder.join("plugins");
    let data = folder.join("data");
    for made in [&plugins, &data] {
        fs::create_dir_all(made).doing(format_args!("make folder `{}`", made.display()))?;
    }
    let versions = Versions::new(&plugins, tenants, panics_at)?;
    let books = Shared::new(Ledger::new(tenants, panics_at));
    books.open().ledger.place(Mood::Calm, Instant::now());
    versions.write(0, Mood::Calm)?.put_in_place()?;
    tenants::store(&data, MODULE, tenants)?;
    let to_log = books.clone();
    let mut host = Host::start(folder, move |told| {
        let mut books = to_log.open();
        match told {
            Told::Refused { version } => books.ledger.refuse(version),
            Told::Swapped { at, lasted } => {
                books.windows.swapped(at);
                books.swaps.push(lasted);
            }
        }
    })?;

    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let requests = asking::requests(&asking::turns(tenants));
    let peak_for = (whole / 20).clamp(Duration::from_millis(500), Duration::from_secs(5));
    // The first makes the instances.
    load::closed(host.tenants(), requests.clone(), CONNECTIONS, peak_for / 4)?;
    let peak = load::closed(host.tenants(), requests, CONNECTIONS, peak_for)?.per_second();
    let rate = peak * PART_OF_PEAK;
    eprintln!("soak: {peak:.0} requests a second at most; {rate:.0} a second from now on");

    let (address, shared) = (host.tenants(), books.clone());
    let asking = Background::start(move |end| asking::ask(address, tenants, rate, &shared, end))?;
    let begun = Instant::now();
    let until_panic = if options.files.is_some() { UNTIL_PANIC_COUNTED } else { UNTIL_PANIC };
    let mut replacing = Replacing { versions: &versions, host: &mut host, books: &books, tenants, until_panic };
    let mut before: Option<Memory> = None;
    let mut told = begun;
    loop {
        let files = books.open().ledger.count() - 1;
        let part = options
            .files
            .map_or_else(|| begun.elapsed().as_secs_f64() / whole.as_secs_f64(), |most| files as f64 / most as f64);
        if part >= WARM_UP && before.is_none() {
            before = Some(replacing.host.memory()?);
        }
        if part >= 1.0 {
            break;
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let books = books.open();
            let (ledger, memory) = (&books.ledger, replacing.host.memory()?);
            eprintln!(
                "soak: {:.0} s, {} requests, {files} files, {} lost, {} wrong, {} panics, {:.1} MB ({:.1} anonymous)",
                begun.elapsed().as_secs_f64(),
                ledger.requests,
                ledger.lost,
                ledger.wrong,
                ledger.panics,
                memory.all,
                memory.anonymous,
            );
        }
        replacing.next()?;
    }
    replacing.last()?;
    let lasted = begun.elapsed();
    let mapped = replacing.until_unloaded()?;
    // As at the start: under load.
    let after = host.memory()?;
    asking.end()?;
    host.stop()?;

    let mut books = books.open();
    books.ledger.close();
    books.windows.close();
    let before = before.unwrap_or(after);
    let figures = Figures { books: &books, tenants, peak, rate, lasted, mapped, before, after };
    Ok((figures.report(machine), figures.problems()))
}
