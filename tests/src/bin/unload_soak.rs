//! Opens, uses and unloads modules many times in one process, from several threads, and prints what is left
//! as JSON. Made for a process of its own: what it looks for are crashes, also of threads that end after the
//! modules are gone.
//!
//!     unload_soak [--cycles N] [--warm-up N] [--workers N] [--no-note] FILE [--settings JSON] [--stored DOCUMENT]...
//!                 [~]CALL... [-- FILE ...]
//!
//! A DOCUMENT is `MODEL ID BODY` and is there from the beginning. A CALL is `METHOD PATH [BODY]`, made by three at once;
//! one that begins with `~` is dropped half-way. When the calls are answered, the
//! wake-ups that the module has set and that are due are handled. Every cycle takes the next file.

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::{Asked, FakeServices, ModuleFile, Workers, ask, request};
use serde_json::json;
use tenon_host::loader::{ClaimToken, ClaimedWork, Hook, Loader, LoaderSettings};

/// A module with the calls to make.
struct Subject {
    file: ModuleFile,
    settings: String,
    stored: Vec<String>,
    calls: Vec<String>,
}

struct Options {
    cycles: usize,
    warm_up: usize,
    workers: usize,
    subjects: Vec<Subject>,
}

fn options() -> Options {
    let mut options = Options { cycles: 1000, warm_up: 50, workers: 3, subjects: Vec::new() };
    let (mut note, mut expects_file) = (true, true);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--cycles" => options.cycles = number(),
            "--warm-up" => options.warm_up = number(),
            "--workers" => options.workers = number(),
            "--no-note" => note = false,
            "--" => expects_file = true,
            file if expects_file => {
                expects_file = false;
                let (file, settings) = (ModuleFile::read(Path::new(file)), "{}".to_owned());
                options.subjects.push(Subject { file, settings, stored: Vec::new(), calls: Vec::new() });
            }
            "--settings" => {
                let settings = arguments.next().expect("settings");
                options.subjects.last_mut().expect("a file before its settings").settings = settings;
            }
            "--stored" => {
                let document = arguments.next().expect("a document");
                options.subjects.last_mut().expect("a file before its documents").stored.push(document);
            }
            call => options.subjects.last_mut().expect("a file before its calls").calls.push(call.to_owned()),
        }
    }
    if !note {
        options.subjects.iter_mut().for_each(|subject| subject.file.unload_note = None);
    }
    assert!(!options.subjects.is_empty(), "no file was given");
    options
}

/// Resident memory in bytes.
fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: i64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// How many staged copies are in the process's map.
fn mapped(staging: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let staging = staging.to_string_lossy();
    let mut files: Vec<&str> = maps.lines().filter_map(|line| line.find(&*staging).map(|at| &line[at..])).collect();
    files.sort_unstable();
    files.dedup();
    files.len()
}

fn cycle(
    subject: &Subject,
    loader: &Loader,
    workers: &Workers,
    services: &tokio::runtime::Handle,
    seen: &mut BTreeMap<String, u64>,
) -> Result<(), String> {
    let generation = subject.file.open(loader).map_err(|error| error.to_string())?;
    let services = Arc::new(FakeServices::new("t1", &subject.settings, services));
    for document in &subject.stored {
        let parts: Vec<&str> = document.splitn(3, ' ').collect();
        let [model, id, body] = parts[..] else { return Err(format!("`{document}` is no document")) };
        services.put(model, id, body);
    }
    let made = workers.run(0, generation.initialize(Arc::clone(&services) as _));
    let instance = Arc::new(made.map_err(|failure| failure.to_string())?);
    drop(generation);
    let mut running = Vec::new();
    for call in &subject.calls {
        let (cut, call) = match call.strip_prefix('~') {
            Some(call) => (Duration::from_millis(2), call),
            None => (Duration::from_secs(20), call.as_str()),
        };
        let mut parts = call.splitn(3, ' ');
        let (method, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let body = parts.next().unwrap_or("");
        for worker in 0..3 {
            let request = request(&instance, method, path, body);
            let instance = Arc::clone(&instance);
            let asked = workers.begin(worker, async move {
                match ask(&instance, request, cut).await {
                    Asked::Reply(reply, Ok(_)) => reply.status.as_str().to_owned(),
                    Asked::Reply(_, Err(failure)) => format!("stream: {failure}"),
                    Asked::Failed(failure) => failure.to_string(),
                    Asked::Cut => "cut".to_owned(),
                }
            });
            running.push((format!("{method} {path}"), asked));
        }
    }
    for (call, asked) in running {
        let outcome = asked.recv_timeout(Duration::from_secs(30)).map_err(|_| format!("{call} gave no answer"))?;
        *seen.entry(format!("{call}: {outcome}")).or_default() += 1;
    }
    for (worker, key) in services.due_wakes().into_iter().enumerate() {
        let work = ClaimedWork {
            id: Arc::from("0198a0b0-0000-7000-8000-000000000002"),
            claim: ClaimToken { delivery: 1, fence: 1 },
            deadline_millis: 4_000_000_000_000,
        };
        let outcome = match workers.run(worker, instance.run(Hook::Wake { work, key })) {
            Ok(()) => "handled".to_owned(),
            Err(failure) => failure.to_string(),
        };
        *seen.entry(format!("wake-up: {outcome}")).or_default() += 1;
    }
    services.stop();
    workers.run(1, instance.run(Hook::Cleanup)).map_err(|failure| failure.to_string())?;
    drop(instance);
    if loader.wait_for(Duration::from_secs(20), |report| report.live.is_empty() && report.closing.is_empty()) {
        return Ok(());
    }
    Err(format!("it was not closed in time: {:?}", loader.report()))
}

fn main() -> ExitCode {
    let options = options();
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut settings = LoaderSettings::below(data.path());
    settings.thread_wait = Duration::from_millis(200);
    let staging = settings.staging.clone();
    let loader = Loader::start(settings).expect("a loader");
    let services = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_park(tenon_host::loader::sweep_this_thread)
        // Threads for blocking work end soon, and run what is left on them then.
        .thread_keep_alive(Duration::from_millis(10))
        .build()
        .expect("a runtime");
    let handle = services.handle().clone();
    loader.add_sweeper(Arc::new(move || drop(handle.spawn(async { tenon_host::loader::sweep_this_thread() }))));
    let workers = Workers::start(options.workers, &loader);

    let (mut seen, mut refused, mut done) = (BTreeMap::new(), None, 0);
    let (mut before, begun) = (resident_bytes(), Instant::now());
    while done < options.cycles && refused.is_none() {
        if done == options.warm_up {
            before = resident_bytes();
        }
        let subject = &options.subjects[done % options.subjects.len()];
        match cycle(subject, &loader, &workers, services.handle(), &mut seen) {
            Ok(()) => done += 1,
            Err(reason) => refused = Some(reason),
        }
    }
    let (growth, report) = (resident_bytes() - before, loader.report());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for resident in &report.resident {
        *reasons.entry(resident.reason.clone()).or_default() += 1;
    }
    let left = mapped(&staging);
    // Threads of the host end after the modules they were in are gone.
    workers.end();
    drop(services);
    drop(loader);
    let text = json!({
        "cycles": done,
        "interposed": report.interposed,
        "unloaded": report.unloaded,
        "still_mapped": left,
        "growth_bytes": growth,
        "forgotten_entries": report.forgotten_entries,
        "resident": reasons,
        "refused": refused,
        "outcomes": seen,
        "millis": begun.elapsed().as_millis() as u64,
    });
    println!("{text:#}");
    ExitCode::SUCCESS
}
