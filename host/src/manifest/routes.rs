//! Where a module answers: its base path and its endpoints, checked so that every router reads them the
//! same way. Does no routing.

use std::{fmt, str::FromStr};

use http::Method;

/// `[routes]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes {
    /// Under which all endpoints lie.
    pub base: BasePath,
    /// In the order written. No two have one method and one [`RoutePath::shape`].
    pub endpoints: Box<[Endpoint]>,
}

/// One `[[routes.endpoints]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Below the base.
    pub path: RoutePath,
    /// Its place among [`Endpoint::METHODS`].
    method: u8,
    /// Whether a caller must be known; only an explicit `auth = false` opens an endpoint.
    pub auth: bool,
    /// Any of these will do; empty: whoever is known.
    pub roles: Box<[Box<str>]>,
    /// A declared feature that must be on for the tenant.
    pub feature: Option<Box<str>>,
}

impl Endpoint {
    /// The methods an endpoint can have.
    pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// For everybody who is known, without a feature; `None` where an endpoint can't have the method.
    pub(super) fn new(path: RoutePath, method: &str) -> Option<Self> {
        let method = u8::try_from(Self::METHODS.iter().position(|known| *known == method)?).ok()?;
        Some(Self { path, method, auth: true, roles: Box::default(), feature: None })
    }

    /// One of [`Endpoint::METHODS`].
    pub fn method(&self) -> Method {
        const SAME_ORDER: [Method; 7] =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        SAME_ORDER[usize::from(self.method)].clone()
    }
}

/// Why a text is no base and no path: which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(String);

/// The path all endpoints of a module lie under, such as `/api/v1/tasks`: begins with `/`, ends without,
/// has no parameters and stays out of the host's own paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasePath(Box<str>);

impl BasePath {
    /// First segments that the host keeps for itself.
    pub const RESERVED: [&str; 2] = ["ofrep", ".well-known"];

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether two bases are equal or one lies under the other, by whole segments.
    pub fn overlaps(&self, other: &Self) -> bool {
        let under = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        self.0 == other.0 || under(&self.0, &other.0) || under(&other.0, &self.0)
    }
}

impl FromStr for BasePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix('/').ok_or_else(|| PathError("must begin with `/`".to_owned()))?;
        if rest.is_empty() || rest.ends_with('/') {
            return Err(PathError("must name at least one segment and not end with `/`".to_owned()));
        }
        for (place, segment) in rest.split('/').enumerate() {
            match segment_of(segment)? {
                Segment::Literal(text) if place == 0 && Self::RESERVED.contains(&text) => {
                    return Err(PathError(format!("must not be or lie under `/{text}`, which is the host's own")));
                }
                Segment::Literal(_) => {}
                _ => return Err(PathError(format!("must not have a parameter, `{segment}` is one"))),
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One segment of an endpoint's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Matches itself.
    Literal(&'a str),
    /// `{name}`: matches one segment that is not empty.
    Param(&'a str),
    /// `{*name}`: matches all that remains, at least one segment; only the last can be one.
    Rest(&'a str),
}

/// The path of an endpoint below the base, such as `/items/{id}`; `/` is the base itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath(Box<str>);

impl RoutePath {
    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments; none for `/`.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0.split('/').filter_map(|text| segment_of(text).ok())
    }

    /// The path without the names of its parameters: two paths of one shape match the same requests.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.0.len());
        for segment in self.segments() {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Param(_) => shape.push_str("{}"),
                Segment::Rest(_) => shape.push_str("{*}"),
            }
        }
        shape
    }
}

impl FromStr for RoutePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix('/').ok_or_else(|| PathError("must begin with `/`".to_owned()))?;
        if rest.is_empty() {
            return Ok(Self(text.into()));
        }
        if rest.ends_with('/') {
            return Err(PathError("must not end with `/`".to_owned()));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut last = None;
        for part in rest.split('/') {
            if let Some(Segment::Rest(name)) = last {
                return Err(PathError(format!("must end with `{{*{name}}}`, which takes all that remains")));
            }
            let segment = segment_of(part)?;
            if let Segment::Param(name) | Segment::Rest(name) = &segment {
                if names.contains(name) {
                    return Err(PathError(format!("must not name two parameters `{name}`")));
                }
                names.push(name);
            }
            last = Some(segment);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads one segment. Literal ones have the unreserved characters of RFC 3986 and those of its
/// sub-delimiters that no router and no shell gives a meaning; percent signs are out, so that a path has one
/// spelling.
fn segment_of(text: &str) -> Result<Segment<'_>, PathError> {
    if let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let (name, takes_rest) = inside.strip_prefix('*').map_or((inside, false), |name| (name, true));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() > 63 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(plain) {
            return Err(PathError(format!(
                "has parameter `{}`, whose name must be lower-case letters, digits and `_`, a letter first",
                super::source::shown(text)
            )));
        }
        return Ok(if takes_rest { Segment::Rest(name) } else { Segment::Param(name) });
    }
    if text.contains(['{', '}']) {
        let text = super::source::shown(text);
        return Err(PathError(format!("has segment `{text}`: a parameter must be a whole segment, such as `{{id}}`")));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@+,:=".contains(&byte);
    match text {
        "" => Err(PathError("must not have an empty segment".to_owned())),
        "." | ".." => Err(PathError(format!("must not have segment `{text}`"))),
        _ if text.bytes().all(plain) => Ok(Segment::Literal(text)),
        _ => Err(PathError(format!(
            "has segment `{}`; permitted are ASCII letters, digits and `-._~@+,:=`",
            super::source::shown(text)
        ))),
    }
}
