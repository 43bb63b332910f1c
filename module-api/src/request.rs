//! The request as a handler sees it.

use std::{borrow::Cow, ffi::c_void, fmt};

use abi_stable::std_types::RStr;
use serde::de::DeserializeOwned;

use crate::{
    abi::{RawRequest, ReqPtr},
    error::{Error, Result},
};

/// One request. Owned by the handler; may be moved into a spawned task. What it gives out borrows from it.
///
/// Authentication, roles, features and limits were checked by the host before the handler began.
pub struct Request {
    raw: ReqPtr,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id())
            .field("method", &self.method())
            .field("path", &self.path())
            .finish()
    }
}

impl Request {
    pub(crate) fn new(raw: ReqPtr) -> Self {
        Self { raw }
    }

    fn raw(&self) -> &RawRequest {
        self.raw.get()
    }

    /// What the host knows the request by.
    pub(crate) fn context(&self) -> *const c_void {
        self.raw().context
    }

    pub(crate) fn route(&self) -> usize {
        self.raw().route as usize
    }

    /// The request's id, a UUID; the same as in the host's log and in `X-Request-Id`.
    pub fn id(&self) -> &str {
        shorten(self.raw().request_id)
    }

    /// Upper case, such as `GET`.
    pub fn method(&self) -> &str {
        shorten(self.raw().method)
    }

    /// The whole path as sent, still percent-encoded.
    pub fn path(&self) -> &str {
        shorten(self.raw().path)
    }

    /// A parameter of the path, percent-decoded; empty where the route has no such parameter.
    pub fn param(&self, name: &str) -> &str {
        let raw = self.raw();
        (raw.param)(raw.context, RStr::from_str(name)).map(shorten).unwrap_or("")
    }

    /// The value of a header, by lower-case name; the first where several were sent. `None` where it is
    /// absent or no UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let raw = self.raw();
        (raw.header)(raw.context, RStr::from_str(name)).map(shorten).into_option()
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The query parameters in the order sent, decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(shorten(self.raw().query).as_bytes())
    }

    /// The whole body, may be empty.
    pub fn body(&self) -> &[u8] {
        self.raw().body.as_slice()
    }

    /// The body as UTF-8 text.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID where it is no UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.body()).map_err(|_| Error::invalid("the body is not UTF-8 text"))
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with the reason and its place where it can't be read as a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.body()).map_err(|error| Error::invalid(format!("the body is not valid: {error}")))
    }

    /// Who asks, as proved by a token; `None` on an open endpoint without one.
    pub fn user(&self) -> Option<&str> {
        self.raw().subject.map(shorten).into_option()
    }

    /// The caller's roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let raw = self.raw();
        (0..).map_while(move |index| (raw.role)(raw.context, index).map(shorten).into_option())
    }

    /// Whether the caller has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|has| has == role)
    }

    /// When the host gives up on the request, in milliseconds since the Unix epoch.
    pub fn deadline_millis(&self) -> i64 {
        self.raw().deadline_millis
    }
}

/// Ties what the host lent to a borrow of the request: the caller picks the shorter lifetime.
fn shorten<'a>(text: RStr<'static>) -> &'a str {
    text.as_str()
}
