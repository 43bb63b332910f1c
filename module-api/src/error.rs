//! What a handler may fail with, and how it crosses to the host.

use std::{any::Any, error::Error as StdError, fmt};

use abi_stable::std_types::RString;

use crate::abi::{
    FAILURE_CLAIM_LOST, FAILURE_EXISTS, FAILURE_FAULT, FAILURE_INTERNAL, FAILURE_INVALID, FAILURE_MISSING,
    FAILURE_MISUSE, FAILURE_NOT_UNIQUE, FAILURE_REFUSED, FAILURE_REVISION, FAILURE_STOPPING, FAILURE_STORE_UNAVAILABLE,
    FAILURE_TIMEOUT, FAILURE_UNREACHABLE, FAILURE_UNSUPPORTED, RawFailure,
};

/// The result of handlers and hooks.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that the author declares: the client sees it as `MODULE:CODE` with its status and message.
///
/// ```
/// # use module_api::{Fault, Result};
/// fn slot_is_free(free: bool) -> Result<()> {
///     if free { Ok(()) } else { Err(Fault::conflict("overlap", "the slot is taken").into()) }
/// }
/// assert!(slot_is_free(false).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    status: u16,
    code: String,
    message: String,
}

impl Fault {
    /// A fault with any status from 400 to 499; another status is sent as 400.
    ///
    /// `code` is kebab-case, without the module's name; `message` is shown to the client.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        let status = if (400..500).contains(&status) { status } else { 400 };
        Self { status, code: code.into(), message: message.into() }
    }

    /// 400: what was sent can't be used.
    pub fn bad_request(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// 404: the thing asked for is not there.
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(404, code, message)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(409, code, message)
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The code, without the module's name.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Why a collection did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// A document with this id is there already.
    Exists,
    /// The document is gone, or was never there.
    Missing,
    /// The document has another revision than expected: somebody else wrote it in between.
    Revision,
    /// Another document of the tenant has the value of this unique field.
    NotUnique {
        /// The field as declared in `module.toml`.
        field: String,
    },
    /// The store is away. Sent to the client as STORE_UNAVAILABLE where it isn't handled.
    Unavailable,
    /// Another host has taken over the event or wake-up in whose handler this was written; nothing was.
    ClaimLost,
    /// The question is wrong: an undeclared model, a field that is not indexed, a foreign cursor.
    Misuse(String),
    /// Anything else, such as a stored document that is not of the collection's type.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("a document with this id exists already"),
            Self::Missing => f.write_str("the document does not exist"),
            Self::Revision => f.write_str("the document has another revision"),
            Self::NotUnique { field } => write!(f, "another document has this value in unique field `{field}`"),
            Self::Unavailable => f.write_str("the store is unavailable"),
            Self::ClaimLost => f.write_str("another host has taken over what is being handled"),
            Self::Misuse(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

impl StdError for StoreError {}

/// Why a service of the host failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceError {
    /// The host is older than this service.
    Unsupported(String),
    /// The instance is being stopped; nothing new is begun.
    Stopping,
    /// The closure given to `blocking` panicked.
    Panicked(String),
    /// The question is wrong: a dependency, an event or a host that `module.toml` does not name.
    Misuse(String),
    /// The host's policy is against it.
    Refused(String),
    /// It did not end in time.
    Timeout(String),
    /// The other side could not be reached.
    Unreachable(String),
    /// The store is away. Sent to the client as STORE_UNAVAILABLE where it isn't handled.
    StoreUnavailable,
    /// Another host has taken over the event or wake-up in whose handler this was asked; nothing was done.
    ClaimLost,
    /// Anything else.
    Other(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the instance is being stopped"),
            Self::Panicked(text) => write!(f, "the closure panicked: {text}"),
            Self::StoreUnavailable => f.write_str("the store is unavailable"),
            Self::ClaimLost => f.write_str("another host has taken over what is being handled"),
            Self::Unsupported(text)
            | Self::Misuse(text)
            | Self::Refused(text)
            | Self::Timeout(text)
            | Self::Unreachable(text)
            | Self::Other(text) => f.write_str(text),
        }
    }
}

impl StdError for ServiceError {}

/// What a handler or hook fails with. Made from a [`Fault`], or by `?` from any error, which the client then
/// sees as INTERNAL with neutral text and the log in full.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Fault(Fault),
    Invalid(String),
    Internal { kind: u32, chain: String },
}

impl Error {
    /// The request could not be read: sent as REQUEST_INVALID with this text.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self(Kind::Invalid(message.into()))
    }

    /// Something that is not the client's doing: INTERNAL, the text goes to the log only.
    pub fn internal(message: impl Into<String>) -> Self {
        Self(Kind::Internal { kind: FAILURE_INTERNAL, chain: message.into() })
    }

    /// The fault, where it is one.
    pub fn as_fault(&self) -> Option<&Fault> {
        if let Kind::Fault(fault) = &self.0 { Some(fault) } else { None }
    }

    pub(crate) fn into_raw(self) -> RawFailure {
        let (kind, status, code, message) = match self.0 {
            Kind::Fault(fault) => (FAILURE_FAULT, fault.status, fault.code, fault.message),
            Kind::Invalid(message) => (FAILURE_INVALID, 400, String::new(), message),
            Kind::Internal { kind, chain } => (kind, 0, String::new(), chain),
        };
        RawFailure { kind, status, code: RString::from(code), message: RString::from(message), place: RString::new() }
    }
}

/// A log's view of an error: for tests and for the author's own logging.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fault(fault) => write!(f, "{} ({}): {}", fault.code, fault.status, fault.message),
            Kind::Invalid(text) => f.write_str(text),
            Kind::Internal { chain, .. } => f.write_str(chain),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Kind::Fault(fault))
    }
}

// `Error` itself is no `std::error::Error`, or this would overlap with `From<T> for T`.
impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        let kind = match (any.downcast_ref::<StoreError>(), any.downcast_ref::<ServiceError>()) {
            (Some(StoreError::Unavailable), _) | (_, Some(ServiceError::StoreUnavailable)) => FAILURE_STORE_UNAVAILABLE,
            (Some(StoreError::ClaimLost), _) | (_, Some(ServiceError::ClaimLost)) => FAILURE_CLAIM_LOST,
            (_, Some(ServiceError::Stopping)) => FAILURE_STOPPING,
            (_, Some(ServiceError::Unsupported(_))) => FAILURE_UNSUPPORTED,
            _ => FAILURE_INTERNAL,
        };
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(Kind::Internal { kind, chain })
    }
}

pub(crate) fn internal(message: &str) -> RawFailure {
    Error::internal(message).into_raw()
}

impl From<RawFailure> for StoreError {
    fn from(raw: RawFailure) -> Self {
        match raw.kind {
            FAILURE_EXISTS => Self::Exists,
            FAILURE_MISSING => Self::Missing,
            FAILURE_REVISION => Self::Revision,
            FAILURE_NOT_UNIQUE => Self::NotUnique { field: raw.code.into_string() },
            FAILURE_STORE_UNAVAILABLE => Self::Unavailable,
            FAILURE_CLAIM_LOST => Self::ClaimLost,
            FAILURE_MISUSE => Self::Misuse(raw.message.into_string()),
            _ => Self::Other(raw.message.into_string()),
        }
    }
}

impl From<RawFailure> for ServiceError {
    fn from(raw: RawFailure) -> Self {
        match raw.kind {
            FAILURE_UNSUPPORTED => Self::Unsupported(raw.message.into_string()),
            FAILURE_STOPPING => Self::Stopping,
            FAILURE_MISUSE => Self::Misuse(raw.message.into_string()),
            FAILURE_REFUSED => Self::Refused(raw.message.into_string()),
            FAILURE_TIMEOUT => Self::Timeout(raw.message.into_string()),
            FAILURE_UNREACHABLE => Self::Unreachable(raw.message.into_string()),
            FAILURE_STORE_UNAVAILABLE => Self::StoreUnavailable,
            FAILURE_CLAIM_LOST => Self::ClaimLost,
            crate::abi::FAILURE_PANIC => Self::Panicked(format!("{} at {}", raw.message, raw.place)),
            _ => Self::Other(raw.message.into_string()),
        }
    }
}
