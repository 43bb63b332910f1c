//! Flags that are defined for all tenants: another set of them reaches every tenant in memory, its instances included,
//! without reading the store and without starting anything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    command::Command, handle::Tenancy, services::TenantView, snapshot::TenantSnapshot, supervisor::Supervisor,
};
use crate::{
    catalog::Catalog,
    flags::{Definitions, FlagSet, type_of, unix_seconds},
    names::TenantId,
};

/// How long what rules made of the time holds for modules. A choice: a roll-out in steps of a minute is even enough.
pub(super) const TIME_HOLDS: Duration = Duration::from_secs(60);

/// How many tenants' flags are made anew at a time, before others who ask the supervisor for something have their turn.
const AT_ONCE: usize = 32;

/// Tenants whose flags are still to be made anew.
pub(super) struct FlagRound {
    tenants: Vec<TenantId>,
    /// Only what reads the time.
    by_time: bool,
}

/// The rounds over all tenants that have begun and not ended, and who waits until there is none.
pub(super) struct OpenRounds {
    /// When rules that read the time were last asked for all tenants.
    pub(super) asked_at: Instant,
    count: usize,
    waiting: Vec<oneshot::Sender<()>>,
}

impl OpenRounds {
    pub(super) fn new() -> Self {
        Self { asked_at: Instant::now(), count: 0, waiting: Vec::new() }
    }

    /// Tells when every tenant in memory has the flags that are in force now: at once where no round is under way.
    pub(super) fn tell_at_end(&mut self, reply: Option<oneshot::Sender<()>>) {
        self.waiting.extend(reply);
        if self.count == 0 {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}

fn unlike_modules(definitions: &Definitions, catalog: &Catalog) -> Vec<String> {
    let mut told = Vec::new();
    for candidate in catalog.all() {
        for (flag, value) in &candidate.manifest.features {
            let (Some(defined), declared) = (definitions.type_of(flag), type_of(value)) else { continue };
            if defined != declared {
                let module = &candidate.name;
                let off = if value.is_boolean() { ": it is off for that module" } else { "" };
                told.push(format!(
                    "flag `{flag}` is defined as {defined}, and module {module} declares {declared}{off}"
                ));
            }
        }
    }
    // Several versions of a module may declare the same.
    told.dedup();
    told
}

impl Supervisor {
    pub(super) fn define(&mut self, definitions: Arc<Definitions>, reply: Option<oneshot::Sender<()>>) {
        for unlike in unlike_modules(&definitions, &self.shared.catalog.load()) {
            tracing::warn!("{unlike}");
        }
        self.context.definitions.store(definitions);
        self.rounds.asked_at = Instant::now();
        let tenants = self.tenants.keys().cloned().collect();
        self.rounds.count += 1;
        self.rounds.tell_at_end(reply);
        self.show_flags(FlagRound { tenants, by_time: false });
    }

    /// Asks the rules again for all tenants, where any reads the time and it is time.
    pub(super) fn follow_the_time(&mut self, now: Instant) {
        if now.duration_since(self.rounds.asked_at) >= TIME_HOLDS {
            self.rounds.asked_at = now;
            if self.context.definitions.load().reads_time() {
                let tenants = self.tenants.keys().cloned().collect();
                self.show_flags(FlagRound { tenants, by_time: true });
            }
        }
    }

    /// Makes the flags of some tenants anew and shows them, and puts the rest behind what waits already.
    pub(super) fn show_flags(&mut self, mut round: FlagRound) {
        let (definitions, seconds) = (self.context.definitions.load_full(), unix_seconds());
        let rest = round.tenants.len().saturating_sub(AT_ONCE);
        for id in round.tenants.split_off(rest) {
            let Some(tenant) = self.tenants.get_mut(&id) else { continue };
            let Some(before) = &tenant.snapshot else { continue };
            let flags = FlagSet::clone(&before.flags).defined_by(&definitions, &id, seconds);
            if round.by_time && flags.has_outcomes_of(&before.flags) {
                continue;
            }
            let (flags, own_flags) = before.table.shared(flags);
            let snapshot = Arc::new(TenantSnapshot {
                kept: before.kept.clone(),
                table: Arc::clone(&before.table),
                slots: before.slots.go_on(),
                flags,
                own_flags,
                unfit: before.unfit.clone(),
                used: before.used.go_on(),
            });
            self.memory.took(Some(before), Some(&snapshot));
            let mut view = None;
            for running in snapshot.slots().iter().filter_map(|slot| slot.running()) {
                let view = view.get_or_insert_with(|| Arc::new(TenantView::of(&snapshot)));
                // Its settings are the same.
                let _ = running.services().show(Arc::clone(view));
            }
            self.shared.directory.pin().insert(id.clone(), Arc::clone(&snapshot));
            self.shared.clients.tell(&id);
            tenant.snapshot = Some(snapshot);
        }
        if !round.tenants.is_empty() {
            let _ = self.context.commands.send(Command::ShowFlags(round));
        } else if !round.by_time {
            self.rounds.count -= 1;
            self.rounds.tell_at_end(None);
        }
    }
}

impl Tenancy {
    /// The flags that are defined for all tenants.
    pub fn definitions(&self) -> Arc<Definitions> {
        self.context.definitions.load_full()
    }

    /// Where definitions give a flag another type than a module of the catalog declares, told for operators, once for each
    /// flag and module. Nothing is refused for it: the module may come and go.
    pub fn unlike_modules(&self, definitions: &Definitions) -> Vec<String> {
        unlike_modules(definitions, &self.catalog())
    }

    /// Defines flags in another way, for all tenants; for threads outside any runtime. When it returns, every request
    /// and every module sees it.
    pub fn define_blocking(&self, definitions: Arc<Definitions>) {
        let (reply, told) = oneshot::channel();
        self.tell(Command::Define { definitions, reply });
        let _ = told.blocking_recv();
    }
}
