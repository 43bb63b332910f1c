//! What the host offers to an instance, in safe types: the loader turns it into the binary interface.

use std::{future::Future, pin::Pin, time::Duration};

/// A future that is handed to a module. The loader fences its waker.
pub type ServiceFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The services behind one tenant's handle for one module. Implemented above; one value an instance.
///
/// Every method may be called on any thread, the module's own included, and must not block.
pub trait HostServices: Send + Sync + 'static {
    /// Whose instance it is.
    fn tenant_id(&self) -> &str;
    /// The tenant's settings for the module, a JSON object as text.
    fn settings(&self) -> String;
    /// A feature as the module sees it; `None` where it is neither declared nor set, or is no boolean.
    fn flag(&self, name: &str) -> Option<bool>;
    /// Milliseconds since the Unix epoch.
    fn now_millis(&self) -> i64;
    /// A UUID version 7.
    fn random_id(&self) -> String;
    /// A question to the tenant's and module's collections.
    fn store(&self, op: StoreOp) -> StoreAnswer;
    /// Runs a job on a thread where it may block; the answer comes after the job was dropped.
    fn blocking(&self, job: BlockingJob) -> ServiceFuture<Result<(), Failure>>;
    /// Completes after the time.
    fn sleep(&self, time: Duration) -> ServiceFuture<()>;
    /// Runs a task until it ends or the instance is stopped.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Stopping`] where the instance is being stopped.
    fn spawn(&self, task: ServiceFuture<Result<(), Failure>>) -> Result<(), Failure>;
}

/// A job for a thread that may block. Holds the library until it was dropped.
pub type BlockingJob = Box<dyn FnOnce() -> Result<(), Failure> + Send + 'static>;

/// An operation on a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreOp {
    /// Which model, as the module named it; not yet checked.
    pub model: String,
    /// What to do.
    pub action: StoreAction,
}

/// What to do with a collection. Ids are as the module gave them, not yet checked.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the store's operations")]
pub enum StoreAction {
    /// One document.
    Get { id: String },
    /// A new document.
    Insert { id: String, body: Vec<u8> },
    /// A document that has this revision.
    Put { id: String, body: Vec<u8>, revision: u64 },
    /// Takes away a document that has this revision.
    Delete { id: String, revision: u64 },
    /// Documents by field; the query is JSON, the wire form of `module_api::Query`.
    Find { query: Vec<u8> },
}

/// An answer that may be there at once.
pub enum StoreAnswer {
    /// It is.
    Ready(Result<Documents, Failure>),
    /// It comes.
    Pending(ServiceFuture<Result<Documents, Failure>>),
}

/// Documents for a module: id, revision, JSON (empty in the answers to writes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// In the order asked for.
    pub documents: Vec<(String, u64, Vec<u8>)>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// What went wrong, on either side of the interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which sort.
    pub kind: FailureKind,
    /// For the client with `Fault` and `Invalid`, for the log otherwise.
    pub message: String,
}

/// The sorts of failure that cross the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// Declared by the author: a 4xx status and a code without the module's name.
    Fault {
        /// 400 to 499.
        status: u16,
        /// Kebab-case.
        code: String,
    },
    /// The request could not be read.
    Invalid,
    /// Anything else.
    Internal,
    /// The module panicked.
    Panicked {
        /// `file:line`, or empty.
        place: String,
    },
    /// The store is away.
    StoreUnavailable,
    /// There is a document with this id.
    Exists,
    /// There is no document with this id.
    Missing,
    /// The document has another revision.
    Revision,
    /// Another document has the value of this unique field.
    NotUnique {
        /// As declared.
        field: String,
    },
    /// The host lacks the service.
    Unsupported,
    /// The question is wrong.
    Misuse,
    /// The instance is being stopped.
    Stopping,
}

impl Failure {
    /// A failure with its text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
