//! What the operators' interface reads and changes, and whether the host is ready for tenants.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use crate::{
    catalog::{Changes, ScanError},
    identity::AdminToken,
    loader::Loader,
    names::ModuleName,
    stores::Store,
    tenancy::Tenancy,
};

/// The rooms that the operators' interface stands on.
pub struct AdminState {
    /// Who runs what.
    pub tenancy: Tenancy,
    /// For lists of tenants, and to see whether it answers.
    pub store: Arc<dyn Store>,
    /// For figures about libraries.
    pub loader: Loader,
    /// What a request has to present.
    pub token: AdminToken,
    /// What `/readyz` tells.
    pub readiness: Arc<Readiness>,
    /// What `/livez` tells.
    pub liveness: Arc<Liveness>,
    /// What is told of the file of flag definitions, where there is one.
    pub definitions: Option<Arc<DefinitionsFile>>,
    /// What `reload` reads.
    pub folder: Arc<dyn ReadFolder>,
    /// Whether only requests to loopback names are answered.
    pub dev: bool,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").field("tenancy", &self.tenancy).field("dev", &self.dev).finish_non_exhaustive()
    }
}

/// Whoever reads the plugins folder.
pub trait ReadFolder: Send + Sync {
    /// Reads what changed, and all files of the module `again`; says what differs. Blocks. When it returns, the catalog is
    /// in force; tenants follow one by one.
    ///
    /// # Errors
    ///
    /// Where the folder can't be read: then what was there stays in force.
    fn read(&self, again: Option<&ModuleName>) -> Result<Changes, ScanError>;
}

/// Whether tenants should be sent here: not yet, now, no more. It never goes back.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const READY: u8 = 1;
const SAFE: u8 = 2;
const LEAVING: u8 = 3;

impl Readiness {
    /// Everything is up.
    pub fn ready(&self) {
        self.0.fetch_max(READY, Ordering::AcqRel);
    }

    /// Everything is up, and modules are off.
    pub fn safe(&self) {
        self.0.fetch_max(SAFE, Ordering::AcqRel);
    }

    /// The host is going down.
    pub fn leaving(&self) {
        self.0.fetch_max(LEAVING, Ordering::AcqRel);
    }

    /// Whether tenants should be sent here.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// `starting`, `ready`, `safe` or `stopping`.
    pub(super) fn word(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            READY => "ready",
            SAFE => "safe",
            LEAVING => "stopping",
            _ => "starting",
        }
    }
}

/// Whether the process can still do its work: it does unless somebody says why not.
#[derive(Debug, Default)]
pub struct Liveness(Mutex<Option<&'static str>>);

impl Liveness {
    /// Why it can't, or that it can.
    pub fn set(&self, lost: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    pub(super) fn lost(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of flag definitions, and whether its content is what is in force.
#[derive(Debug)]
pub struct DefinitionsFile {
    pub(super) path: PathBuf,
    /// What is in force.
    text: Mutex<Arc<str>>,
    problems: Mutex<Vec<String>>,
}

impl DefinitionsFile {
    /// A file whose content is in force.
    pub fn new(path: PathBuf, text: Arc<str>) -> Self {
        Self { path, text: Mutex::new(text), problems: Mutex::default() }
    }

    /// Its content has changed, and is in force.
    pub fn is_good(&self, text: Arc<str>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.is_bad(Vec::new());
    }

    /// What is wrong with its content, so that an older one is in force.
    pub fn is_bad(&self, problems: Vec<String>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state as handlers have it.
pub(super) struct Admin {
    pub(super) state: AdminState,
    pub(super) started: Instant,
}

pub(super) type Shared = Arc<Admin>;

impl std::ops::Deref for Admin {
    type Target = AdminState;

    fn deref(&self) -> &AdminState {
        &self.state
    }
}
