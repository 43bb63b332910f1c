//! What the supervisor puts before readers: a tenant's new picture, a tenant taken away, a catalog.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Shared,
    context::Context,
    desire::Desire,
    job::NewState,
    kept::Kept,
    probation::Baseline,
    services::TenantView,
    snapshot::{Bases, Slot, Slots, TenantSnapshot, Unfit},
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
        let old: Vec<Arc<Slot>> =
            tenant.snapshot.as_ref().map(|snapshot| snapshot.slots().to_vec()).unwrap_or_default();
        let mut superfluous = Vec::new();
        // Where nothing has run nobody may ever want to: slots are made with the first request then.
        let table_before = tenant.snapshot.as_ref().map(|snapshot| Arc::clone(&snapshot.table));
        // What the tenant had in the place of a module that is other code now.
        let replaced = |candidate: &Arc<Candidate>| {
            let table = table_before.as_deref()?;
            let before = table.module(table.position(candidate.name.as_str())?);
            (!Arc::ptr_eq(before, candidate) && !has_same_content(before, candidate)).then_some(before)
        };
        let moves = || state.table.modules().iter().any(|candidate| replaced(candidate).is_some());
        let is_at_rest = old.is_empty() && state.started.is_empty() && !self.bars.has_any(id) && !moves();
        let mut slot_of = |(at, candidate): (usize, &Arc<Candidate>)| {
            let isolation = state.table.isolation(at);
            let started = state.started.remove(&candidate.name);
            // A slot that was made while the job started an instance for another number gives way to that.
            let fits = |slot: &&Arc<Slot>| started.as_ref().is_none_or(|(serial, _)| slot.serial == *serial);
            let is_same = |slot: &&Arc<Slot>| Arc::ptr_eq(&slot.candidate, candidate) && slot.isolation == isolation;
            let kept = old.iter().find(is_same).filter(fits);
            let slot = kept.cloned().unwrap_or_else(|| {
                let serial = started.as_ref().map_or_else(|| self.context.next_serial(), |(slot, _)| *slot);
                let mut slot = Slot::new(serial, Arc::clone(candidate), isolation, state.table.limits(at));
                let before = old.iter().find(|it| it.candidate.name == candidate.name);
                let measured = before.filter(|it| !has_same_content(&it.candidate, candidate));
                // Nobody has asked for it: there is a version to go back to, and nothing to compare with.
                let unasked = || {
                    let version = Some(replaced(candidate)?.version.to_string());
                    Some(Baseline { version, ..Baseline::default() })
                };
                slot.baseline = measured.and_then(|it| it.as_baseline()).or_else(unasked);
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
        };
        let slots = if is_at_rest {
            Slots::default()
        } else {
            Slots::of(state.table.modules().iter().enumerate().map(&mut slot_of).collect())
        };
        superfluous.extend(state.started.into_values().map(|(_, running)| running));
        // Flags may have been defined anew, or time may have gone on, while the job was at work.
        let current = self.context.definitions.load();
        if current.reads_time() || !Arc::ptr_eq(state.flags.definitions(), &current) {
            let flags = FlagSet::clone(&state.flags).defined_by(&current, id, unix_seconds());
            (state.flags, state.own_flags) = state.table.shared(flags);
        }
        let Desire { problems, dormant, .. } = state.desire;
        let is_fit = problems.is_empty() && dormant.is_empty();
        let unfit =
            (!is_fit).then(|| Arc::new(Unfit { problems: problems.into_boxed_slice(), dormant: dormant.into() }));
        let snapshot = Arc::new(TenantSnapshot {
            kept: Kept::new(&state.document),
            table: state.table,
            slots,
            flags: state.flags,
            own_flags: state.own_flags,
            unfit,
            used: tenant.snapshot.as_ref().map(|before| before.used.go_on()).unwrap_or_default(),
        });
        if snapshot.slots().iter().any(|slot| slot.running.load().is_some()) {
            let view = Arc::new(TenantView::of(&snapshot));
            for slot in snapshot.slots() {
                if let Some(running) = slot.running.load().as_ref()
                    && running.services().show(Arc::clone(&view))
                {
                    self.context.settings_changed(id, slot);
                }
            }
        }
        snapshot.used.works();
        if tenant.snapshot.is_none() {
            // It is wanted now.
            snapshot.used.touch(self.context.tick.load(Ordering::Relaxed));
        }
        self.memory.took(tenant.snapshot.as_deref(), Some(&snapshot));
        self.shared.directory.pin().insert(id.clone(), Arc::clone(&snapshot));
        self.shared.clients.tell(id);
        let swap_micros = u64::try_from(ready.elapsed().as_micros()).unwrap_or(u64::MAX);
        for slot in snapshot.slots() {
            let is_new = !old.iter().any(|before| Arc::ptr_eq(before, slot));
            if is_new && slot.baseline.is_some() && slot.running.load().is_some() {
                let (module, version) = (&slot.candidate.name, &slot.candidate.version);
                tracing::debug!(tenant = %id, %module, %version, swap_micros, "a tenant runs other code");
            }
        }

        // After the swap: what the new picture does not have is drained, in the order of the plan.
        let mut leaving: Vec<&Arc<Slot>> =
            old.iter().filter(|slot| !snapshot.slots().iter().any(|new| Arc::ptr_eq(slot, new))).collect();
        leaving.sort_by_key(|slot| state.plan.drain.iter().position(|name| *name == slot.candidate.name));
        for slot in leaving {
            superfluous.extend(slot.take_running());
            let activity = tenant.activity_mut();
            for waiting in activity.starting.remove(&slot.serial).unwrap_or_default() {
                let _ = waiting.send(Ok(false));
            }
            activity.failed.remove(&slot.serial);
            activity.panics.remove(&slot.serial);
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
        let activity = tenant.activity_mut();
        for (_, waiting) in activity.starting.drain() {
            for reply in waiting {
                let _ = reply.send(Ok(false));
            }
        }
        activity.failed.clear();
        activity.panics.clear();
        let Some(snapshot) = tenant.snapshot.take() else { return };
        self.memory.took(Some(&snapshot), None);
        for running in snapshot.slots().iter().rev().filter_map(|slot| slot.running.swap(None)) {
            self.retire(id, running);
        }
    }
}

fn has_same_content(one: &Candidate, other: &Candidate) -> bool {
    one.known_hash().is_some_and(|hash| other.known_hash() == Some(hash))
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
