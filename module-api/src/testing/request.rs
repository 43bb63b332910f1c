//! A request of a test, put together piece by piece.

use serde::Serialize;

use super::{TestHost, TestResponse};
use crate::Module;

/// A request to a [`TestHost`]; nothing happens before [`TestRequest::send`].
#[must_use = "a request does nothing until it is sent"]
#[derive(Debug)]
pub struct TestRequest<'h, M: Module> {
    host: &'h TestHost<M>,
    pub(super) asked: Asked,
}

/// What is asked, and by whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Full, with the query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) user: Option<String>,
    pub(super) roles: Vec<String>,
}

impl<'h, M: Module> TestRequest<'h, M> {
    pub(super) fn new(host: &'h TestHost<M>, asked: Asked) -> Self {
        Self { host, asked }
    }

    /// With a header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.asked.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// From this user, who has no roles but those named after it.
    pub fn user(mut self, user: &str) -> Self {
        self.asked.user = Some(user.to_owned());
        self.asked.roles.clear();
        self
    }

    /// From a user with a role more.
    pub fn role(mut self, role: &str) -> Self {
        self.asked.roles.push(role.to_owned());
        self
    }

    /// From somebody without a token.
    pub fn anonymous(mut self) -> Self {
        self.asked.user = None;
        self.asked.roles.clear();
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.asked.body = body.into();
        self
    }

    /// With JSON as its body.
    ///
    /// # Panics
    ///
    /// Where the value can't be written as JSON.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_else(|error| panic!("the body can't be written: {error}"));
        self.header("content-type", "application/json").body(body)
    }

    /// Sends it and waits for the answer.
    pub fn send(self) -> TestResponse {
        self.host.answer_one(self.asked)
    }
}
