//! The immutable picture of one tenant that a request reads from start to end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{
    context::ModuleLimits,
    error::TenancyError,
    gate::Refusal,
    probation::{Baseline, Probation, Record},
    routes::RouteTable,
    running::{Lease, Running},
};
use crate::{
    catalog::Candidate,
    flags::FlagSet,
    names::{ModuleName, TenantId},
    stores::{Isolation, TenantDocument, TenantStatus},
};

/// One tenant at one revision.
#[derive(Debug)]
pub struct TenantSnapshot {
    /// As stored.
    pub document: Arc<TenantDocument>,
    /// The paths of its modules; shared with every tenant that runs the same set.
    pub table: Arc<RouteTable>,
    /// One for each of the table's modules, in its order.
    pub slots: Box<[Arc<Slot>]>,
    /// Its flags, compiled.
    pub flags: Arc<FlagSet>,
    /// Enabled modules that can't run, and why.
    pub problems: Box<[ModuleProblem]>,
    /// What they would be if they could.
    pub(super) dormant: Arc<[Arc<Candidate>]>,
    /// How often it was read, and when lately.
    pub(super) used: Used,
}

/// How often a snapshot was read, and at which tick of the sweeps last: what is least in use makes room first.
#[derive(Debug, Default)]
pub(super) struct Used {
    reads: AtomicU64,
    tick: AtomicU32,
}

impl Used {
    /// The same again, for another picture of the tenant.
    pub(super) fn go_on(&self) -> Self {
        Self { reads: AtomicU64::new(0), tick: AtomicU32::new(self.tick()) }
    }

    pub(super) fn read(&self, tick: u32) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.touch(tick);
    }

    /// Somebody wants it, and need not look for it.
    pub(super) fn touch(&self, tick: u32) {
        // Most often it is the same, and then others' caches keep the line.
        if self.tick.load(Ordering::Relaxed) != tick {
            self.tick.store(tick, Ordering::Relaxed);
        }
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) fn tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }
}

impl TenantSnapshot {
    /// The tenant's id.
    pub fn id(&self) -> &TenantId {
        &self.document.id
    }

    /// Whether requests are served.
    pub fn is_active(&self) -> bool {
        self.document.status == TenantStatus::Active
    }

    /// The slot of a module that can run.
    pub fn slot(&self, module: &str) -> Option<&Arc<Slot>> {
        self.slots.iter().find(|slot| slot.candidate.name.as_str() == module)
    }

    /// Why an enabled module can't run.
    pub fn problem(&self, module: &str) -> Option<&ModuleProblem> {
        self.problems.iter().find(|problem| problem.module.as_str() == module)
    }

    /// About how many bytes of memory it takes, beside what tenants share.
    pub(super) fn bytes(&self) -> usize {
        // Guesses: what an entry of a map, and a value that is not counted in detail, come to.
        const BASE: usize = 512;
        const ENTRY: usize = 96;
        let document = &*self.document;
        let values = document.feature_flags.iter().chain(&document.settings).chain(&document.unknown);
        let values: usize = values.map(|(name, value)| ENTRY + name.len() + bytes_of(value)).sum();
        let modules = document.enabled_modules.len() * (2 * ENTRY + size_of::<Slot>());
        let problems: usize = self.problems.iter().map(|problem| ENTRY + problem.text.len()).sum();
        // Flags are there once more, compiled.
        BASE + document.name.len() + 2 * values + modules + problems
    }

    /// Whether the tenant has enabled a module, whether or not it can run.
    pub fn has_enabled(&self, module: &str) -> bool {
        self.document.enabled_modules.iter().any(|enabled| enabled.module.as_str() == module)
    }
}

/// About how many bytes a value takes.
fn bytes_of(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    const VALUE: usize = size_of::<Value>();
    VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(bytes_of).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| 2 * VALUE + name.len() + bytes_of(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// Why an enabled module does not run for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleProblem {
    /// Which.
    pub module: ModuleName,
    /// Stable, such as MODULE_DEPENDENCY_MISSING.
    pub code: &'static str,
    /// In words.
    pub text: String,
}

/// The place of one module in a tenant: the code chosen for it, and the instance where there is one.
#[derive(Debug)]
pub struct Slot {
    /// Tells this slot from its successors.
    pub(super) serial: u64,
    /// The code.
    pub candidate: Arc<Candidate>,
    /// Whether it shares its library.
    pub isolation: Isolation,
    /// Written by the supervisor only.
    pub(super) running: ArcSwapOption<Running>,
    /// Why the last try to make an instance failed; written by the supervisor only.
    pub(super) failure: ArcSwapOption<TenancyError>,
    /// What its requests may take.
    pub limits: ModuleLimits,
    /// What its instances came to.
    pub(super) record: Record,
    /// What its code is measured by, once an instance is in service.
    pub(super) baseline: Option<Baseline>,
    /// Under way from then on; written by the supervisor only.
    pub(super) probation: ArcSwapOption<Probation>,
    /// Whether a thread is stuck in this module for the tenant: nobody else is let in meanwhile. Written by the
    /// supervisor only.
    pub(super) barred: AtomicBool,
}

impl Slot {
    pub(super) fn new(serial: u64, candidate: Arc<Candidate>, isolation: Isolation, limits: ModuleLimits) -> Self {
        let (running, failure, probation) = (ArcSwapOption::empty(), ArcSwapOption::empty(), ArcSwapOption::empty());
        let (record, baseline, barred) = (Record::default(), None, AtomicBool::new(false));
        Self { serial, candidate, isolation, running, failure, limits, record, baseline, probation, barred }
    }

    /// Takes the instance out; what it came to is kept.
    pub(super) fn take_running(&self) -> Option<Arc<Running>> {
        let running = self.running.swap(None)?;
        self.record.requests_before.fetch_add(running.requests(), Ordering::Relaxed);
        Some(running)
    }

    /// Requests of all its instances.
    pub(super) fn requests(&self) -> u64 {
        let now = self.running.load().as_ref().map_or(0, |running| running.requests());
        self.record.requests_before.load(Ordering::Relaxed) + now
    }

    /// What a successor of other content is measured by: this code, or what this code was measured by where it has not
    /// proved itself.
    pub(super) fn as_baseline(&self) -> Option<Baseline> {
        if let Some(probation) = self.probation.load().as_ref()
            && probation.baseline.version.is_some()
        {
            return Some(probation.baseline.clone());
        }
        if self.requests() == 0 && self.baseline.is_some() {
            return self.baseline.clone();
        }
        Some(Baseline {
            version: Some(self.candidate.version.to_string()),
            requests: self.requests(),
            failures: self.record.failures.load(Ordering::Relaxed),
            panics: self.record.panics.load(Ordering::Relaxed),
        })
    }

    /// A lease of the instance; `None` where there is none that takes one.
    ///
    /// # Errors
    ///
    /// Where there may be one, and it is not for this request.
    pub fn lease(&self, tick: u32) -> Result<Option<Lease>, NotLent> {
        // Relaxed: whoever comes at the same moment may still get in.
        if self.barred.load(Ordering::Relaxed) {
            return Err(NotLent::Barred);
        }
        let running = self.running.load();
        let Some(running) = running.as_ref() else { return Ok(None) };
        match running.lease(self.limits.concurrency, tick) {
            Ok(lease) => Ok(Some(lease)),
            Err(Refusal::Closed) => Ok(None),
            Err(Refusal::Full) => Err(NotLent::Full),
        }
    }

    /// The instance, where there is one.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.running.load_full()
    }

    /// Why the last try to make an instance failed.
    pub fn failure(&self) -> Option<Arc<TenancyError>> {
        self.failure.load_full()
    }
}

/// Why a slot lends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLent {
    /// As many requests are inside as may be.
    Full,
    /// A thread is stuck in it.
    Barred,
}

/// What the catalog says beyond the tenants: which module owns a path.
#[derive(Debug)]
pub(super) struct Bases(pub(super) Vec<(String, ModuleName)>);

impl Bases {
    /// The module under whose base a path lies.
    pub(super) fn owner(&self, path: &str) -> Option<&ModuleName> {
        self.0.iter().find(|(base, _)| super::routes::is_under(path, base)).map(|(_, name)| name)
    }
}
