//! Why a command did not do what it was asked, as it is told on stderr.

use std::{fmt::Write, path::PathBuf};

use serde_json::Value;

use super::exit;
use crate::{flags::FlagError, identity::AdminTokenError};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The host refused.
    Refused(Box<Refused>),
    /// No host answered.
    Unreachable {
        /// Who was asked.
        url: String,
        /// What happened.
        why: String,
    },
    /// An export ended before its last line.
    CutOff {
        /// What happened.
        why: String,
    },
    /// Something answered that is no host, or one that this program does not understand.
    Foreign {
        /// Who was asked.
        url: String,
        /// What was strange.
        why: String,
    },
    /// The address of the host can't be one.
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// No token could be read from any of these files.
    Token(Vec<(PathBuf, AdminTokenError)>),
    /// Flags that can't be set; never empty.
    Flags(Vec<FlagError>),
    /// The arguments contradict each other, or name what is not there.
    Usage(String),
    /// Something of this machine failed.
    Io(std::io::Error),
}

/// A problem that the host sent.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
    /// All that is wrong, where the message joins several things.
    pub(super) problems: Vec<String>,
    /// What the host knows beyond the message.
    pub(super) reason: Option<String>,
    /// The request's id, as in the host's log.
    pub(super) request: Option<String>,
}

impl Refused {
    /// Reads a problem; `None` where the body is none.
    pub(super) fn read(status: u16, body: &Value) -> Option<Self> {
        let text = |member: &str| body.get(member).and_then(Value::as_str).map(str::to_owned);
        let request = text("instance").map(|id| id.trim_start_matches("urn:uuid:").to_owned());
        let problems = body.get("problems").and_then(Value::as_array).into_iter().flatten();
        let problems = problems.filter_map(Value::as_str).map(str::to_owned).collect();
        let (code, message, reason) = (text("code")?, text("message")?, text("reason"));
        Some(Self { status, code, message, problems, reason, request })
    }

    /// What was refused and all that is wrong with it, where that is more than one thing.
    fn several(&self) -> Option<(&str, &[String])> {
        let joined = self.problems.join("; ");
        let what = self.message.strip_suffix(&joined)?.trim_end().strip_suffix(':')?;
        (self.problems.len() > 1).then_some((what, &self.problems))
    }

    /// What to do about it, where that can be said without knowing more.
    fn hint(&self) -> Option<&'static str> {
        match &*self.code {
            "MODULE_NOT_FOUND" => Some("`tenon modules list` shows what there is"),
            "MODULE_DEPENDENCY_MISSING" => Some("`--with-dependencies` enables them as well"),
            "MODULE_HAS_DEPENDENTS" => Some("`--cascade` disables them as well"),
            "PRECONDITION_FAILED" if self.message.contains("documents") => {
                Some("`--purge` deletes its documents as well")
            }
            "FLAG_NOT_FOUND" if self.message.ends_with("has no definition") => {
                Some("`tenon definitions set-flag FLAG FILE` makes one")
            }
            "FLAG_INVALID" if self.message.contains("one flag by itself") => {
                Some("for one flag: `tenon definitions set-flag FLAG FILE`")
            }
            "TENANT_NOT_FOUND" => Some("`tenon tenants list` shows who there is"),
            "UNAUTHENTICATED" => Some("the token is not this host's: name the right file with `--token-file`"),
            _ => None,
        }
    }
}

impl Failure {
    /// The exit code.
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Refused(refused) => exit::of_status(refused.status),
            Self::Unreachable { .. } | Self::CutOff { .. } => exit::UNAVAILABLE,
            Self::Url { .. } | Self::Flags(_) | Self::Usage(_) => exit::USAGE,
            Self::Token(_) => exit::DENIED,
            Self::Foreign { .. } | Self::Io(_) => exit::OTHER,
        }
    }

    /// The lines for stderr, the last one ended too.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Refused(refused) => {
                match refused.several() {
                    None => {
                        let _ = writeln!(text, "error: {}", refused.message);
                    }
                    Some((what, problems)) => {
                        let _ = writeln!(text, "error: {what}");
                        for problem in problems {
                            let _ = writeln!(text, "problem: {problem}");
                        }
                    }
                }
                let _ = writeln!(text, "code: {}", refused.code);
                if let Some(reason) = &refused.reason {
                    let _ = writeln!(text, "reason: {reason}");
                }
                // Only then the host's log has more to say.
                if let Some(request) = refused.request.as_ref().filter(|_| refused.status >= 500) {
                    let _ = writeln!(text, "request: {request}");
                }
                if let Some(hint) = refused.hint() {
                    let _ = writeln!(text, "hint: {hint}");
                }
            }
            Self::Unreachable { url, why } => {
                let _ = writeln!(text, "error: no host answers at {url}: {why}");
                let _ = writeln!(text, "hint: start one with `tenon serve`, or name another with `--url` or TENON_URL");
            }
            Self::CutOff { why } => {
                let _ = writeln!(text, "error: the export was cut off: {why}");
                let _ = writeln!(text, "hint: what came is not to be imported; the host's log says why it ended");
            }
            Self::Foreign { url, why } => {
                let _ = writeln!(text, "error: what answers at {url} is no host of this version: {why}");
            }
            Self::Url { url, why } => {
                let _ = writeln!(text, "error: `{url}` is no address of a host: {why}");
            }
            Self::Token(tried) => {
                let _ = writeln!(text, "error: no operators' token could be read");
                for (_, error) in tried {
                    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
                    let _ = writeln!(text, "tried: {error}{}", source.unwrap_or_default());
                }
                text.push_str("hint: the host keeps it in `admin.token` in its data folder: name the file with\n");
                text.push_str("hint: `--token-file` or TENON_TOKEN_FILE, or the folder with TENON_DATA\n");
            }
            Self::Flags(errors) => {
                for error in errors {
                    let _ = writeln!(text, "error: {error}");
                }
                let _ = writeln!(text, "code: FLAG_INVALID");
            }
            Self::Usage(why) => {
                let _ = writeln!(text, "error: {why}");
            }
            Self::Io(error) => {
                let _ = writeln!(text, "error: {error}");
            }
        }
        text
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}
