//! What one tenant's handle for one module can ask: its own documents, flags and settings, the clock, ids,
//! timers, threads and tasks. Nothing here takes a tenant's name from the module.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, task::JoinHandle};

use super::error::chain;
use crate::{
    flags::FlagSet,
    loader::{
        BlockingJob, Documents, Failure, FailureKind, HostServices, ServiceFuture, StoreAction, StoreAnswer, StoreOp,
    },
    manifest::Manifest,
    names::{ModuleName, TenantId},
    stores::{CollectionKey, Find, ModelFields, Store, StoreError, TenantDocument},
};

/// What a module sees of its tenant's document; replaced as a whole when the document changes.
#[derive(Debug)]
pub(super) struct TenantView {
    pub(super) document: Arc<TenantDocument>,
    pub(super) flags: Arc<FlagSet>,
}

/// Told when a task of an instance has panicked.
pub(super) type OnTaskPanic = Box<dyn Fn(&Failure) + Send + Sync>;

/// The services of one instance.
pub(super) struct TenantServices {
    tenant: TenantId,
    module: ModuleName,
    /// By model name, what the manifest declares.
    models: Vec<(CollectionKey, ModelFields)>,
    store: Arc<dyn Store>,
    background: Handle,
    view: ArcSwap<TenantView>,
    /// `None` once the instance is being stopped.
    tasks: Mutex<Option<Vec<JoinHandle<()>>>>,
    tasks_running: Arc<AtomicUsize>,
    on_task_panic: Arc<OnTaskPanic>,
}

impl fmt::Debug for TenantServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantServices({}, {})", self.tenant, self.module)
    }
}

impl TenantServices {
    pub(super) fn new(
        tenant: TenantId,
        manifest: &Manifest,
        store: Arc<dyn Store>,
        background: Handle,
        view: Arc<TenantView>,
        on_task_panic: OnTaskPanic,
    ) -> Self {
        Self {
            models: collections_of(&tenant, manifest),
            tenant,
            module: manifest.name.clone(),
            store,
            background,
            view: ArcSwap::new(view),
            tasks: Mutex::new(Some(Vec::new())),
            tasks_running: Arc::default(),
            on_task_panic: Arc::new(on_task_panic),
        }
    }

    pub(super) fn show(&self, view: Arc<TenantView>) {
        self.view.store(view);
    }

    pub(super) fn tasks_running(&self) -> usize {
        self.tasks_running.load(Ordering::Acquire)
    }

    /// Ends all tasks and lets no new one begin; completes when the last was dropped, or after `limit`: one
    /// that never yields can't be ended, and keeps its library by itself.
    pub(super) async fn stop_tasks(&self, limit: Duration) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        for task in &tasks {
            task.abort();
        }
        let ended = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!(tenant = %self.tenant, module = %self.module, "tasks did not end when they were stopped");
        }
    }

    fn collection(&self, model: &str) -> Result<(CollectionKey, ModelFields), Failure> {
        self.models.iter().find(|(key, _)| key.model == model).cloned().ok_or_else(|| {
            let declared: Vec<&str> = self.models.iter().map(|(key, _)| key.model.as_str()).collect();
            Failure::new(
                FailureKind::Misuse,
                format!("model `{model}` is not declared in the manifest; declared are: {}", declared.join(", ")),
            )
        })
    }
}

/// The collections of a module for a tenant, with the fields that are kept for searching.
pub(super) fn collections_of(tenant: &TenantId, manifest: &Manifest) -> Vec<(CollectionKey, ModelFields)> {
    manifest
        .models
        .iter()
        .map(|model| {
            let key =
                CollectionKey { tenant: tenant.clone(), module: manifest.name.clone(), model: model.name.clone() };
            (key, ModelFields { unique: model.unique.clone(), index: model.index.clone() })
        })
        .collect()
}

impl HostServices for TenantServices {
    fn tenant_id(&self) -> &str {
        self.tenant.as_str()
    }

    fn settings(&self) -> String {
        let view = self.view.load();
        view.document.settings.get(self.module.as_str()).map_or_else(|| "{}".to_owned(), ToString::to_string)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.view.load().flags.is_enabled(&self.module, name)
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
        let store = Arc::clone(&self.store);
        StoreAnswer::Pending(Box::pin(async move { carry_out(&*store, &key, &fields, op.action).await }))
    }

    fn blocking(&self, job: BlockingJob) -> ServiceFuture<Result<(), Failure>> {
        let running = self.background.spawn_blocking(job);
        Box::pin(async move {
            running.await.unwrap_or_else(|error| {
                Err(Failure::new(FailureKind::Internal, format!("the job did not end: {error}")))
            })
        })
    }

    fn sleep(&self, time: Duration) -> ServiceFuture<()> {
        // The timer belongs to this runtime, whichever thread asks.
        let _entered = self.background.enter();
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: ServiceFuture<Result<(), Failure>>) -> Result<(), Failure> {
        let stopping = || Err(Failure::new(FailureKind::Stopping, "the instance is being stopped"));
        if self.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return stopping();
        }
        let counted = Counted::new(&self.tasks_running);
        let on_panic = Arc::clone(&self.on_task_panic);
        // Outside the lock: a runtime that is going down drops the task at once, which is the module's code.
        let spawned = self.background.spawn(async move {
            let _counted = counted;
            if let Err(failure) = task.await {
                on_panic(&failure);
            }
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tasks) = tasks.as_mut() else {
            spawned.abort();
            return stopping();
        };
        tasks.retain(|task| !task.is_finished());
        tasks.push(spawned);
        Ok(())
    }
}

/// Counts a task for as long as it is there, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
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
        StoreError::NotUnique { field } => FailureKind::NotUnique { field: field.clone() },
        StoreError::Unavailable(source) => {
            tracing::error!("the store is unavailable: {}", chain(&**source));
            FailureKind::StoreUnavailable
        }
        _ => FailureKind::Misuse,
    };
    Failure::new(kind, error.to_string())
}
