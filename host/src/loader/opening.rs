//! The front of the loader: from a file to a generation, or to an error with nothing left behind.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use module_api::abi::RootRef;

use super::{
    error::{LoadError, Route},
    generation::Generation,
    interpose,
    library::Mapped,
    logging,
    reaper::{Retired, Shared, Sweeper},
    report::{GenerationInfo, LoaderReport},
    services::Failure,
    staging::Staging,
    watchdog::OnStuck,
};

/// Never more libraries than this: each takes one of the C library's 1,024 keys, and a process without keys
/// aborts.
const MOST_GENERATIONS: usize = 700;

/// How the loader is set up.
#[derive(Debug, Clone)]
pub struct LoaderSettings {
    /// Where copies are kept: a folder of this host alone, emptied at start.
    pub staging: PathBuf,
    /// How many libraries may be mapped at once, those that can't be unloaded included; at most 700.
    pub max_generations: usize,
    /// How long a generation that is out of use waits for other threads to run what it left there.
    pub sweep_wait: Duration,
    /// How long it waits for its own threads before it is reported as resident.
    pub thread_wait: Duration,
    /// How many lines of the log one tenant's use of a module may write in a second; what is more is dropped.
    pub log_lines_per_second: u32,
}

impl LoaderSettings {
    /// The defaults, below a host's data folder: 256 generations, 1 s, 5 s, 1,000 lines.
    pub fn below(data: &Path) -> Self {
        Self {
            staging: data.join("staging"),
            max_generations: 256,
            sweep_wait: Duration::from_secs(1),
            thread_wait: Duration::from_secs(5),
            log_lines_per_second: 1_000,
        }
    }
}

/// What is to be opened, as it was read from the file before.
pub struct OpenRequest<'a> {
    /// The file; it is copied, never opened itself.
    pub path: &'a Path,
    /// The module's name by its manifest.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The manifest's routes, in any order.
    pub expected_routes: &'a [Route],
    /// Says whether the staged copy, of this hash, is the file that was planned with; its text says what differs.
    pub verify: &'a dyn Fn(&Path, &str) -> Result<(), String>,
    /// Why the file can't be unloaded by its nature, such as a GNU_UNIQUE symbol or NODELETE.
    pub unload_note: Option<String>,
}

impl fmt::Debug for OpenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequest")
            .field("path", &self.path)
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Opens modules and unloads them again. Cheap to clone; the reaper's thread ends when the last clone is
/// dropped and nothing is left to unload.
#[derive(Debug, Clone)]
pub struct Loader {
    front: Arc<Front>,
}

#[derive(Debug)]
struct Front {
    staging: Staging,
    shared: Arc<Shared>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Loader {
    /// Prepares the folder of copies, checks whether unloading works here, and starts the reaper.
    ///
    /// # Errors
    ///
    /// [`LoadError::Staging`] where the folder can't be used or no thread can be started.
    pub fn start(settings: LoaderSettings) -> Result<Self, LoadError> {
        let staging = Staging::prepare(&settings.staging)?;
        let interposed = interpose::installed();
        if !interposed {
            tracing::warn!("modules can't be unloaded in this process: each one that was loaded stays until it ends");
        }
        let limit = settings.max_generations.clamp(1, MOST_GENERATIONS);
        let lines = settings.log_lines_per_second;
        let shared = Shared::start(interposed, limit, settings.sweep_wait, settings.thread_wait, lines)
            .map_err(|source| LoadError::Staging { path: settings.staging, source })?;
        Ok(Self { front: Arc::new(Front { staging, shared }) })
    }

    /// Asks a group of threads, from now on, to run what an unloading module left on them: the function must
    /// make each of them call [`super::sweep_this_thread`] soon, and must not wait.
    pub fn add_sweeper(&self, sweeper: Sweeper) {
        self.front.shared.add_sweeper(sweeper);
    }

    /// Hands in who is told of module code that does not give its thread back; the last one counts.
    pub fn on_stuck(&self, told: Arc<dyn OnStuck>) {
        self.front.shared.watchdog().tell(told);
    }

    /// Copies the file, verifies the copy, maps it, compares interface and routes. Blocks on the disk and
    /// runs the module's constructors: not for a thread that serves requests.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Nothing stays behind, but a library that can't be unloaded: that one is reported as
    /// resident.
    pub fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<Generation>, LoadError> {
        let shared = &self.front.shared;
        let place = shared.reserve()?;
        let staged = self.front.staging.copy(request.path)?;
        let (name, version) = (request.name.to_owned(), request.version.to_owned());
        if let Err(reason) = (request.verify)(&staged.path, &staged.hash) {
            return Err(LoadError::Changed { name, version, reason });
        }
        let mapped = match Mapped::open(&staged.path, staged.serial) {
            Ok(mapped) => mapped,
            Err(reason) => return Err(LoadError::Link { name, version, reason }),
        };
        let info = GenerationInfo {
            name,
            version,
            hash: staged.hash.clone(),
            serial: staged.serial,
            staged: staged.path.clone(),
            bytes: mapped.bytes(),
        };
        place.fill(info.clone());
        let unload_note = request.unload_note.clone().or_else(|| mapped.unload_note().map(str::to_owned));
        match check(&mapped, request, shared) {
            Ok((root, routes)) => {
                let held = (mapped, staged);
                Ok(Arc::new(Generation::new(info, root, routes, held, unload_note, Arc::clone(shared))))
            }
            Err((attached, error)) => {
                shared.retire(Retired { info, attached, gate: Arc::default(), mapped, staged, unload_note });
                Err(error)
            }
        }
    }

    /// The state right now.
    pub fn report(&self) -> LoaderReport {
        self.front.shared.report()
    }

    /// Waits until a report is as wanted, and says whether that came in time.
    pub fn wait_for(&self, limit: Duration, wanted: impl Fn(&LoaderReport) -> bool) -> bool {
        self.front.shared.wait_for(Instant::now() + limit, wanted)
    }

    /// Waits until nothing is left to unload: each generation that is out of use is gone or resident. Live
    /// ones are not waited for.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        self.wait_for(limit, |report| report.closing.is_empty())
    }
}

/// The root and the routes of a mapped library; with an error, the root where the module was attached.
fn check(
    mapped: &Mapped,
    request: &OpenRequest<'_>,
    shared: &Shared,
) -> Result<(RootRef, Vec<Route>), (Option<RootRef>, LoadError)> {
    let (name, version) = (request.name.to_owned(), request.version.to_owned());
    let root = match mapped.root() {
        Ok(root) => root,
        Err(reason) => return Err((None, LoadError::Interface { name, version, reason })),
    };
    (root.attach())(logging::log(request.name, &shared.roll().log_limit));
    let code: Vec<Route> = match (root.routes())().into_result() {
        Ok(routes) => routes
            .iter()
            .map(|route| Route { method: route.method.as_str().to_owned(), path: route.path.as_str().to_owned() })
            .collect(),
        Err(raw) => {
            let failure = Failure::from_raw(raw);
            return Err((Some(root), LoadError::RoutesFailed { name, version, failure }));
        }
    };
    let sorted = |routes: &[Route]| {
        let mut routes = routes.to_vec();
        routes.sort_unstable();
        routes
    };
    let (expected, offered) = (sorted(request.expected_routes), sorted(&code));
    if expected != offered {
        return Err((Some(root), LoadError::RoutesDiffer { name, version, manifest: expected, code: offered }));
    }
    Ok((root, code))
}
