//! One instance in service: what requests lease, and how it is taken out again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    gate::{Gate, Refusal},
    services::TenantServices,
};
use crate::{
    loader::{Call, CallRequest, Failure, Hook, Instance},
    manifest::{Endpoint, Manifest},
};

/// An instance that serves a tenant's requests until its gate is closed.
#[derive(Debug)]
pub struct Running {
    /// Dropped with the last lease; the library goes after it.
    instance: Arc<Instance>,
    services: Arc<TenantServices>,
    /// By the number of the manifest's endpoint, that of the code's handler.
    handlers: Box<[u32]>,
    /// Who is inside, and whether anybody may come in.
    pub(super) gate: Gate,
    /// Tells this instance from its successors in the same slot.
    pub(super) serial: u64,
    /// Requests answered by it, whatever the answer.
    requests: AtomicU64,
}

impl Running {
    pub(super) fn new(
        instance: Arc<Instance>,
        services: Arc<TenantServices>,
        manifest: &Manifest,
        serial: u64,
        tick: u32,
    ) -> Self {
        let endpoints = manifest.routes.as_ref().map(|routes| &*routes.endpoints).unwrap_or_default();
        // The loader has compared both lists; a number that is none is refused by the module itself.
        let handler = |endpoint: &Endpoint| {
            let found = instance.generation().route_index(endpoint.method().as_str(), endpoint.path.as_str());
            found.unwrap_or(u32::MAX)
        };
        Self {
            handlers: endpoints.iter().map(handler).collect(),
            instance,
            services,
            gate: Gate::open(tick),
            serial,
            requests: AtomicU64::new(0),
        }
    }

    /// Takes a lease, which one request needs from start to the end of its body.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where `limit` leases are out, or the instance is being drained.
    pub(super) fn lease(self: &Arc<Self>, limit: u32, tick: u32) -> Result<Lease, Refusal> {
        self.gate.enter(limit, tick)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { running: Arc::clone(self), place: Place::Request })
    }

    /// A lease for a hook, which no limit of requests keeps away; `None` where the instance is being drained.
    pub(super) fn lease_for_hook(self: &Arc<Self>) -> Option<Lease> {
        self.gate.enter_hook().ok()?;
        Some(Lease { running: Arc::clone(self), place: Place::Hook })
    }

    /// The services its module uses.
    pub(super) fn services(&self) -> &TenantServices {
        &self.services
    }

    /// How many requests it was given.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The number of the generation it belongs to.
    pub fn generation(&self) -> u64 {
        self.instance.generation().info().serial
    }

    /// Lets nobody in any more, if nothing of it is at work; says whether that was so. A request that comes
    /// in between is either seen here or finds the gate closed, so no task that it spawns is lost.
    pub(super) fn close_if_idle(&self) -> bool {
        if self.services.tasks_running() != 0 || !self.gate.close_if_empty() {
            return false;
        }
        // The last request before may have left a task behind.
        let is_idle = self.services.tasks_running() == 0;
        if !is_idle {
            self.gate.reopen();
        }
        is_idle
    }

    /// Closes the gate, waits for those inside, stops the tasks, lets the module clean up. Counts the requests that
    /// had to be `cut`. Module code runs on `background`, so that what never yields there does not hold
    /// this up beyond the times.
    ///
    /// # Cancel safety
    ///
    /// Must run to its end: run as a task of its own.
    pub(super) async fn retire(self: Arc<Self>, background: &Handle, times: RetireTimes, cut: &AtomicU64) {
        self.gate.close();
        if tokio::time::timeout(times.drain, self.gate.emptied()).await.is_err() {
            // Counted before anybody is told.
            cut.fetch_add(self.gate.inside(), Ordering::Relaxed);
            self.gate.cut();
            // Those that wait give up at once. One that never yields stays inside, and what it uses with it:
            // the lease keeps the instance and the library.
            if tokio::time::timeout(times.cut, self.gate.emptied()).await.is_err() {
                tracing::warn!(inside = self.gate.inside(), "requests did not end when they were cut");
            }
        }
        self.services.stop_tasks(times.cut).await;
        let mut cleaning = AbortOnDrop(background.spawn(async move {
            let cleaned = self.instance.run(Hook::Cleanup).await;
            // The last one drops the instance, which is module code too.
            drop(self);
            cleaned
        }));
        match tokio::time::timeout(times.cleanup, &mut cleaning.0).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failure))) => tracing::warn!(%failure, "cleanup failed"),
            Ok(Err(error)) => tracing::warn!(%error, "cleanup ended early"),
            Err(_) => tracing::warn!(deadline = ?times.cleanup, "cleanup did not end within its deadline"),
        }
    }
}

/// A task that ends with whoever waits for it.
pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long each part of taking an instance out may last.
#[derive(Debug, Clone, Copy)]
pub struct RetireTimes {
    /// For requests to end by themselves.
    pub drain: Duration,
    /// For requests that were cut to be gone, and for tasks that were stopped.
    pub cut: Duration,
    /// For the module's cleanup.
    pub cleanup: Duration,
}

/// Proof that a request, or its answer's body, still uses an instance.
#[derive(Debug)]
pub struct Lease {
    running: Arc<Running>,
    place: Place,
}

/// As what a lease was counted.
#[derive(Debug, Clone, Copy)]
enum Place {
    Request,
    Hook,
}

impl Lease {
    /// Begins a request whose `route` is the number of the manifest's endpoint. The future polls the module; it
    /// keeps the instance by itself.
    pub fn call(&self, mut request: CallRequest) -> Call {
        let handler = self.running.handlers.get(request.route as usize);
        request.route = handler.copied().unwrap_or(u32::MAX);
        self.running.instance.call(request)
    }

    /// Runs a hook of the module. The future keeps the instance by itself.
    pub(super) fn run(&self, hook: Hook) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        self.running.instance.run(hook)
    }

    /// Completes when the request must give up, because the drain deadline has passed.
    pub async fn was_cut(&self) {
        self.running.gate.was_cut().await;
    }

    /// As [`Lease::was_cut`], and may outlive the lease.
    pub fn cut_notice(&self) -> impl Future<Output = ()> + Send + 'static {
        let running = Arc::clone(&self.running);
        async move { running.gate.was_cut().await }
    }

    /// Whether the request must give up: nothing may begin any more.
    pub fn is_cut(&self) -> bool {
        self.running.gate.is_cut()
    }

    /// The number that tells the instance from its successors.
    pub fn serial(&self) -> u64 {
        self.running.serial
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.place {
            Place::Request => self.running.gate.leave(),
            Place::Hook => self.running.gate.leave_hook(),
        }
    }
}
