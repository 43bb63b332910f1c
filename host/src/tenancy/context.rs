//! What jobs need to open libraries and make and retire instances.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

use super::{
    command::Command,
    deliveries::{Bell, DeliverySettings},
    error::{TenancyError, chain},
    generations::Generations,
    heard::{DefinitionsState, NotIndexed},
    marks::MarkBook,
    memory::MemoryCounters,
    probation::ReloadSettings,
    routes::RouteTables,
    running::{AbortOnDrop, RetireTimes, Running},
    seams::Seams,
    services::{HostSide, TenantServices, TenantView, collections_of},
    snapshot::{Slot, TenantSnapshot},
};
use crate::{
    catalog::{Archive, Candidate},
    flags::Definitions,
    loader::{Failure, FailureKind, Hook},
    names::TenantId,
    settings::Secrets,
    stores::{Isolation, Reach, Store, StoreError},
};

/// How tenancy behaves; every duration has its default in the host's configuration.
#[derive(Debug, Clone)]
pub struct TenancySettings {
    /// How long making an instance may take, opening the library included.
    pub initialize: Duration,
    /// How long an instance may drain, be cut and clean up.
    pub retire: RetireTimes,
    /// How long an instance may be idle before it is released; zero never releases.
    pub idle: Duration,
    /// How long a library stays open after its last instance.
    pub linger: Duration,
    /// How often idleness is looked at.
    pub sweep_every: Duration,
    /// How often the tenants in memory are compared with the store; zero: only when it says that it can't tell what
    /// has changed.
    pub compare_every: Duration,
    /// About how many bytes tenants in memory may take; what runs stays, whatever it takes.
    pub memory_budget: usize,
    /// Whether flags are defined in the store.
    pub definitions_in_store: bool,
    /// How long a failed start keeps the next one away.
    pub retry_after: Duration,
    /// How many instances may be in the making at once; at least 1.
    pub start_concurrency: usize,
    /// How events and wake-ups are delivered.
    pub deliveries: DeliverySettings,
    /// How new code proves itself.
    pub reload: ReloadSettings,
    /// Where the contents that ran are kept.
    pub archive: Arc<Archive>,
    /// Where the secrets are that settings refer to.
    pub secrets: Secrets,
    /// Whether no module runs on this host until somebody releases it.
    pub safe: bool,
}

/// What one module may take of the host, for each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleLimits {
    /// Requests inside at once.
    pub concurrency: u32,
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request may take, its body included.
    pub deadline: Duration,
}

/// After so long a start gives its place among the others back. A guess: most take a few milliseconds.
const QUICK_START: Duration = Duration::from_millis(250);

/// The limits of a module by name.
pub type LimitsOf = Box<dyn Fn(&str) -> ModuleLimits + Send + Sync>;

/// Shared by all jobs.
pub(super) struct Context {
    pub(super) settings: TenancySettings,
    pub(super) store: Arc<dyn Store>,
    pub(super) generations: Generations,
    /// Where module code runs that no request waits for.
    pub(super) background: Handle,
    /// Where the host's own part of starts, changes and retirements runs: no module code, so that a module that
    /// never yields holds up nobody else's.
    pub(super) jobs: Handle,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// What tenants with the same modules share.
    pub(super) tables: RouteTables,
    /// For the services of instances.
    pub(super) host: Arc<HostSide>,
    /// The flags that are defined for all tenants; written by the supervisor only.
    pub(super) definitions: ArcSwap<Definitions>,
    /// What came of those in the store; written by the supervisor only.
    pub(super) stored_definitions: ArcSwap<DefinitionsState>,
    /// The revision of those that the supervisor was told of last. Held while they are read, so that an older answer
    /// never comes after a newer one.
    pub(super) told_definitions: tokio::sync::Mutex<u64>,
    /// What is held against contents; written by the supervisor only.
    pub(super) marks: ArcSwap<MarkBook>,
    /// Whether the store can be reached, where that is not a matter of course.
    pub(super) reach: Option<Arc<Reach>>,
    /// Instances that began while the store was away.
    pub(super) not_indexed: Mutex<Vec<NotIndexed>>,
    /// What is told of the memory that tenants take.
    pub(super) memory: MemoryCounters,
    /// Whether the store is being asked for revisions.
    pub(super) comparing: AtomicBool,
    /// Whether the store is being asked for marks.
    pub(super) reading_marks: AtomicBool,
    /// Marks that the store does not have yet: until then it would deny them.
    pub(super) unsaved_marks: AtomicUsize,
    /// Instances on their way out; the supervisor counts them down.
    pub(super) retiring: AtomicUsize,
    /// Requests that were cut by drain deadlines.
    pub(super) cut: AtomicU64,
    /// The sweeps so far: a clock that costs requests nothing.
    pub(super) tick: AtomicU32,
    /// One permit for each instance that may be in the making.
    starts: Semaphore,
    serials: AtomicU64,
}

impl Context {
    pub(super) fn new(
        settings: TenancySettings,
        store: Arc<dyn Store>,
        generations: Generations,
        background: Handle,
        jobs: Handle,
        commands: mpsc::UnboundedSender<Command>,
        limits_of: LimitsOf,
    ) -> Self {
        let starts = Semaphore::new(settings.start_concurrency.max(1));
        let (retiring, cut, tick, serials) =
            (AtomicUsize::new(0), AtomicU64::new(0), AtomicU32::new(0), AtomicU64::new(1));
        let marks = ArcSwap::from_pointee(MarkBook::at_start(settings.safe));
        let reach = store.reach();
        let host = Arc::new(HostSide {
            store: Arc::clone(&store),
            background: background.clone(),
            secrets: settings.secrets.clone(),
            seams: Seams::default(),
            bell: Bell::default(),
            most_waiting: settings.deliveries.most_waiting,
            commands: commands.clone(),
        });
        Self {
            host,
            settings,
            store,
            reach,
            not_indexed: Mutex::default(),
            memory: MemoryCounters::default(),
            comparing: AtomicBool::new(false),
            generations,
            background,
            jobs,
            commands,
            tables: RouteTables::new(limits_of),
            definitions: ArcSwap::default(),
            stored_definitions: ArcSwap::default(),
            told_definitions: tokio::sync::Mutex::new(0),
            marks,
            reading_marks: AtomicBool::new(false),
            unsaved_marks: AtomicUsize::new(0),
            retiring,
            cut,
            tick,
            starts,
            serials,
        }
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// The slots of a tenant, made where nobody has wanted one yet.
    pub(super) fn slots<'a>(&self, snapshot: &'a TenantSnapshot) -> &'a [Arc<Slot>] {
        snapshot.slots_or_make(|| self.next_serial())
    }

    /// Opens the library where it is not open, prepares the collections, and makes an instance. Slot and
    /// tenant are named so that a panic in one of its tasks finds the way back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up on the instance; a library that was being opened is closed again.
    pub(super) async fn start(
        self: &Arc<Self>,
        tenant: &TenantId,
        candidate: &Arc<Candidate>,
        isolation: Isolation,
        view: Arc<TenantView>,
        slot: u64,
    ) -> Result<Arc<Running>, TenancyError> {
        let failed = |reason: String| TenancyError::LoadFailed { module: candidate.name.clone(), reason };
        let not_now = |reason: String| TenancyError::NotNow { module: candidate.name.clone(), reason };
        // What the module only passes on is held against nobody's code.
        let refused = |hook: &str, failure: &Failure| match failure.kind {
            FailureKind::StoreUnavailable => TenancyError::StoreUnavailable(failure.message.clone()),
            FailureKind::Unreachable | FailureKind::Stopping => not_now(format!("{hook} failed: {failure}")),
            _ => failed(format!("{hook} failed: {failure}")),
        };
        let deadline = self.settings.initialize;
        // Many tenants waking at once must not start everything at once. The semaphore is never closed.
        let permit = self.starts.acquire().await.map_err(|error| not_now(error.to_string()))?;
        let serial = self.next_serial();
        let (host, manifest) = (Arc::clone(&self.host), &candidate.manifest);
        let services = Arc::new(TenantServices::new(host, tenant.clone(), manifest, view, (slot, serial)));
        let is_indexing = AtomicBool::new(false);
        let making = async {
            let generation = self.generations.get(candidate, isolation, tenant).await?;
            let mut is_indexed = true;
            is_indexing.store(true, Ordering::Relaxed);
            for (key, fields) in collections_of(tenant, &candidate.manifest) {
                match self.store.reindex(&key, &fields).await {
                    Ok(()) => {}
                    // Much of what a module does needs no document: it begins, and this is done when the store is back.
                    Err(StoreError::Unavailable(_)) if self.reach.is_some() => is_indexed = false,
                    Err(StoreError::Unavailable(source)) => {
                        return Err(TenancyError::StoreUnavailable(chain(&*source)));
                    }
                    Err(other) => return Err(failed(format!("collection `{}`: {other}", key.model))),
                }
            }
            is_indexing.store(false, Ordering::Relaxed);
            // A task of its own: module code that blocks holds up a worker, not this job.
            let mut initializing = AbortOnDrop(self.background.spawn(generation.initialize(services.clone())));
            let made = (&mut initializing.0).await.map_err(|error| not_now(error.to_string()))?;
            let instance = made.map_err(|failure| refused("initialize", &failure))?;
            let instance = Arc::new(instance);
            let mut asking = AbortOnDrop(self.background.spawn(instance.run(Hook::Health)));
            let health = (&mut asking.0).await.map_err(|error| not_now(error.to_string()))?;
            health.map_err(|failure| refused("health", &failure))?;
            let tick = self.tick.load(Ordering::Relaxed);
            if !is_indexed {
                self.index_later(NotIndexed { tenant: tenant.clone(), candidate: Arc::clone(candidate), slot, serial });
            }
            Ok(Arc::new(Running::new(instance, Arc::clone(&services), &candidate.manifest, serial, tick)))
        };
        tokio::pin!(making);
        let latest = tokio::time::Instant::now() + deadline;
        // One that waits for something costs nothing, and must not hold up those that would start at once.
        let mut ended = tokio::time::timeout(QUICK_START.min(deadline), &mut making).await;
        drop(permit);
        if ended.is_err() {
            ended = tokio::time::timeout_at(latest, &mut making).await;
        }
        let made = ended.unwrap_or_else(|_| {
            // Nothing of the module's own has run then.
            Err(if is_indexing.load(Ordering::Relaxed) {
                not_now(format!("its collections were not indexed within {deadline:?}, and may be by the next try"))
            } else {
                failed(format!("initialize did not end within {deadline:?}"))
            })
        });
        if made.is_err() {
            // Tasks that it spawned before it failed would run on, and keep the library, for ever.
            services.stop_tasks(self.settings.retire.cut).await;
        }
        made
    }

    /// Tells the instance in a slot that its settings are others now, however busy it is, unless it is leaving. A lease
    /// keeps it until the hook has ended.
    pub(super) fn settings_changed(&self, tenant: &TenantId, slot: &Slot) {
        let Some(lease) = slot.running().and_then(|running| running.lease_for_hook()) else { return };
        let slot = slot.serial;
        let (commands, tenant, limit) = (self.commands.clone(), tenant.clone(), self.settings.initialize);
        self.background.spawn(async move {
            let told = tokio::select! {
                told = tokio::time::timeout(limit, lease.run(Hook::SettingsChanged)) => told,
                () = lease.was_cut() => return,
            };
            match told {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    tracing::error!(%tenant, %failure, "settings_changed failed");
                    if matches!(failure.kind, FailureKind::Panicked { .. }) {
                        let _ = commands.send(Command::Broken { tenant, slot, serial: lease.serial() });
                    }
                }
                Err(_) => tracing::error!(%tenant, deadline = ?limit, "settings_changed did not end in time"),
            }
        });
    }

    /// Takes an instance out of service; completes when it is gone.
    pub(super) async fn take_out(&self, running: Arc<Running>) {
        running.retire(&self.background, self.settings.retire, &self.cut).await;
    }

    /// Takes an instance out of service in a task of its own and reports when it is gone.
    pub(super) fn retire(self: &Arc<Self>, tenant: &TenantId, running: Arc<Running>) {
        self.retiring.fetch_add(1, Ordering::AcqRel);
        let (context, tenant) = (Arc::clone(self), tenant.clone());
        self.jobs.spawn(async move {
            // A task of its own inside, so that a panic of ours still ends the count.
            let inner = Arc::clone(&context);
            let retiring = tokio::spawn(async move { inner.take_out(running).await });
            let _ = retiring.await;
            let _ = context.commands.send(Command::Retired { tenant });
        });
    }
}
