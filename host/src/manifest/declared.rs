//! What a manifest declares, as values that are right by construction. Reads no text and no file.

use std::{fmt, str::FromStr, sync::Arc};

use litemap::LiteMap;
use semver::{Version, VersionReq};

use super::routes::Routes;
use crate::names::ModuleName;

/// A manifest whose every key was checked. What `module.toml` leaves out has its default here. A host has one of each
/// module in the folder, used or not, so nothing has room to grow.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The module's identity, whatever its file is called.
    pub name: ModuleName,
    /// For people; the name where left out.
    pub display_name: Box<str>,
    /// For sorting lists of modules.
    pub category: Option<Box<str>>,
    /// From the stamp where left out, as the next three.
    pub version: Version,
    /// May be empty.
    pub description: Box<str>,
    /// May be empty.
    pub authors: Box<[Box<str>]>,
    /// An SPDX expression by convention, not checked; may be empty.
    pub license: Box<str>,
    /// Which versions of module-api the host may have; `^` and the module-api that the module was built
    /// with where left out.
    pub host_api: VersionReq,
    /// Who may depend on it, sorted; `None`: everyone.
    pub provides_to: Option<Box<[ModuleName]>>,
    /// The events it publishes, sorted.
    pub publishes: Box<[EventName]>,
    /// The events it wants, sorted, only of modules it depends on.
    pub subscribes: Box<[Subscription]>,
    /// The hosts it may call, sorted.
    pub outbound: Arc<[Outbound]>,
    /// By name, required and optional ones.
    pub dependencies: LiteMap<ModuleName, Dependency>,
    /// What it costs; `None` where nothing is said.
    pub pricing: Option<Box<Pricing>>,
    /// The defaults of the tenants' flags, by kebab-case name.
    pub features: LiteMap<Box<str>, serde_json::Value>,
    /// Its document collections, sorted by name.
    pub models: Box<[Model]>,
    /// The JSON Schema of a tenant's settings, converted from TOML and not looked into.
    pub settings: Option<Box<serde_json::Value>>,
    /// `None`: the module serves nothing.
    pub routes: Option<Routes>,
}

impl Manifest {
    /// The most bytes that `module.toml` may have in a module file.
    pub const MAX_BYTES: u64 = 1024 * 1024;

    /// The dependencies without which it can't run.
    pub fn required(&self) -> impl Iterator<Item = (&ModuleName, &VersionReq)> {
        self.dependencies.iter().filter(|(_, dependency)| !dependency.optional).map(|(name, it)| (name, &it.range))
    }

    /// The dependencies it runs without.
    pub fn optional(&self) -> impl Iterator<Item = (&ModuleName, &VersionReq)> {
        self.dependencies.iter().filter(|(_, dependency)| dependency.optional).map(|(name, it)| (name, &it.range))
    }

    /// Whether `dependent` may depend on this module, by `provides-to`.
    pub fn offers_to(&self, dependent: &ModuleName) -> bool {
        self.provides_to.as_ref().is_none_or(|names| names.contains(dependent))
    }
}

/// One entry of `[dependencies]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Which versions will do.
    pub range: VersionReq,
    /// Whether the module runs without it.
    pub optional: bool,
}

/// `[pricing]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pricing {
    /// The name of the price class.
    pub tier: Box<str>,
    /// A month's price.
    pub monthly: Option<Decimal>,
    /// A year's price.
    pub yearly: Option<Decimal>,
}

/// One entry of `[models]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Letters, digits and `_`, at most 63, a letter first.
    pub name: Box<str>,
    /// Top-level fields whose values are unique within the tenant, sorted.
    pub unique: Box<[Box<str>]>,
    /// Top-level fields that can be searched, sorted. A unique field need not be here.
    pub index: Box<[Box<str>]>,
}

/// Why a text is not the value it should be: which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(super) &'static str);

/// A non-negative decimal number, kept as the digits that were written: never rounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal(Box<str>);

impl Decimal {
    /// The digits, such as `29.90`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Decimal {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if text.len() > 40 || leading_zero || !digits(whole) || !fraction.is_none_or(digits) {
            return Err(ValueError(
                "must be a plain decimal such as `29.99`: digits, at most one point, no sign or exponent",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// The name of an event within its module: kebab-case words joined by dots, such as `task.done`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Box<str>);

impl EventName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 128 || !text.split('.').all(is_kebab) {
            return Err(ValueError(
                "must be kebab-case words joined by dots, such as `task.done`, at most 128 characters",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// An event of another module: `module:event`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    /// Whose event.
    pub module: ModuleName,
    /// Which.
    pub event: EventName,
}

impl FromStr for Subscription {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = ValueError("must be `MODULE:EVENT`, such as `hr-core:employee.deleted`");
        let (module, event) = text.split_once(':').ok_or_else(|| bad.clone())?;
        Ok(Self { module: module.parse().map_err(|_| bad.clone())?, event: event.parse().map_err(|_| bad)? })
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.event.as_str())
    }
}

/// A host that the module may call: `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outbound {
    /// A DNS name or an IPv4 address in lower case, or an IPv6 address in brackets.
    pub host: Box<str>,
    /// From 1.
    pub port: u16,
}

impl FromStr for Outbound {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = ValueError("must be `HOST:PORT`, such as `api.example.com:443`, the host in lower case");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad.clone())?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| bad.clone())?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.len() <= 253 && host.split('.').all(is_host_label),
        };
        if fits { Ok(Self { host: host.into(), port }) } else { Err(bad) }
    }
}

impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A label of a DNS name (RFC 1123), in lower case.
fn is_host_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether a text is `word` or `two-words`: lower-case letters and digits, a letter first, single hyphens.
pub(super) fn is_kebab(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 63 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.split('-').all(word)
}
