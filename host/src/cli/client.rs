//! Asks a running host over HTTP.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
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

/// A running host.
pub(super) struct Client {
    base: String,
    token: AdminToken,
    http: Http<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
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
        Ok(Self { base, token, http, runtime })
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
        let foreign = |why: String| Failure::Foreign { url: self.base.clone(), why };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
            .header(header::ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| foreign(error.to_string()))?;
        let (status, body) = self.runtime.block_on(self.exchange(request))?;
        let read: Result<Value, _> = serde_json::from_slice(&body);
        if !(200..300).contains(&status) {
            let refused = read.ok().and_then(|body| Refused::read(status, &body));
            return Err(
                refused.map_or_else(|| foreign(format!("it answered {status} without a code")), Failure::Refused)
            );
        }
        read.map_err(|error| foreign(format!("its answer is not JSON: {error}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), Failure> {
        let unreachable = |why: String| Failure::Unreachable { url: self.base.clone(), why };
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| unreachable(format!("the answer broke off: {error}")))?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(ANSWER_WAIT, exchange).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(unreachable(format!("no answer within {} s", ANSWER_WAIT.as_secs()))),
        }
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
