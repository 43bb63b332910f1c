//! What runs for whom, what does not and why: for status, stats and the registry's users.

use std::sync::{Arc, atomic::Ordering};

use super::{handle::Tenancy, snapshot::TenantSnapshot};
use crate::names::{ModuleName, TenantId};

/// One tenant in memory.
#[derive(Debug, Clone)]
pub struct TenantReport {
    /// Its id.
    pub id: TenantId,
    /// Of its document.
    pub revision: u64,
    /// Its enabled modules.
    pub modules: Vec<ModuleStatus>,
}

/// One enabled module of a tenant.
#[derive(Debug, Clone)]
pub struct ModuleStatus {
    /// Which.
    pub module: ModuleName,
    /// The version chosen; missing where none could be.
    pub version: Option<semver::Version>,
    /// What it is doing.
    pub state: ModuleState,
}

/// What an enabled module is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleState {
    /// It has an instance.
    Running {
        /// The number of its generation.
        generation: u64,
        /// Requests it was given.
        requests: u64,
        /// Requests inside right now.
        inside: u64,
    },
    /// It can run; the first request makes an instance.
    Idle,
    /// The last try to make an instance failed.
    Failed {
        /// Stable.
        code: &'static str,
        /// For operators.
        reason: String,
    },
    /// It can't run: nothing in the catalog fits.
    Unavailable {
        /// Stable.
        code: &'static str,
        /// In words.
        reason: String,
    },
}

/// Figures of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenancyStats {
    /// Tenants in memory.
    pub tenants: usize,
    /// Instances in service.
    pub instances: usize,
    /// Instances on their way out.
    pub retiring: usize,
    /// Requests that drain deadlines have cut, since the start.
    pub cut: u64,
}

impl TenantSnapshot {
    /// What each enabled module is doing.
    pub fn report(&self) -> TenantReport {
        let document = self.document();
        let modules = document.enabled_modules.iter().map(|enabled| {
            let name = enabled.module.as_str();
            let Some(candidate) = self.module(name) else {
                let (code, reason) = self.problem(name).map_or_else(
                    || ("TENANT_SUSPENDED", "the tenant is suspended".to_owned()),
                    |problem| (problem.code, problem.text.clone()),
                );
                let state = ModuleState::Unavailable { code, reason };
                return ModuleStatus { module: enabled.module.clone(), version: None, state };
            };
            let slot = self.slot(name);
            let state = match (slot.and_then(|slot| slot.running()), slot.and_then(|slot| slot.failure())) {
                (Some(running), _) => ModuleState::Running {
                    generation: running.generation(),
                    requests: running.requests(),
                    inside: running.gate.inside(),
                },
                (None, Some(error)) => ModuleState::Failed {
                    code: error.code(),
                    reason: error.reason().map_or_else(|| error.to_string(), str::to_owned),
                },
                (None, None) => ModuleState::Idle,
            };
            let version = Some(candidate.version.clone());
            ModuleStatus { module: enabled.module.clone(), version, state }
        });
        TenantReport { id: self.id().clone(), revision: self.revision(), modules: modules.collect() }
    }
}

impl Tenancy {
    /// All tenants in memory, sorted by id.
    pub fn report(&self) -> Vec<TenantReport> {
        let mut reports: Vec<TenantReport> =
            self.shared.directory.pin().values().map(|snapshot| snapshot.report()).collect();
        reports.sort_by(|a, b| a.id.cmp(&b.id));
        reports
    }

    /// All snapshots in memory.
    pub fn snapshots(&self) -> Vec<Arc<TenantSnapshot>> {
        self.shared.directory.pin().values().cloned().collect()
    }

    /// Figures of the whole.
    pub fn stats(&self) -> TenancyStats {
        let snapshots = self.snapshots();
        TenancyStats {
            tenants: snapshots.len(),
            instances: snapshots
                .iter()
                .flat_map(|snapshot| snapshot.slots().iter())
                .filter(|slot| slot.running().is_some())
                .count(),
            retiring: self.context.retiring.load(Ordering::Acquire),
            cut: self.context.cut.load(Ordering::Relaxed),
        }
    }
}
