//! What the supervisor puts before readers: a tenant's new picture, a tenant taken away, a catalog.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Shared,
    context::Context,
    job::NewState,
    services::TenantView,
    snapshot::{Bases, Slot, TenantSnapshot},
    supervisor::Supervisor,
};
use crate::{
    catalog::{Candidate, Catalog},
    flags::{FlagSet, unix_seconds},
    names::{ModuleName, TenantId},
};

impl Supervisor {
    /// The swap: one insertion into the directory, after which every new request sees the new picture. `ready` is when
    /// all that it needs was there.
    pub(super) fn publish(&mut self, id: &TenantId, mut state: NewState, ready: Instant) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let old: Vec<Arc<Slot>> = tenant.snapshot.as_ref().map(|snapshot| snapshot.slots.to_vec()).unwrap_or_default();
        let mut superfluous = Vec::new();
        let slots: Box<[Arc<Slot>]> = state
            .desire
            .modules
            .iter()
            .map(|(candidate, isolation)| {
                let kept =
                    old.iter().find(|slot| Arc::ptr_eq(&slot.candidate, candidate) && slot.isolation == *isolation);
                let started = state.started.remove(&candidate.name);
                let slot = kept.cloned().unwrap_or_else(|| {
                    let serial = started.as_ref().map_or_else(|| self.context.next_serial(), |(slot, _)| *slot);
                    let limits = (self.context.limits_of)(candidate.name.as_str());
                    let mut slot = Slot::new(serial, Arc::clone(candidate), *isolation, limits);
                    let before = old.iter().find(|it| it.candidate.name == candidate.name);
                    slot.baseline =
                        before.filter(|it| !has_same_content(it, candidate)).and_then(|it| it.as_baseline());
                    // Whatever version it is: code of the module is stuck for this tenant, and may be so again.
                    self.bars.apply(id, &slot);
                    Arc::new(slot)
                });
                if let Some((_, running)) = started {
                    // A first request may have been quicker.
                    if slot.running.load().is_none() {
                        slot.failure.store(None);
                        slot.running.store(Some(running));
                        self.context.begin_probation(&slot);
                    } else {
                        superfluous.push(running);
                    }
                }
                slot
            })
            .collect();
        superfluous.extend(state.started.into_values().map(|(_, running)| running));
        let dormant: Arc<[Arc<Candidate>]> = state.desire.dormant.into();
        // Flags may have been defined anew, or time may have gone on, while the job was at work.
        let current = self.context.definitions.load();
        if current.reads_time() || !Arc::ptr_eq(state.flags.definitions(), &current) {
            state.flags = Arc::new(FlagSet::clone(&state.flags).defined_by(&current, id, unix_seconds()));
        }
        let view = Arc::new(TenantView {
            document: Arc::clone(&state.document),
            flags: Arc::clone(&state.flags),
            peers: slots.iter().map(|slot| Arc::clone(&slot.candidate)).collect(),
            dormant: Arc::clone(&dormant),
        });
        for slot in &slots {
            if let Some(running) = slot.running.load().as_ref()
                && running.services().show(Arc::clone(&view))
            {
                self.context.settings_changed(id, slot);
            }
        }
        let candidates: Vec<_> = slots.iter().map(|slot| Arc::clone(&slot.candidate)).collect();
        let snapshot = Arc::new(TenantSnapshot {
            document: state.document,
            table: self.shared.tables.of(&candidates),
            slots,
            flags: state.flags,
            problems: state.desire.problems.into_boxed_slice(),
            dormant,
            used: tenant.snapshot.as_ref().map(|before| before.used.go_on()).unwrap_or_default(),
        });
        if tenant.snapshot.is_none() {
            // It is wanted now.
            snapshot.used.touch(self.context.tick.load(Ordering::Relaxed));
        }
        self.memory.took(tenant.snapshot.as_deref(), Some(&snapshot));
        self.shared.directory.pin().insert(id.clone(), Arc::clone(&snapshot));
        self.shared.clients.tell(id);
        let swap_micros = u64::try_from(ready.elapsed().as_micros()).unwrap_or(u64::MAX);
        for slot in &snapshot.slots {
            let is_new = !old.iter().any(|before| Arc::ptr_eq(before, slot));
            if is_new && slot.baseline.is_some() && slot.running.load().is_some() {
                let (module, version) = (&slot.candidate.name, &slot.candidate.version);
                tracing::debug!(tenant = %id, %module, %version, swap_micros, "a tenant runs other code");
            }
        }

        // After the swap: what the new picture does not have is drained, in the order of the plan.
        let mut leaving: Vec<&Arc<Slot>> =
            old.iter().filter(|slot| !snapshot.slots.iter().any(|new| Arc::ptr_eq(slot, new))).collect();
        leaving.sort_by_key(|slot| state.plan.drain.iter().position(|name| *name == slot.candidate.name));
        for slot in leaving {
            superfluous.extend(slot.take_running());
            for waiting in tenant.starting.remove(&slot.serial).unwrap_or_default() {
                let _ = waiting.send(Ok(false));
            }
            tenant.failed.remove(&slot.serial);
            tenant.panics.remove(&slot.serial);
        }
        tenant.snapshot = Some(snapshot);
        for running in superfluous {
            self.retire(id, running);
        }
        self.make_room(id);
    }

    /// Takes a tenant out of memory and out of service: its instances are drained, all at once.
    pub(super) fn withdraw(&mut self, id: &TenantId) {
        self.shared.directory.pin().remove(id);
        self.shared.clients.leave(id);
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        for (_, waiting) in tenant.starting.drain() {
            for reply in waiting {
                let _ = reply.send(Ok(false));
            }
        }
        tenant.failed.clear();
        tenant.panics.clear();
        let Some(snapshot) = tenant.snapshot.take() else { return };
        self.memory.took(Some(&snapshot), None);
        for running in snapshot.slots.iter().rev().filter_map(|slot| slot.running.swap(None)) {
            self.retire(id, running);
        }
    }
}

fn has_same_content(slot: &Slot, candidate: &Candidate) -> bool {
    slot.candidate.known_hash().is_some_and(|hash| candidate.known_hash() == Some(hash))
}

/// The folder's catalog, with the candidates that are gone from it and still open.
pub(super) fn keep_open(before: &Catalog, fresh: &Arc<Catalog>, context: &Context) -> Arc<Catalog> {
    let known = before.all().chain(before.removed());
    let open: Vec<_> = known
        .filter(|candidate| !fresh.has_file_of(candidate) && context.generations.is_open(candidate))
        .cloned()
        .collect();
    if open.is_empty() && fresh.removed().is_empty() { Arc::clone(fresh) } else { Arc::new(fresh.with_removed(open)) }
}

impl Shared {
    /// Puts a catalog in force for all who read it.
    pub(super) fn show_catalog(&self, catalog: Arc<Catalog>) {
        let mut bases: Vec<(String, ModuleName)> = catalog
            .all()
            .filter_map(|candidate| {
                let routes = candidate.manifest.routes.as_ref()?;
                Some((routes.base.as_str().to_owned(), candidate.name.clone()))
            })
            .collect();
        bases.dedup();
        self.bases.store(Arc::new(Bases(bases)));
        self.catalog.store(catalog);
    }
}
