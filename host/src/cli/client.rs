//! Asks a running host over HTTP.

use std::{cell::Cell, error::Error, io, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Uri, header, response::Parts, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::{
    args::{DEFAULT_URL, Remote},
    failure::{Failure, Refused},
    token,
};
use crate::identity::AdminToken;

/// How long a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long an answer may take: longer than opening, initialising and draining with their usual deadlines.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// The most bytes of an answer; a page of tenants has a thousandth of it.
const ANSWER_BYTES: usize = 256 << 20;

/// A body: whole, or in pieces as they are read.
type Sent = UnsyncBoxBody<Bytes, io::Error>;

fn whole(body: Bytes) -> Sent {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// A running host.
pub(super) struct Client {
    base: String,
    token: AdminToken,
    http: Http<HttpConnector, Sent>,
    runtime: Runtime,
    /// For how many seconds an answer may have been behind the store.
    behind: Cell<Option<u64>>,
}

impl Client {
    /// Finds the token and prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// A malformed address, or no token.
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        // An empty variable counts as absent, as it does for the configuration.
        let base = checked(if remote.url.is_empty() { DEFAULT_URL } else { &remote.url })?;
        let named = remote.token_file.as_deref().filter(|file| !file.as_os_str().is_empty());
        let token = token::find(named, data_folder())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WAIT));
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base, token, http, runtime, behind: Cell::default() })
    }

    /// Reads something.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None)
    }

    /// Sends a request, with a JSON body where there is one, and reads the JSON answer.
    ///
    /// # Errors
    ///
    /// The host's refusal, or that there is no host.
    pub(super) fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        self.write(method, path, None, body.map(|body| body.to_string()))
    }

    /// As [`Client::send`], with a JSON body as it stands, and perhaps the revision that is to be there.
    pub(super) fn write(
        &self,
        method: Method,
        path: &str,
        revision: Option<u64>,
        body: Option<String>,
    ) -> Result<Value, Failure> {
        let (_, body) = self.answer(method, path, revision, body)?;
        let read = serde_json::from_slice(&body);
        read.map_err(|error| self.foreign(format!("its answer is not JSON: {error}")))
    }

    /// Reads something as it was written, with the revision that it has.
    pub(super) fn text(&self, path: &str) -> Result<(String, String), Failure> {
        let (headers, body) = self.answer(Method::GET, path, None, None)?;
        let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let text = String::from_utf8(body.into());
        let text = text.map_err(|_| self.foreign("its answer is not UTF-8".to_owned()))?;
        Ok((tag.trim_matches('"').to_owned(), text))
    }

    /// Reads an answer of any length, piece by piece, however long it takes.
    ///
    /// # Errors
    ///
    /// As [`Client::send`], and [`Failure::CutOff`] where the answer had begun.
    pub(super) fn download(&self, path: &str, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Failure> {
        let request = self.request(Method::GET, path).body(whole(Bytes::new()));
        let request = request.map_err(|error| self.foreign(error.to_string()))?;
        let unreachable = |why: String| Failure::Unreachable { url: self.base.clone(), why };
        self.runtime.block_on(async {
            let response = self.http.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
            let (parts, mut body) = response.into_parts();
            self.look_at(&parts.headers);
            if !parts.status.is_success() {
                let body = Limited::new(body, ANSWER_BYTES).collect().await;
                let body = body.map_err(|error| unreachable(format!("the answer broke off: {error}")))?;
                return Err(self.refused(&parts, &body.to_bytes()));
            }
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Failure::CutOff { why: innermost(&error) })?;
                if let Ok(piece) = frame.into_data() {
                    take(&piece)?;
                }
            }
            Ok(())
        })
    }

    /// Sends a body of any length, piece by piece, and reads the JSON answer, however long it takes.
    pub(super) fn upload(
        &self,
        path: &str,
        pieces: impl Iterator<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Value, Failure> {
        let body = StreamBody::new(stream::iter(pieces.map(|piece| piece.map(Frame::data)))).boxed_unsync();
        let request = self.request(Method::POST, path).body(body);
        let request = request.map_err(|error| self.foreign(error.to_string()))?;
        let (parts, body) = self.runtime.block_on(self.exchange_at_leisure(request))?;
        if !parts.status.is_success() {
            return Err(self.refused(&parts, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.foreign(format!("its answer is not JSON: {error}")))
    }

    /// For how many seconds what the host answered may have been behind the store; `None` where it was not.
    pub(super) fn seconds_behind(&self) -> Option<u64> {
        self.behind.get()
    }

    fn look_at(&self, headers: &HeaderMap) {
        let seconds = headers.get("x-tenon-stale").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        self.behind.set(self.behind.get().max(seconds));
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
            .header(header::ACCEPT, "application/json")
    }

    fn refused(&self, parts: &Parts, body: &Bytes) -> Failure {
        let status = parts.status.as_u16();
        let refused = serde_json::from_slice(body).ok().and_then(|body| Refused::read(status, &body));
        refused.map_or_else(
            || self.foreign(format!("it answered {status} without a code")),
            |refused| Failure::Refused(Box::new(refused)),
        )
    }

    fn foreign(&self, why: String) -> Failure {
        Failure::Foreign { url: self.base.clone(), why }
    }

    fn answer(
        &self,
        method: Method,
        path: &str,
        revision: Option<u64>,
        body: Option<String>,
    ) -> Result<(HeaderMap, Bytes), Failure> {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(revision) = revision {
            request = request.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        let body = Bytes::from(body.unwrap_or_default());
        let request = request.body(whole(body)).map_err(|error| self.foreign(error.to_string()))?;
        let (parts, body) = self.runtime.block_on(self.exchange(request))?;
        if !parts.status.is_success() {
            return Err(self.refused(&parts, &body));
        }
        Ok((parts.headers, body))
    }

    async fn exchange(&self, request: Request<Sent>) -> Result<(Parts, Bytes), Failure> {
        match tokio::time::timeout(ANSWER_WAIT, self.exchange_at_leisure(request)).await {
            Ok(exchanged) => exchanged,
            Err(_) => {
                let why = format!("no answer within {} s", ANSWER_WAIT.as_secs());
                Err(Failure::Unreachable { url: self.base.clone(), why })
            }
        }
    }

    async fn exchange_at_leisure(&self, request: Request<Sent>) -> Result<(Parts, Bytes), Failure> {
        let unreachable = |why: String| Failure::Unreachable { url: self.base.clone(), why };
        let response = self.http.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
        let (parts, body) = response.into_parts();
        self.look_at(&parts.headers);
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(format!("the answer broke off: {error}")))?;
        Ok((parts, body.to_bytes()))
    }

    /// Reads an answer for showing it.
    pub(super) fn view<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, Failure> {
        T::deserialize(answer).map_err(|error| Failure::Foreign { url: self.base.clone(), why: error.to_string() })
    }
}

fn data_folder() -> Option<std::path::PathBuf> {
    std::env::var_os("TENON_DATA").filter(|folder| !folder.is_empty()).map(Into::into)
}

/// The address without a slash at its end.
fn checked(url: &str) -> Result<String, Failure> {
    let refuse = |why| Failure::Url { url: url.to_owned(), why };
    let parsed: Uri = url.parse().map_err(|_| refuse("`http://ADDRESS:PORT` is needed"))?;
    match parsed.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => {
            return Err(refuse("the operators' listener speaks plain http; keep it on loopback or behind a tunnel"));
        }
        _ => return Err(refuse("`http://ADDRESS:PORT` is needed")),
    }
    if parsed.query().is_some() {
        return Err(refuse("it must not have a query"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The last error of a chain says what is wrong; those before it say where it was met.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// All but what RFC 3986, section 2.3, calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
