//! Requests that wait for a tenant: one that is not in memory, or one that is there and older than they must have it.

use std::sync::Arc;

use super::{
    command::{Reply, Work},
    error::TenancyError,
    snapshot::TenantSnapshot,
    supervisor::Supervisor,
};
use crate::names::TenantId;

/// A request that waits.
pub(super) struct Waiting {
    /// The least revision that will do.
    since: u64,
    /// Whether one more reading is waited for: one that is under way may have begun before the revision was written, and the
    /// first one of a tenant need not be from the store itself.
    again: bool,
    reply: Reply<Arc<TenantSnapshot>>,
}

impl Waiting {
    pub(super) fn refuse(self, error: TenancyError) {
        let _ = self.reply.send(Err(error));
    }
}

impl Supervisor {
    pub(super) fn load(&mut self, id: TenantId, since: u64, reply: Reply<Arc<TenantSnapshot>>) {
        if self.leaving.is_some() {
            let _ = reply.send(Err(TenancyError::ShuttingDown));
            return;
        }
        let tenant = self.tenants.entry(id.clone()).or_default();
        if let Some(snapshot) = tenant.snapshot.as_ref().filter(|snapshot| snapshot.revision() >= since) {
            let _ = reply.send(Ok(Arc::clone(snapshot)));
            return;
        }
        let (snapshot, activity) = tenant.parts();
        if activity.loading.is_empty() && snapshot.is_none() {
            self.context.memory.missed();
        }
        let again = activity.busy.is_some() || snapshot.is_none();
        activity.loading.push(Waiting { since, again, reply });
        // Whatever is at work or waits will load it too.
        if activity.busy.is_none() && activity.lane.is_empty() {
            activity.lane.push_back((Work::Reconcile, None));
            self.next_job(&id);
        }
    }

    /// Answers those who wait for the tenant; without a snapshot that will do and an error of theirs, a reconciliation
    /// follows.
    pub(super) fn answer_loading(&mut self, id: &TenantId, error: Option<&TenancyError>) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let (snapshot, activity) = tenant.parts();
        if activity.loading.is_empty() {
            return;
        }
        match (&*snapshot, error) {
            (Some(snapshot), error) => {
                let mut kept = Vec::new();
                for waiting in activity.loading.drain(..) {
                    let is_good = snapshot.revision() >= waiting.since;
                    match error.filter(|_| !is_good) {
                        Some(error) => waiting.refuse(error.clone()),
                        None if is_good || !waiting.again => drop(waiting.reply.send(Ok(Arc::clone(snapshot)))),
                        None => kept.push(Waiting { again: false, ..waiting }),
                    }
                }
                activity.loading = kept;
                if !activity.loading.is_empty() && activity.lane.is_empty() {
                    activity.lane.push_back((Work::Reconcile, None));
                }
            }
            (None, Some(error)) if activity.lane.is_empty() => {
                activity.loading.drain(..).for_each(|waiting| waiting.refuse(error.clone()));
            }
            (None, None) if activity.lane.is_empty() => activity.lane.push_back((Work::Reconcile, None)),
            (None, _) => {}
        }
    }
}
