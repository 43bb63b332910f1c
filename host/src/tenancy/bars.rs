//! Modules that nobody is let into for a tenant, as threads of this host are stuck in them. The bar outlasts the
//! instance: its successor's code may be stuck as well.

use std::{collections::HashMap, sync::atomic::Ordering};

use super::{snapshot::Slot, supervisor::Supervisor};
use crate::names::{ModuleName, TenantId};

/// How many threads are stuck where.
#[derive(Debug, Default)]
pub(super) struct Bars(HashMap<(TenantId, ModuleName), usize>);

impl Bars {
    /// Whether a thread is stuck anywhere for a tenant.
    pub(super) fn has_any(&self, tenant: &TenantId) -> bool {
        self.0.keys().any(|(stuck, _)| stuck == tenant)
    }

    /// Gives a slot its state.
    pub(super) fn apply(&self, tenant: &TenantId, slot: &Slot) {
        // Most of the time there is nothing to look up.
        let is_barred = !self.0.is_empty() && self.0.contains_key(&(tenant.clone(), slot.candidate.name.clone()));
        slot.barred.store(is_barred, Ordering::Relaxed);
    }
}

impl Supervisor {
    pub(super) fn bar(&mut self, tenant: TenantId, module: ModuleName) {
        *self.bars.0.entry((tenant.clone(), module.clone())).or_default() += 1;
        self.apply_bars(&tenant, &module);
    }

    pub(super) fn unbar(&mut self, tenant: &TenantId, module: &ModuleName) {
        let key = (tenant.clone(), module.clone());
        if let Some(stuck) = self.bars.0.get_mut(&key) {
            *stuck -= 1;
            if *stuck == 0 {
                self.bars.0.remove(&key);
            }
        }
        self.apply_bars(tenant, module);
    }

    fn apply_bars(&self, tenant: &TenantId, module: &ModuleName) {
        let snapshot = self.tenants.get(tenant).and_then(|known| known.snapshot.as_ref());
        let Some(snapshot) = snapshot else { return };
        // Whoever comes first finds it barred.
        let slots = self.context.slots(snapshot);
        if let Some(slot) = slots.iter().find(|slot| slot.candidate.name == *module) {
            self.bars.apply(tenant, slot);
        }
    }
}
