//! Requests to a host, and what comes back.

use std::{net::SocketAddr, sync::OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::LONG;

type Pieces =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>>;
type Body = Either<Full<Bytes>, Pieces>;

/// One request, before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    in_pieces: bool,
}

/// What a host answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

fn client() -> &'static Client<HttpConnector, Body> {
    static CLIENT: OnceLock<Client<HttpConnector, Body>> = OnceLock::new();
    // A connection for each request: one that a dead host left in a pool would fail the next request.
    CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http())
}

impl Ask {
    /// A request to an address, without a tenant.
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { address, method, path, headers: Vec::new(), body: Vec::new(), in_pieces: false }
    }

    /// With a header more.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// By a developer, where the host takes their word.
    pub(crate) fn by(self, user: &str, roles: &str) -> Self {
        self.header("x-dev-user", user).header("x-dev-roles", roles)
    }

    /// With a token.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With JSON as the body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a body.
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// Sends the body in chunks, without saying how long it will be.
    pub(crate) fn in_pieces(mut self) -> Self {
        self.in_pieces = true;
        self
    }

    /// Sends it.
    ///
    /// # Panics
    ///
    /// Where there is no answer.
    pub(crate) fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it; the host may be gone.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(crate) fn try_send(self) -> Result<Answer, String> {
        let mut request =
            http::Request::builder().method(self.method.as_str()).uri(format!("http://{}{}", self.address, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = if self.in_pieces {
            let pieces: Vec<_> =
                self.body.chunks(64 * 1024).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
            Either::Right(StreamBody::new(futures_util::stream::iter(pieces)))
        } else {
            Either::Left(Full::from(self.body))
        };
        let request = request.body(body).map_err(|error| error.to_string())?;
        runtime().block_on(async {
            let answered = async {
                let response = client().request(request).await.map_err(|error| chain(&error))?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| chain(&error))?.to_bytes();
                Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
            };
            tokio::time::timeout(2 * LONG, answered).await.map_err(|_| "no answer in time".to_owned())?
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Answer {
    /// A header as text; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Each value of a header that was sent more than once.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap_or_default().to_owned()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that must have this status.
    ///
    /// # Panics
    ///
    /// Where it has another one.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Looks whether it is a good answer with this text.
    ///
    /// # Panics
    ///
    /// Where it is something else.
    pub(crate) fn expect_text(&self, text: &str) {
        assert_eq!((self.status, self.text().as_str()), (200, text));
    }

    /// Looks whether it is this refusal: status, code, the exact text, and all that every refusal has.
    ///
    /// # Panics
    ///
    /// Where it is something else.
    pub(crate) fn refuses(&self, status: u16, code: &str, text: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!((&body["code"], &body["message"]), (&code.into(), &text.into()), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!((&body["status"], &body["success"]), (&status.into(), &false.into()), "{body}");
        let id = self.header("x-request-id");
        assert_eq!(body["instance"], format!("urn:uuid:{id}"), "{body}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "`{member}` of {body}");
        }
    }
}
