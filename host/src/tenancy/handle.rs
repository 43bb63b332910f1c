//! The handle through which everybody else reads what runs and asks for changes.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{
    Shared,
    change::Change,
    command::{Command, Mode, Reply, Work},
    context::{Context, LimitsOf, TenancySettings},
    error::TenancyError,
    generations::Generations,
    job::Report,
    running::Lease,
    seams::{CallModules, FetchOutside},
    snapshot::{Bases, NotLent, TenantSnapshot},
    supervisor::Supervisor,
};
use crate::{
    catalog::{Candidate, Catalog},
    loader::{Loader, sweep_this_thread},
    names::{ModuleName, TenantId},
    stores::{Store, TenantData, TenantDocument, TenantStatus},
};

/// Reads what runs, and asks for changes. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy {
    pub(super) shared: Arc<Shared>,
    pub(super) context: Arc<Context>,
    commands: mpsc::UnboundedSender<Command>,
}

/// A lease, or the news that the snapshot is out of date.
#[derive(Debug)]
pub enum Lent {
    /// The instance is the caller's until it drops this.
    Lease(Lease),
    /// The tenant has changed: take a new snapshot and route again.
    Stale,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlent {
    /// As many requests are inside as may be.
    Full,
    /// A thread of this host is stuck in the module for this tenant.
    Barred,
    /// No instance could be made.
    Failed(TenancyError),
}

impl From<NotLent> for Unlent {
    fn from(refused: NotLent) -> Self {
        match refused {
            NotLent::Full => Self::Full,
            NotLent::Barred => Self::Barred,
        }
    }
}

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// For people; the id where missing.
    pub name: Option<String>,
}

impl Tenancy {
    /// Starts the supervisor on a thread of its own. Module code that no request waits for runs on
    /// `background`; `limits_of` says what each module may take.
    ///
    /// # Errors
    ///
    /// Where the thread or its runtime can't be made.
    pub fn start(
        settings: TenancySettings,
        store: Arc<dyn Store>,
        loader: Loader,
        catalog: Arc<Catalog>,
        background: Handle,
        limits_of: LimitsOf,
    ) -> std::io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            directory: papaya::HashMap::new(),
            catalog: ArcSwap::new(Arc::clone(&catalog)),
            bases: ArcSwap::from_pointee(Bases(Vec::new())),
            clients: super::clients::Clients::default(),
        });
        shared.show_catalog(catalog);
        // The supervisor has a thread of its own; its jobs have the one worker.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("tenon-jobs")
            // Constructors of modules run on its blocking threads; what they leave there goes with the thread.
            .thread_keep_alive(Duration::from_millis(200))
            .on_thread_park(sweep_this_thread)
            .build()?;
        let jobs = runtime.handle().clone();
        let generations = Generations::new(loader, Arc::clone(&settings.archive), jobs.clone());
        let context =
            Arc::new(Context::new(settings, store, generations, background, jobs, commands.clone(), limits_of));
        let supervisor = Supervisor::new(Arc::clone(&shared), Arc::clone(&context));
        std::thread::Builder::new().name("tenon-supervisor".to_owned()).spawn(move || {
            runtime.block_on(async {
                supervisor.read_marks().await;
                supervisor.read_definitions().await;
                supervisor.run(received).await;
            });
            runtime.shutdown_background();
        })?;
        let tenancy = Self { shared, context, commands };
        let heard = tenancy.commands.downgrade();
        tenancy.context.store.listen(Arc::new(move |change| {
            if let Some(commands) = heard.upgrade() {
                let _ = commands.send(Command::Heard(change));
            }
        }));
        tenancy.context.jobs.spawn(super::deliveries::run(tenancy.clone()));
        Ok(tenancy)
    }

    /// Hands in who carries out calls between modules. Held weakly; the first one stays.
    pub fn calls_through(&self, calls: &Arc<impl CallModules>) {
        let weak: Weak<dyn CallModules> = Arc::downgrade(calls) as Weak<dyn CallModules>;
        let _ = self.context.host.seams.calls.set(weak);
    }

    /// Hands in who carries out requests to hosts outside. The first one stays.
    pub fn fetches_through(&self, outside: Arc<dyn FetchOutside>) {
        let _ = self.context.host.seams.outside.set(outside);
    }

    /// Looks for due events and wake-ups now, as after a dead letter was made due again.
    pub fn look_for_deliveries(&self) {
        self.context.host.bell.ring();
    }

    /// A tenant's picture, where it is in memory. Takes no lock.
    pub fn snapshot(&self, id: &str) -> Option<Arc<TenantSnapshot>> {
        let found = self.shared.directory.pin().get(id).cloned();
        if let Some(snapshot) = &found {
            snapshot.used.read(self.context.tick.load(Ordering::Relaxed));
        }
        found
    }

    /// A tenant's picture, read from the store where it is not in memory; one read however many ask.
    ///
    /// # Errors
    ///
    /// [`TenancyError::TenantNotFound`], [`TenancyError::StoreUnavailable`], also where it does not come within the
    /// time that making an instance may take, [`TenancyError::ShuttingDown`].
    pub async fn load(&self, id: &TenantId) -> Result<Arc<TenantSnapshot>, TenancyError> {
        if let Some(snapshot) = self.snapshot(id.as_str()) {
            return Ok(snapshot);
        }
        self.ask_in_time(|reply| Command::Load { tenant: id.clone(), since: 0, reply }).await
    }

    /// Which module of the catalog owns a path, whether or not a tenant has it.
    pub fn owner(&self, path: &str) -> Option<ModuleName> {
        self.shared.bases.load().owner(path).cloned()
    }

    /// All that could run.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// A lease of the instance in a slot of the snapshot; the first one makes the instance.
    ///
    /// # Errors
    ///
    /// [`Unlent`]; after `deadline` [`TenancyError::ModuleBusy`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; an instance on its way is made all the same.
    pub async fn lease(&self, snapshot: &TenantSnapshot, slot: usize, deadline: Instant) -> Result<Lent, Unlent> {
        let tick = self.context.tick.load(Ordering::Relaxed);
        let slot = &self.context.slots(snapshot)[slot];
        match slot.lease(tick) {
            Ok(Some(lease)) => return Ok(Lent::Lease(lease)),
            Err(refused) => return Err(refused.into()),
            Ok(None) => {}
        }
        let asked = self.ask(|reply| Command::Activate { tenant: snapshot.id().clone(), slot: slot.serial, reply });
        match tokio::time::timeout_at(deadline.into(), asked).await {
            Ok(Ok(true)) => match slot.lease(self.context.tick.load(Ordering::Relaxed)) {
                Ok(Some(lease)) => Ok(Lent::Lease(lease)),
                Ok(None) => Ok(Lent::Stale),
                Err(refused) => Err(refused.into()),
            },
            Ok(Ok(false)) => Ok(Lent::Stale),
            Ok(Err(error)) => Err(Unlent::Failed(error)),
            Err(_) => Err(Unlent::Failed(TenancyError::ModuleBusy(slot.candidate.name.clone()))),
        }
    }

    /// Tells that an instance has panicked: it is drained, and the next request makes another.
    pub fn broken(&self, snapshot: &TenantSnapshot, slot: usize, serial: u64) {
        let _ = self.commands.send(Command::Broken {
            tenant: snapshot.id().clone(),
            slot: self.context.slots(snapshot)[slot].serial,
            serial,
        });
    }

    /// Lets nobody into a module for a tenant on this host, as a thread is stuck in it. Each call is taken back by one
    /// of [`Tenancy::unbar`].
    pub fn bar(&self, tenant: TenantId, module: ModuleName) {
        let _ = self.commands.send(Command::Bar { tenant, module });
    }

    /// The thread is back.
    pub fn unbar(&self, tenant: TenantId, module: ModuleName) {
        let _ = self.commands.send(Command::Unbar { tenant, module });
    }

    /// Changes a tenant. What is enabled is opened and initialised before anything is written; with the
    /// answer, the next request sees the change.
    ///
    /// # Errors
    ///
    /// What stood in the way; then nothing has changed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the answer; the change is carried out.
    pub async fn change(
        &self,
        id: &TenantId,
        change: Change,
        precondition: Option<u64>,
        actor: &str,
        mode: Mode,
    ) -> Result<Report, TenancyError> {
        self.work(id, Work::Change { change, precondition, actor: actor.to_owned(), mode }).await
    }

    /// Reads a tenant again from the store and lets what runs follow, as after a foreign program has changed it.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`], and what stood in the way of following.
    pub async fn refresh(&self, id: &TenantId) -> Result<Report, TenancyError> {
        self.work(id, Work::Refresh).await
    }

    /// Whether an instance of a module is in service for a tenant.
    pub fn is_loaded(&self, id: &TenantId, module: &str) -> bool {
        let snapshot = self.snapshot(id.as_str());
        snapshot.is_some_and(|it| it.slot(module).is_some_and(|slot| slot.running().is_some()))
    }

    /// Makes a tenant.
    ///
    /// # Errors
    ///
    /// [`TenancyError::TenantExists`], [`TenancyError::StoreUnavailable`].
    pub async fn create(&self, new: NewTenant) -> Result<Report, TenancyError> {
        let document = TenantDocument {
            name: new.name.unwrap_or_else(|| new.id.to_string()),
            id: new.id.clone(),
            status: TenantStatus::Active,
            enabled_modules: Vec::new(),
            feature_flags: std::collections::BTreeMap::new(),
            settings: std::collections::BTreeMap::new(),
            cors: None,
            api_keys: Vec::new(),
            revision: 0,
            updated_at: Some(jiff::Timestamp::now()),
            unknown: serde_json::Map::new(),
        };
        self.work(&new.id, Work::Create { document }).await
    }

    /// Deletes a tenant; its instances are drained.
    ///
    /// # Errors
    ///
    /// [`TenancyError::HasData`] unless `data` says to purge, and what [`Tenancy::change`] has.
    pub async fn delete(
        &self,
        id: &TenantId,
        precondition: Option<u64>,
        data: TenantData,
    ) -> Result<Report, TenancyError> {
        self.work(id, Work::Delete { precondition, data }).await
    }

    /// Runs the modules of a document that is not in the store, each proved; answers their names.
    ///
    /// # Errors
    ///
    /// What stood in the way of the first that does not run.
    pub async fn adopt(&self, document: TenantDocument) -> Result<Report, TenancyError> {
        let id = document.id.clone();
        self.work(&id, Work::Adopt { document }).await
    }

    /// Tells what the folder holds now. With the answer the catalog is in force; tenants follow one by one.
    pub async fn catalog_changed(&self, catalog: Arc<Catalog>) {
        let (reply, told) = oneshot::channel();
        let _ = self.commands.send(Command::Catalog { catalog, reply });
        let _ = told.await;
    }

    /// As [`Tenancy::catalog_changed`], for threads outside any runtime.
    pub fn catalog_changed_blocking(&self, catalog: Arc<Catalog>) {
        let (reply, told) = oneshot::channel();
        let _ = self.commands.send(Command::Catalog { catalog, reply });
        let _ = told.blocking_recv();
    }

    /// Whether the library of a candidate is open.
    pub fn is_open(&self, candidate: &Candidate) -> bool {
        self.context.generations.is_open(candidate)
    }

    /// Takes everything out of service and ends the supervisor; completes when the last instance is gone.
    pub async fn shutdown(&self) {
        self.context.host.bell.end();
        let (reply, done) = oneshot::channel();
        let _ = self.commands.send(Command::Shutdown { reply });
        let _ = done.await;
    }

    #[cfg(test)]
    pub(super) async fn time_is_up(&self) {
        let (reply, told) = oneshot::channel();
        let _ = self.commands.send(Command::TimeIsUp { reply });
        told.await.unwrap();
    }

    #[cfg(test)]
    pub(super) async fn remembered(&self) -> usize {
        let (reply, told) = oneshot::channel();
        let _ = self.commands.send(Command::Count { reply });
        told.await.unwrap()
    }

    pub(super) async fn work(&self, id: &TenantId, work: Work) -> Result<Report, TenancyError> {
        self.ask(|reply| Command::Work { tenant: id.clone(), work, reply: Some(reply) }).await
    }

    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Asks for a tenant, for as long as making an instance may take.
    pub(super) async fn ask_in_time<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, TenancyError> {
        let late = |_| Err(TenancyError::StoreUnavailable("the tenant was not read in time".to_owned()));
        tokio::time::timeout(self.context.settings.initialize, self.ask(command)).await.unwrap_or_else(late)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, TenancyError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| TenancyError::ShuttingDown)?;
        answer.await.unwrap_or(Err(TenancyError::ShuttingDown))
    }
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tenancy({} tenants in memory)", self.shared.directory.len())
    }
}
