//! The closed list of what the supervisor is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    change::Change,
    definitions::FlagRound,
    error::TenancyError,
    job::{Ended, Report},
    marks::MarkBook,
    running::Running,
    snapshot::TenantSnapshot,
};
use crate::{
    catalog::Catalog,
    flags::{DefinitionErrors, Definitions},
    names::{ModuleName, TenantId},
    stores::{Mark, StoreChange, TenantData, TenantDocument},
};

pub(super) type Reply<T> = oneshot::Sender<Result<T, TenancyError>>;

/// Everything that changes what runs.
pub(super) enum Command {
    /// An operator's wish, or a reconciliation; one at a time per tenant.
    Work { tenant: TenantId, work: Work, reply: Option<Reply<Report>> },
    /// A request for a tenant that is not in memory, or older there than `since`.
    Load { tenant: TenantId, since: u64, reply: Reply<Arc<TenantSnapshot>> },
    /// The job of a tenant has ended.
    JobEnded { tenant: TenantId, ended: Box<Result<Ended, TenancyError>> },
    /// A request needs an instance; `false` where the slot is no longer in force.
    Activate { tenant: TenantId, slot: u64, reply: Reply<bool> },
    /// A first-use instance was made, or not.
    Started { tenant: TenantId, slot: u64, made: Result<Arc<Running>, TenancyError> },
    /// An instance has panicked and is to be replaced.
    Broken { tenant: TenantId, slot: u64, serial: u64 },
    /// A thread is stuck in a module for a tenant.
    Bar { tenant: TenantId, module: ModuleName },
    /// One of the threads that were is not any more.
    Unbar { tenant: TenantId, module: ModuleName },
    /// An instance that the supervisor took out of service is gone.
    Retired { tenant: TenantId },
    /// Code under probation is past its limits.
    Regressed { tenant: TenantId, slot: u64, reason: String },
    /// A module does harm to a tenant: it is stopped until somebody lets it go again.
    Quarantine { tenant: TenantId, module: ModuleName, reason: String },
    /// Something is held against contents.
    Mark { marks: Vec<Mark> },
    /// The store's marks were read, while this was known.
    Marks { marks: Vec<Mark>, known: Arc<MarkBook> },
    /// The store's marks of one module were read, after some were taken away.
    MarksOf { module: ModuleName, marks: Vec<Mark> },
    /// A module is to run although the host is in safe mode; `false` where it was not off.
    LetGo { module: ModuleName, tenant: Option<TenantId>, reply: oneshot::Sender<bool> },
    /// The folder has changed.
    Catalog { catalog: Arc<Catalog>, reply: oneshot::Sender<()> },
    /// Flags are defined in another way, for all tenants.
    Define { definitions: Arc<Definitions>, reply: oneshot::Sender<()> },
    /// Flags are still to be made anew.
    ShowFlags(FlagRound),
    /// Something was changed in the store.
    Heard(StoreChange),
    /// Somebody waits until every tenant in memory has the flags that are in force now.
    AwaitFlags { reply: oneshot::Sender<()> },
    /// The store's definitions of flags are to be read.
    FollowDefinitions { reply: oneshot::Sender<()> },
    /// The store has other definitions of flags, as far as they can be understood.
    DefinedInStore {
        revision: u64,
        parsed: Result<Arc<Definitions>, DefinitionErrors>,
        reply: Option<oneshot::Sender<()>>,
    },
    /// What is in memory was compared with the store, all of it or not; it had been behind since then when that began.
    Compared { is_whole: bool, behind_since: Option<i64> },
    /// What is in memory of a tenant, or of all, may be wrong.
    Invalidate { tenant: Option<TenantId>, reply: oneshot::Sender<()> },
    /// Everything is to be taken out of service.
    Shutdown { reply: oneshot::Sender<()> },
    /// The time is up after which rules that read it are asked again.
    #[cfg(test)]
    TimeIsUp { reply: oneshot::Sender<()> },
    /// How many tenants the supervisor has anything about.
    #[cfg(test)]
    Count { reply: oneshot::Sender<usize> },
}

/// What a tenant's job does.
#[derive(Debug)]
pub(super) enum Work {
    /// Makes what runs fit the document and the catalog. What is known of the tenant will do while the store is away.
    Reconcile,
    /// The same, by the document that the store has now.
    Refresh,
    /// Changes the document, then what runs.
    Change { change: Change, precondition: Option<u64>, actor: String, mode: Mode },
    /// A new tenant.
    Create { document: TenantDocument },
    /// Away with it; begins when nothing of it is at work any more.
    Delete { precondition: Option<u64>, data: TenantData },
    /// Leaves a content for what ran before; `document` is the tenant's, should the store be away.
    GoBack { mark: Mark, document: Arc<TenantDocument> },
    /// Runs a document that is not in the store.
    Adopt { document: TenantDocument },
}

/// Whether a change is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Commit,
    /// It is only planned.
    DryRun,
}
