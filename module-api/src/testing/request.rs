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
    /// The module that asks, instead of a user.
    pub(super) module: Option<String>,
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
        self = self.anonymous();
        self.asked.user = Some(user.to_owned());
        self
    }

    /// From a user with a role more; one that begins with `module:` is dropped, as no token can give it.
    pub fn role(mut self, role: &str) -> Self {
        self.asked.roles.push(role.to_owned());
        self
    }

    /// From somebody without a token.
    pub fn anonymous(mut self) -> Self {
        self.asked.user = None;
        self.asked.roles.clear();
        self.asked.module = None;
        self
    }

    /// From another module in its own name, as by [`Tenant::call_as_module`](crate::Tenant::call_as_module): without a
    /// user, and with role `module:NAME` alone. What a module asks in a user's name looks like that user's request.
    ///
    /// # Panics
    ///
    /// Where `module.toml` has `provides-to` without that module.
    #[track_caller]
    pub fn as_module(mut self, name: &str) -> Self {
        let allowed = &self.host.world.manifest.provides_to;
        let may_call = allowed.as_ref().is_none_or(|names| names.iter().any(|allowed| allowed == name));
        assert!(may_call, "module.toml does not name `{name}` under `provides-to`, so it can't depend on this module");
        self = self.anonymous();
        self.asked.module = Some(name.to_owned());
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
