//! Requests from web pages of other origins, by the tenant's rules and the Fetch standard. A preflight is answered here,
//! before the guards: browsers send it without a token. A tenant without rules is served as if this were not here, and a
//! request without `Origin` never comes here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::body::AnswerBody;
use crate::{
    problem::Problem,
    stores::{Cors, Grant},
    tenancy::RouteTable,
};

/// Of an answer's headers, those of the host and of usual modules that pages may read beyond the few that they always
/// may.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, etag, location, retry-after");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const EVERYBODY: HeaderValue = HeaderValue::from_static("*");
const VARY: HeaderValue = HeaderValue::from_static("Origin");
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers");

/// The most headers that a preflight may ask for. A guess, far above what a page sends.
const MOST_HEADERS: usize = 64;

/// A request from a page, with what its tenant says of the page's origin.
#[derive(Debug)]
pub(super) struct CrossOrigin {
    /// What `Access-Control-Allow-Origin` is to say; `None`: pages of this origin may not read the answer.
    allowed: Option<HeaderValue>,
    credentials: bool,
    preflight: Option<HeaderMap>,
}

impl CrossOrigin {
    /// Reads a request that has an `Origin`; `path` is what is left for the modules.
    pub(super) fn read(cors: &Cors, table: &RouteTable, parts: &Parts, path: &str) -> Self {
        let headers = &parts.headers;
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none());
        let allowed = origin.and_then(|origin| match cors.grant(origin.to_str().ok()?)? {
            Grant::ByName => Some(origin.clone()),
            Grant::Everybody => Some(EVERYBODY),
        });
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| parts.method == Method::OPTIONS);
        let preflight = asked.map(|method| permissions(cors, table, path, method, headers));
        Self { allowed, credentials: cors.credentials(), preflight }
    }

    /// The answer to a preflight, where the request is one.
    ///
    /// # Errors
    ///
    /// FORBIDDEN where the origin is not among the tenant's.
    pub(super) fn preflight(&mut self) -> Option<Result<Response<AnswerBody>, Problem>> {
        let permissions = self.preflight.take()?;
        if self.allowed.is_none() {
            return Some(Err(Problem::forbidden("The tenant does not admit pages of this origin")));
        }
        let mut response = Response::new(AnswerBody::EMPTY);
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = permissions;
        Some(Ok(response))
    }

    /// Says on an answer, whatever it is, whether the page may read it. The tenant's rules stand above what the module
    /// has said.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        vary(headers);
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let Some(allowed) = &self.allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        // A module may expose more.
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Says that an answer depends on the origin: also where none was sent, or a cache would give a page what it kept for
/// somebody else.
pub(super) fn vary(headers: &mut HeaderMap) {
    let says_so = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(VARY.as_bytes());
    if !headers.get_all(header::VARY).iter().any(says_so) {
        headers.append(header::VARY, VARY);
    }
}

fn permissions(cors: &Cors, table: &RouteTable, path: &str, asked: &HeaderValue, sent: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::VARY, PREFLIGHT_VARY);
    let methods = table.methods(path);
    let methods = if methods.is_empty() {
        // The answer will be a refusal, which the page may read: why there is nothing here is not its browser's secret.
        Method::from_bytes(asked.as_bytes()).ok().map(|method| method.to_string())
    } else {
        Some(methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "))
    };
    let wanted = sent.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let texts = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, echoed(wanted.iter())),
        (header::ACCESS_CONTROL_MAX_AGE, cors.max_age_seconds().map(|seconds| seconds.to_string())),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The headers that a preflight asks for, where each is the name of one.
fn echoed<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for value in values {
        for text in value.to_str().ok()?.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            names.push(text.parse::<HeaderName>().ok()?.as_str().to_owned());
        }
    }
    (!names.is_empty() && names.len() <= MOST_HEADERS).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str]) -> Option<String> {
        let values: Vec<HeaderValue> = values.iter().map(|value| value.parse().unwrap()).collect();
        echoed(values.iter())
    }

    #[test]
    fn headers_are_echoed_where_they_can_be_some() {
        assert_eq!(
            asked(&["Authorization, content-type", "x-one"]).as_deref(),
            Some("authorization, content-type, x-one")
        );
        assert_eq!(asked(&[" , x-one,,"]).as_deref(), Some("x-one"));
        for bad in ["a b", "x-one, <script>", "", &"x,".repeat(65)] {
            assert_eq!(asked(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn the_tenant_s_rules_stand_above_what_a_module_says() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://evil.example".parse().unwrap());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        let mut page = CrossOrigin { allowed: None, credentials: true, preflight: None };
        page.mark(&mut headers);
        assert_eq!((headers.len(), &headers[header::VARY]), (1, &VARY));
        page = CrossOrigin { allowed: Some(EVERYBODY), credentials: false, preflight: None };
        page.mark(&mut headers);
        assert_eq!(
            (&headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], headers.get_all(header::VARY).iter().count()),
            (&EVERYBODY, 1)
        );
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
}
