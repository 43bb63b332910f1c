//! The binary interface between host and module. Authors never see it.
//!
//! Only types with a checked stable layout cross: abi_stable's and async-ffi's. Whoever allocates frees,
//! through a function that travels with the data. `Raw*` structs are frozen for the major version; what
//! grows is [`Root`] and the traits, at their ends, each new method with a default body.

#![allow(unsafe_code, reason = "the binary interface: raw request pointers and the module's root")]
#![allow(missing_docs, reason = "abi_stable's macros generate public items that cannot carry docs")]
#![allow(unused_qualifications, reason = "as above")]

use std::ffi::c_void;

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, ROption, RResult, RSlice, RStr, RString, RVec},
};
use async_ffi::{BorrowingFfiFuture, FfiContext, FfiFuture};

mod log;

pub use log::*;

/// The one symbol that a module exports.
pub const ENTRY_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// What went wrong on either side, in a form that crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawFailure {
    /// One of the `FAILURE_*` numbers; an unknown one is read as [`FAILURE_INTERNAL`].
    pub kind: u32,
    /// The HTTP status a fault asks for; 0 where the kind decides.
    pub status: u16,
    /// The fault's code, the not-unique field's name, or empty.
    pub code: RString,
    /// For the client with [`FAILURE_FAULT`] and [`FAILURE_INVALID`], for the log otherwise.
    pub message: RString,
    /// Where a panic happened, as `file:line`, or empty.
    pub place: RString,
}

/// The author's own declared error: sent as `MODULE:CODE` with its status.
pub const FAILURE_FAULT: u32 = 1;
/// The request could not be read: REQUEST_INVALID.
pub const FAILURE_INVALID: u32 = 2;
/// Anything else: INTERNAL, neutral text.
pub const FAILURE_INTERNAL: u32 = 3;
/// The module panicked; `place` says where.
pub const FAILURE_PANIC: u32 = 4;
/// The store is away: STORE_UNAVAILABLE.
pub const FAILURE_STORE_UNAVAILABLE: u32 = 5;
/// A document with this id is there already.
pub const FAILURE_EXISTS: u32 = 6;
/// The document is gone, or was never there.
pub const FAILURE_MISSING: u32 = 7;
/// The document has another revision than the one that was expected.
pub const FAILURE_REVISION: u32 = 8;
/// Another document has this value in the unique field named by `code`.
pub const FAILURE_NOT_UNIQUE: u32 = 9;
/// The host lacks a service that a later module-api has.
pub const FAILURE_UNSUPPORTED: u32 = 10;
/// The question itself is wrong: an undeclared model, a field that is not indexed, a bad cursor.
pub const FAILURE_MISUSE: u32 = 11;
/// The host is stopping the instance; nothing new is begun.
pub const FAILURE_STOPPING: u32 = 12;
/// Another host has taken over the event or wake-up that is being handled; nothing was written.
pub const FAILURE_CLAIM_LOST: u32 = 13;
/// The host's policy is against it, such as an address in a private range.
pub const FAILURE_REFUSED: u32 = 14;
/// It did not end in time.
pub const FAILURE_TIMEOUT: u32 = 15;
/// The other side could not be reached, or broke off.
pub const FAILURE_UNREACHABLE: u32 = 16;

/// One route that the code offers.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawRoute {
    /// Upper case, such as `GET`.
    pub method: RString,
    /// Under the module's base, such as `/items/{id}`.
    pub path: RString,
}

/// One request, owned by the host, lent to the module until `release` is called. Everything that borrows
/// says `'static` but lives only until then; [`crate::Request`] gives it out under its own lifetime.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawRequest {
    /// Which handler: an index into what [`Root::routes`] returned.
    pub route: u32,
    /// Milliseconds since the Unix epoch at which the host gives up on the request.
    pub deadline_millis: i64,
    /// Upper case, such as `GET`.
    pub method: RStr<'static>,
    /// The whole path as sent, still percent-encoded.
    pub path: RStr<'static>,
    /// What follows `?`, still encoded, may be empty.
    pub query: RStr<'static>,
    /// The whole body, may be empty.
    pub body: RSlice<'static, u8>,
    /// A UUID.
    pub request_id: RStr<'static>,
    /// Who asks, as proved by a token; absent on an open endpoint without one.
    pub subject: ROption<RStr<'static>>,
    /// The host's own; the argument of the functions below.
    pub context: *const c_void,
    /// The value of a header by lower-case name; the first one where several were sent.
    pub header: extern "C" fn(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>>,
    /// The percent-decoded value of a path parameter.
    pub param: extern "C" fn(context: *const c_void, name: RStr<'_>) -> ROption<RStr<'static>>,
    /// The caller's role number `index`; absent past the last.
    pub role: extern "C" fn(context: *const c_void, index: usize) -> ROption<RStr<'static>>,
    /// Gives the request back to the host. Called exactly once, on any thread.
    pub release: extern "C" fn(context: *const c_void),
}

/// Proof of owning a lent [`RawRequest`]: dropping it gives the request back.
#[repr(transparent)]
#[derive(StableAbi)]
pub struct ReqPtr(*const RawRequest);

// SAFETY: the host makes RawRequests that are immutable and readable from any thread, and whose `release`
// may be called on any thread; this is the contract of `ReqPtr::new`.
unsafe impl Send for ReqPtr {}
// SAFETY: as above; a shared ReqPtr only ever reads.
unsafe impl Sync for ReqPtr {}

impl ReqPtr {
    /// Lends a request to a module.
    ///
    /// # Safety
    ///
    /// `raw` and all that it refers to stay valid, immutable and readable from any thread until its
    /// `release` was called with its `context`, which happens when the returned value is dropped.
    pub unsafe fn new(raw: *const RawRequest) -> Self {
        Self(raw)
    }

    /// The request, for as long as it is held.
    pub fn get(&self) -> &RawRequest {
        // SAFETY: `new` demands that the pointer stays valid until `release`, which only Drop calls.
        unsafe { &*self.0 }
    }
}

impl Drop for ReqPtr {
    fn drop(&mut self) {
        let (release, context) = (self.get().release, self.get().context);
        release(context);
    }
}

/// A header of an answer.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawHeader {
    pub name: RString,
    pub value: RString,
}

/// `RawReply::kind`: no content type is sent.
pub const CONTENT_NONE: u16 = 0;
/// `RawReply::kind`: `application/json`.
pub const CONTENT_JSON: u16 = 1;
/// `RawReply::kind`: `text/plain; charset=utf-8`.
pub const CONTENT_TEXT: u16 = 2;
/// `RawReply::kind`: `application/octet-stream`.
pub const CONTENT_BYTES: u16 = 3;

/// An answer: bytes, or a stream of bytes where `stream` is there.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawReply {
    pub status: u16,
    /// A `CONTENT_*` number; another content type is a header.
    pub kind: u16,
    pub headers: RVec<RawHeader>,
    pub body: RVec<u8>,
    pub stream: ROption<BodyBox>,
}

pub type RawOutcome = RResult<RawReply, RawFailure>;

/// What the first poll of a handler gave. The first poll happens inside the call: a handler that need not
/// wait costs one crossing and no future.
#[repr(C)]
#[derive(StableAbi)]
pub enum RawPoll<'a> {
    Ready(RawOutcome),
    Pending(BorrowingFfiFuture<'a, RawOutcome>),
}

/// The next piece of a streamed body.
#[repr(C)]
#[derive(StableAbi)]
pub enum RawChunk {
    Pending,
    End,
    Bytes(RVec<u8>),
    Failed(RawFailure),
}

/// A streamed body, implemented by the module.
#[sabi_trait]
pub trait RawBody: Send + 'static {
    /// Called by the host on any thread, never concurrently, never after `End` or `Failed`.
    #[sabi(last_prefix_field)]
    fn poll_chunk(&mut self, cx: &mut FfiContext<'_>) -> RawChunk;
}
pub type BodyBox = RawBody_TO<RBox<()>>;

/// One event for a subscriber.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawEvent {
    /// The same at each repetition of the event for this subscriber.
    pub id: RString,
    /// The module that published it.
    pub publisher: RString,
    pub name: RString,
    /// JSON.
    pub body: RVec<u8>,
    /// Milliseconds since the Unix epoch.
    pub published_at: i64,
    /// From 1.
    pub attempt: u32,
}

/// An instance, implemented by the module. Dropping it is guarded on the module's side.
#[sabi_trait]
pub trait RawInstance: Send + Sync + 'static {
    /// Begins a request and polls it once.
    fn call<'a>(&'a self, request: ReqPtr, cx: &mut FfiContext<'_>) -> RawPoll<'a>;

    /// Handles one event; an error means that it is delivered again.
    fn on_event<'a>(&'a self, event: RawEvent) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>>;

    /// Handles a wake-up that is due; an error means that it is repeated.
    fn on_wake<'a>(&'a self, key: RString) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>>;

    /// The tenant's settings for the module have changed.
    fn settings_changed<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>>;

    /// Whether the instance can do its work.
    fn health<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>>;

    /// Runs the author's cleanup; called once, before the instance is dropped.
    #[sabi(last_prefix_field)]
    fn cleanup<'a>(&'a self) -> BorrowingFfiFuture<'a, RResult<(), RawFailure>>;
}
pub type InstanceBox = RawInstance_TO<RBox<()>>;

/// A closure that the module hands to the host's threads, run once.
#[sabi_trait]
pub trait RawJob: Send + 'static {
    #[sabi(last_prefix_field)]
    fn run(&mut self) -> RResult<(), RawFailure>;
}
pub type JobBox = RawJob_TO<RBox<()>>;

/// An answer that may be there at once; a future is made only where it is not.
#[repr(C)]
#[derive(StableAbi)]
pub enum RawLater<T> {
    Ready(T),
    Pending(FfiFuture<T>),
}

pub const STORE_GET: u32 = 1;
pub const STORE_INSERT: u32 = 2;
pub const STORE_PUT: u32 = 3;
pub const STORE_DELETE: u32 = 4;
/// `body` is a JSON object: see [`crate::Query`]'s serialized form.
pub const STORE_FIND: u32 = 5;

/// A question to the tenant's and module's own collections.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct RawStoreOp {
    /// One of the `STORE_*` numbers.
    pub kind: u32,
    pub model: RString,
    /// The document's id; empty for `STORE_FIND`.
    pub id: RString,
    /// The expected revision for `STORE_PUT` and `STORE_DELETE`; 0 elsewhere.
    pub revision: u64,
    /// The document as JSON, or the query.
    pub body: RVec<u8>,
}

#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawDocument {
    pub id: RString,
    pub revision: u64,
    /// JSON; empty in the answers to writes.
    pub body: RVec<u8>,
}

#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawDocuments {
    pub documents: RVec<RawDocument>,
    /// Where the next page begins; absent on the last.
    pub next: ROption<RString>,
}

pub type RawStoreAnswer = RResult<RawDocuments, RawFailure>;

/// A request to another module.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct RawCall {
    pub module: RString,
    /// Upper case, such as `GET`.
    pub method: RString,
    /// Under the other module's base, a query may follow.
    pub path: RString,
    pub headers: RVec<RawHeader>,
    pub body: RVec<u8>,
    /// [`RawRequest::context`] of the request in whose name it is made; null for the module's own name.
    pub behalf: *const c_void,
}

/// A request to a host outside.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct RawFetch {
    pub method: RString,
    pub url: RString,
    pub headers: RVec<RawHeader>,
    pub body: RVec<u8>,
    /// Milliseconds; 0 for the host's own limit.
    pub timeout: u64,
}

/// The answer to a [`RawCall`] or [`RawFetch`].
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: RVec<RawHeader>,
    pub body: RVec<u8>,
}

/// Declares [`RawHost`] with the services that came after version 1.0's prefix; `#[sabi_trait]` itself can't
/// leave a method out by `cfg`.
macro_rules! raw_host {
    ($($later_services:tt)*) => {
        /// What a tenant's handle can ask of the host. Implemented by the host; grows at the end.
        #[sabi_trait]
        pub trait RawHost: Send + Sync + 'static {
            fn tenant_id(&self) -> RStr<'_>;
            /// The tenant's settings for this module as a JSON object.
            fn settings(&self) -> RString;
            /// 0 off, 1 on, 2 not declared and not set.
            fn flag(&self, name: RStr<'_>) -> u8;
            /// Milliseconds since the Unix epoch.
            fn now_millis(&self) -> i64;
            /// A UUID version 7.
            fn random_id(&self) -> RString;
            fn store(&self, op: RawStoreOp) -> RawLater<RawStoreAnswer>;
            /// Runs the job on a thread where it may block. The answer comes after the job was dropped.
            fn blocking(&self, job: JobBox) -> FfiFuture<RResult<(), RawFailure>>;
            /// Absent where an optional dependency is not there. `behalf` is read before this returns.
            fn call(&self, call: RawCall) -> FfiFuture<RResult<ROption<RawAnswer>, RawFailure>>;
            fn fetch(&self, fetch: RawFetch) -> FfiFuture<RResult<RawAnswer, RawFailure>>;
            /// Stores an event for its subscribers; `body` is JSON.
            fn publish(&self, name: RStr<'_>, body: RVec<u8>) -> FfiFuture<RResult<(), RawFailure>>;
            /// Sets or moves a wake-up to a time in milliseconds since the Unix epoch; absent takes it back.
            fn wake(&self, key: RStr<'_>, at: ROption<i64>) -> FfiFuture<RResult<(), RawFailure>>;
            #[sabi(last_prefix_field)]
            fn sleep(&self, millis: u64) -> FfiFuture<()>;
            $($later_services)*
        }
    };
}

#[cfg(feature = "__fixture-older")]
raw_host! {}

#[cfg(not(any(feature = "__fixture-older", feature = "__fixture-newer")))]
raw_host! {
    fn spawn(&self, task: FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        drop(task);
        RResult::RErr(unsupported("spawn", "1.0"))
    }
}

#[cfg(feature = "__fixture-newer")]
raw_host! {
    fn spawn(&self, task: FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        drop(task);
        RResult::RErr(unsupported("spawn", "1.0"))
    }
    fn beyond(&self) -> RResult<RString, RawFailure> {
        RResult::RErr(unsupported("beyond", "1.1"))
    }
}

pub type HostBox = RawHost_TO<RBox<()>>;

/// What a service answers on a host that lacks it.
pub fn unsupported(service: &str, since: &str) -> RawFailure {
    RawFailure {
        kind: FAILURE_UNSUPPORTED,
        status: 0,
        code: RString::from(service),
        message: RString::from(format!("the host lacks `{service}`, which came with module-api {since}")),
        place: RString::new(),
    }
}

pub type Initialized = FfiFuture<RResult<InstanceBox, RawFailure>>;

/// The root of a module: what the loader finds in the library. Grows at the end, each new field with
/// `#[sabi(missing_field(option))]`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RootRef)))]
pub struct Root {
    /// Installs the quiet panic hook and the tracing bridge; called once, before everything else.
    pub attach: extern "C" fn(LogBox),
    /// Takes the bridge down again; called once, when nothing of the module runs any more.
    pub detach: extern "C" fn(),
    /// The routes of the code, in the order of their numbers.
    pub routes: extern "C" fn() -> RResult<RVec<RawRoute>, RawFailure>,
    /// Makes an instance for the tenant of the handle.
    #[sabi(last_prefix_field)]
    pub initialize: extern "C" fn(HostBox) -> Initialized,
}

impl RootModule for RootRef {
    declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "module";
    const NAME: &'static str = "module";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
