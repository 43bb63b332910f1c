//! What a module asked for, checked before anything is sent: the URL, the method, the headers. Pure.

use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;

use super::addresses::AddressRules;
use crate::{
    loader::{Failure, FailureKind, Fetch},
    manifest::Outbound,
};

/// Headers that say where a request goes, or how a connection is to be treated: the host's to say.
const NOT_FROM_MODULES: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Where a module may go.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// What its manifest names.
    pub(super) named: &'a [Outbound],
    /// What the operator permits.
    pub(super) rules: &'a AddressRules,
}

/// A request that may be sent.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Wanted {
    /// Reads what a module asked for.
    pub(super) fn read(fetch: Fetch, bounds: Bounds<'_>) -> Result<Self, Failure> {
        let misuse = |text: String| Failure::new(FailureKind::Misuse, text);
        let url: Url = fetch.url.parse().map_err(|error| misuse(format!("the URL can't be read: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(misuse("credentials in the URL are not sent; use the header `authorization`".to_owned()));
        }
        bounds.check(&url)?;
        let method: Method = fetch.method.parse().map_err(|_| misuse(format!("`{}` is no method", fetch.method)))?;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(misuse(format!("method {method} is not sent for modules")));
        }
        Ok(Self { method, url, headers: read_headers(&fetch.headers)?, body: fetch.body.into() })
    }
}

impl Bounds<'_> {
    /// Whether a URL leads to where the module may go; the addresses of a name are checked when it connects.
    pub(super) fn check(self, url: &Url) -> Result<(), Failure> {
        let misuse = |text: String| Failure::new(FailureKind::Misuse, text);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(misuse(format!("the URL's scheme must be `https` or `http`, not `{}`", url.scheme())));
        }
        // Every URL of these schemes has a host, and a port that is said or usual.
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(misuse("the URL has no host".to_owned()));
        };
        if !self.named.iter().any(|named| is_same_host(&named.host, host) && named.port == port) {
            let text = format!("`{host}:{port}` is not listed under `outbound` in the manifest");
            return Err(Failure::new(FailureKind::Refused, text));
        }
        // The client looks up names only: an address must be checked here.
        match address_of(host) {
            Some(address) if !self.rules.permit(address) => Err(inside(host, port)),
            _ => Ok(()),
        }
    }
}

/// The refusal of an address, without telling which it is: the text may reach a tenant's client.
pub(super) fn inside(host: &str, port: u16) -> Failure {
    let text = format!(
        "`{host}:{port}` has no address that modules may call: it is not public, and `[outbound] allow` in the host's \
         configuration does not list it"
    );
    Failure::new(FailureKind::Refused, text)
}

/// Hosts as a URL has them, in lower case, an IPv6 address in brackets. The manifest may write the same address in
/// another way.
fn is_same_host(named: &str, host: &str) -> bool {
    named == host || matches!((in_brackets(named), in_brackets(host)), (Some(one), Some(other)) if one == other)
}

fn address_of(host: &str) -> Option<IpAddr> {
    in_brackets(host).map(IpAddr::V6).or_else(|| host.parse().ok())
}

fn in_brackets(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn read_headers(given: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let misuse = |text: String| Failure::new(FailureKind::Misuse, text);
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return Err(misuse(format!("the header `{}` can't be sent", name.escape_debug())));
        };
        if NOT_FROM_MODULES.contains(&name) || name.as_str().starts_with("proxy-") {
            return Err(misuse(format!("the header `{name}` is the host's to say; leave it out")));
        }
        headers.append(name, value);
    }
    Ok(headers)
}
