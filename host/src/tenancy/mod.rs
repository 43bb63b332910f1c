//! Who runs what right now: one writer, snapshots for readers, swap, drain, report. It knows neither HTTP nor
//! files; it is told about a changed catalog and about operators' wishes.

mod bars;
mod change;
mod clients;
mod command;
mod context;
mod definitions;
mod deliveries;
mod desire;
mod error;
mod gate;
mod generations;
mod handle;
mod heard;
mod job;
mod kept;
mod loading;
mod marks;
mod memory;
mod moves;
mod plan;
mod probation;
mod publish;
mod report;
mod rollback;
mod routes;
mod running;
mod seams;
mod services;
mod snapshot;
mod starts;
mod supervisor;
mod tenant;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use change::{Change, Dependencies, Dependents, MAX_API_KEYS, SettingsChange};
pub use clients::{Asking, CatchingUp, Listening, Sending, TooManyListen};
pub use command::Mode;
pub use context::{LimitsOf, ModuleLimits, TenancySettings};
pub use deliveries::DeliverySettings;
pub use error::TenancyError;
pub use handle::{Lent, NewTenant, Tenancy, Unlent};
pub use heard::DefinitionsState;
pub use job::Report;
pub use memory::MemoryFigures;
pub use plan::Plan;
pub use probation::ReloadSettings;
pub use report::{ModuleState, ModuleStatus, TenancyStats, TenantReport};
pub use rollback::{Released, RolledBack};
pub use routes::{Looked, RouteMatch, RouteTable};
pub use running::{Lease, RetireTimes};
pub use seams::{Asker, CallModules, FetchOutside};
pub use snapshot::{ModuleProblem, Slot, TenantSnapshot};

use crate::{catalog::Catalog, names::TenantId};

/// What readers see; written by the supervisor only.
struct Shared {
    directory: papaya::HashMap<TenantId, Arc<TenantSnapshot>>,
    catalog: ArcSwap<Catalog>,
    bases: ArcSwap<snapshot::Bases>,
    clients: clients::Clients,
}
