//! Moving to new code and away from it again: probation, marks, quarantine. What one tenant's code does decides for that
//! tenant; when it is so for too many, it decides for all.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    command::{Command, Work},
    context::Context,
    handle::Tenancy,
    job::mark_of,
    marks::MarkBook,
    probation::{Probation, ReloadSettings},
    snapshot::{Slot, TenantSnapshot},
    supervisor::Supervisor,
};
use crate::{
    catalog::Candidate,
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind},
};

/// How long the store may be away before what was found out is offered to it again.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl Context {
    /// An instance has come into service in a slot: its code is on probation if it is new to the tenant, or has not
    /// proved itself on this host.
    pub(super) fn begin_probation(&self, slot: &Slot) {
        let settings = &self.settings;
        let is_good = slot.candidate.known_hash().is_some_and(|hash| settings.archive.is_good(hash));
        let is_move = slot.baseline.is_some();
        let begun = slot.probation.load().is_some() || slot.requests() > 0;
        if settings.reload.probation.is_zero() || begun || (is_good && !is_move) {
            return;
        }
        let baseline = slot.baseline.clone().unwrap_or_default();
        slot.probation.store(Some(Arc::new(Probation::new(baseline))));
    }
}

impl Supervisor {
    /// Ends the probations whose time is over: their code has proved itself.
    pub(super) fn end_probations(&self, now: Instant) {
        let time = self.context.settings.reload.probation;
        for (id, tenant) in &self.tenants {
            for slot in tenant.snapshot.iter().flat_map(|snapshot| snapshot.slots()) {
                let over = slot.probation.load().as_ref().is_some_and(|probation| {
                    !probation.tripped.load(Ordering::Relaxed) && now.duration_since(probation.began) >= time
                });
                if !over {
                    continue;
                }
                slot.probation.store(None);
                let (archive, candidate) = (Arc::clone(&self.context.settings.archive), Arc::clone(&slot.candidate));
                tracing::debug!(tenant = %id, module = %candidate.name, version = %candidate.version, "code has proved itself");
                self.context.jobs.spawn_blocking(move || {
                    if let Some(Err(error)) = candidate.known_hash().map(|hash| archive.proved(hash)) {
                        tracing::warn!(module = %candidate.name, %error, "that a version proved itself was not kept");
                    }
                });
            }
        }
    }

    /// Code on probation is past its limits: the tenant goes back.
    pub(super) fn regressed(&mut self, id: &TenantId, serial: u64, reason: String) {
        let Some(tenant) = self.tenants.get(id) else { return };
        let (Some(snapshot), Some(slot)) = (&tenant.snapshot, tenant.slot(serial)) else { return };
        let mark = mark_of(&slot.candidate, Some(id), MarkKind::Bad, reason);
        let (Some(mark), document) = (mark, Arc::new(snapshot.document())) else { return };
        tracing::warn!(tenant = %id, module = %mark.module, version = mark.version, reason = mark.reason,
            "new code is not good enough");
        self.enqueue(id.clone(), Work::GoBack { mark, document }, None);
    }

    /// A module does harm to a tenant: it is stopped.
    pub(super) fn quarantine(&mut self, id: &TenantId, module: &ModuleName, reason: String) {
        let snapshot = self.tenants.get(id).and_then(|tenant| tenant.snapshot.as_ref());
        let Some(candidate) = snapshot.and_then(|snapshot| snapshot.module(module.as_str())) else { return };
        let mark = mark_of(candidate, Some(id), MarkKind::Quarantined, reason);
        self.mark(mark.into_iter().collect());
    }

    /// Notes a panic of a slot's instance. Too many in a short time are too many.
    pub(super) fn panicked(&mut self, id: &TenantId, slot: &Arc<Slot>) {
        slot.record.panics.fetch_add(1, Ordering::Relaxed);
        slot.record.failures.fetch_add(1, Ordering::Relaxed);
        let settings = self.context.settings.reload;
        if let Some(reason) = past_limits(slot, &settings) {
            self.regressed(id, slot.serial, reason);
            return;
        }
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let (now, panics) = (Instant::now(), tenant.activity_mut().panics.entry(slot.serial).or_default());
        panics.push_back(now);
        while panics.front().is_some_and(|first| now.duration_since(*first) > settings.panic_window) {
            panics.pop_front();
        }
        let count = panics.len();
        if settings.panic_limit != 0 && count >= settings.panic_limit {
            tenant.activity_mut().panics.remove(&slot.serial);
            let reason = format!("it panicked {count} times within {:?}", settings.panic_window);
            self.quarantine(id, &slot.candidate.name.clone(), reason);
        }
    }

    /// Takes marks over, stores them for other hosts, and lets the tenants concerned follow.
    pub(super) fn mark(&mut self, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let mut book = MarkBook::clone(&self.context.marks.load());
        let mut all = Vec::new();
        for mark in marks {
            self.log_mark(&mark);
            book.add(mark.clone());
            let too_many = self.is_bad_for_too_many(&book, &mark);
            all.push(mark.clone());
            if let Some(reason) = too_many {
                let for_all = Mark { tenant: None, reason, ..mark };
                self.log_mark(&for_all);
                book.add(for_all.clone());
                all.push(for_all);
            }
        }
        self.context.unsaved_marks.fetch_add(all.len(), Ordering::AcqRel);
        self.context.marks.store(Arc::new(book));
        let concerned = self.concerned(&all);
        let context = Arc::clone(&self.context);
        self.context.jobs.spawn(async move {
            for mark in all {
                while let Err(error) = context.store.set_mark(mark.clone()).await {
                    tracing::warn!(%error, "a mark was not stored yet");
                    tokio::time::sleep(STORE_RETRY).await;
                }
                context.unsaved_marks.fetch_sub(1, Ordering::AcqRel);
            }
        });
        for id in concerned {
            self.enqueue(id, Work::Reconcile, None);
        }
    }

    fn log_mark(&self, mark: &Mark) {
        let (module, version, reason) = (&mark.module, &mark.version, &mark.reason);
        let what = match mark.kind {
            MarkKind::Bad => "a version is marked bad",
            MarkKind::Quarantined => "a module is quarantined",
        };
        match &mark.tenant {
            Some(tenant) => tracing::warn!(%tenant, %module, version, reason, "{what} for a tenant"),
            None => tracing::error!(%module, version, reason, "{what} for all"),
        }
    }

    /// Why a content that is bad for one more tenant is bad for all; `None` where it is not.
    fn is_bad_for_too_many(&self, book: &MarkBook, mark: &Mark) -> Option<String> {
        let of_this = |it: &&Arc<Mark>| it.hash == mark.hash && it.kind == MarkKind::Bad;
        if mark.kind != MarkKind::Bad || mark.tenant.is_none() {
            return None;
        }
        // Those of tenants that are not in memory say nothing about the ones that are.
        let is_here = |it: &&Arc<Mark>| {
            let Some(tenant) = it.tenant.as_ref() else { return true };
            let snapshot = self.tenants.get(tenant).and_then(|tenant| tenant.snapshot.as_ref());
            it.tenant == mark.tenant || snapshot.is_some_and(|it| it.module(mark.module.as_str()).is_some())
        };
        let marks: Vec<&Arc<Mark>> = book.of_module(&mark.module).iter().filter(of_this).filter(is_here).collect();
        if marks.iter().any(|it| it.tenant.is_none()) {
            return None;
        }
        let has_module = |snapshot: &&Arc<TenantSnapshot>| snapshot.module(mark.module.as_str()).is_some();
        let tenants = self.tenants.values().filter_map(|tenant| tenant.snapshot.as_ref()).filter(has_module).count();
        let failed = marks.len();
        let share = self.context.settings.reload.failed_share;
        // With one tenant there is nobody else whose fate it would decide.
        (tenants > 1 && failed as f64 > share * tenants as f64)
            .then(|| format!("{failed} of {tenants} tenants can't use it: {}", mark.reason))
    }

    /// Tenants that run what a mark is about.
    fn concerned(&self, marks: &[Mark]) -> Vec<TenantId> {
        let is_about = |id: &TenantId, candidate: &Candidate| {
            marks.iter().any(|mark| {
                mark.module == candidate.name
                    && mark.tenant.as_ref().is_none_or(|tenant| tenant == id)
                    && candidate.known_hash() == Some(&*mark.hash)
            })
        };
        let runs_it = |(id, snapshot): &(&TenantId, &Arc<TenantSnapshot>)| {
            snapshot.table.modules().iter().any(|candidate| is_about(id, candidate))
        };
        let tenants = self.tenants.iter().filter_map(|(id, tenant)| Some((id, tenant.snapshot.as_ref()?)));
        tenants.filter(runs_it).map(|(id, _)| id.clone()).collect()
    }

    /// Takes over what the store says, which other hosts or operators may have changed.
    pub(super) fn marks_read(&mut self, marks: Vec<Mark>, known: &Arc<MarkBook>) {
        let before = self.context.marks.load_full();
        // What this host has marked meanwhile would look as if somebody had cleared it; the next look will tell.
        if !Arc::ptr_eq(&before, known) || self.context.unsaved_marks.load(Ordering::Acquire) != 0 {
            return;
        }
        let after = before.read(marks);
        let modules = before.differing(&after);
        if modules.is_empty() {
            return;
        }
        self.context.marks.store(Arc::new(after));
        self.follow_modules(&modules);
    }

    /// Some marks of a module were taken away; these are left.
    pub(super) fn released(&mut self, module: ModuleName, marks: Vec<Mark>) {
        let mut book = MarkBook::clone(&self.context.marks.load());
        book.replace(&module, marks);
        self.context.marks.store(Arc::new(book));
        self.follow_modules(&[module]);
    }

    /// Lets a module go that safe mode keeps off; says whether it was off.
    pub(super) fn let_go(&mut self, module: ModuleName, tenant: Option<TenantId>) -> bool {
        let mut book = MarkBook::clone(&self.context.marks.load());
        let was_off = book.release((module.clone(), tenant));
        if was_off {
            self.context.marks.store(Arc::new(book));
            self.follow_modules(&[module]);
        }
        was_off
    }

    /// Lets the tenants in memory that have enabled one of these follow what is known of it now.
    fn follow_modules(&mut self, modules: &[ModuleName]) {
        let enables = |snapshot: &TenantSnapshot| modules.iter().any(|module| snapshot.has_enabled(module.as_str()));
        let tenants = self.tenants.iter();
        let concerned: Vec<TenantId> = tenants
            .filter(|(_, tenant)| tenant.snapshot.as_ref().is_some_and(|snapshot| enables(snapshot)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in concerned {
            self.enqueue(id, Work::Reconcile, None);
        }
    }

    /// Reads the marks in a task of its own, unless that is under way.
    pub(super) fn look_for_marks(&self) {
        if self.context.reading_marks.swap(true, Ordering::AcqRel) {
            return;
        }
        let context = Arc::clone(&self.context);
        self.context.jobs.spawn(async move {
            // What this host marks meanwhile would look as if somebody had cleared it.
            let known = context.marks.load_full();
            if context.unsaved_marks.load(Ordering::Acquire) != 0 {
                context.reading_marks.store(false, Ordering::Release);
                return;
            }
            let read = context.store.marks().await;
            context.reading_marks.store(false, Ordering::Release);
            if let Ok(marks) = read {
                let _ = context.commands.send(Command::Marks { marks, known });
            }
        });
    }
}

/// Why a slot's code on probation is to be left, told once.
fn past_limits(slot: &Slot, settings: &ReloadSettings) -> Option<String> {
    let probation = slot.probation.load();
    let probation = probation.as_ref()?;
    let reason = probation.verdict(slot.requests(), &slot.record, settings)?;
    (!probation.tripped.swap(true, Ordering::Relaxed)).then_some(reason)
}

/// The times of a slot's last panics.
pub(super) type Panics = VecDeque<Instant>;

impl Tenancy {
    /// Tells that a request ended with 500 or more by the module's fault, without a panic. Costs nothing but counting
    /// while the code is not on probation.
    pub fn failed(&self, snapshot: &TenantSnapshot, slot: usize) {
        let slot = &self.context.slots(snapshot)[slot];
        slot.record.failures.fetch_add(1, Ordering::Relaxed);
        if let Some(reason) = past_limits(slot, &self.context.settings.reload) {
            self.tell(Command::Regressed { tenant: snapshot.id().clone(), slot: slot.serial, reason });
        }
    }

    /// Stops a module for a tenant, until its file changes or an operator releases it.
    pub fn quarantine(&self, tenant: &TenantId, module: &ModuleName, reason: String) {
        self.tell(Command::Quarantine { tenant: tenant.clone(), module: module.clone(), reason });
    }
}
