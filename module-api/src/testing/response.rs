//! What a client would get, and beside it what the host's log would say.

use abi_stable::std_types::RVec;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::abi::{
    CONTENT_BYTES, CONTENT_JSON, CONTENT_TEXT, FAILURE_FAULT, FAILURE_INVALID, FAILURE_PANIC, FAILURE_STOPPING,
    FAILURE_STORE_UNAVAILABLE, RawFailure, RawHeader, RawReply,
};

/// An answer, as a client gets it from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The whole body; of a stream all its pieces, up to where it broke off.
    pub body: Vec<u8>,
    code: String,
    log: Option<String>,
}

impl TestResponse {
    pub(super) fn of_reply(reply: RawReply, id: &str) -> Self {
        let kind = match reply.kind {
            CONTENT_JSON => Some("application/json"),
            CONTENT_TEXT => Some("text/plain; charset=utf-8"),
            CONTENT_BYTES => Some("application/octet-stream"),
            _ => None,
        };
        let status = if (200..600).contains(&reply.status) { reply.status } else { 500 };
        let mut headers: Vec<_> = kind.map(|kind| ("content-type".to_owned(), kind.to_owned())).into_iter().collect();
        headers.extend(reply.headers.into_iter().filter(is_sent).map(|header| {
            let RawHeader { name, value } = header;
            (name.into_string(), value.into_string())
        }));
        headers.push(("x-request-id".to_owned(), id.to_owned()));
        Self { status, headers, body: RVec::into_vec(reply.body), code: String::new(), log: None }
    }

    /// With what a stream failed of, as the log has it.
    pub(super) fn broken_off(mut self, failure: &RawFailure) -> Self {
        self.log = Some(format!("a streamed answer failed: {}", shown(failure)));
        self
    }

    /// The value of a header, by name in lower case; the first where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The code of a refusal, such as `tasks:task-not-found` or `FORBIDDEN`; empty where it is none.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What a host would write to its log about the answer: the cause of an INTERNAL, where a panic happened. `None`
    /// where there is nothing to say.
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    ///
    /// Where it is no `T`; the answer is shown.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body can't be read: {error}\n{self}"))
    }

    /// The answer itself, where it has this status.
    ///
    /// # Panics
    ///
    /// Where it has another; the answer is shown, and what the log would say.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status == status, "expected status {status}, got\n{self}");
        self
    }
}

/// For people: status, headers, body, and the log's line.
impl std::fmt::Display for TestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", self.text())?;
        match &self.log {
            Some(log) => write!(f, "\nlog: {log}"),
            None => Ok(()),
        }
    }
}

/// Headers that describe the connection, or that the host sets itself, never leave a module.
fn is_sent(header: &RawHeader) -> bool {
    const HOSTS_OWN: [&str; 11] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name_fits = !header.name.is_empty() && header.name.bytes().all(is_token);
    let value_fits = header.value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    name_fits && value_fits && !HOSTS_OWN.contains(&header.name.as_str())
}

/// A refusal of the host's.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    code: String,
    title: &'static str,
    message: String,
    headers: Vec<(&'static str, String)>,
    log: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &str, title: &'static str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self { status, code, title, message, headers: Vec::new(), log: None }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn with_log(mut self, log: impl Into<String>) -> Self {
        self.log = Some(log.into());
        self
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "REQUEST_INVALID", "The request is malformed", message)
    }

    pub(super) fn load_failed(module: &str, why: &str) -> Self {
        let text = format!("Failed to load module: {module}");
        Self::new(503, "MODULE_LOAD_FAILED", "The module could not be loaded", text).with_log(why)
    }

    pub(super) fn timed_out(module: &str, seconds: u64) -> Self {
        let text = format!("Module {module} did not answer within {seconds}s");
        Self::new(504, "MODULE_TIMEOUT", "The module took too long", text)
    }

    /// What a module's failure becomes.
    pub(super) fn of_failure(module: &str, failure: &RawFailure) -> Self {
        let message = failure.message.as_str();
        let internal =
            || Self::new(500, "INTERNAL", "Internal error", "An internal error occurred").with_log(shown(failure));
        match failure.kind {
            FAILURE_FAULT if is_plain(&failure.code) => {
                let code = format!("{module}:{}", failure.code);
                Self::new(failure.status, &code, "The module refused the request", message)
            }
            FAILURE_FAULT => {
                let rule = "a fault's code is 1 to 64 letters, digits, `_`, `.` and `-`";
                internal().with_log(format!("fault `{}` breaks the rules: {rule}", failure.code))
            }
            FAILURE_INVALID => Self::invalid(message),
            FAILURE_STORE_UNAVAILABLE => {
                Self::new(503, "STORE_UNAVAILABLE", "The store is unavailable", "The store is unavailable")
                    .with_header("retry-after", "1")
                    .with_log(shown(failure))
            }
            FAILURE_STOPPING => {
                let text = format!("Module {module} is not ready yet");
                Self::new(503, "MODULE_BUSY", "The module is not ready to answer", text).with_header("retry-after", "1")
            }
            FAILURE_PANIC => {
                let text = format!("Module {module} failed to answer");
                Self::new(500, "MODULE_PANICKED", "The module crashed while answering", text).with_log(shown(failure))
            }
            _ => internal(),
        }
    }

    /// As it is sent: RFC 9457, with the host's own members.
    pub(super) fn into_response(self, id: &str) -> TestResponse {
        let body: Value = json!({
            "type": format!("urn:tenon:problem:{}", self.code),
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "instance": format!("urn:uuid:{id}"),
            "code": self.code,
            "message": self.message,
            "success": false,
        });
        let mut headers = vec![("content-type".to_owned(), "application/problem+json".to_owned())];
        headers.extend(self.headers.into_iter().map(|(name, value)| (name.to_owned(), value)));
        headers.push(("x-request-id".to_owned(), id.to_owned()));
        let body = body.to_string().into_bytes();
        TestResponse { status: self.status, headers, body, code: self.code, log: self.log }
    }
}

fn is_plain(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=64).contains(&code.len()) && code.bytes().all(plain)
}

/// A failure as the log has it, with the place of a panic.
pub(super) fn shown(failure: &RawFailure) -> String {
    if failure.kind == FAILURE_PANIC {
        format!("panicked at {}: {}", failure.place, failure.message)
    } else if failure.code.is_empty() {
        failure.message.as_str().to_owned()
    } else {
        format!("{}: {}", failure.code, failure.message)
    }
}
