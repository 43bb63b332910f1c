//! What a store tells of changes that somebody else made, where it can.

use std::sync::Arc;

use crate::names::TenantId;

/// What somebody changed in the store, as far as it can tell. The listener's own writes come back too; nothing here says
/// what the change was, only what to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChange {
    /// A tenant was created, replaced or deleted.
    Tenant {
        /// Which.
        id: TenantId,
        /// The revision it has now, or its tombstone has. A host that knows a higher one has nothing to do.
        revision: u64,
    },
    /// The flag definitions for all tenants.
    Definitions,
    /// A mark was set or cleared.
    Marks,
    /// Something is to be delivered, or was.
    Deliveries,
    /// Anything may have changed: read all again.
    Everything,
}

/// Who is told of changes. Called on threads of the store's: it must not block.
pub type ChangeListener = Arc<dyn Fn(StoreChange) + Send + Sync>;
