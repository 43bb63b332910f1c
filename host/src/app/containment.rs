//! What the host does about module code that does not give its thread back: keeps others away from it, serves with
//! other threads, tells operators, and has a module that does it again and again put into quarantine.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    admin::Liveness,
    config,
    gateway::Crew,
    loader::{Loader, OnStuck, Stuck},
    names::{ModuleName, TenantId},
    tenancy::Tenancy,
};

/// The background runtime, as far as it can lose threads.
#[derive(Debug)]
pub(super) struct BackgroundThreads {
    pub(super) handle: Handle,
    /// What its workers are called.
    pub(super) name: &'static str,
    pub(super) workers: usize,
}

/// What is known about threads that modules keep.
pub(super) struct Containment {
    tenancy: Tenancy,
    liveness: Arc<Liveness>,
    background: BackgroundThreads,
    background_lost: AtomicUsize,
    crew: OnceLock<Arc<Crew>>,
    settings: config::Containment,
    events: Mutex<Events>,
}

impl Containment {
    pub(super) fn new(
        tenancy: Tenancy,
        liveness: Arc<Liveness>,
        background: BackgroundThreads,
        settings: config::Containment,
    ) -> Arc<Self> {
        let (background_lost, crew, events) = (AtomicUsize::new(0), OnceLock::new(), Mutex::default());
        Arc::new(Self { tenancy, liveness, background, background_lost, crew, settings, events })
    }

    /// Is told from now on.
    pub(super) fn listen_to(self: &Arc<Self>, loader: &Loader) {
        // Weak: the loader must not keep what keeps it.
        loader.on_stuck(Arc::new(Ear(Arc::downgrade(self))));
    }

    /// Hands in the threads that serve.
    pub(super) fn serve_with(&self, crew: Arc<Crew>) {
        let _ = self.crew.set(crew);
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, thread: &str) {
        if thread == self.background.name {
            self.background_lost.fetch_add(1, Ordering::AcqRel);
        } else if let Some(crew) = self.crew.get() {
            crew.lost(thread);
        }
        self.tell_liveness();
    }

    fn returned(&self, thread: &str) {
        if thread == self.background.name {
            self.background_lost.fetch_sub(1, Ordering::AcqRel);
        } else if let Some(crew) = self.crew.get() {
            crew.returned(thread);
        }
        self.tell_liveness();
    }

    fn tell_liveness(&self) {
        let lost = if self.crew.get().is_some_and(|crew| crew.is_lost()) {
            Some("modules keep every thread that serves tenants, and every spare one")
        } else if self.background_lost.load(Ordering::Acquire) >= self.background.workers {
            Some("modules keep every background thread, and every spare one")
        } else {
            None
        };
        if let Some(reason) = lost {
            tracing::error!("{reason}");
        }
        self.liveness.set(lost);
    }

    fn stuck(&self, stuck: &Stuck) {
        let Stuck { tenant, module, thread, instance, .. } = stuck;
        tracing::error!(
            tenant,
            module,
            thread,
            instance,
            "module code does not give its thread back: nobody else is let in until it does"
        );
        let (Ok(tenant), Ok(module)) = (tenant.parse::<TenantId>(), module.parse::<ModuleName>()) else { return };
        self.tenancy.bar(tenant.clone(), module.clone());
        self.lost(thread);
        let (limit, window) = (self.settings.stuck_limit, self.settings.stuck_window);
        let of = (tenant.clone(), module.clone());
        let mut events = self.events();
        let count = events.add(of.clone(), stuck.began, window);
        let is_too_much = count >= limit;
        if is_too_much {
            // Once it is let go, it is counted afresh.
            events.0.remove(&of);
        }
        drop(events);
        if is_too_much {
            let reason = format!("kept a thread for more than a second {count} times within {window:?}");
            self.tenancy.quarantine(&tenant, &module, reason);
        }
    }

    fn is_back(&self, stuck: &Stuck, lasted: Duration) {
        let Stuck { tenant, module, thread, instance, .. } = stuck;
        tracing::warn!(tenant, module, thread, instance, ?lasted, "module code has given its thread back");
        self.returned(thread);
        if let (Ok(tenant), Ok(module)) = (tenant.parse(), module.parse()) {
            self.tenancy.unbar(tenant, module);
        }
    }

    fn nudge(&self) {
        if let Some(crew) = self.crew.get() {
            crew.nudge();
        }
        if self.background_lost.load(Ordering::Acquire) > 0 {
            // The worker that is stuck may be the one that others rely on to wait for timers and sockets.
            drop(self.background.handle.spawn(async {}));
        }
    }
}

/// What the loader holds.
struct Ear(Weak<Containment>);

impl OnStuck for Ear {
    fn stuck(&self, stuck: &Stuck) {
        if let Some(containment) = self.0.upgrade() {
            containment.stuck(stuck);
        }
    }

    fn still_stuck(&self) {
        if let Some(containment) = self.0.upgrade() {
            containment.nudge();
        }
    }

    fn returned(&self, stuck: &Stuck, lasted: Duration) {
        if let Some(containment) = self.0.upgrade() {
            containment.is_back(stuck, lasted);
        }
    }
}

/// When which module got stuck for which tenant, as far as the window reaches.
#[derive(Default)]
struct Events(HashMap<(TenantId, ModuleName), VecDeque<Instant>>);

impl Events {
    /// Adds one and says how many there are within the window that ends with it.
    fn add(&mut self, of: (TenantId, ModuleName), at: Instant, window: Duration) -> usize {
        let recent = |event: &Instant| at.saturating_duration_since(*event) < window;
        // What is over for all is forgotten, or tenants that come and go would be remembered for ever.
        self.0.retain(|_, events| events.back().is_some_and(recent));
        let events = self.0.entry(of).or_default();
        events.retain(recent);
        events.push_back(at);
        events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_within_the_window_counts_for_each_tenant_and_module() {
        let (mut events, start) = (Events::default(), Instant::now());
        let of = |tenant: &str| (tenant.parse().unwrap(), "spins".parse().unwrap());
        let at = |seconds| start + Duration::from_secs(seconds);
        let window = Duration::from_secs(10);
        assert_eq!(events.add(of("acme"), at(0), window), 1);
        assert_eq!(events.add(of("acme"), at(9), window), 2);
        assert_eq!(events.add(of("other"), at(9), window), 1);
        assert_eq!(events.add(of("acme"), at(10), window), 2, "the first is out of the window");
        assert_eq!(events.add(of("third"), at(30), window), 1);
        assert_eq!(events.0.len(), 1, "what is over is forgotten");
    }
}
