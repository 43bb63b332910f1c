//! The host of a test: one module, one tenant, and a client's view of both.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    panic::{set_hook, take_hook},
    sync::{Arc, Mutex, Once},
    task::Poll,
    time::{Duration, SystemTime},
};

use abi_stable::{
    erased_types::TD_Opaque,
    std_types::{ROption, RResult},
};
use async_ffi::ContextExt;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Module,
    abi::{InstanceBox, RawChunk, RawFailure, RawHost_TO, RawPoll, STORE_INSERT},
    export, guard,
};

use super::{
    TestRequest, TestResponse,
    executor::{Driven, Tasks, lock},
    guards,
    lend::{Incoming, lend},
    manifest::{Manifest, text_of_this_crate},
    request::Asked,
    response::{Problem, shown},
    world::{FakeHost, World},
};

/// How long a request may take by the test's clock, as on a host whose operator set nothing else.
const DEADLINE_SECONDS: u64 = 30;

/// A host in memory that runs module `M` for one tenant: what `module.toml` declares is routed, guarded and stored
/// as a real host would, through the same interface.
///
/// The instance is made at the first request. The methods that take and return the host say how the test begins;
/// those that only borrow it change what is running.
///
/// Time: the clock stands at 2026-01-01T00:00:00Z and moves when [`TestHost::advance`] says so, and by itself to the
/// next timer where a request waits for nothing else. Ids are the same in each run. Requests are answered one after
/// the other, except those of [`TestHost::together`].
pub struct TestHost<M: Module> {
    world: Arc<World>,
    caller: Asked,
    current: Mutex<Option<Arc<Instance>>>,
    failures: Mutex<Vec<String>>,
    /// Held while futures run, so that two threads of a test don't run one instance's tasks at once.
    driving: Mutex<()>,
    of: PhantomData<fn() -> M>,
}

struct Instance {
    object: InstanceBox,
    routes: Vec<(String, String)>,
    tasks: Arc<Tasks>,
}

impl<M: Module> fmt::Debug for TestHost<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestHost({})", self.world.manifest.name)
    }
}

impl<M: Module> Default for TestHost<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// How the test begins.
impl<M: Module> TestHost<M> {
    /// A host for the module of the crate that is being tested, as its `module.toml` declares it.
    ///
    /// # Panics
    ///
    /// Where `module.toml` can't be read; what is wrong with it is listed.
    #[track_caller]
    pub fn new() -> Self {
        let text = text_of_this_crate().unwrap_or_else(|why| panic!("no manifest: {why}"));
        Self::with_manifest(&text)
    }

    /// A host for a module that another text declares.
    ///
    /// # Panics
    ///
    /// As [`TestHost::new`].
    #[track_caller]
    pub fn with_manifest(text: &str) -> Self {
        let manifest = Manifest::read(text)
            .unwrap_or_else(|problems| panic!("the manifest has problems:\n{}", problems.join("\n")));
        remember_panics();
        Self {
            world: Arc::new(World::new(manifest)),
            caller: Asked::default(),
            current: Mutex::default(),
            failures: Mutex::default(),
            driving: Mutex::default(),
            of: PhantomData,
        }
    }

    /// For this tenant instead of `test-tenant`.
    #[must_use]
    pub fn tenant(self, id: &str) -> Self {
        id.clone_into(&mut lock(&self.world.view).tenant);
        self
    }

    /// Requests come from this user, unless they say otherwise; without, from nobody.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.caller.user = Some(user.to_owned());
        self
    }

    /// With a role more for the user.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.caller.roles.push(role.to_owned());
        self
    }

    /// With a flag that the tenant has set.
    #[must_use]
    pub fn flag(self, name: &str, is_on: bool) -> Self {
        self.set_flag(name, is_on);
        self
    }

    /// With settings of the tenant for the module.
    ///
    /// # Panics
    ///
    /// Where they are no JSON object.
    #[must_use]
    #[track_caller]
    pub fn settings(self, settings: impl Serialize) -> Self {
        self.set_settings(settings);
        self
    }

    /// With the clock at this time.
    #[must_use]
    pub fn time(self, now: SystemTime) -> Self {
        self.set_time(now);
        self
    }
}

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
        let _driving = lock(&self.driving);
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
            answers.push(match guards::admit(&self.world, &instance.routes, asked, &id, limit) {
                Ok(incoming) => {
                    futures.push(Box::pin(call(Arc::clone(&instance), incoming)));
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
                    has_panicked |= failure.kind == crate::abi::FAILURE_PANIC;
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

/// What is running, and what is stored.
impl<M: Module> TestHost<M> {
    /// Sets a flag of the tenant; the next question for it sees the new value.
    pub fn set_flag(&self, name: &str, is_on: bool) {
        lock(&self.world.view).flags.insert(name.to_owned(), is_on);
    }

    /// Replaces the tenant's settings for the module.
    ///
    /// # Panics
    ///
    /// Where they are no JSON object.
    #[track_caller]
    pub fn set_settings(&self, settings: impl Serialize) {
        let value = serde_json::to_value(settings).unwrap_or_else(|error| panic!("no settings: {error}"));
        assert!(value.is_object(), "settings are a JSON object, not {value}");
        lock(&self.world.view).settings = value.to_string();
    }

    /// Sets the clock. Timers that are due then end.
    pub fn set_time(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.world.executor.clock.set(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    }

    /// Lets time pass: whatever the module has spawned runs, timer by timer.
    pub fn advance(&self, time: Duration) {
        let _driving = lock(&self.driving);
        let (executor, millis) = (&self.world.executor, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let current = lock(&self.current).clone();
        let idle = Arc::new(Tasks::default());
        let tasks = current.as_ref().map_or(&idle, |instance| &instance.tasks);
        let sleep = executor.clock.sleep(millis);
        executor.drive(tasks, vec![Box::pin(sleep)], i64::MAX);
        executor.settle(tasks);
        if let Some(instance) = current {
            self.look_after(instance, false);
        }
    }

    /// Whether the store answers. While it does not, every question to it is STORE_UNAVAILABLE.
    pub fn set_store_available(&self, is_there: bool) {
        lock(&self.world.store).is_away = !is_there;
    }

    /// The documents of a model as they are stored, in the order of their ids: id, revision, value.
    pub fn stored(&self, model: &str) -> Vec<(String, u64, Value)> {
        lock(&self.world.store).all(model)
    }

    /// Stores a document beside the module, such as one that an older version of it wrote.
    ///
    /// # Panics
    ///
    /// Where the store refuses it.
    #[track_caller]
    pub fn store(&self, model: &str, id: &str, value: &impl Serialize) {
        let body = serde_json::to_vec(value).unwrap_or_else(|error| panic!("the document can't be written: {error}"));
        let op = crate::abi::RawStoreOp {
            kind: STORE_INSERT,
            model: model.into(),
            id: id.into(),
            revision: 0,
            body: body.into(),
        };
        if let Err(failure) = lock(&self.world.store).act(&self.world.manifest, op) {
            panic!("document `{id}` can't be stored: {}", shown(&failure));
        }
    }

    /// What spawned tasks have failed of so far: each panicked, and its instance was replaced.
    pub fn task_failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Makes the instance now instead of at the first request.
    ///
    /// # Errors
    ///
    /// Why it can't be made: what `initialize` failed of, or how the routes of code and manifest differ.
    pub fn start(&self) -> Result<(), String> {
        let _driving = lock(&self.driving);
        self.instance().map(drop)
    }

    /// Takes the instance out of service as a host does: its tasks are dropped, then it cleans up, then it is
    /// dropped. What is stored stays; the next request makes a new instance.
    ///
    /// # Errors
    ///
    /// What `cleanup` or the drop failed of: a panic, or that it did not end within 30 seconds of the test's clock.
    pub fn stop(&self) -> Result<(), String> {
        let _driving = lock(&self.driving);
        let current = lock(&self.current).take();
        current.map_or(Ok(()), |instance| self.retire(instance))
    }

    pub(super) fn endpoints(&self) -> Vec<(String, String)> {
        self.world.manifest.endpoints.iter().map(|it| (it.method.clone(), it.path.clone())).collect()
    }

    pub(super) fn features(&self) -> Vec<String> {
        self.world.manifest.features.keys().cloned().collect()
    }

    /// All roles that some endpoint asks for.
    pub(super) fn roles(&self) -> Vec<String> {
        self.world.manifest.endpoints.iter().flat_map(|endpoint| endpoint.roles.clone()).collect()
    }
}

/// Instances.
impl<M: Module> TestHost<M> {
    fn instance(&self) -> Result<Arc<Instance>, String> {
        if let Some(instance) = lock(&self.current).as_ref() {
            return Ok(Arc::clone(instance));
        }
        let routes = super::conformance::routes_of::<M>()?;
        super::conformance::compare_routes(&routes, &self.endpoints())?;
        let tasks = Arc::new(Tasks::default());
        let host = RawHost_TO::from_value(FakeHost::new(&self.world, &tasks), TD_Opaque);
        let made = match self.run(&tasks, Box::pin(export::initialize::<M>(host))) {
            None => Err(format!("`initialize` did not end within {DEADLINE_SECONDS} s")),
            Some(RResult::RErr(failure)) => Err(format!("`initialize` failed: {}", shown(&failure))),
            Some(RResult::ROk(object)) => Ok(object),
        };
        let object = made.inspect_err(|_| tasks.stop())?;
        let instance = Arc::new(Instance { object, routes, tasks });
        *lock(&self.current) = Some(Arc::clone(&instance));
        Ok(instance)
    }

    /// Runs one future under the usual deadline.
    fn run<T>(&self, tasks: &Tasks, future: Driven<'_, T>) -> Option<T> {
        let limit = self.world.executor.clock.now() + Duration::from_secs(DEADLINE_SECONDS).as_millis() as i64;
        self.world.executor.drive(tasks, vec![future], limit).pop().flatten()
    }

    /// Replaces an instance that has panicked, in a handler or a task.
    fn look_after(&self, instance: Arc<Instance>, has_panicked: bool) {
        let failures = instance.tasks.take_failures();
        if failures.is_empty() && !has_panicked {
            return;
        }
        lock(&self.failures).extend(failures.iter().map(shown));
        *lock(&self.current) = None;
        // What cleanup does after a panic is not for the test that caused it.
        let _ = self.retire(instance);
    }

    fn retire(&self, instance: Arc<Instance>) -> Result<(), String> {
        instance.tasks.stop();
        match self.run(&instance.tasks, Box::pin(instance.object.cleanup())) {
            Some(RResult::ROk(())) => {}
            Some(RResult::RErr(failure)) => return Err(format!("`cleanup` failed: {}", shown(&failure))),
            None => return Err(format!("`cleanup` did not end within {DEADLINE_SECONDS} s")),
        }
        // A panic in a drop is caught and logged inside the module; here it is counted.
        let before = PANICS.get();
        drop(instance);
        if PANICS.get() == before { Ok(()) } else { Err("the instance panicked while it was dropped".to_owned()) }
    }
}

/// A test that is failing already says more than what its instance leaves behind.
impl<M: Module> Drop for TestHost<M> {
    fn drop(&mut self) {
        if let Err(why) = self.stop()
            && !std::thread::panicking()
        {
            panic!("{why}");
        }
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

thread_local! {
    /// How many panics this thread has seen.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Lets the guards of a module know where a panic happened, as a host's hook would; the test's own hook still prints.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            guard::remember_place(info);
            others(info);
        }));
    });
}
