//! What the supervisor knows of one tenant: its picture, and what is going on, which for most is nothing.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    command::{Reply, Work},
    job::{Actual, Current, Report},
    loading::Waiting,
    moves::Panics,
    plan::ActualModule,
    snapshot::{Slot, TenantSnapshot},
};
use crate::{
    names::ModuleName,
    stores::{Mark, TenantDocument},
};

/// One tenant in memory.
#[derive(Default)]
pub(super) struct Tenant {
    pub(super) snapshot: Option<Arc<TenantSnapshot>>,
    /// What is going on; nothing for most.
    pub(super) activity: Option<Box<Activity>>,
}

/// What is going on in one tenant.
#[derive(Default)]
pub(super) struct Activity {
    /// Whether its document is not in the store.
    pub(super) is_unsaved: bool,
    /// The highest revision that was heard of and is not in force; 0: none.
    pub(super) wanted: u64,
    /// The job at work; the next one waits in the lane.
    pub(super) busy: Option<Busy>,
    pub(super) lane: VecDeque<(Work, Option<Reply<Report>>)>,
    /// Requests that wait for the tenant itself.
    pub(super) loading: Vec<Waiting>,
    /// Requests that wait for a first instance, by slot.
    pub(super) starting: HashMap<u64, Vec<Reply<bool>>>,
    /// When the last start of a slot failed, and how many have in a row.
    pub(super) failed: HashMap<u64, (Instant, u32)>,
    /// When what stood in the way of following the document and the catalog is tried again.
    pub(super) follow_at: Option<Instant>,
    /// Roll-backs that did not come about, by module, and when they are tried again.
    pub(super) go_back_at: BTreeMap<ModuleName, (Instant, Mark, Arc<TenantDocument>)>,
    /// When instances of a slot panicked lately.
    pub(super) panics: HashMap<u64, Panics>,
    /// First-use instances in the making, those that nobody waits for any more included.
    pub(super) starts: usize,
    /// Instances on their way out.
    pub(super) retiring: usize,
}

/// A job at work.
pub(super) struct Busy {
    pub(super) reply: Option<Reply<Report>>,
    /// Whether it only reads the tenant: then its failure is that of whoever waits for the tenant, too.
    pub(super) reads: bool,
    /// What a roll-back that nobody waits for is to leave.
    pub(super) leaves: Option<(Mark, Arc<TenantDocument>)>,
    /// Whether its document is none of the store's.
    pub(super) is_unsaved: bool,
}

impl Activity {
    fn is_at_rest(&self) -> bool {
        self.busy.is_none() && self.lane.is_empty() && self.loading.is_empty() && self.starting.is_empty()
    }

    /// Whether nothing of it is at work, not even on its way in or out.
    fn is_out(&self) -> bool {
        self.starts == 0 && self.retiring == 0
    }

    /// Whether there is nothing to remember.
    fn is_over(&self) -> bool {
        self.is_at_rest()
            && self.is_out()
            && !self.is_unsaved
            && self.wanted == 0
            && self.failed.is_empty()
            && self.follow_at.is_none()
            && self.go_back_at.is_empty()
            && self.panics.is_empty()
    }
}

impl Tenant {
    /// What is going on, where anything is.
    pub(super) fn activity(&self) -> Option<&Activity> {
        self.activity.as_deref()
    }

    /// What is going on, to be added to.
    pub(super) fn activity_mut(&mut self) -> &mut Activity {
        self.activity.get_or_insert_default()
    }

    /// Its picture and what is going on, both.
    pub(super) fn parts(&mut self) -> (&mut Option<Arc<TenantSnapshot>>, &mut Activity) {
        (&mut self.snapshot, self.activity.get_or_insert_default())
    }

    /// Forgets what is over.
    pub(super) fn settle(&mut self) {
        self.activity.take_if(|activity| activity.is_over());
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.activity().is_some_and(|activity| activity.is_unsaved)
    }

    pub(super) fn is_live(&self) -> bool {
        self.activity().is_some_and(|activity| !activity.starting.is_empty())
            || self
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| snapshot.slots().iter().any(|slot| slot.running.load().is_some()))
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.activity().is_none_or(Activity::is_at_rest)
    }

    pub(super) fn is_out(&self) -> bool {
        self.activity().is_none_or(Activity::is_out)
    }

    /// Whether an instance may be on its way in.
    pub(super) fn is_starting(&self) -> bool {
        self.is_busy() || self.activity().is_some_and(|activity| activity.starts != 0)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.activity().is_some_and(|activity| activity.busy.is_some())
    }

    pub(super) fn slot(&self, serial: u64) -> Option<&Arc<Slot>> {
        self.snapshot.as_ref()?.slots().iter().find(|slot| slot.serial == serial)
    }
}

/// The tenant's modules as they are, for a job to begin with.
pub(super) fn actual_of(tenant: &Tenant) -> Actual {
    let Some(snapshot) = &tenant.snapshot else { return BTreeMap::new() };
    let is_starting = |slot: &Slot| tenant.activity().is_some_and(|it| it.starting.contains_key(&slot.serial));
    let described = snapshot.table.modules().iter().enumerate().map(|(position, candidate)| {
        let slot = snapshot.slots().get(position);
        let actual = ActualModule {
            candidate: Arc::as_ptr(candidate) as usize,
            isolation: snapshot.table.isolation(position),
            live: slot.is_some_and(|slot| slot.running.load().is_some() || is_starting(slot)),
            position,
        };
        let slot = slot.map(|slot| slot.serial);
        let current = Current { module: actual, slot, candidate: Arc::clone(candidate) };
        (candidate.name.clone(), current)
    });
    described.collect()
}
