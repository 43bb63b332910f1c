//! What others change in the store: told by the store where it can tell, and found by comparing revisions again and
//! again where it can't, or where a message was lost. Either way a tenant is read again, and only a newer document takes
//! the place of what is in force.

use std::{
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    command::{Command, Work},
    context::Context,
    handle::Tenancy,
    services::collections_of,
    supervisor::Supervisor,
};
use crate::{
    catalog::Candidate,
    flags::{DefinitionErrors, Definitions},
    names::TenantId,
    stores::{Reach, StoreChange, StoreError, StoredDefinitions},
};

/// What came of the definitions in the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DefinitionsState {
    /// The one that was read last; 0 where there are none.
    pub revision: u64,
    /// What is wrong with it; then what was before is in force.
    pub problems: Vec<String>,
}

/// How many tenants are compared with one question to the store.
const COMPARED_AT_ONCE: usize = 500;

/// How long the store may take to answer one. A guess that is generous.
const COMPARE_WAIT: Duration = Duration::from_secs(10);

/// How soon a comparison that came to nothing is followed by another.
const COMPARE_AGAIN: Duration = Duration::from_secs(1);

/// An instance whose collections may not be indexed as its code wants them: it began while the store was away.
pub(super) struct NotIndexed {
    pub(super) tenant: TenantId,
    pub(super) candidate: Arc<Candidate>,
    pub(super) slot: u64,
    pub(super) serial: u64,
}

/// How long somebody waits for definitions to be in force. A guess: one read, and a round over all tenants in memory.
const FOLLOW_WAIT: Duration = Duration::from_secs(20);

impl Supervisor {
    /// Reads the definitions of flags, before any tenant is read; what comes is at the head of the commands.
    pub(super) async fn read_definitions(&self) {
        if self.context.settings.definitions_in_store {
            let wait = self.context.settings.initialize;
            let mut told = self.context.told_definitions.lock().await;
            if let Ok(Ok(found)) = tokio::time::timeout(wait, self.context.store.definitions_nearby()).await {
                self.context.take_definitions(found, &mut told, None).await;
            }
        }
    }

    /// Somebody has changed something in the store, perhaps this host.
    pub(super) fn heard(&mut self, change: StoreChange) {
        match change {
            StoreChange::Tenant { id, revision } => self.heard_of(id, revision),
            StoreChange::Definitions => self.context.read_definitions(None),
            StoreChange::Marks => self.look_for_marks(),
            StoreChange::Deliveries => self.context.host.bell.ring(),
            StoreChange::Everything => {
                self.look_for_marks();
                self.context.host.bell.ring();
                self.compare();
            }
        }
    }

    /// A tenant has this revision. One that is not in memory is read when somebody asks for it.
    fn heard_of(&mut self, id: TenantId, revision: u64) {
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        if tenant.is_unsaved() || tenant.snapshot.as_ref().is_some_and(|it| it.revision() >= revision) {
            return;
        }
        // What is being read may be older; the end of the job compares.
        let activity = tenant.activity_mut();
        activity.wanted = activity.wanted.max(revision);
        if tenant.snapshot.is_some() {
            self.enqueue(id, Work::Reconcile, None);
        }
    }

    /// The store has these definitions, other ones than before. `reply` is told when every tenant in memory has them.
    pub(super) fn defined_in_store(
        &mut self,
        revision: u64,
        parsed: Result<Arc<Definitions>, DefinitionErrors>,
        reply: Option<oneshot::Sender<()>>,
    ) {
        let problems: Vec<String> = match &parsed {
            Ok(_) => Vec::new(),
            Err(errors) => errors.problems().iter().map(ToString::to_string).collect(),
        };
        for problem in &problems {
            tracing::warn!(revision, "flags stay defined as they were: {problem}");
        }
        self.context.stored_definitions.store(Arc::new(DefinitionsState { revision, problems }));
        if let Ok(definitions) = parsed {
            tracing::info!(revision, flags = definitions.len(), "flags are defined anew");
            self.define(definitions, reply);
        } else {
            self.rounds.tell_at_end(reply);
        }
    }

    /// What was heard of while a job was at work is read now, once.
    pub(super) fn read_what_is_newer(&mut self, id: &TenantId) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let wanted = std::mem::take(&mut tenant.activity_mut().wanted);
        if tenant.snapshot.as_ref().is_some_and(|it| it.revision() < wanted) && !tenant.is_unsaved() {
            self.enqueue(id.clone(), Work::Reconcile, None);
        }
    }

    /// What runs is read again; what is at rest is forgotten. While the store is away nothing is: what would be read in
    /// its place could only be older.
    pub(super) fn invalidate(&mut self, only: Option<TenantId>) {
        if self.context.reach.as_ref().is_some_and(|reach| !reach.is_reached()) {
            return;
        }
        let concerned: Vec<TenantId> = match only {
            Some(id) => vec![id],
            None => self.tenants.keys().cloned().collect(),
        };
        self.read_again(concerned);
        self.tell_memory();
    }

    /// Those that are at work follow what there is now; the others are read when somebody asks for them.
    pub(super) fn read_again(&mut self, tenants: Vec<TenantId>) {
        for id in tenants {
            match self.tenants.get(&id) {
                None => {}
                Some(tenant) if tenant.is_live() || !tenant.is_at_rest() => self.enqueue(id, Work::Reconcile, None),
                Some(_) => {
                    self.withdraw(&id);
                    self.forget_if_empty(&id);
                }
            }
        }
    }

    /// The safety net: compares what is in memory with the store, where it is time.
    pub(super) fn compare_in_time(&mut self, now: Instant) {
        let every = self.context.settings.compare_every;
        let age = now.duration_since(self.compared_at);
        // Whatever the net's width, what is known to be behind must not stay so.
        let is_wanted = self.context.reach.as_ref().is_some_and(|reach| {
            reach.is_reached() && (reach.behind_since().is_some() || self.context.has_not_indexed())
        });
        let is_time = (!every.is_zero() && age >= every) || (is_wanted && age >= COMPARE_AGAIN);
        // A round that takes longer than that is not followed by another at once.
        if is_time && !self.context.comparing.load(Ordering::Acquire) {
            self.compare();
        }
    }

    /// Compares the revisions of all tenants in memory with the store's, one round at a time.
    fn compare(&mut self) {
        if self.leaving.is_some() || self.context.comparing.swap(true, Ordering::AcqRel) {
            // What changed since this round began is found by the next.
            self.compare_again = true;
            return;
        }
        self.compare_again = false;
        self.compared_at = Instant::now();
        self.context.read_definitions(None);
        let known: Vec<(TenantId, u64)> = self
            .tenants
            .iter()
            .filter(|(_, tenant)| !tenant.is_unsaved())
            .filter_map(|(id, tenant)| Some((id.clone(), tenant.snapshot.as_ref()?.revision())))
            .collect();
        let behind_since = self.context.reach.as_deref().and_then(Reach::behind_since);
        let context = Arc::clone(&self.context);
        self.context.jobs.spawn(async move {
            let mut is_whole = true;
            // Of one that is gone, the next revision is the deletion's.
            let differs = |(known, found): (&(TenantId, u64), Option<u64>)| {
                let revision = found.unwrap_or(known.1 + 1);
                (revision > known.1).then(|| StoreChange::Tenant { id: known.0.clone(), revision })
            };
            for known in known.chunks(COMPARED_AT_ONCE) {
                let ids: Vec<TenantId> = known.iter().map(|(id, _)| id.clone()).collect();
                match tokio::time::timeout(COMPARE_WAIT, context.store.tenant_revisions(&ids)).await {
                    Ok(Ok(found)) => {
                        for change in known.iter().zip(found).filter_map(differs) {
                            let _ = context.commands.send(Command::Heard(change));
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "tenants were not compared with the store");
                        is_whole = false;
                        break;
                    }
                    Err(_) => {
                        is_whole = false;
                        break;
                    }
                }
            }
            let _ = context.commands.send(Command::Compared { is_whole, behind_since });
        });
    }

    /// A round has ended that began while what is known had been behind `since` then. The tenants that differ are read
    /// again by now, or wait for it in their lanes.
    pub(super) fn compared(&mut self, is_whole: bool, since: Option<i64>) {
        self.context.comparing.store(false, Ordering::Release);
        if is_whole
            && !self.compare_again
            && let Some(reach) = &self.context.reach
        {
            reach.caught_up(since);
            self.index_now();
        }
        if self.compare_again {
            self.compare();
        }
    }
}

impl Supervisor {
    /// Does what could not be done while the store was away, for the instances that are in service still: the fields of
    /// code that is gone would be wrong for what runs. An instance that its collections don't fit is replaced; the next
    /// start says why.
    fn index_now(&self) {
        let waiting = std::mem::take(&mut *self.context.not_indexed());
        let mut current = Vec::new();
        for instance in waiting {
            let Some(tenant) = self.tenants.get(&instance.tenant) else { continue };
            let slot = tenant.slot(instance.slot);
            let running = slot.and_then(|slot| slot.running());
            if running.is_some_and(|running| running.serial == instance.serial) {
                current.push(instance);
            } else if tenant.is_starting() {
                // It may be the one that is on its way.
                self.context.index_later(instance);
            }
        }
        if current.is_empty() {
            return;
        }
        let context = Arc::clone(&self.context);
        self.context.jobs.spawn(async move {
            for instance in current {
                let mut outcome = Ok(());
                for (key, fields) in collections_of(&instance.tenant, &instance.candidate.manifest) {
                    outcome = outcome.and(context.store.reindex(&key, &fields).await);
                }
                match outcome {
                    Ok(()) => {}
                    Err(StoreError::Unavailable(_)) => context.index_later(instance),
                    Err(error) => {
                        let NotIndexed { tenant, candidate, slot, serial } = instance;
                        tracing::error!(%tenant, module = %candidate.name, %error, "a module's collections don't fit it");
                        let _ = context.commands.send(Command::Broken { tenant, slot, serial });
                    }
                }
            }
        });
    }
}

impl Context {
    fn not_indexed(&self) -> MutexGuard<'_, Vec<NotIndexed>> {
        self.not_indexed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_later(&self, instance: NotIndexed) {
        let mut waiting = self.not_indexed();
        // An instance's predecessor in its slot is gone, or will be.
        waiting.retain(|it| (&it.tenant, it.slot) != (&instance.tenant, instance.slot) || it.serial > instance.serial);
        waiting.push(instance);
    }

    fn has_not_indexed(&self) -> bool {
        !self.not_indexed().is_empty()
    }

    /// Reads the definitions of flags, where they are the store's, and puts them in force where they are others. `reply` is
    /// told when they are, and dropped where they can't be read.
    pub(super) fn read_definitions(self: &Arc<Self>, reply: Option<oneshot::Sender<()>>) {
        if !self.settings.definitions_in_store {
            return;
        }
        let context = Arc::clone(self);
        self.jobs.spawn(async move {
            let mut told = context.told_definitions.lock().await;
            let read = tokio::time::timeout(COMPARE_WAIT, context.store.definitions()).await;
            if let Ok(Ok(found)) = read {
                context.take_definitions(found, &mut told, reply).await;
            }
        });
    }

    /// Puts definitions in force, unless they are or can't be understood: then what was before stays. `told` is the
    /// revision of those that the supervisor was told of last.
    pub(super) async fn take_definitions(
        &self,
        found: Option<StoredDefinitions>,
        told: &mut u64,
        reply: Option<oneshot::Sender<()>>,
    ) {
        let revision = found.as_ref().map_or(0, |found| found.revision);
        if *told == revision {
            if let Some(reply) = reply {
                let _ = self.commands.send(Command::AwaitFlags { reply });
            }
            return;
        }
        let text = found.map(|found| found.text);
        // Compiling many rules takes a while.
        let parsing = tokio::task::spawn_blocking(move || match text {
            Some(text) => Definitions::parse(text.as_bytes()).map(Arc::new),
            None => Ok(Arc::default()),
        });
        let Ok(parsed) = parsing.await else { return };
        *told = revision;
        let _ = self.commands.send(Command::DefinedInStore { revision, parsed, reply });
    }
}

impl Tenancy {
    /// Tells that something was changed in the store.
    pub fn heard(&self, change: StoreChange) {
        self.tell(Command::Heard(change));
    }

    /// For how many seconds what this host knows may have been behind the store; `None` while it is not. One atomic
    /// read.
    pub fn seconds_behind(&self) -> Option<u64> {
        self.context.reach.as_deref().and_then(Reach::seconds_behind)
    }

    /// Whether the store can be reached, where it is not on this machine.
    pub fn reach(&self) -> Option<&Arc<Reach>> {
        self.context.reach.as_ref()
    }

    /// What came of the definitions of flags in the store; `None` where they are a file's.
    pub fn stored_definitions(&self) -> Option<Arc<DefinitionsState>> {
        self.context.settings.definitions_in_store.then(|| self.context.stored_definitions.load_full())
    }

    /// Reads the definitions of flags in the store again, as after a change of them. With `true` every request and every
    /// module sees what is there now; else they come later, as the store did not answer in time. A set that can't be
    /// understood changes nothing, and [`Tenancy::stored_definitions`] says why.
    pub async fn follow_definitions(&self) -> bool {
        let (reply, told) = oneshot::channel();
        self.tell(Command::FollowDefinitions { reply });
        matches!(tokio::time::timeout(FOLLOW_WAIT, told).await, Ok(Ok(())))
    }

    /// Forgets what is in memory of a tenant, or of all: what runs is read again and follows, what does not is read when
    /// somebody asks for it.
    pub async fn invalidate(&self, tenant: Option<TenantId>) {
        let (reply, told) = oneshot::channel();
        self.tell(Command::Invalidate { tenant, reply });
        let _ = told.await;
    }
}
