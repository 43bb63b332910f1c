//! What a test answers in the place of another module, or of a host outside.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use abi_stable::std_types::{RString, RVec};
use serde::Serialize;
use serde_json::json;

use crate::abi::{FAILURE_TIMEOUT, FAILURE_UNREACHABLE, RawAnswer, RawFailure, RawHeader};

use super::{executor::lock, store::failure};

/// The answer of another module, or of a host outside, as a test makes it up.
///
/// ```
/// use module_api::testing::{TestAnswer, json};
///
/// let found = TestAnswer::json(&json!({"id": 7})).with_header("etag", "\"1\"");
/// let missing = TestAnswer::refusal(404, "hr-core:employee-not-found");
/// # let _ = (found, missing);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestAnswer(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Whole { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    TimedOut,
    Unreachable,
}

impl TestAnswer {
    /// This status and nothing else.
    pub fn status(status: u16) -> Self {
        Self(Kind::Whole { status, headers: Vec::new(), body: Vec::new() })
    }

    /// 200 with JSON.
    ///
    /// # Panics
    ///
    /// Where the value can't be written as JSON.
    #[track_caller]
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_else(|error| panic!("the answer can't be written: {error}"));
        Self::status(200).with_body(body).with_header("content-type", "application/json")
    }

    /// A refusal as a host sends it. The code is whole: `hr-core:employee-not-found`, `FORBIDDEN`.
    pub fn refusal(status: u16, code: &str) -> Self {
        let body = json!({ "status": status, "code": code, "message": code, "success": false });
        let answer = Self::status(status).with_body(body.to_string());
        answer.with_header("content-type", "application/problem+json")
    }

    /// None in time: the module gets [`ServiceError::Timeout`](crate::ServiceError::Timeout).
    pub fn timeout() -> Self {
        Self(Kind::TimedOut)
    }

    /// None at all: the module gets [`ServiceError::Unreachable`](crate::ServiceError::Unreachable).
    pub fn unreachable() -> Self {
        Self(Kind::Unreachable)
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, to: u16) -> Self {
        if let Kind::Whole { status, .. } = &mut self.0 {
            *status = to;
        }
        self
    }

    /// With a header more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Kind::Whole { headers, .. } = &mut self.0 {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, to: impl Into<Vec<u8>>) -> Self {
        if let Kind::Whole { body, .. } = &mut self.0 {
            *body = to.into();
        }
        self
    }

    /// `who` is named in failures.
    fn into_raw(self, who: &str) -> Result<RawAnswer, RawFailure> {
        match self.0 {
            Kind::Whole { status, headers, body } => {
                let headers = headers.into_iter();
                let headers = headers.map(|(name, value)| RawHeader { name: name.into(), value: RString::from(value) });
                Ok(RawAnswer { status, headers: headers.collect(), body: RVec::from(body) })
            }
            Kind::TimedOut => Err(failure(FAILURE_TIMEOUT, format!("{who} did not answer in time"))),
            Kind::Unreachable => Err(failure(FAILURE_UNREACHABLE, format!("{who} can't be reached"))),
        }
    }
}

/// What a test answers with.
pub(super) type Answerer<R> = Arc<Mutex<Box<dyn FnMut(&R) -> TestAnswer + Send>>>;

pub(super) fn answerer<R>(answer: impl FnMut(&R) -> TestAnswer + Send + 'static) -> Answerer<R> {
    Arc::new(Mutex::new(Box::new(answer)))
}

/// A panic of the test's own code that happened below the module's, where it can't pass: it goes on when the module
/// has ended.
#[derive(Default)]
pub(super) struct Postponed(Mutex<Option<Box<dyn Any + Send>>>);

impl Postponed {
    /// The answer to a request.
    pub(super) fn ask<R>(&self, answerer: &Answerer<R>, request: &R, who: &str) -> Result<RawAnswer, RawFailure> {
        match catch_unwind(AssertUnwindSafe(|| lock(answerer)(request))) {
            Ok(answer) => answer.into_raw(who),
            Err(panic) => {
                lock(&self.0).get_or_insert(panic);
                Err(failure(FAILURE_UNREACHABLE, format!("the test's answer for {who} panicked")))
            }
        }
    }

    /// Lets the panic go on, if there was one.
    pub(super) fn go_on(&self) {
        let panic = lock(&self.0).take();
        if let Some(panic) = panic.filter(|_| !std::thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}
