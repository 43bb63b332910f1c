//! Which web pages may read a tenant's answers: field `cors` of the tenant document, checked.

use serde_json::{Map, Value};

/// The most origins of one tenant. A guess, far above what one needs; each cross-origin request looks through them.
const MOST_ORIGINS: usize = 100;

/// The longest time that browsers are asked to remember a preflight. The longest that any of them does.
const MOST_SECONDS: u64 = 86_400;

/// A tenant's rules for requests from pages of other origins.
#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    origins: Vec<String>,
    max_age_seconds: Option<u64>,
    credentials: bool,
    /// What a foreign program put there.
    pub unknown: Map<String, Value>,
}

/// How an origin is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// By name.
    ByName,
    /// As everybody is.
    Everybody,
}

impl Cors {
    /// Rules. Origins are written as browsers send them: `https://app.example`, or `*` for every one.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with its field.
    pub fn new(
        origins: Vec<String>,
        max_age_seconds: Option<u64>,
        credentials: bool,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut refuse = |field: String, problem: String| problems.push((field, problem));
        if origins.len() > MOST_ORIGINS {
            refuse("origins".to_owned(), format!("must be at most {MOST_ORIGINS}"));
        }
        for (index, origin) in origins.iter().enumerate() {
            if origins[..index].contains(origin) {
                refuse(format!("origins[{index}]"), "is there twice".to_owned());
            } else if let Err(problem) = check(origin) {
                refuse(format!("origins[{index}]"), problem.to_owned());
            }
        }
        if max_age_seconds.is_some_and(|seconds| seconds > MOST_SECONDS) {
            refuse("maxAgeSeconds".to_owned(), format!("must be 0 to {MOST_SECONDS}"));
        }
        if credentials && origins.iter().any(|origin| origin == "*") {
            let problem = "can't be for every origin: name the origins, or leave credentials out";
            refuse("credentials".to_owned(), problem.to_owned());
        }
        let unknown = Map::new();
        if problems.is_empty() { Ok(Self { origins, max_age_seconds, credentials, unknown }) } else { Err(problems) }
    }

    /// As in the document.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// How long browsers may remember a preflight; their own choice where `None`.
    pub fn max_age_seconds(&self) -> Option<u64> {
        self.max_age_seconds
    }

    /// Whether pages may send cookies and the like.
    pub fn credentials(&self) -> bool {
        self.credentials
    }

    /// Whether pages of an origin may read answers.
    pub fn grant(&self, origin: &str) -> Option<Grant> {
        // A page without an origin of its own could be anybody's: it is let in as everybody only.
        if origin != "*" && self.origins.iter().any(|known| known == origin) {
            return Some(Grant::ByName);
        }
        self.origins.iter().any(|known| known == "*").then_some(Grant::Everybody)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = self.unknown.clone();
        json.insert("origins".to_owned(), self.origins.clone().into());
        if let Some(seconds) = self.max_age_seconds {
            json.insert("maxAgeSeconds".to_owned(), seconds.into());
        }
        if self.credentials {
            json.insert("credentials".to_owned(), true.into());
        }
        Value::Object(json)
    }

    /// Reads the field's object. Missing, or null: no origins, the browser's own time, no credentials.
    pub(super) fn from_json(mut json: Map<String, Value>) -> Result<Self, Vec<(String, String)>> {
        let mut take = |field: &str| json.remove(field).filter(|value| !value.is_null());
        let mut problems = Vec::new();
        let mut wrong = |field: &str, wanted: &str| problems.push((field.to_owned(), format!("must be {wanted}")));
        let origins = match take("origins") {
            None => Some(Vec::new()),
            Some(Value::Array(items)) => items.into_iter().map(text).collect(),
            Some(_) => None,
        };
        if origins.is_none() {
            wrong("origins", "an array of strings");
        }
        let max_age = take("maxAgeSeconds").map(|value| value.as_u64());
        if max_age == Some(None) {
            wrong("maxAgeSeconds", "a whole number");
        }
        let credentials = take("credentials").map_or(Some(false), |value| value.as_bool());
        if credentials.is_none() {
            wrong("credentials", "`true` or `false`");
        }
        let (Some(origins), Some(credentials), true) = (origins, credentials, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self { unknown: json, ..Self::new(origins, max_age.flatten(), credentials)? })
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Whether a text is what a browser sends as `Origin`; one that is written otherwise would never match.
fn check(origin: &str) -> Result<(), &'static str> {
    const WANTED: &str = "is no origin: scheme, host and perhaps port, in lower case and without a path, as in \
                          `https://app.example`; or `*`";
    if origin == "*" {
        return Ok(());
    }
    let (scheme, authority) = origin.split_once("://").ok_or(WANTED)?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let (host, port) = match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
        Some(at) => (&authority[..at], Some(&authority[at + 1..])),
        None => (authority, None),
    };
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._[]:".contains(&byte));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == *port));
    if !is_scheme || !is_host || !is_port {
        return Err(WANTED);
    }
    match (scheme, port) {
        ("http", Some("80")) | ("https", Some("443")) => Err("has its scheme's own port, which browsers leave out"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(origins: &[&str], credentials: bool) -> Result<Cors, Vec<(String, String)>> {
        Cors::new(origins.iter().map(|origin| (*origin).to_owned()).collect(), None, credentials)
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for good in ["https://app.example", "http://localhost:3000", "https://[::1]:8443", "capacitor://localhost", "*"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "null",
            "app.example",
            "https://",
            "https://App.example",
            "https://app.example/",
            "https://a.example/x",
            "https://u@a.example",
            "https://*.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:0443",
            "https://a.example:",
            "https://a.example:70000",
            "HTTPS://a.example",
            "https://a b",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_match_exactly_and_everybody_has_no_credentials() {
        let named = rules(&["https://a.example"], true).unwrap();
        assert_eq!(named.grant("https://a.example"), Some(Grant::ByName));
        for other in
            ["https://a.example:8443", "http://a.example", "https://b.a.example", "https://A.example", "null", "*"]
        {
            assert_eq!(named.grant(other), None, "{other}");
        }
        let all = rules(&["https://a.example", "*"], false).unwrap();
        assert_eq!(all.grant("https://a.example"), Some(Grant::ByName));
        assert_eq!((all.grant("null"), all.grant("*")), (Some(Grant::Everybody), Some(Grant::Everybody)));
        let problems = Cors::new(vec!["*".into(), "x".into(), "*".into()], Some(86_401), true).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["origins[1]", "origins[2]", "maxAgeSeconds", "credentials"]);
    }

    #[test]
    fn unknown_fields_are_kept() {
        let json = json!({ "origins": ["https://a.example"], "maxAgeSeconds": 600, "credentials": true, "note": 1 });
        let Value::Object(object) = json.clone() else { unreachable!("it is an object") };
        assert_eq!(Cors::from_json(object).unwrap().to_json(), json);
        assert_eq!(Cors::from_json(Map::new()).unwrap().origins().len(), 0);
    }
}
