//! What a proxy says about the client it stands before, as modules may see it. Anybody can send such headers, so a
//! module reads none of them from a request: only what the host vouches for.

/// What a trusted proxy says of a request. Put into the request's extensions; a request without it has none of this
/// for its module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `x-forwarded-for`: the client's address, alone; `None` where the chain does not say.
    pub client: Option<String>,
    /// `x-forwarded-host`: the host that the client asked for, in lower case, with its port where it had one.
    pub host: Option<String>,
    /// `x-forwarded-proto`: `http` or `https`.
    pub proto: Option<&'static str>,
}

impl Forwarded {
    /// The value of a header that is the host's to say.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match name.get("x-forwarded-".len()..)?.to_ascii_lowercase().as_str() {
            "for" => self.client.as_deref(),
            "host" => self.host.as_deref(),
            "proto" => self.proto,
            _ => None,
        }
    }
}

/// Whether a header, in whatever case, says where a request came from: the host's to say, and nobody else's.
pub fn is_of_proxies(name: &str) -> bool {
    let begins = |with: &str| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    begins("x-forwarded-") || name.eq_ignore_ascii_case("forwarded") || name.eq_ignore_ascii_case("x-real-ip")
}
