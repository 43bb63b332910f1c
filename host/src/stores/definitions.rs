//! Flag definitions for all tenants, where they are kept in the store and not in a file. The store doesn't read them.

use std::sync::Arc;

use jiff::Timestamp;

use super::{StoreError, StoreFuture};

/// The definitions as stored; one set for all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinitions {
    /// From 1; grows by one with each write.
    pub revision: u64,
    /// In flagd's format, as whoever wrote it did; not checked.
    pub text: Arc<str>,
    /// Of the last write, by the clock of the host that wrote.
    pub updated_at: Option<Timestamp>,
}

/// The flag definitions of a store, shared by all hosts on it.
pub trait FlagSets: Send + Sync + 'static {
    /// What is there; `None` where nothing was stored, or it was taken away.
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>>;

    /// As they are known nearby, which may be behind the truth while that is away: for a host that starts, and for whoever
    /// only wants to look.
    fn definitions_nearby(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        self.definitions()
    }

    /// Replaces what has revision `expected`, 0 where there is nothing, and returns the new revision. No text takes the
    /// definitions away and leaves a tombstone, whose revision goes on: what is stored later begins above it. Fails with
    /// [`StoreError::Revision`], and with [`StoreError::Missing`] where there is nothing to replace or take away.
    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64>;
}

/// The revision that a write gives the definitions, where it may be made. `found` is the revision that is stored, and
/// whether it is of a text, as opposed to a tombstone.
pub(super) fn next_revision(found: Option<(u64, bool)>, text: Option<&str>, expected: u64) -> Result<u64, StoreError> {
    match found {
        Some((found, true)) if found != expected => Err(StoreError::Revision { expected, found }),
        Some((found, true)) => Ok(found + 1),
        _ if expected != 0 || text.is_none() => Err(StoreError::Missing("flag definitions".to_owned())),
        found => Ok(found.map_or(0, |(revision, _)| revision) + 1),
    }
}
