//! What a handler answers.

use std::fmt;

use abi_stable::std_types::{ROption, RString, RVec};
use futures_core::Stream;
use serde::Serialize;

use crate::{
    abi::{CONTENT_BYTES, CONTENT_JSON, CONTENT_NONE, CONTENT_TEXT, RawHeader, RawReply},
    body::BodyStream,
    error::{Error, Result},
};

/// An answer: a status, headers, and bytes or a stream of bytes.
#[derive(Debug)]
pub struct Response {
    status: u16,
    kind: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    Bytes(Vec<u8>),
    Stream(BodyStream),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

impl Response {
    fn of_bytes(status: u16, kind: u16, bytes: Vec<u8>) -> Self {
        Self { status, kind, headers: Vec::new(), body: Body::Bytes(bytes) }
    }

    /// 200 with JSON.
    ///
    /// # Errors
    ///
    /// Where the value can't be written as JSON, such as a map whose keys are no strings.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(value).map_err(Error::from)?;
        Ok(Self::of_bytes(200, CONTENT_JSON, bytes))
    }

    /// 201 with JSON and a `Location` header.
    ///
    /// # Errors
    ///
    /// As [`Response::json`].
    pub fn created(location: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        Ok(Self::json(value)?.with_status(201).with_header("location", location))
    }

    /// 204 without a body.
    pub fn no_content() -> Self {
        Self::of_bytes(204, CONTENT_NONE, Vec::new())
    }

    /// 200 with UTF-8 text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of_bytes(200, CONTENT_TEXT, text.into().into_bytes())
    }

    /// 200 with bytes, as `application/octet-stream` unless a `content-type` header is set.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of_bytes(200, CONTENT_BYTES, bytes.into())
    }

    /// 200 with a body that is sent piece by piece. The instance stays until the last piece was sent.
    pub fn stream(pieces: impl Stream<Item = Result<Vec<u8>>> + Send + 'static) -> Self {
        let body = Body::Stream(BodyStream::new(pieces));
        Self { status: 200, kind: CONTENT_BYTES, headers: Vec::new(), body }
    }

    /// With another status, 200 to 599; one outside is sent as 500.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a header more. `content-type` replaces the one that the kind of body implies. Headers that
    /// describe the connection, and those that the host sets itself, are dropped by the host.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into().to_ascii_lowercase();
        if name == "content-type" {
            self.kind = CONTENT_NONE;
        }
        self.headers.push((name, value.into()));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body where it is bytes; `None` where it is a stream.
    pub fn body(&self) -> Option<&[u8]> {
        if let Body::Bytes(bytes) = &self.body { Some(bytes) } else { None }
    }

    pub(crate) fn into_raw(self) -> RawReply {
        let headers: RVec<RawHeader> = self
            .headers
            .into_iter()
            .map(|(name, value)| RawHeader { name: RString::from(name), value: RString::from(value) })
            .collect();
        let (body, stream) = match self.body {
            Body::Bytes(bytes) => (RVec::from(bytes), ROption::RNone),
            Body::Stream(stream) => (RVec::new(), ROption::RSome(stream.into_raw())),
        };
        RawReply { status: self.status, kind: self.kind, headers, body, stream }
    }
}

/// JSON with status 200.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be sent as an answer",
    note = "return `Response`, `Json<T>`, `()`, or a `Result` of one of them"
)]
pub trait IntoResponse {
    /// Turns the value into an answer.
    ///
    /// # Errors
    ///
    /// Whatever the handler failed with, or what could not be written as JSON.
    fn into_response(self) -> Result<Response>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response> {
        Ok(self)
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Result<Response> {
        Ok(Response::no_content())
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Result<Response> {
        Response::json(&self.0)
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Result<Response> {
        self.map_err(Into::into)?.into_response()
    }
}
