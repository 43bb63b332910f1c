//! Whose word about a request's origin is taken. Only that of proxies that the operator has named: anybody can send
//! `X-Forwarded-*`. `Forwarded` (RFC 7239) is never believed: a proxy that writes the one form often lets a client's
//! headers of the other through.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, uri::Authority};
use ipnet::IpNet;

use crate::{loader::Forwarded, problem::Problem};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies that are believed. Nobody by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These ranges.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// Reads what the proxies say of a request, and puts it into its extensions for the module. From any other peer
    /// nothing is read, and modules see nothing of it either.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID where a trusted proxy names a host that is none.
    pub(super) fn read(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<Option<String>, Problem> {
        // Most hosts have none, and then nothing is looked up.
        if self.0.is_empty() || !peer.is_some_and(|peer| self.trusts(peer)) {
            return Ok(None);
        }
        let host = match last(headers, &HOST) {
            Some(text) => Some(host_of(text).ok_or_else(|| Problem::request_invalid("X-Forwarded-Host is no host"))?),
            None => None,
        };
        let proto = match last(headers, &PROTO) {
            Some(text) if text.eq_ignore_ascii_case("https") => Some("https"),
            Some(text) if text.eq_ignore_ascii_case("http") => Some("http"),
            _ => None,
        };
        let client = self.client(headers).map(|client| client.to_string());
        extensions.insert(Forwarded { client, host: host.clone(), proto });
        Ok(host)
    }

    /// The right-most address that is not a trusted proxy's: what stands left of it is hearsay. Where all are trusted,
    /// the left-most. `None` where the chain breaks off before, at something that is no address.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut farthest = None;
        for value in headers.get_all(&FOR).iter().rev() {
            for entry in value.to_str().ok()?.rsplit(',') {
                let address = address_of(entry.trim())?;
                if !self.trusts(address) {
                    return Some(address);
                }
                farthest = Some(address);
            }
        }
        farthest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        // An IPv4 peer of a listener for both is an IPv6 address that says so.
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// The right-most value: the nearest proxy's, whether it adds to the header or replaces it.
fn last<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Option<&'headers str> {
    let value: &HeaderValue = headers.get_all(name).iter().next_back()?;
    value.to_str().unwrap_or("?").rsplit(',').next().map(str::trim)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

fn host_of(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let is_host = !authority.host().is_empty() && !text.contains('@');
    is_host.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(peer: &str, sent: &[(&'static str, &str)]) -> Result<Option<Forwarded>, u16> {
        let proxies = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"].map(|range| range.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let mut extensions = Extensions::new();
        let host = TrustedProxies::new(proxies.to_vec())
            .read(Some(peer.parse().unwrap()), &headers, &mut extensions)
            .map_err(|problem| problem.status().as_u16())?;
        let forwarded = extensions.get::<Forwarded>().cloned();
        assert_eq!(host, forwarded.as_ref().and_then(|it| it.host.clone()));
        Ok(forwarded)
    }

    fn client(chain: &[&str]) -> Option<String> {
        let sent: Vec<_> = chain.iter().map(|value| ("x-forwarded-for", *value)).collect();
        read("10.1.2.3", &sent).unwrap().unwrap().client
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        let sent =
            [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "A.example:8443"), ("x-forwarded-proto", "HTTPS")];
        let forwarded =
            Forwarded { client: Some("192.0.2.1".into()), host: Some("a.example:8443".into()), proto: Some("https") };
        for peer in ["127.0.0.1", "10.255.0.1", "::ffff:10.0.0.1", "fd00::1"] {
            assert_eq!(read(peer, &sent), Ok(Some(forwarded.clone())), "{peer}");
        }
        for peer in ["127.0.0.2", "192.0.2.1", "::1", "::ffff:11.0.0.1"] {
            assert_eq!(read(peer, &sent), Ok(None), "{peer}");
        }
        let (mut headers, mut extensions) = (HeaderMap::new(), Extensions::new());
        headers.insert("x-forwarded-host", "a.example".parse().unwrap());
        let nobody = TrustedProxies::default().read(Some([127, 0, 0, 1].into()), &headers, &mut extensions);
        assert_eq!((nobody.unwrap(), extensions.is_empty()), (None, true));
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_proxy() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(client(&["198.51.100.9, 192.0.2.1"]), some("192.0.2.1"));
        assert_eq!(client(&["198.51.100.9, 192.0.2.1, 10.0.0.9,127.0.0.1"]), some("192.0.2.1"));
        assert_eq!(client(&["198.51.100.9", "192.0.2.1", "10.0.0.9"]), some("192.0.2.1"), "several lines are one list");
        assert_eq!(client(&["10.0.0.8, 10.0.0.9"]), some("10.0.0.8"), "all are proxies");
        assert_eq!(client(&["192.0.2.1:5000"]), some("192.0.2.1"));
        assert_eq!(client(&["[2001:db8::1]:80"]), some("2001:db8::1"));
        assert_eq!(client(&["[2001:db8::1], ::ffff:10.0.0.1"]), some("2001:db8::1"));
        for broken in ["192.0.2.1, unknown", "", "192.0.2.1, , 10.0.0.9", "_hidden"] {
            assert_eq!(client(&[broken]), None, "{broken}");
        }
        assert_eq!(client(&["unknown, 192.0.2.1"]), some("192.0.2.1"), "what stands left of the client is hearsay");
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn of_several_hosts_and_schemes_the_nearest_proxy_s_counts() {
        let sent = [
            ("x-forwarded-host", "evil.example, a.example"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-proto", "https"),
        ];
        let forwarded = read("127.0.0.1", &sent).unwrap().unwrap();
        assert_eq!((forwarded.host.as_deref(), forwarded.proto), (Some("a.example"), Some("https")));
        assert_eq!(read("127.0.0.1", &[("x-forwarded-proto", "gopher")]).unwrap().unwrap().proto, None);
        for bad in ["", "a b", "u@a.example", "a.example/x", "a.example, "] {
            assert_eq!(read("127.0.0.1", &[("x-forwarded-host", bad)]), Err(400), "{bad}");
        }
    }
}
