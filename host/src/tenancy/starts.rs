//! First-use instances: asked for by requests, made in tasks of their own, one for each slot however many ask,
//! and taken away again when they have panicked.

use std::{
    collections::hash_map::Entry,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    command::{Command, Reply},
    error::TenancyError,
    running::Running,
    services::TenantView,
    supervisor::Supervisor,
};
use crate::names::TenantId;

/// The longest time for which a failed start keeps the next one away.
const MOST_BACK_OFF: Duration = Duration::from_secs(60);

/// How long a slot rests after so many failed starts in a row.
fn back_off(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(MOST_BACK_OFF.max(first))
}

impl Supervisor {
    pub(super) fn activate(&mut self, id: &TenantId, serial: u64, reply: Reply<bool>) {
        if self.leaving.is_some() {
            let _ = reply.send(Err(TenancyError::ShuttingDown));
            return;
        }
        let retry_after = self.context.settings.retry_after;
        let Some(tenant) = self.tenants.get_mut(id) else {
            let _ = reply.send(Ok(false));
            return;
        };
        let Some(slot) = tenant.slot(serial).cloned() else {
            let _ = reply.send(Ok(false));
            return;
        };
        if slot.running.load().is_some() {
            let _ = reply.send(Ok(true));
            return;
        }
        let (snapshot, activity) = tenant.parts();
        let failed_lately =
            activity.failed.get(&serial).is_some_and(|(at, times)| at.elapsed() < back_off(retry_after, *times));
        if let (true, Some(error)) = (failed_lately, slot.failure.load_full()) {
            let _ = reply.send(Err((*error).clone()));
            return;
        }
        match activity.starting.entry(serial) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(reply),
            Entry::Vacant(first) => {
                first.insert(vec![reply]);
                let Some(snapshot) = snapshot.clone() else { return };
                activity.starts += 1;
                let (context, id) = (Arc::clone(&self.context), id.clone());
                self.context.jobs.spawn(async move {
                    let view = Arc::new(TenantView::of(&snapshot));
                    // A task of its own inside, so that a panic of ours still answers those who wait.
                    let (inner, of, module) = (Arc::clone(&context), id.clone(), slot.candidate.name.clone());
                    let starting =
                        tokio::spawn(
                            async move { inner.start(&of, &slot.candidate, slot.isolation, view, serial).await },
                        );
                    let made = starting.await.unwrap_or_else(|error| {
                        Err(TenancyError::NotNow { module, reason: format!("the start ended early: {error}") })
                    });
                    let _ = context.commands.send(Command::Started { tenant: id, slot: serial, made });
                });
            }
        }
    }

    pub(super) fn started(&mut self, id: &TenantId, serial: u64, made: Result<Arc<Running>, TenancyError>) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let activity = tenant.activity_mut();
        activity.starts = activity.starts.saturating_sub(1);
        let Some(slot) = tenant.slot(serial).cloned() else {
            // The slot went away meanwhile; those who waited were told.
            if let Ok(running) = made {
                self.retire(id, running);
            }
            self.next_job(id);
            self.forget_if_empty(id);
            return;
        };
        let (mut superfluous, mut has_other_settings, mut has_begun) = (None, false, false);
        let (snapshot, activity) = tenant.parts();
        let waiting = activity.starting.remove(&serial).unwrap_or_default();
        let answer = match made {
            Ok(running) => {
                activity.failed.remove(&serial);
                slot.failure.store(None);
                // The document may have changed since the start began.
                let view = snapshot.as_ref().map(|snapshot| Arc::new(TenantView::of(snapshot)));
                has_other_settings = view.is_some_and(|view| running.services().show(view));
                superfluous = slot.running.swap(Some(running));
                has_begun = true;
                Ok(true)
            }
            Err(error) => {
                let reason = error.reason().unwrap_or_default();
                tracing::warn!(tenant = %id, code = error.code(), reason, "{error}");
                // A file that has changed meanwhile says nothing about the next one.
                if !matches!(error, TenancyError::FileChanged { .. }) {
                    let times = activity.failed.get(&serial).map_or(0, |(_, times)| *times);
                    activity.failed.insert(serial, (Instant::now(), times.saturating_add(1)));
                }
                slot.failure.store(Some(Arc::new(error.clone())));
                Err(error)
            }
        };
        for reply in waiting {
            let _ = reply.send(answer.clone());
        }
        tenant.settle();
        if has_begun {
            self.context.begin_probation(&slot);
        }
        if has_other_settings {
            self.context.settings_changed(id, &slot);
        }
        if let Some(older) = superfluous {
            self.retire(id, older);
        }
    }

    pub(super) fn broken(&mut self, id: &TenantId, slot: u64, serial: u64) {
        let Some(slot) = self.tenants.get(id).and_then(|tenant| tenant.slot(slot).cloned()) else { return };
        let is_this_one = slot.running.load().as_ref().is_some_and(|running| running.serial == serial);
        if is_this_one && let Some(running) = slot.take_running() {
            tracing::warn!(tenant = %id, module = %slot.candidate.name, "an instance is replaced after a panic");
            self.retire(id, running);
            self.panicked(id, &slot);
        }
    }
}
