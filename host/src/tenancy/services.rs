//! What one tenant's handle for one module can ask: its own documents, flags and settings, the clock, ids,
//! timers, threads and tasks. Nothing here takes a tenant's name from the module.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::{
    command::Command,
    deliveries::Bell,
    error::chain,
    routes::RouteTable,
    seams::{Asker, Seams, failed},
    snapshot::TenantSnapshot,
};
use crate::{
    catalog::Candidate,
    flags::FlagSet,
    loader::{
        Answer, BlockingJob, ClaimToken, Documents, Failure, FailureKind, Fetch, HostServices, ModuleCall,
        ServiceFuture, StoreAction, StoreAnswer, StoreOp,
    },
    manifest::{Manifest, Model},
    names::{ModuleName, TenantId},
    settings::{self, FieldPath, Secrets},
    stores::{Claim, CollectionKey, DocumentWrite, Find, ModelFields, NewEvent, Store, StoreError},
};

/// What a module sees of its tenant's document; replaced as a whole when the document changes.
#[derive(Debug)]
pub(super) struct TenantView {
    /// By module.
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) flags: Arc<FlagSet>,
    /// Has the modules that run for the tenant, as far as others see them.
    pub(super) table: Arc<RouteTable>,
    /// Enabled modules that can't run now; events are kept for them.
    pub(super) dormant: Arc<[Arc<Candidate>]>,
}

impl TenantView {
    pub(super) fn of(snapshot: &TenantSnapshot) -> Self {
        Self {
            settings: snapshot.kept.settings().cloned().unwrap_or_default(),
            flags: Arc::clone(&snapshot.flags),
            table: Arc::clone(&snapshot.table),
            dormant: snapshot.dormant(),
        }
    }
}

/// What the services of all instances have in common.
pub(super) struct HostSide {
    pub(super) store: Arc<dyn Store>,
    /// Where module code runs that no request waits for.
    pub(super) background: Handle,
    pub(super) secrets: Secrets,
    /// Who carries out what modules ask of each other and of the world.
    pub(super) seams: Seams,
    /// Rings where something was put up for delivery.
    pub(super) bell: Bell,
    /// How many deliveries of one module's events may wait.
    pub(super) most_waiting: u64,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// Which instance it is that services are for, and how many tasks it has running.
struct Tasks {
    tenant: TenantId,
    /// The numbers of its slot and of itself.
    slot: u64,
    serial: u64,
    running: AtomicUsize,
}

/// The services of one instance.
pub(super) struct TenantServices {
    host: Arc<HostSide>,
    manifest: Arc<Manifest>,
    view: ArcSwap<TenantView>,
    /// Which settings are secret.
    secret_fields: Box<[FieldPath]>,
    tasks: Arc<Tasks>,
    /// `None` once the instance is being stopped.
    spawned: Mutex<Option<Vec<JoinHandle<()>>>>,
}

impl fmt::Debug for TenantServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantServices({}, {})", self.tasks.tenant, self.manifest.name)
    }
}

impl TenantServices {
    /// `slot` and `serial` tell the instance from others, so that a panic in one of its tasks finds the way back.
    pub(super) fn new(
        host: Arc<HostSide>,
        tenant: TenantId,
        manifest: &Arc<Manifest>,
        view: Arc<TenantView>,
        (slot, serial): (u64, u64),
    ) -> Self {
        Self {
            host,
            manifest: Arc::clone(manifest),
            view: ArcSwap::new(view),
            secret_fields: manifest.settings.as_deref().map(settings::secret_fields).unwrap_or_default().into(),
            tasks: Arc::new(Tasks { tenant, slot, serial, running: AtomicUsize::new(0) }),
            spawned: Mutex::new(Some(Vec::new())),
        }
    }

    fn tenant(&self) -> &TenantId {
        &self.tasks.tenant
    }

    fn module(&self) -> &ModuleName {
        &self.manifest.name
    }

    fn asker(&self) -> Asker {
        Asker { tenant: self.tenant().clone(), module: self.module().clone() }
    }

    /// Shows the module another picture of its tenant; says whether its settings are others now.
    pub(super) fn show(&self, view: Arc<TenantView>) -> bool {
        let before = self.view.swap(Arc::clone(&view));
        let module = self.module().as_str();
        before.settings.get(module) != view.settings.get(module)
    }

    pub(super) fn tasks_running(&self) -> usize {
        self.tasks.running.load(Ordering::Acquire)
    }

    /// Ends all tasks and lets no new one begin; completes when the last was dropped, or after `limit`: one
    /// that never yields can't be ended, and keeps its library by itself.
    pub(super) async fn stop_tasks(&self, limit: Duration) {
        let tasks = self.spawned.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        for task in &tasks {
            task.abort();
        }
        let ended = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!(tenant = %self.tenant(), module = %self.module(), "tasks did not end when they were stopped");
        }
    }

    fn collection(&self, model: &str) -> Result<(CollectionKey, ModelFields), Failure> {
        let declared = &self.manifest.models;
        let found = declared.iter().find(|declared| *declared.name == *model);
        found.map(|model| collection_of(self.tenant(), self.module(), model)).ok_or_else(|| {
            let declared: Vec<&str> = declared.iter().map(|model| &*model.name).collect();
            Failure::new(
                FailureKind::Misuse,
                format!("model `{model}` is not declared in the manifest; declared are: {}", declared.join(", ")),
            )
        })
    }
}

/// The collections of a module for a tenant, with the fields that are kept for searching.
pub(super) fn collections_of(tenant: &TenantId, manifest: &Manifest) -> Vec<(CollectionKey, ModelFields)> {
    manifest.models.iter().map(|model| collection_of(tenant, &manifest.name, model)).collect()
}

fn collection_of(tenant: &TenantId, module: &ModuleName, model: &Model) -> (CollectionKey, ModelFields) {
    let key = CollectionKey { tenant: tenant.clone(), module: module.clone(), model: model.name.to_string() };
    let owned = |fields: &[Box<str>]| fields.iter().map(ToString::to_string).collect();
    (key, ModelFields { unique: owned(&model.unique), index: owned(&model.index) })
}

impl HostServices for TenantServices {
    fn tenant_id(&self) -> &str {
        self.tenant().as_str()
    }

    fn settings(&self) -> String {
        let view = self.view.load();
        let Some(settings) = view.settings.get(self.module().as_str()) else { return "{}".to_owned() };
        if self.secret_fields.is_empty() {
            return settings.to_string();
        }
        let mut settings = settings.clone();
        for missing in settings::resolve(&mut settings, &self.secret_fields, &self.host.secrets) {
            tracing::warn!(tenant = %self.tenant(), module = %self.module(), "a secret can't be had: {missing}");
        }
        settings.to_string()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.view.load().flags.is_enabled(self.module(), name)
    }

    fn now_millis(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }

    fn random_id(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }

    fn store(&self, op: StoreOp) -> StoreAnswer {
        let (key, fields) = match self.collection(&op.model) {
            Ok(found) => found,
            Err(failure) => return StoreAnswer::Ready(Err(failure)),
        };
        let store = Arc::clone(&self.host.store);
        StoreAnswer::Pending(Box::pin(async move { carry_out(&*store, &key, &fields, op.action).await }))
    }

    fn store_under(&self, claim: ClaimToken, op: StoreOp) -> StoreAnswer {
        let (key, fields) = match self.collection(&op.model) {
            Ok(found) => found,
            Err(failure) => return StoreAnswer::Ready(Err(failure)),
        };
        let (store, claim) = (Arc::clone(&self.host.store), claim_of(claim));
        let write = match op.action {
            StoreAction::Insert { id, body } => DocumentWrite::Insert { id, body },
            StoreAction::Put { id, body, revision } => DocumentWrite::Put { id, body, expected: revision },
            StoreAction::Delete { id, revision } => DocumentWrite::Delete { id, expected: revision },
            read @ (StoreAction::Get { .. } | StoreAction::Find { .. }) => {
                return StoreAnswer::Pending(Box::pin(async move { carry_out(&*store, &key, &fields, read).await }));
            }
        };
        StoreAnswer::Pending(Box::pin(async move {
            let (id, is_gone) = match &write {
                DocumentWrite::Insert { id, .. } | DocumentWrite::Put { id, .. } => (id.clone(), false),
                DocumentWrite::Delete { id, .. } => (id.clone(), true),
            };
            let revision = store.write_under(claim, &key, &fields, write).await.map_err(failure_of)?;
            let documents = if is_gone { Vec::new() } else { vec![(id, revision, Vec::new())] };
            Ok(Documents { documents, next: None })
        }))
    }

    fn call(&self, mut call: ModuleCall) -> ServiceFuture<Result<Option<Answer>, Failure>> {
        let Some((to, dependency)) = self.manifest.dependencies.iter().find(|(name, _)| name.as_str() == call.module)
        else {
            return failed(FailureKind::Misuse, format!("module `{}` is not among the dependencies", call.module));
        };
        let depth = call.behalf.as_ref().map_or(0, |behalf| behalf.depth) + 1;
        if depth > MAX_CALL_DEPTH {
            let text = format!("more than {MAX_CALL_DEPTH} calls between modules are inside each other");
            return failed(FailureKind::Misuse, text);
        }
        if let Some(behalf) = &mut call.behalf {
            behalf.depth = depth;
        }
        let is_there = self.view.load().table.position(to.as_str()).is_some();
        if !is_there {
            if dependency.optional {
                return Box::pin(std::future::ready(Ok(None)));
            }
            return failed(FailureKind::Unreachable, format!("module `{to}` does not run for the tenant"));
        }
        let (calling, background) =
            (self.host.seams.call(self.asker(), to.clone(), call), self.host.background.clone());
        Box::pin(Within { background, future: Box::pin(async move { calling.await.map(Some) }) })
    }

    fn fetch(&self, fetch: Fetch) -> ServiceFuture<Result<Answer, Failure>> {
        let fetching = self.host.seams.fetch(self.asker(), Arc::clone(&self.manifest.outbound), fetch);
        Box::pin(Within { background: self.host.background.clone(), future: fetching })
    }

    fn publish(&self, claim: Option<ClaimToken>, name: String, body: Vec<u8>) -> ServiceFuture<Result<(), Failure>> {
        if !self.manifest.publishes.iter().any(|event| event.as_str() == name) {
            let text = format!("event `{name}` is not listed under `publishes` in the manifest");
            return failed(FailureKind::Misuse, text);
        }
        let view = self.view.load();
        let subscribes = |peer: &&Arc<Candidate>| {
            let mut wanted = peer.manifest.subscribes.iter();
            wanted.any(|wanted| wanted.module == *self.module() && wanted.event.as_str() == name)
        };
        let enabled = view.table.modules().iter().chain(view.dormant.iter());
        let mut subscribers: Vec<_> = enabled.filter(subscribes).map(|peer| peer.name.clone()).collect();
        subscribers.sort();
        subscribers.dedup();
        if subscribers.is_empty() && claim.is_none() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let event = NewEvent {
            tenant: self.tenant().clone(),
            publisher: self.module().clone(),
            name,
            event_id: self.random_id(),
            body,
            published_at: self.now_millis(),
            subscribers,
            most_waiting: self.host.most_waiting,
        };
        let (store, host) = (Arc::clone(&self.host.store), Arc::clone(&self.host));
        Box::pin(async move {
            store.publish(event, claim.map(claim_of)).await.map_err(failure_of)?;
            host.bell.ring();
            Ok(())
        })
    }

    fn wake(&self, claim: Option<ClaimToken>, key: String, at: Option<i64>) -> ServiceFuture<Result<(), Failure>> {
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let text = format!("the key of a wake-up has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len());
            return failed(FailureKind::Misuse, text);
        }
        let (store, host, claim) = (Arc::clone(&self.host.store), Arc::clone(&self.host), claim.map(claim_of));
        let (tenant, module) = (self.tenant().clone(), self.module().clone());
        Box::pin(async move {
            match at {
                Some(at) => store.set_wake(&tenant, &module, &key, at, claim).await,
                None => store.cancel_wake(&tenant, &module, &key, claim).await,
            }
            .map_err(failure_of)?;
            host.bell.ring();
            Ok(())
        })
    }

    fn blocking(&self, job: BlockingJob) -> ServiceFuture<Result<(), Failure>> {
        let running = self.host.background.spawn_blocking(job);
        Box::pin(async move {
            running.await.unwrap_or_else(|error| {
                Err(Failure::new(FailureKind::Internal, format!("the job did not end: {error}")))
            })
        })
    }

    fn sleep(&self, time: Duration) -> ServiceFuture<()> {
        // The timer belongs to this runtime, whichever thread asks.
        let _entered = self.host.background.enter();
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: ServiceFuture<Result<(), Failure>>) -> Result<(), Failure> {
        let stopping = || Err(Failure::new(FailureKind::Stopping, "the instance is being stopped"));
        if self.spawned.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return stopping();
        }
        let counted = Counted::new(&self.tasks);
        let host = Arc::clone(&self.host);
        // Outside the lock: a runtime that is going down drops the task at once, which is the module's code.
        let task = self.host.background.spawn(async move {
            if let Err(failure) = task.await {
                let Tasks { tenant, slot, serial, .. } = &*counted.0;
                tracing::error!(%tenant, %failure, "a task of an instance failed");
                let _ = host.commands.send(Command::Broken { tenant: tenant.clone(), slot: *slot, serial: *serial });
            }
            drop(counted);
        });
        let mut spawned = self.spawned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spawned) = spawned.as_mut() else {
            task.abort();
            return stopping();
        };
        spawned.retain(|task| !task.is_finished());
        spawned.push(task);
        Ok(())
    }
}

/// How many calls between modules may be inside each other.
const MAX_CALL_DEPTH: u8 = 8;

/// The longest key of a wake-up: that of a document's id.
const MAX_KEY_BYTES: usize = 256;

fn claim_of(token: ClaimToken) -> Claim {
    Claim { delivery: token.delivery, fence: token.fence }
}

/// A future that is polled inside the background runtime, whichever thread does so: its timers and sockets are
/// registered there.
struct Within<T> {
    background: Handle,
    future: ServiceFuture<T>,
}

impl<T> Future for Within<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _entered = this.background.enter();
        this.future.as_mut().poll(cx)
    }
}

/// Counts a task for as long as it is there, however it ends.
struct Counted(Arc<Tasks>);

impl Counted {
    fn new(tasks: &Arc<Tasks>) -> Self {
        tasks.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn carry_out(
    store: &dyn Store,
    key: &CollectionKey,
    fields: &ModelFields,
    action: StoreAction,
) -> Result<Documents, Failure> {
    let one =
        |id: String, revision: u64, body: Vec<u8>| Documents { documents: vec![(id, revision, body)], next: None };
    let done = match action {
        StoreAction::Get { id } => store.get(key, &id).await.map(|found| Documents {
            documents: found.into_iter().map(|document| (document.id, document.revision, document.body)).collect(),
            next: None,
        }),
        StoreAction::Insert { id, body } => {
            store.insert(key, fields, &id, body).await.map(|revision| one(id, revision, Vec::new()))
        }
        StoreAction::Put { id, body, revision } => {
            store.put(key, fields, &id, body, revision).await.map(|revision| one(id, revision, Vec::new()))
        }
        StoreAction::Delete { id, revision } => store.delete(key, &id, revision).await.map(|()| Documents::default()),
        StoreAction::Find { query } => {
            let find: Find = serde_json::from_slice(&query)
                .map_err(|error| Failure::new(FailureKind::Misuse, format!("the query can't be read: {error}")))?;
            store.find(key, fields, &find).await.map(|page| Documents {
                documents: page.documents.into_iter().map(|found| (found.id, found.revision, found.body)).collect(),
                next: page.next,
            })
        }
    };
    done.map_err(failure_of)
}

fn failure_of(error: StoreError) -> Failure {
    let kind = match &error {
        StoreError::Exists(_) => FailureKind::Exists,
        StoreError::Missing(_) => FailureKind::Missing,
        StoreError::Revision { .. } => FailureKind::Revision,
        StoreError::ClaimLost => FailureKind::ClaimLost,
        StoreError::NotUnique { field } => FailureKind::NotUnique { field: field.clone() },
        StoreError::TooManyWaiting { .. } => FailureKind::Refused,
        StoreError::Unavailable(source) => {
            tracing::error!("the store is unavailable: {}", chain(&**source));
            FailureKind::StoreUnavailable
        }
        _ => FailureKind::Misuse,
    };
    Failure::new(kind, error.to_string())
}
