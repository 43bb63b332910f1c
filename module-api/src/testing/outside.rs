//! Hosts outside in a test: answers to the module's requests, judged by the rules of a host before they are asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Uri, header};
use serde::de::DeserializeOwned;

use crate::{
    Module,
    abi::{FAILURE_MISUSE, FAILURE_REFUSED, FAILURE_UNREACHABLE, RawFailure, RawFetch, RawHeader},
};

use super::{
    TestAnswer, TestHost,
    answer::{Answerer, answerer},
    executor::lock,
    store::failure,
    world::World,
};

/// Headers that say where a request goes, or how a connection is to be treated: the host's to say.
const NOT_FROM_MODULES: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A request of the module under test to a host outside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutsideRequest {
    /// As the manifest names it, such as `api.example.com:443`.
    pub host: String,
    /// Upper case, such as `GET`.
    pub method: String,
    /// Without the query, such as `/v1/rates`.
    pub path: String,
    /// What follows `?`, still encoded, may be empty.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// `None` where the module leaves it to the host.
    pub timeout: Option<Duration>,
}

impl OutsideRequest {
    /// Method and path, as `GET /v1/rates`: what most tests tell requests apart by.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The value of a header, by name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    ///
    /// Where it is no `T`; the request is named.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let read = serde_json::from_slice(&self.body);
        read.unwrap_or_else(|error| panic!("the body of {} to {} can't be read: {error}", self.line(), self.host))
    }
}

/// The hosts outside, by `HOST:PORT`.
pub(super) type Outside = BTreeMap<String, Answerer<OutsideRequest>>;

/// Hosts outside.
impl<M: Module> TestHost<M> {
    /// With a host outside, as `module.toml` names it; the closure answers. What it answers is what a redirect led to.
    /// Without one, a host that is named can't be reached. Nothing is sent anywhere.
    ///
    /// A closure that panics, as by an assertion, fails the test when the module has ended its work.
    ///
    /// # Panics
    ///
    /// Where `module.toml` does not list the host under `outbound`.
    #[must_use]
    #[track_caller]
    pub fn outside(self, host: &str, answer: impl FnMut(&OutsideRequest) -> TestAnswer + Send + 'static) -> Self {
        self.set_outside(host, answer);
        self
    }

    /// As [`TestHost::outside`], while the instance lives.
    ///
    /// # Panics
    ///
    /// As [`TestHost::outside`].
    #[track_caller]
    pub fn set_outside(&self, host: &str, answer: impl FnMut(&OutsideRequest) -> TestAnswer + Send + 'static) {
        let listed = self.world.manifest.outbound.iter().any(|listed| listed == host);
        assert!(listed, "module.toml does not list `{host}` under `outbound`");
        lock(&self.world.outside).insert(host.to_owned(), answerer(answer));
    }
}

/// Who answers a request, and what they are asked.
pub(super) fn read(world: &World, fetch: RawFetch) -> Result<(Answerer<OutsideRequest>, OutsideRequest), RawFailure> {
    let uri: Uri = fetch.url.parse().or_else(|error| misuse(format!("the URL can't be read: {error}")))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return misuse("the URL can't be read: it has no scheme or no host".to_owned());
    };
    if authority.as_str().contains('@') {
        return misuse("credentials in the URL are not sent; use the header `authorization`".to_owned());
    }
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        other => return misuse(format!("the URL's scheme must be `https` or `http`, not `{other}`")),
    };
    let host = format!("{}:{}", authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(usual));
    if !world.manifest.outbound.contains(&host) {
        return Err(failure(FAILURE_REFUSED, format!("`{host}` is not listed under `outbound` in the manifest")));
    }
    let method = match fetch.method.parse::<Method>() {
        Ok(Method::CONNECT | Method::TRACE) => {
            return misuse(format!("method {} is not sent for modules", fetch.method));
        }
        Ok(method) => method.to_string(),
        Err(_) => return misuse(format!("`{}` is no method", fetch.method)),
    };
    let headers = read_headers(&fetch.headers)?;
    let Some(answerer) = lock(&world.outside).get(&host).map(Arc::clone) else {
        let text = format!("`{host}` can't be reached; a test gives it by `TestHost::outside`");
        return Err(failure(FAILURE_UNREACHABLE, text));
    };
    let request = OutsideRequest {
        method,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: fetch.body.into_vec(),
        timeout: (fetch.timeout != 0).then(|| Duration::from_millis(fetch.timeout)),
        host,
    };
    Ok((answerer, request))
}

fn misuse<T>(text: String) -> Result<T, RawFailure> {
    Err(failure(FAILURE_MISUSE, text))
}

fn read_headers(given: &[RawHeader]) -> Result<Vec<(String, String)>, RawFailure> {
    let mut headers = Vec::new();
    for RawHeader { name, value } in given {
        let (Ok(name), Ok(_)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return misuse(format!("the header `{}` can't be sent", name.escape_debug()));
        };
        if NOT_FROM_MODULES.contains(&name) || name.as_str().starts_with("proxy-") {
            return misuse(format!("the header `{name}` is the host's to say; leave it out"));
        }
        headers.push((name.to_string(), value.as_str().to_owned()));
    }
    Ok(headers)
}
