//! Where tenants and the documents of modules are kept: the truth behind every snapshot.
//!
//! One trait, [`Store`], and one list of contract tests that every implementation passes. A store knows
//! nothing of what runs.

mod api_key;
mod change;
mod cors;
mod definitions;
mod delivery;
mod depth;
mod document;
mod entries;
mod mark;
mod mongo;
mod moving;
mod query;
mod question;
mod reach;
mod said;
mod sqlite;
mod tenant;
mod tenant_json;
pub mod tiers;
mod value;

#[cfg(any(test, feature = "store-contract"))]
#[doc(hidden)]
pub mod contract;

use std::{future::Future, pin::Pin, sync::Arc};

pub use api_key::{ApiKey, KeyHash, NoKeyHash};
pub use change::{ChangeListener, StoreChange};
pub use cors::{Cors, Grant};
pub use definitions::{FlagSets, StoredDefinitions};
pub use delivery::{
    Backlog, Claim, ClaimRequest, DeadLetter, Delivered, Deliveries, Delivery, DocumentWrite, NewEvent, Setback,
};
pub use depth::{MAX_VALUE_DEPTH, depth};
pub use document::{CollectionKey, DocumentPage, ModelFields, StoredDocument};
pub use mark::{Mark, MarkKind, Marks};
pub use mongo::{MongoSettings, MongoStore, Watching};
pub use moving::{Exporter, ImportReport, Imported, Importer, MovedDelivery, Moving, Record, Stands};
pub use query::{FieldRange, Find, FindError, Scalar};
pub use reach::Reach;
pub use sqlite::{OpenError, SqliteStore};
pub use tenant::{EnabledModule, Isolation, TenantDocument, TenantPage, TenantStatus};
pub use tenant_json::{FieldProblem, TenantDocumentError};

use crate::names::TenantId;

/// What a store operation returns: a future that may be dropped at any time. A write that was handed over
/// is carried out all the same; dropping the future only drops the answer.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A tenant or document with this id is there already.
    #[error("`{0}` exists already")]
    Exists(String),
    /// There is no tenant or document with this id.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// It has another revision than the one expected.
    #[error("expected revision {expected}, found {found}")]
    Revision {
        /// What the caller had read.
        expected: u64,
        /// What is there now.
        found: u64,
    },
    /// Another document of the tenant has this value.
    #[error("another document has this value in unique field `{field}`")]
    NotUnique {
        /// The field, as declared in the manifest.
        field: String,
    },
    /// The tenant still has documents, and no purge was asked for.
    #[error("the tenant still has {documents} documents")]
    HasData {
        /// How many.
        documents: u64,
    },
    /// The question itself is wrong.
    #[error(transparent)]
    Find(#[from] FindError),
    /// No document can have this id.
    #[error("a document id has 1 to {MAX_ID_BYTES} bytes and no NUL")]
    DocumentId,
    /// A searchable field holds a text that is too long to be searched for.
    #[error("searchable field `{field}` holds {bytes} bytes, at most {limit} are possible")]
    ValueTooLong {
        /// The field, as declared in the manifest.
        field: String,
        /// How many.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A document has a body that is too large to be stored.
    #[error("a document has at most {limit} bytes, this one has {bytes}")]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The database refuses what was to be written, and will refuse it again.
    #[error("the database can't hold this: {0}")]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// A foreign program wrote something into a tenant's document that can't be understood.
    #[error(transparent)]
    Tenant(#[from] TenantDocumentError),
    /// Somebody else has claimed what was being handled, or it is gone.
    #[error("the claim is no longer held")]
    ClaimLost,
    /// As many events of the publisher wait to be delivered as may.
    #[error("too many events wait to be delivered: {waiting} of at most {most}")]
    TooManyWaiting {
        /// How many.
        waiting: u64,
        /// How many may.
        most: u64,
    },
    /// What was to be stored is no JSON object.
    #[error("a document must be a JSON object: {0}")]
    NotAnObject(String),
    /// The store is away, full or broken; nothing is known to be written.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What it says, with all that is behind it, in one line: for the log.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// The most bytes a document's id can have.
const MAX_ID_BYTES: usize = 256;

/// Whether a document can have this id.
fn is_document_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains('\0')
}

/// The truth about tenants and the documents of modules.
///
/// Every write that returned `Ok` is durable. Every write to something that exists is conditional on its
/// revision. Revisions begin at 1 and grow by 1; deleting a tenant leaves a tombstone whose revision goes on,
/// so a tenant created again begins above it. Of several reasons to refuse a write, the first is told of: it is
/// there or not, has another revision, holds other data, has a value that is not unique.
///
/// Document ids are 1 to 256 bytes of text without NUL. [`Store::insert`] refuses others with
/// [`StoreError::DocumentId`]; all other operations find no such document. A text in a searchable field has at most
/// 4096 bytes, else [`StoreError::ValueTooLong`]; a document's body at most 8 MiB, else [`StoreError::TooLarge`].
pub trait Store: Deliveries + FlagSets + Marks {
    /// A tenant by id; `None` where it does not exist or was deleted.
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>>;

    /// A tenant as it is known nearby, which may be behind the truth: for the first look at it, and while the truth is
    /// away. A store that is the truth itself has nothing nearer.
    fn tenant_nearby<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        self.tenant(id)
    }

    /// Forgets what is known nearby of a tenant, or of all, so that the next look is at the truth. What is kept for a time
    /// without the truth stays. Fails with [`StoreError::Unavailable`] where some of it may still be known.
    fn forget_nearby<'a>(&'a self, _tenant: Option<&'a TenantId>) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The revisions of these tenants, in their order; `None` of one that is not there, 0 of one whose document can't be
    /// understood. What is asked for all tenants in memory, again and again.
    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move {
            let mut revisions = Vec::with_capacity(ids.len());
            for id in ids {
                revisions.push(match self.tenant(id).await {
                    Ok(found) => found.map(|document| document.revision),
                    Err(StoreError::Tenant(_)) => Some(0),
                    Err(error) => return Err(error),
                });
            }
            Ok(revisions)
        })
    }

    /// Tells from now on what changes, by whomever; a store that can't tell says nothing. One listener: the last.
    fn listen(&self, _listener: ChangeListener) {}

    /// Whether the truth can be reached; `None` where this is the truth itself, and what was read is never behind it.
    fn reach(&self) -> Option<Arc<Reach>> {
        None
    }

    /// What was found where on the way to the truth; `None` where there is nothing before it.
    fn tiers(&self) -> Option<tiers::TierFigures> {
        None
    }

    /// Reads and writes everything as it is; `None` where the store can't.
    fn moving(&self) -> Option<&dyn Moving> {
        None
    }

    /// Tenants in bytewise order of their ids, those after `after`, at most `limit`. Those whose documents can't be
    /// understood are listed apart, and don't count.
    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage>;

    /// Stores a new tenant and returns it with the revision it was given; `document.revision` is ignored, all else
    /// is kept as it is. What lies under its id is removed in the same commit: a handler that ended after a deletion may
    /// have left it.
    /// Fails with [`StoreError::Exists`].
    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>>;

    /// Replaces a tenant whose stored revision is `document.revision`; returns it with the next one.
    /// Fails with [`StoreError::Revision`] or [`StoreError::Missing`].
    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>>;

    /// Deletes a tenant of this revision. With documents left it fails with [`StoreError::HasData`], unless
    /// `data` says to delete them too: in the same commit, or right after it where they may be more than one can hold.
    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()>;

    /// One document.
    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>>;

    /// Stores a new document (`body` is a JSON object) and returns its revision, 1. Index and unique entries
    /// of `fields` are written in the same commit. Where the collection was indexed by other fields, as happens
    /// while one version of a module takes over from another, the document has the entries of both. Fails with
    /// [`StoreError::Exists`] and [`StoreError::NotUnique`].
    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64>;

    /// Replaces a document that has revision `expected`; returns the next one. Fails as `insert` does, and
    /// with [`StoreError::Revision`] and [`StoreError::Missing`].
    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64>;

    /// Deletes a document that has revision `expected`.
    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()>;

    /// Documents by field, page by page. `fields` is what the manifest declares; a field outside it is
    /// [`FindError::NotIndexed`], and so is one that the documents there have not been indexed by.
    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage>;

    /// Makes the entries of a collection those of `fields`; nothing is read or written where they are so
    /// already. Fails with [`StoreError::NotUnique`] and [`StoreError::ValueTooLong`], and then changes nothing.
    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()>;

    /// Whether the store answers: reads something small.
    fn ping(&self) -> StoreFuture<'_, ()>;
}

/// What becomes of a deleted tenant's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantData {
    /// They must be gone already.
    Refuse,
    /// They are deleted too.
    Purge,
}
