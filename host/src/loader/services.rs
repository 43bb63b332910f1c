//! What the host offers to an instance, in safe types: the loader turns it into the binary interface.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

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
    /// A question to the tenant's and module's collections, from a handler that runs under a claim: a write is carried
    /// out only while the claim is held, else [`FailureKind::ClaimLost`].
    fn store_under(&self, claim: ClaimToken, op: StoreOp) -> StoreAnswer;
    /// A request to another module of the tenant; `None` where an optional one is absent.
    fn call(&self, call: ModuleCall) -> ServiceFuture<Result<Option<Answer>, Failure>>;
    /// A request to a host outside.
    fn fetch(&self, fetch: Fetch) -> ServiceFuture<Result<Answer, Failure>>;
    /// Stores an event for its subscribers; `body` is JSON.
    fn publish(&self, claim: Option<ClaimToken>, name: String, body: Vec<u8>) -> ServiceFuture<Result<(), Failure>>;
    /// Sets a wake-up to a time in milliseconds since the Unix epoch, or takes it back.
    fn wake(&self, claim: Option<ClaimToken>, key: String, at: Option<i64>) -> ServiceFuture<Result<(), Failure>>;
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

/// Names the claim under which an event or a wake-up is handled: the delivery, and the number of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimToken {
    /// Which delivery.
    pub delivery: i64,
    /// Grows each time that the delivery is claimed.
    pub fence: u64,
}

/// In whose name a module asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behalf {
    /// Who asks; nobody where the module asks in its own name.
    pub subject: Option<Arc<str>>,
    /// Their roles.
    pub roles: Arc<[Arc<str>]>,
    /// A UUID.
    pub request_id: Arc<str>,
    /// When the host gives up on the request, in milliseconds since the Unix epoch.
    pub deadline_millis: i64,
    /// How many calls between modules are around it.
    pub depth: u8,
}

/// A request of a module to another. Nothing of it is checked yet.
#[derive(Debug, Clone)]
pub struct ModuleCall {
    /// The other module, as the caller named it.
    pub module: String,
    /// Upper case.
    pub method: String,
    /// Under the other module's base; a query may follow.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Whose name; `None` for the module's own, beside all work.
    pub behalf: Option<Behalf>,
    /// Whether the module asks in its own name: then `behalf` has deadline, id and depth of the work it is at.
    pub as_module: bool,
}

/// A request of a module to a host outside. Nothing of it is checked yet.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Upper case.
    pub method: String,
    /// Whole.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// `None` for the host's own limit.
    pub timeout: Option<Duration>,
}

/// The answer to a [`ModuleCall`] or a [`Fetch`], whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
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
    /// Another host has taken over what is being handled.
    ClaimLost,
    /// The host's policy is against it.
    Refused,
    /// It did not end in time.
    Timeout,
    /// The other side could not be reached.
    Unreachable,
}

impl Failure {
    /// A failure with its text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
