//! Requests that a module makes: to modules it depends on, in process, and to hosts outside.

use std::{ffi::c_void, fmt, sync::Arc, time::Duration};

use abi_stable::std_types::{ROption, RString, RVec};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    abi::{HostBox, RawAnswer, RawCall, RawFetch, RawHeader},
    error::{Error, Result, ServiceError},
    request::Request,
};

#[derive(Clone, Default)]
struct Parts {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    broken: Option<String>,
}

impl Parts {
    fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(body) => {
                self.body = body;
                self.header("content-type", "application/json");
            }
            Err(error) => self.broken = Some(format!("the body can't be written as JSON: {error}")),
        }
    }

    fn take(self) -> Result<(RVec<RawHeader>, RVec<u8>), ServiceError> {
        if let Some(why) = self.broken {
            return Err(ServiceError::Misuse(why));
        }
        let headers = self.headers.into_iter();
        let headers = headers.map(|(name, value)| RawHeader { name: RString::from(name), value: RString::from(value) });
        Ok((headers.collect(), RVec::from(self.body)))
    }
}

/// A request to a module that this one depends on; it is sent by [`ModuleCall::get`] and its like. Paths stand under
/// the other module's base, as in its manifest: `/employees/7`; a query may follow.
///
/// The other module's guards apply: authentication, roles and feature are looked at as if the caller had sent the
/// request. Its answer may be an error of its own; look at [`Answer::status`].
#[must_use = "a call is sent by `get`, `post` and their like"]
pub struct ModuleCall<'a> {
    host: Arc<HostBox>,
    module: String,
    behalf: Option<&'a Request>,
    parts: Parts,
}

impl fmt::Debug for ModuleCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleCall({})", self.module)
    }
}

impl<'a> ModuleCall<'a> {
    pub(crate) fn new(host: Arc<HostBox>, module: &str, behalf: Option<&'a Request>) -> Self {
        Self { host, module: module.to_owned(), behalf, parts: Parts::default() }
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.parts.header(name, value);
        self
    }

    /// GET. See [`ModuleCall::send`].
    pub async fn get(self, path: &str) -> Result<Option<Answer>, ServiceError> {
        self.send("GET", path).await
    }

    /// POST with JSON. See [`ModuleCall::send`].
    pub async fn post(mut self, path: &str, body: &(impl Serialize + Sync)) -> Result<Option<Answer>, ServiceError> {
        self.parts.json(body);
        self.send("POST", path).await
    }

    /// PUT with JSON. See [`ModuleCall::send`].
    pub async fn put(mut self, path: &str, body: &(impl Serialize + Sync)) -> Result<Option<Answer>, ServiceError> {
        self.parts.json(body);
        self.send("PUT", path).await
    }

    /// DELETE. See [`ModuleCall::send`].
    pub async fn delete(self, path: &str) -> Result<Option<Answer>, ServiceError> {
        self.send("DELETE", path).await
    }

    /// Sends the call and waits for the whole answer, at most until the deadline of the request in whose name it is
    /// made, and of the other module. `None` where the module is an optional dependency that the tenant has not
    /// enabled.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Misuse`] for a module that the manifest does not name as a dependency, more than 8 calls
    /// inside each other, or a request that was not made to this instance; [`ServiceError::Timeout`];
    /// [`ServiceError::Unreachable`] where a required module can't be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the other module's handler.
    pub async fn send(self, method: &str, path: &str) -> Result<Option<Answer>, ServiceError> {
        let sent = {
            let (headers, body) = self.parts.take()?;
            self.host.call(RawCall {
                module: RString::from(self.module),
                method: RString::from(method.to_ascii_uppercase()),
                path: RString::from(path),
                headers,
                body,
                behalf: self.behalf.map_or(std::ptr::null::<c_void>(), Request::context),
            })
        };
        match sent.await.into_result()? {
            ROption::RSome(raw) => Ok(Some(Answer { raw })),
            ROption::RNone => Ok(None),
        }
    }
}

/// A request to a host that the manifest names under `outbound`.
#[must_use = "a request is sent by `send`"]
pub struct Fetch {
    host: Arc<HostBox>,
    method: String,
    url: String,
    timeout: Duration,
    parts: Parts,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetch({} {})", self.method, self.url)
    }
}

impl Fetch {
    pub(crate) fn new(host: Arc<HostBox>, method: &str, url: &str) -> Self {
        Self {
            host,
            method: method.to_ascii_uppercase(),
            url: url.to_owned(),
            timeout: Duration::ZERO,
            parts: Parts::default(),
        }
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.parts.header(name, value);
        self
    }

    /// With a JSON body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.parts.json(body);
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body = body.into();
        self
    }

    /// With less time than the host allows.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request and waits for the whole answer. Redirects are followed only to hosts that are named too.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] for a host that the manifest does not name, or whose address is in a private range
    /// that the operator has not allowed; [`ServiceError::Timeout`]; [`ServiceError::Unreachable`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the request off; the other side may have carried it out.
    pub async fn send(self) -> Result<Answer, ServiceError> {
        let sent = {
            let (headers, body) = self.parts.take()?;
            self.host.fetch(RawFetch {
                method: RString::from(self.method),
                url: RString::from(self.url),
                headers,
                body,
                timeout: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            })
        };
        Ok(Answer { raw: sent.await.into_result()? })
    }
}

/// What came back, whole.
pub struct Answer {
    raw: RawAnswer,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.raw.status, self.raw.body.len())
    }
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.raw.status
    }

    /// Whether the status is one of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.raw.status)
    }

    /// The first value of a header, by lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.raw.headers.iter().find(|header| header.name.as_str() == name).map(|header| header.value.as_str())
    }

    /// The whole body.
    pub fn body(&self) -> &[u8] {
        &self.raw.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Where it can't be read as a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.raw.body)
            .map_err(|error| Error::internal(format!("the answer ({}) can't be read: {error}", self.raw.status)))
    }

    /// The member `code` of an error's body, such as `hr-core:employee-not-found`.
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.raw.body).ok()?;
        body.get("code")?.as_str().map(str::to_owned)
    }
}
