//! Takes generations out of the process, on a thread of its own. A generation is closed when no thread is in
//! its code and none can get there; until then it waits, with a reason, and never holds up another one.

#![expect(unsafe_code, reason = "closes libraries that nothing uses any more")]

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use module_api::abi::RootRef;

use super::{
    error::LoadError,
    fence::Gate,
    footprint::{self, InTheWay},
    library::Mapped,
    report::{GenerationInfo, LoaderReport, Outcome, ResidentGeneration},
    roll::Roll,
    staging::Staged,
    watchdog::Watchdog,
};

/// Makes a group of the host's threads call [`super::sweep_this_thread`] soon; must not wait for them.
pub type Sweeper = Arc<dyn Fn() + Send + Sync>;

/// A generation that nobody holds any more.
pub(super) struct Retired {
    pub(super) info: GenerationInfo,
    /// The root, where `attach` was called.
    pub(super) attached: Option<RootRef>,
    pub(super) gate: Arc<Gate>,
    pub(super) mapped: Mapped,
    pub(super) staged: Staged,
    pub(super) unload_note: Option<String>,
}

/// What the loader's front, the generations and the reaper share.
pub(super) struct Shared {
    interposed: bool,
    limit: usize,
    sweep_wait: Duration,
    thread_wait: Duration,
    sweepers: RwLock<Vec<Sweeper>>,
    roll: Arc<Roll>,
    watchdog: Watchdog,
    books: Mutex<Books>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("interposed", &self.interposed)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Books {
    /// Places that are being filled.
    reserved: usize,
    live: BTreeMap<u64, GenerationInfo>,
    closing: BTreeMap<u64, GenerationInfo>,
    resident: BTreeMap<u64, ResidentGeneration>,
    unloaded: u64,
    forgotten: u64,
    arrived: Vec<Retired>,
    stopping: bool,
}

/// A place for one more library; given back when dropped unfilled.
pub(super) struct Place<'a> {
    shared: &'a Shared,
}

impl Place<'_> {
    pub(super) fn fill(self, info: GenerationInfo) {
        self.shared.books().live.insert(info.serial, info);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.books().reserved -= 1;
    }
}

impl Shared {
    pub(super) fn start(
        interposed: bool,
        limit: usize,
        sweep_wait: Duration,
        thread_wait: Duration,
        log_lines: u32,
    ) -> io::Result<Arc<Self>> {
        let (sweepers, books, roll) = (RwLock::default(), Mutex::default(), Arc::new(Roll::new(log_lines)));
        let watchdog = Watchdog::start(Arc::clone(&roll))?;
        let shared = Arc::new(Self { interposed, limit, sweep_wait, thread_wait, sweepers, roll, watchdog, books });
        let reaper = Reaper { shared: Arc::clone(&shared), closing: Vec::new() };
        std::thread::Builder::new().name("reaper".to_owned()).spawn(move || reaper.run())?;
        Ok(shared)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reserve(&self) -> Result<Place<'_>, LoadError> {
        let mut books = self.books();
        let resident = books.resident.len();
        let mapped = books.live.len() + books.closing.len() + resident + books.reserved;
        if mapped >= self.limit {
            return Err(LoadError::TooMany { mapped, limit: self.limit, resident });
        }
        books.reserved += 1;
        Ok(Place { shared: self })
    }

    pub(super) fn add_sweeper(&self, sweeper: Sweeper) {
        self.sweepers.write().unwrap_or_else(PoisonError::into_inner).push(sweeper);
    }

    /// Takes a generation over. May be called on any thread, inside the module as well: runs none of its code.
    pub(super) fn retire(&self, retired: Retired) {
        let mut books = self.books();
        if let Some(info) = books.live.remove(&retired.info.serial) {
            books.closing.insert(info.serial, info);
        }
        books.arrived.push(retired);
        drop(books);
        footprint::ring();
    }

    pub(super) fn roll(&self) -> &Arc<Roll> {
        &self.roll
    }

    pub(super) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    pub(super) fn stop(&self) {
        self.watchdog.stop();
        self.books().stopping = true;
        footprint::ring();
    }

    pub(super) fn report(&self) -> LoaderReport {
        let books = self.books();
        LoaderReport {
            interposed: self.interposed,
            live: books.live.values().cloned().collect(),
            closing: books.closing.values().cloned().collect(),
            resident: books.resident.values().cloned().collect(),
            unloaded: books.unloaded,
            forgotten_entries: books.forgotten,
            stuck: self.watchdog.stuck(),
        }
    }

    pub(super) fn wait_for(&self, until: Instant, wanted: impl Fn(&LoaderReport) -> bool) -> bool {
        loop {
            let seen = footprint::changes();
            // Whoever waits here may be the one that is waited for.
            footprint::sweep_this_thread();
            if wanted(&self.report()) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            footprint::wait(seen, Some(until));
        }
    }

    /// Enters how a generation ended, or that it can't end yet.
    fn settle(&self, info: &GenerationInfo, outcome: Outcome) {
        let mut books = self.books();
        let known = books.resident.remove(&info.serial).map(|resident| resident.reason);
        books.closing.remove(&info.serial);
        match &outcome {
            Outcome::Unloaded => books.unloaded += 1,
            Outcome::Resident(reason) => {
                let resident = ResidentGeneration {
                    name: info.name.clone(),
                    version: info.version.clone(),
                    serial: info.serial,
                    reason: reason.clone(),
                    bytes: info.bytes,
                };
                books.resident.insert(info.serial, resident);
            }
        }
        // Who writes the log may wait for its reader, or ask for a report.
        drop(books);
        let (module, version, generation) = (&info.name, &info.version, info.serial);
        match outcome {
            Outcome::Unloaded => tracing::info!(%module, %version, generation, "unloaded"),
            // Nothing changed. The bell would wake the reaper, which would come here again at once.
            Outcome::Resident(reason) if known.as_ref() == Some(&reason) => return,
            Outcome::Resident(reason) => tracing::warn!(%module, %version, generation, reason, "stays mapped"),
        }
        footprint::ring();
    }
}

/// A generation on its way out.
struct Closing {
    retired: Retired,
    sweep_until: Instant,
    threads_until: Instant,
    detached: bool,
}

struct Reaper {
    shared: Arc<Shared>,
    closing: Vec<Closing>,
}

impl Reaper {
    fn run(mut self) {
        loop {
            let seen = footprint::changes();
            let (arrived, ended) = {
                let mut books = self.shared.books();
                let arrived = std::mem::take(&mut books.arrived);
                // A generation that waits for a thread of its own keeps nobody: it stays mapped.
                let idle = books.closing.is_empty() && books.live.is_empty() && books.reserved == 0;
                let ended = books.stopping && idle && arrived.is_empty();
                (arrived, ended)
            };
            if ended {
                return;
            }
            for retired in arrived {
                self.begin(retired);
            }
            let now = Instant::now();
            let waiting = std::mem::take(&mut self.closing);
            self.closing = waiting.into_iter().filter_map(|closing| self.step(closing, now)).collect();
            let due = self.closing.iter().flat_map(|closing| [closing.sweep_until, closing.threads_until]);
            footprint::wait(seen, due.filter(|due| *due > now).min());
        }
    }

    fn begin(&mut self, retired: Retired) {
        let never = if self.shared.interposed {
            retired.unload_note.clone()
        } else {
            Some("what modules register with the C library can't be seen in this process".to_owned())
        };
        if let Some(reason) = never {
            self.shared.settle(&retired.info, Outcome::Resident(reason));
            keep(retired);
            return;
        }
        footprint::retire(retired.info.serial);
        footprint::ring();
        footprint::sweep_this_thread();
        for sweeper in self.shared.sweepers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            sweeper();
        }
        let now = Instant::now();
        let (sweep_until, threads_until) = (now + self.shared.sweep_wait, now + self.shared.thread_wait);
        self.closing.push(Closing { retired, sweep_until, threads_until, detached: false });
    }

    /// Goes on with one generation as far as possible; gives it back where it must wait.
    fn step(&self, mut closing: Closing, now: Instant) -> Option<Closing> {
        let serial = closing.retired.info.serial;
        let mut left = footprint::in_the_way(serial);
        if left.entries > 0 && now >= closing.sweep_until {
            let forgotten = footprint::forget(serial) as u64;
            self.shared.books().forgotten += forgotten;
            // Once more: a thread may have begun with its entries in between.
            left = footprint::in_the_way(serial);
        }
        if left != InTheWay::default() {
            if now >= closing.threads_until {
                let reason = if left.threads == 1 {
                    "a thread of the module is still running".to_owned()
                } else if left.threads > 1 {
                    format!("{} threads of the module are still running", left.threads)
                } else {
                    "the destructor of a thread-local of the module is still running".to_owned()
                };
                self.shared.settle(&closing.retired.info, Outcome::Resident(reason));
            }
            return Some(closing);
        }
        if !closing.retired.gate.close() {
            if now >= closing.threads_until {
                let reason = "a wake-up of the module is still running".to_owned();
                self.shared.settle(&closing.retired.info, Outcome::Resident(reason));
            }
            return Some(closing);
        }
        if !closing.detached {
            closing.detached = true;
            if let Some(root) = closing.retired.attached.take() {
                (root.detach())();
            }
            // `detach` may have touched thread-locals here, or started something.
            footprint::sweep_this_thread();
            return self.step(closing, now);
        }
        self.close(closing.retired);
        None
    }

    fn close(&self, retired: Retired) {
        // A signal comes at any time, and a handler can't be taken out for its owner.
        if let Some(signal) = footprint::handled_signal(retired.info.serial) {
            footprint::retain(retired.info.serial);
            self.shared.settle(&retired.info, Outcome::Resident(format!("it handles signal {signal} of the process")));
            keep(retired);
            return;
        }
        let Retired { info, mapped, staged, .. } = retired;
        // SAFETY: all `Arc`s of the generation are gone, and each frame of the host that is in the module holds
        // one; the gate is closed and empty; `in_the_way` found no thread of the module, no destructor that
        // runs and none that is registered, and only code of the module could change that.
        match unsafe { mapped.close(&staged.path) } {
            Ok(()) => {
                // Last, so that nobody finds the name in the map and the file gone.
                drop(staged);
                self.shared.settle(&info, Outcome::Unloaded);
            }
            Err((mapped, reason)) => {
                std::mem::forget(staged);
                drop(mapped);
                self.shared.settle(&info, Outcome::Resident(reason));
            }
        }
    }
}

/// Leaves a generation mapped, its copy in place: the next host deletes that.
fn keep(retired: Retired) {
    std::mem::forget(retired.staged);
    drop(retired.mapped);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_generation_that_stays_for_the_same_reason_wakes_nobody() {
        let none = Duration::ZERO;
        let shared = Shared::start(true, 1, none, none, 1).unwrap();
        let (name, version, hash) = ("m".to_owned(), "1.0.0".to_owned(), String::new());
        let info = GenerationInfo { name, version, hash, serial: u64::MAX, staged: PathBuf::new(), bytes: 1 };
        let stays = || shared.settle(&info, Outcome::Resident("why".to_owned()));
        stays();
        // Another test may ring in between, but not each time.
        let quiet = (0..1000).any(|_| {
            let before = footprint::changes();
            stays();
            footprint::changes() == before
        });
        assert!(quiet);
        assert_eq!(shared.report().resident_bytes(), 1);
        shared.stop();
    }
}
