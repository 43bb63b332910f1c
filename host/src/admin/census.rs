//! Counts, over the tenants in memory, who uses which module file.

use std::{collections::HashMap, sync::Arc};

use crate::{
    catalog::{Candidate, Catalog},
    tenancy::Tenancy,
};

/// What uses one module file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Tenants for which it was chosen.
    pub(super) tenants: u64,
    /// Tenants for which an instance of it is in service.
    pub(super) instances: u64,
    /// Requests that these instances were given.
    pub(super) requests: u64,
}

/// Usage by module file.
pub(super) struct Census {
    used: HashMap<usize, (Arc<Candidate>, Usage)>,
}

impl Census {
    /// Counts now.
    pub(super) fn take(tenancy: &Tenancy) -> Self {
        let mut used: HashMap<usize, (Arc<Candidate>, Usage)> = HashMap::new();
        for snapshot in tenancy.snapshots() {
            for (at, candidate) in snapshot.table.modules().iter().enumerate() {
                let entry = used.entry(key(candidate));
                let (_, usage) = entry.or_insert_with(|| (Arc::clone(candidate), Usage::default()));
                usage.tenants += 1;
                if let Some(running) = snapshot.slots().get(at).and_then(|slot| slot.running()) {
                    usage.instances += 1;
                    usage.requests += running.requests();
                }
            }
        }
        Self { used }
    }

    /// What uses a file.
    pub(super) fn of(&self, candidate: &Arc<Candidate>) -> Usage {
        self.used.get(&key(candidate)).map(|(_, usage)| *usage).unwrap_or_default()
    }

    /// Files that are gone or were replaced, and are still open or used. By name and version.
    pub(super) fn leaving(&self, catalog: &Catalog) -> Vec<(Arc<Candidate>, Usage)> {
        let used = self.used.values().filter(|(candidate, _)| !catalog.has_file_of(candidate)).cloned();
        let open = catalog.removed().iter().filter(|candidate| !self.used.contains_key(&key(candidate)));
        let mut leaving: Vec<_> = used.chain(open.map(|open| (Arc::clone(open), Usage::default()))).collect();
        leaving.sort_by(|(one, _), (other, _)| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        leaving
    }

    /// All files that are used, by name and version.
    pub(super) fn all(&self) -> Vec<(Arc<Candidate>, Usage)> {
        let mut all: Vec<_> = self.used.values().cloned().collect();
        all.sort_by(|(one, _), (other, _)| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        all
    }
}

/// The census keeps each file that it counts alive, so an address means one file.
fn key(candidate: &Arc<Candidate>) -> usize {
    Arc::as_ptr(candidate) as usize
}
