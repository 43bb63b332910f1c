//! The one writer: it alone decides what runs. It takes commands from a closed list, never awaits module
//! code or the store, and publishes immutable snapshots.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    bars::Bars,
    command::{Command, Reply, Work},
    context::Context,
    definitions::OpenRounds,
    error::TenancyError,
    job::{self, Ended, Ground, Outcome, Report},
    marks::MarkBook,
    memory::Memory,
    publish::keep_open,
    running::Running,
    tenant::{Busy, Tenant, actual_of},
};
use crate::{
    catalog::Catalog,
    names::{ModuleName, TenantId},
    stores::{Mark, TenantDocument},
};

pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) context: Arc<Context>,
    pub(super) tenants: HashMap<TenantId, Tenant>,
    /// Where threads are stuck.
    pub(super) bars: Bars,
    /// Set when the host goes down: all who wait for it are told when nothing is left.
    pub(super) leaving: Option<Vec<oneshot::Sender<()>>>,
    /// Whose flags are being made anew.
    pub(super) rounds: OpenRounds,
    /// When the last comparison with the store began, and whether another is to follow the one that is under way.
    pub(super) compared_at: Instant,
    pub(super) compare_again: bool,
    /// What tenants take of it.
    pub(super) memory: Memory,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, context: Arc<Context>) -> Self {
        Self {
            shared,
            context,
            tenants: HashMap::new(),
            bars: Bars::default(),
            leaving: None,
            rounds: OpenRounds::new(),
            compared_at: Instant::now(),
            compare_again: false,
            memory: Memory::default(),
        }
    }

    /// Runs until the host goes down and nothing is left to retire.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        // An interval of nothing would be a panic.
        let mut sweep = tokio::time::interval(self.context.settings.sweep_every.max(Duration::from_millis(1)));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                _ = sweep.tick() => self.sweep(Instant::now()),
            }
            if self.leaving.is_some() && self.nothing_left() {
                self.context.generations.release_all();
                for reply in self.leaving.take().into_iter().flatten() {
                    let _ = reply.send(());
                }
                return;
            }
        }
    }

    fn nothing_left(&self) -> bool {
        self.tenants.values().all(|tenant| !tenant.is_busy() && tenant.is_out())
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Work { tenant, work, reply } => self.enqueue(tenant, work, reply),
            Command::Load { tenant, since, reply } => self.load(tenant, since, reply),
            Command::JobEnded { tenant, ended } => self.job_ended(&tenant, *ended),
            Command::Activate { tenant, slot, reply } => self.activate(&tenant, slot, reply),
            Command::Started { tenant, slot, made } => self.started(&tenant, slot, made),
            Command::Broken { tenant, slot, serial } => self.broken(&tenant, slot, serial),
            Command::Bar { tenant, module } => self.bar(tenant, module),
            Command::Unbar { tenant, module } => self.unbar(&tenant, &module),
            Command::Retired { tenant } => self.retired(&tenant),
            Command::Regressed { tenant, slot, reason } => self.regressed(&tenant, slot, reason),
            Command::Quarantine { tenant, module, reason } => self.quarantine(&tenant, &module, reason),
            Command::Mark { marks } => self.mark(marks),
            Command::Marks { marks, known } => self.marks_read(marks, &known),
            Command::MarksOf { module, marks } => self.released(module, marks),
            Command::LetGo { module, tenant, reply } => drop(reply.send(self.let_go(module, tenant))),
            Command::Catalog { catalog, reply } => {
                self.catalog_changed(&catalog);
                let _ = reply.send(());
            }
            Command::Define { definitions, reply } => self.define(definitions, Some(reply)),
            Command::ShowFlags(round) => self.show_flags(round),
            Command::Heard(change) => self.heard(change),
            Command::AwaitFlags { reply } => self.rounds.tell_at_end(Some(reply)),
            Command::FollowDefinitions { reply } => self.context.read_definitions(Some(reply)),
            Command::DefinedInStore { revision, parsed, reply } => self.defined_in_store(revision, parsed, reply),
            Command::Compared { is_whole, behind_since } => self.compared(is_whole, behind_since),
            Command::Invalidate { tenant, reply } => {
                self.invalidate(tenant);
                let _ = reply.send(());
            }
            Command::Shutdown { reply } => self.leave(reply),
            #[cfg(test)]
            Command::TimeIsUp { reply } => {
                self.follow_the_time(self.rounds.asked_at + super::definitions::TIME_HOLDS);
                let _ = reply.send(());
            }
            #[cfg(test)]
            Command::Count { reply } => drop(reply.send(self.tenants.len())),
        }
    }

    pub(super) fn enqueue(&mut self, id: TenantId, work: Work, reply: Option<Reply<Report>>) {
        if self.leaving.is_some() {
            if let Some(reply) = reply {
                let _ = reply.send(Err(TenancyError::ShuttingDown));
            }
            return;
        }
        let tenant = self.tenants.entry(id.clone()).or_default().activity_mut();
        // One that has not begun will see what this one would.
        let is_waiting = matches!(tenant.lane.back(), Some((Work::Reconcile, _)));
        if !(is_waiting && matches!(work, Work::Reconcile) && reply.is_none()) {
            tenant.lane.push_back((work, reply));
        }
        self.next_job(&id);
    }

    /// Begins the tenant's next job, unless one is at work.
    pub(super) fn next_job(&mut self, id: &TenantId) {
        let Some(activity) = self.tenants.get(id).and_then(Tenant::activity) else { return };
        if activity.busy.is_some() {
            return;
        }
        if matches!(activity.lane.front(), Some((Work::Delete { .. }, _))) {
            // Nothing of it may be at work when it is deleted: a request that still writes, or an instance that
            // is being made or cleaned up, would leave documents. The last that ends calls this again.
            self.withdraw(id);
            if !self.tenants.get(id).is_some_and(Tenant::is_out) {
                return;
            }
        }
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let Some((work, reply)) = tenant.activity_mut().lane.pop_front() else { return };
        let leaves = match &work {
            Work::GoBack { mark, document } if reply.is_none() => Some((mark.clone(), Arc::clone(document))),
            _ => None,
        };
        let (reads, is_unsaved) = (matches!(work, Work::Reconcile | Work::Refresh), matches!(work, Work::Adopt { .. }));
        tenant.activity_mut().busy = Some(Busy { reply, reads, leaves, is_unsaved });
        let actual = actual_of(tenant);
        let known = tenant.snapshot.as_ref().filter(|_| !tenant.is_unsaved()).map(|it| Arc::new(it.document()));
        let (context, id) = (Arc::clone(&self.context), id.clone());
        let catalog = self.shared.catalog.load_full();
        self.context.jobs.spawn(async move {
            // A task of its own inside, so that a panic of ours still ends the job.
            let (inner, of) = (Arc::clone(&context), id.clone());
            let running = tokio::spawn(async move {
                let book = MarkBook::clone(&inner.marks.load());
                let ground = Ground { context: &inner, tenant: &of, actual: &actual, known, catalog: &catalog, book };
                job::run(ground, work).await
            });
            let ended = running
                .await
                .unwrap_or_else(|error| Err(TenancyError::StoreUnavailable(format!("the job ended early: {error}"))));
            let _ = context.commands.send(Command::JobEnded { tenant: id, ended: Box::new(ended) });
        });
    }

    fn job_ended(&mut self, id: &TenantId, ended: Result<Ended, TenancyError>) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let Busy { reply, reads, leaves, is_unsaved } = tenant.activity_mut().busy.take().unwrap_or(Busy {
            reply: None,
            reads: false,
            leaves: None,
            is_unsaved: false,
        });
        let mut found = Vec::new();
        let answer = match ended {
            Ok(Ended { outcome, report, marks, ready, is_unsure }) => {
                found = marks;
                // One answer that did not come; while the store is away, its return is what is waited for.
                if is_unsure && self.context.reach.as_ref().is_some_and(|reach| reach.is_reached()) {
                    tenant.activity_mut().follow_at = Some(Instant::now() + self.context.settings.retry_after);
                }
                match outcome {
                    Outcome::Publish(state) => {
                        tenant.activity_mut().is_unsaved = is_unsaved;
                        self.publish(id, *state, ready);
                    }
                    Outcome::Gone => self.withdraw(id),
                    Outcome::Nothing => {}
                }
                Ok(report)
            }
            Err(error) => {
                // Nobody else would try again: a file may have been seen half-way, the store may be back.
                let is_passing = matches!(
                    error,
                    TenancyError::FileChanged { .. } | TenancyError::NotNow { .. } | TenancyError::StoreUnavailable(_)
                );
                let later = Instant::now() + self.context.settings.retry_after;
                if reads && is_passing && tenant.snapshot.is_some() {
                    tenant.activity_mut().follow_at = Some(later);
                }
                // Its code is known to be bad: nothing else would take the tenant away from it. What does not start is
                // not started again and again.
                if let Some((mark, document)) = leaves.filter(|_| is_passing) {
                    tenant.activity_mut().go_back_at.insert(mark.module.clone(), (later, mark, document));
                }
                if let Some(reason) = error.reason() {
                    tracing::warn!(tenant = %id, code = error.code(), reason, "{error}");
                }
                if reads && matches!(error, TenancyError::TenantNotFound(_)) {
                    // Somebody else has deleted it.
                    self.withdraw(id);
                }
                Err(error)
            }
        };
        if self.leaving.is_some() {
            // Written before the end was announced; out again with the rest.
            self.withdraw(id);
        }
        self.answer_loading(id, answer.as_ref().err().filter(|_| reads));
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
        self.mark(found);
        self.read_what_is_newer(id);
        self.next_job(id);
        self.forget_if_empty(id);
    }

    pub(super) fn forget_if_empty(&mut self, id: &TenantId) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        if tenant.snapshot.is_none() && tenant.is_at_rest() && tenant.is_out() {
            self.tenants.remove(id);
        } else {
            tenant.settle();
        }
    }

    fn catalog_changed(&mut self, fresh: &Arc<Catalog>) {
        let before = self.shared.catalog.load_full();
        self.shared.show_catalog(keep_open(&before, fresh, &self.context));
        self.read_again(self.tenants.keys().cloned().collect());
    }

    /// Once a sweep: time goes on for idleness, and what is idle or no longer wanted goes.
    fn sweep(&mut self, now: Instant) {
        let tick = self.context.tick.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.end_probations(now);
        self.look_for_marks();
        self.compare_in_time(now);
        self.tell_memory();
        self.follow_the_time(now);
        let context = Arc::clone(&self.context);
        let settings = &context.settings;
        let idle_ticks = ticks(settings.idle.as_millis(), settings.sweep_every.as_millis());
        let catalog = self.shared.catalog.load_full();
        let mut released = Vec::new();
        let mut forgotten = Vec::new();
        let follow_again: Vec<TenantId> = self
            .tenants
            .iter_mut()
            .filter_map(|(id, tenant)| {
                tenant.activity.as_mut()?.follow_at.take_if(|at| *at <= now)?;
                Some(id.clone())
            })
            .collect();
        for id in follow_again {
            self.enqueue(id, Work::Reconcile, None);
        }
        let go_back_again: Vec<_> = self
            .tenants
            .iter_mut()
            .flat_map(|(id, tenant)| {
                let is_due = |_: &ModuleName, (at, ..): &mut (Instant, Mark, Arc<TenantDocument>)| *at <= now;
                let activity = tenant.activity.as_mut();
                let due: Vec<_> = activity.map(|it| it.go_back_at.extract_if(.., is_due).collect()).unwrap_or_default();
                let snapshot = tenant.snapshot.clone();
                due.into_iter().filter_map(move |(module, (_, mark, document))| {
                    // By now it may run something else.
                    let slot = snapshot.as_ref()?.slot(module.as_str())?;
                    (slot.candidate.known_hash() == Some(&*mark.hash)).then(|| (id.clone(), mark, document))
                })
            })
            .collect();
        for (id, mark, document) in go_back_again {
            self.enqueue(id, Work::GoBack { mark, document }, None);
        }
        for (id, tenant) in &mut self.tenants {
            tenant.settle();
            let Some(snapshot) = &tenant.snapshot else { continue };
            if idle_ticks == 0 {
                continue;
            }
            for slot in snapshot.slots() {
                // What could not be made again stays: its file is gone, or another one's by now, and no copy is kept.
                let is_kept = || slot.candidate.known_hash().is_some_and(|it| settings.archive.path_of(it).is_some());
                let is_idle = slot.running.load().as_ref().is_some_and(|running| {
                    tick.wrapping_sub(running.gate.last_tick()) > idle_ticks
                        && (catalog.has_file_of(&slot.candidate) || is_kept())
                        && running.close_if_idle()
                });
                if is_idle {
                    released.extend(slot.take_running().map(|running| (id.clone(), running)));
                }
            }
            if tenant.is_live() || !tenant.is_at_rest() {
                snapshot.used.works();
            } else if snapshot.used.rests() > idle_ticks {
                forgotten.push(id.clone());
            }
        }
        for (id, running) in released {
            self.retire(&id, running);
        }
        for id in forgotten {
            self.withdraw(&id);
            self.forget_if_empty(&id);
        }
        // What the folder has no more can't be wanted again: it goes with its last user.
        self.context.generations.sweep(now, &|candidate| {
            if catalog.has_file_of(candidate) { settings.linger } else { Duration::ZERO }
        });
        if catalog.removed().iter().any(|candidate| !self.context.generations.is_open(candidate)) {
            // Some tenant may still have a slot for what goes now.
            self.catalog_changed(&catalog);
        }
    }

    /// Takes an instance out of service; until it is gone, it counts as its tenant's.
    pub(super) fn retire(&mut self, id: &TenantId, running: Arc<Running>) {
        self.tenants.entry(id.clone()).or_default().activity_mut().retiring += 1;
        self.context.retire(id, running);
    }

    fn retired(&mut self, id: &TenantId) {
        self.context.retiring.fetch_sub(1, Ordering::AcqRel);
        if let Some(tenant) = self.tenants.get_mut(id) {
            let activity = tenant.activity_mut();
            activity.retiring = activity.retiring.saturating_sub(1);
        }
        self.next_job(id);
        self.forget_if_empty(id);
    }

    fn leave(&mut self, reply: oneshot::Sender<()>) {
        self.leaving.get_or_insert_default().push(reply);
        let ids: Vec<TenantId> = self.tenants.keys().cloned().collect();
        for id in ids {
            if let Some(activity) = self.tenants.get_mut(&id).and_then(|tenant| tenant.activity.as_mut()) {
                for (_, waiting) in activity.lane.drain(..) {
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(Err(TenancyError::ShuttingDown));
                    }
                }
                activity.loading.drain(..).for_each(|waiting| waiting.refuse(TenancyError::ShuttingDown));
            }
            self.withdraw(&id);
        }
    }
}

/// How many ticks a time lasts; zero where it is not to be counted, else at least one.
fn ticks(time_millis: u128, tick_millis: u128) -> u32 {
    if time_millis == 0 {
        return 0;
    }
    u32::try_from(time_millis / tick_millis.max(1)).unwrap_or(u32::MAX).max(1)
}
