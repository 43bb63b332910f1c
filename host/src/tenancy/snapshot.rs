//! The immutable picture of one tenant that a request reads from start to end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use once_cell::race::OnceBox;
use serde_json::Value;

use super::{
    context::ModuleLimits,
    error::TenancyError,
    gate::Refusal,
    kept::Kept,
    probation::{Baseline, Probation, Record},
    routes::RouteTable,
    running::{Lease, Running},
};
use crate::{
    catalog::Candidate,
    flags::FlagSet,
    names::{ModuleName, TenantId},
    stores::{ApiKey, Cors, Isolation, TenantDocument, TenantStatus},
};

/// One tenant at one revision.
#[derive(Debug)]
pub struct TenantSnapshot {
    /// As stored.
    pub(super) kept: Kept,
    /// The paths of its modules, and what else is the same for every tenant that runs the same set.
    pub table: Arc<RouteTable>,
    /// One for each of the table's modules, in its order; made when somebody wants one of them.
    pub(super) slots: Slots,
    /// Its flags, compiled; shared with tenants that have the same.
    pub flags: Arc<FlagSet>,
    /// Whether its flags are nobody else's.
    pub(super) own_flags: bool,
    /// Most tenants have nothing of it.
    pub(super) unfit: Option<Arc<Unfit>>,
    /// How often it was read, and when lately.
    pub(super) used: Used,
}

/// Enabled modules that can't run.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Why.
    pub(super) problems: Box<[ModuleProblem]>,
    /// What they would be if they could.
    pub(super) dormant: Arc<[Arc<Candidate>]>,
}

/// The slots of a tenant: none while nobody has wanted one. A tenant at rest is small so.
#[derive(Debug, Default)]
pub(super) struct Slots(OnceBox<Box<[Arc<Slot>]>>);

impl Slots {
    pub(super) fn of(slots: Box<[Arc<Slot>]>) -> Self {
        Self(OnceBox::with_value(Box::new(slots)))
    }

    /// Those that are there.
    pub(super) fn made(&self) -> &[Arc<Slot>] {
        self.0.get().map(|slots| &**slots).unwrap_or_default()
    }

    /// The same slots for another picture of the tenant. What is made in the old one from now on is out of date.
    pub(super) fn go_on(&self) -> Self {
        self.0.get().map(|slots| Self::of(slots.clone())).unwrap_or_default()
    }
}

/// How often a snapshot was read, and at which tick of the sweeps last: what is least in use makes room first.
#[derive(Debug, Default)]
pub(super) struct Used {
    reads: AtomicU64,
    tick: AtomicU32,
    /// For how many sweeps nothing of the tenant has run; written by the supervisor only.
    rested: AtomicU32,
}

impl Used {
    /// The same again, for another picture of the tenant.
    pub(super) fn go_on(&self) -> Self {
        let rested = self.rested.load(Ordering::Relaxed);
        Self { tick: AtomicU32::new(self.tick()), rested: AtomicU32::new(rested), ..Self::default() }
    }

    /// Something of it runs.
    pub(super) fn works(&self) {
        if self.rested.load(Ordering::Relaxed) != 0 {
            self.rested.store(0, Ordering::Relaxed);
        }
    }

    /// Another sweep found that nothing of it runs; says how many have.
    pub(super) fn rests(&self) -> u32 {
        self.rested.fetch_add(1, Ordering::Relaxed).saturating_add(1)
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
        &self.kept.id
    }

    /// Of the document that it shows.
    pub fn revision(&self) -> u64 {
        self.kept.revision
    }

    /// Whether requests are served.
    pub fn is_active(&self) -> bool {
        self.kept.status == TenantStatus::Active
    }

    /// The document as stored, made whole again: for those who change or show it, not for requests.
    pub fn document(&self) -> TenantDocument {
        self.kept.document()
    }

    /// Which pages of other origins may read answers.
    pub fn cors(&self) -> Option<&Cors> {
        self.kept.cors()
    }

    /// By which programs prove the tenant.
    pub fn api_keys(&self) -> &[ApiKey] {
        self.kept.api_keys()
    }

    /// What the tenant has set for a module.
    pub fn settings(&self, module: &str) -> Option<&Value> {
        self.kept.settings()?.get(module)
    }

    /// A module that can run.
    pub fn module(&self, module: &str) -> Option<&Arc<Candidate>> {
        self.table.position(module).map(|at| self.table.module(at))
    }

    /// The slot of a module that can run, once somebody has wanted it.
    pub fn slot(&self, module: &str) -> Option<&Arc<Slot>> {
        self.slots().iter().find(|slot| slot.candidate.name.as_str() == module)
    }

    /// The slots, once somebody has wanted one.
    pub fn slots(&self) -> &[Arc<Slot>] {
        self.slots.made()
    }

    /// The slots, made where they are not there; each has a number from `serial`.
    pub(super) fn slots_or_make(&self, serial: impl Fn() -> u64) -> &[Arc<Slot>] {
        let make = || {
            let modules = self.table.modules().iter().enumerate();
            let slots = modules.map(|(at, candidate)| {
                let (isolation, limits) = (self.table.isolation(at), self.table.limits(at));
                Arc::new(Slot::new(serial(), Arc::clone(candidate), isolation, limits))
            });
            Box::new(slots.collect())
        };
        self.slots.0.get_or_init(make)
    }

    /// Enabled modules that can't run, and why.
    pub fn problems(&self) -> &[ModuleProblem] {
        self.unfit.as_deref().map(|unfit| &*unfit.problems).unwrap_or_default()
    }

    /// What enabled modules that can't run would be if they could.
    pub(super) fn dormant(&self) -> Arc<[Arc<Candidate>]> {
        self.unfit.as_deref().map(|unfit| Arc::clone(&unfit.dormant)).unwrap_or_default()
    }

    /// Why an enabled module can't run.
    pub fn problem(&self, module: &str) -> Option<&ModuleProblem> {
        self.problems().iter().find(|problem| problem.module.as_str() == module)
    }

    /// About how many bytes of memory it takes, beside what tenants share and beside its slots: those come and go with what
    /// runs, and the sum must be the same when it goes as when it came.
    pub(super) fn bytes(&self) -> usize {
        // What counts references, an entry in the directory, one among the supervisor's tenants; measured by `cargo xtask
        // bench memory`.
        const AROUND: usize = 130;
        let problems: usize = self.problems().iter().map(|it| size_of::<ModuleProblem>() + it.text.len()).sum();
        let flags = if self.own_flags { self.flags.bytes() } else { 0 };
        size_of::<Self>() + AROUND + self.kept.bytes() + problems + flags
    }

    /// Whether the tenant has enabled a module, whether or not it can run.
    pub fn has_enabled(&self, module: &str) -> bool {
        self.kept.has_enabled(module)
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
