//! What hosts must agree on about code: which content of a module is bad, or quarantined, and for whom.

use super::StoreFuture;
use crate::names::{ModuleName, TenantId};

/// What is held against a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MarkKind {
    /// It did worse than what ran before: it is not chosen, another version is.
    Bad,
    /// It does harm: it does not run, and nothing takes its place.
    Quarantined,
}

/// One content of one module that is not to run for a tenant, or for all. Another content, such as a repaired file of
/// the same version, is not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which module.
    pub module: ModuleName,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub hash: String,
    /// For whom; `None` for all.
    pub tenant: Option<TenantId>,
    /// What is held against it.
    pub kind: MarkKind,
    /// What the file called itself; for people.
    pub version: String,
    /// Why; for operators.
    pub reason: String,
    /// Milliseconds since the Unix epoch.
    pub marked_at: i64,
}

/// The marks of a store, shared by all hosts on it.
pub trait Marks: Send + Sync + 'static {
    /// All of them, by module, hash, tenant (those for all first) and kind. There are few.
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>>;

    /// As they are known nearby, which may be behind the truth while that is away: for a host that starts.
    fn marks_nearby(&self) -> StoreFuture<'_, Vec<Mark>> {
        self.marks()
    }

    /// Sets a mark; one for the same module, hash, tenant and kind is replaced.
    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()>;

    /// Takes the marks of a module away: those of one tenant, or all. Says how many there were.
    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64>;
}
