//! Requests to the module under test, as a host answers them.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use abi_stable::std_types::ROption;
use async_ffi::ContextExt;
use serde::Serialize;

use crate::{
    Module,
    abi::{FAILURE_PANIC, RawChunk, RawFailure, RawPoll},
};

use super::{
    TestHost, TestRequest, TestResponse,
    executor::Driven,
    guards,
    instance::{DEADLINE_SECONDS, Instance},
    lend::{Incoming, lend},
    request::Asked,
    response::Problem,
    scope::{Scope, within},
};

/// Asking.
impl<M: Module> TestHost<M> {
    /// A request to be put together. `path` may be full, or stand under the module's base; a query may follow.
    pub fn request(&self, method: &str, path: &str) -> TestRequest<'_, M> {
        let base = &self.world.manifest.base;
        let is_full =
            path.strip_prefix(base.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let path = match path {
            full if is_full => full.to_owned(),
            "/" => base.clone(),
            below => format!("{base}{below}"),
        };
        TestRequest::new(self, Asked { method: method.to_ascii_uppercase(), path, ..self.caller.clone() })
    }

    /// GET.
    pub fn get(&self, path: &str) -> TestResponse {
        self.request("GET", path).send()
    }

    /// POST with JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &impl Serialize) -> TestResponse {
        self.request("POST", path).json(body).send()
    }

    /// PUT with JSON.
    #[track_caller]
    pub fn put(&self, path: &str, body: &impl Serialize) -> TestResponse {
        self.request("PUT", path).json(body).send()
    }

    /// PATCH with JSON.
    #[track_caller]
    pub fn patch(&self, path: &str, body: &impl Serialize) -> TestResponse {
        self.request("PATCH", path).json(body).send()
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> TestResponse {
        self.request("DELETE", path).send()
    }

    /// Sends requests that run at the same time: at each question to the store, the others go on. Answers are in the
    /// order of the requests.
    pub fn together<'h>(&'h self, requests: impl IntoIterator<Item = TestRequest<'h, M>>) -> Vec<TestResponse> {
        self.answer(requests.into_iter().map(|request| request.asked).collect())
    }

    pub(super) fn answer_one(&self, asked: Asked) -> TestResponse {
        self.answer(vec![asked]).swap_remove(0)
    }

    fn answer(&self, asked: Vec<Asked>) -> Vec<TestResponse> {
        self.driving(|| self.answer_all(asked))
    }

    fn answer_all(&self, asked: Vec<Asked>) -> Vec<TestResponse> {
        let (name, clock) = (&self.world.manifest.name, &self.world.executor.clock);
        let instance = match self.instance() {
            Ok(instance) => instance,
            Err(why) => {
                let refusal = |_| Problem::load_failed(name, &why).into_response(&self.world.next_id());
                return asked.into_iter().map(refusal).collect();
            }
        };
        let limit = clock.now() + Duration::from_secs(DEADLINE_SECONDS).as_millis() as i64;
        // Each has its answer already, or the place of its future.
        let mut futures: Vec<Driven<'_, Result<TestResponse, RawFailure>>> = Vec::new();
        let mut answers: Vec<Result<TestResponse, (String, bool)>> = Vec::new();
        for asked in asked {
            let (id, is_head) = (self.world.next_id(), asked.method == "HEAD");
            answers.push(match guards::admit(&self.world, &instance, asked, &id, limit) {
                Ok(incoming) => {
                    let scope = Scope { instance: instance.number, id: id.clone() };
                    futures.push(Box::pin(within(Some(scope), Box::pin(call(Arc::clone(&instance), incoming)))));
                    Err((id, is_head))
                }
                Err(problem) => Ok(problem.into_response(&id)),
            });
        }
        let mut outcomes = self.world.executor.drive(&instance.tasks, futures, limit).into_iter();
        let mut has_panicked = false;
        let answers = answers.into_iter().map(|answer| {
            let (id, is_head) = match answer {
                Ok(refused) => return refused,
                Err(waiting) => waiting,
            };
            let mut response = match outcomes.next().flatten() {
                Some(Ok(response)) => response,
                Some(Err(failure)) => {
                    has_panicked |= failure.kind == FAILURE_PANIC;
                    Problem::of_failure(name, &failure).into_response(&id)
                }
                None => Problem::timed_out(name, DEADLINE_SECONDS).into_response(&id),
            };
            if is_head {
                response.body.clear();
            }
            response
        });
        let answers = answers.collect();
        self.world.executor.settle(&instance.tasks);
        self.look_after(instance, has_panicked);
        answers
    }
}

/// Runs a request to its whole answer.
async fn call(instance: Arc<Instance>, incoming: Incoming) -> Result<TestResponse, RawFailure> {
    let id = incoming.id.clone();
    let mut request = Some(lend(incoming));
    let begun = poll_fn(|cx| {
        let begun = request.take().map(|request| cx.with_ffi_context(|cx| instance.object.call(request, cx)));
        begun.map_or(Poll::Pending, Poll::Ready)
    });
    let outcome = match begun.await {
        RawPoll::Ready(outcome) => outcome,
        RawPoll::Pending(future) => future.await,
    };
    let mut reply = outcome.into_result()?;
    let stream = std::mem::replace(&mut reply.stream, ROption::RNone);
    let mut response = TestResponse::of_reply(reply, &id);
    if let ROption::RSome(mut pieces) = stream {
        loop {
            let next = poll_fn(|cx| match cx.with_ffi_context(|cx| pieces.poll_chunk(cx)) {
                RawChunk::Pending => Poll::Pending,
                chunk => Poll::Ready(chunk),
            });
            match next.await {
                RawChunk::Bytes(bytes) => response.body.extend_from_slice(&bytes),
                RawChunk::Failed(failure) => return Ok(response.broken_off(&failure)),
                RawChunk::End | RawChunk::Pending => break,
            }
        }
    }
    Ok(response)
}
