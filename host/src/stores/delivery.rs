//! What is to reach a module without a request: events it subscribes to, wake-ups it has set. Kept until a module has
//! handled them, handed to one host at a time. Knows no module code and no clock: callers say what time it is.

use super::{CollectionKey, ModelFields, StoreFuture};
use crate::names::{ModuleName, TenantId};

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whose.
    pub tenant: TenantId,
    /// Who publishes it.
    pub publisher: ModuleName,
    /// As the publisher declares it.
    pub name: String,
    /// Tells it from all others, at each repetition.
    pub event_id: String,
    /// JSON.
    pub body: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub published_at: i64,
    /// Each gets it once handled; none means that nothing is kept.
    pub subscribers: Vec<ModuleName>,
    /// How many deliveries of the publisher's events may wait for the tenant, these included; dead letters don't count.
    pub most_waiting: u64,
}

/// What is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// An event.
    Event {
        /// Who published it.
        publisher: ModuleName,
        /// As the publisher declares it.
        name: String,
        /// The same at each repetition.
        event_id: String,
        /// JSON.
        body: Vec<u8>,
        /// Milliseconds since the Unix epoch.
        published_at: i64,
    },
    /// A wake-up.
    Wake {
        /// As it was set.
        key: String,
    },
}

/// Something to deliver, claimed by whoever holds this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Under which it is handled.
    pub claim: Claim,
    /// Whose.
    pub tenant: TenantId,
    /// To which module.
    pub module: ModuleName,
    /// What.
    pub what: Delivered,
    /// How often it has failed before.
    pub failures: u32,
}

/// The right to handle one delivery, until it runs out and somebody else claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which delivery.
    pub delivery: i64,
    /// Grows with each claim of the delivery.
    pub fence: u64,
}

/// What becomes of a delivery that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// It failed, and is due again at this time.
    Failed(i64),
    /// It could not be tried, which does not count; it is due again at this time.
    Postponed(i64),
    /// It failed for the last time, at this time: it is a dead letter now.
    Dead(i64),
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number; grows.
    pub id: i64,
    /// Whose.
    pub tenant: TenantId,
    /// Which module did not handle it.
    pub module: ModuleName,
    /// What it was.
    pub what: Delivered,
    /// How often it was tried.
    pub failures: u32,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub died_at: i64,
    /// What the last try failed of.
    pub error: String,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that are due or will be.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

/// How much [`Deliveries::claim_due`] takes, and until when.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest {
    /// Milliseconds since the Unix epoch.
    pub now: i64,
    /// When others may take over what was not renewed.
    pub until: i64,
    /// At most so many.
    pub limit: usize,
    /// At most so many of one tenant.
    pub per_tenant: usize,
}

/// A write to a collection that is carried out only while a claim is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentWrite {
    /// As [`super::Store::insert`].
    Insert {
        /// Which document.
        id: String,
        /// A JSON object.
        body: Vec<u8>,
    },
    /// As [`super::Store::put`].
    Put {
        /// Which document.
        id: String,
        /// A JSON object.
        body: Vec<u8>,
        /// The revision it has.
        expected: u64,
    },
    /// As [`super::Store::delete`].
    Delete {
        /// Which document.
        id: String,
        /// The revision it has.
        expected: u64,
    },
}

/// Events and wake-ups of modules, kept until they are handled.
///
/// Events of one publisher for one subscriber form a queue: only the oldest is due. A wake-up is known by its key,
/// and has one time. All that takes a [`Claim`] fails with [`super::StoreError::ClaimLost`] where somebody else has
/// claimed the delivery since, or it is gone. Deleting a tenant deletes its deliveries.
pub trait Deliveries: Send + Sync + 'static {
    /// Keeps an event for each of its subscribers, in one commit. Fails with [`super::StoreError::TooManyWaiting`] where
    /// too many would wait then, and keeps nothing.
    fn publish(&self, event: NewEvent, claim: Option<Claim>) -> StoreFuture<'_, ()>;

    /// Sets a wake-up to a time, or moves it there. One that is being handled is due again at that time once its
    /// handler has ended.
    fn set_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        at: i64,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()>;

    /// Takes a wake-up back; nothing happens where there is none. One that is being handled is not repeated.
    fn cancel_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()>;

    /// Claims what is due and free, the longest due first.
    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>>;

    /// When something will be due, or can be taken over, in milliseconds since the Unix epoch.
    fn next_due(&self) -> StoreFuture<'_, Option<i64>>;

    /// Keeps a claim until a later time.
    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()>;

    /// It was handled.
    fn finish(&self, claim: Claim) -> StoreFuture<'_, ()>;

    /// It was not. `error` is for operators.
    fn set_back<'a>(&'a self, claim: Claim, setback: Setback, error: &'a str) -> StoreFuture<'a, ()>;

    /// As `insert`, `put` and `delete`, but only while the claim is held. Returns the new revision, 0 for a deletion.
    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64>;

    /// Dead letters in the order of their numbers, those after `after`, at most `limit`.
    fn dead_letters(&self, after: Option<i64>, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// Makes a dead letter due again, as if it had never failed. `false` where there is none of this number.
    fn retry_dead(&self, id: i64, now: i64) -> StoreFuture<'_, bool>;

    /// Deletes a dead letter. `false` where there is none of this number.
    fn discard_dead(&self, id: i64) -> StoreFuture<'_, bool>;

    /// How much is kept.
    fn backlog(&self) -> StoreFuture<'_, Backlog>;
}
