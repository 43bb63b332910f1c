//! What a module's handle is on this side: turns the binary interface into [`HostServices`] and back. No
//! panic of a service leaves through the module, where it would end the process.

#![expect(unsafe_code, reason = "reads in whose name a module calls, from a request that it shows")]

use std::{
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use abi_stable::{
    erased_types::TD_Opaque,
    std_types::{ROption, RResult, RStr, RString, RVec},
};
use async_ffi::{FfiFuture, FutureExt};
use module_api::abi::{
    HostBox, JobBox, RawAnswer, RawCall, RawDocument, RawDocuments, RawFailure, RawFetch, RawHeader, RawHost,
    RawHost_TO, RawLater, RawStoreAnswer, RawStoreOp, STORE_DELETE, STORE_FIND, STORE_GET, STORE_INSERT, STORE_PUT,
};

use super::{
    fence::{Fence, Gate},
    generation::Generation,
    lend::behalf,
    origin::{Origin, Scope, scope_of},
    reply::polled,
    services::{
        Answer, Behalf, Documents, Failure, FailureKind, Fetch, HostServices, ModuleCall, ServiceFuture, StoreAction,
        StoreAnswer, StoreOp,
    },
};

/// The services of one instance as the module holds them.
pub(super) struct HostHandle {
    services: Option<Arc<dyn HostServices>>,
    origin: Origin,
    // Weak: a module that keeps its handle in a static must not keep itself mapped.
    generation: Weak<Generation>,
    gate: Arc<Gate>,
}

impl HostHandle {
    pub(super) fn lend(
        services: Arc<dyn HostServices>,
        origin: Origin,
        generation: &Arc<Generation>,
        gate: &Arc<Gate>,
    ) -> HostBox {
        let handle =
            Self { origin, services: Some(services), generation: Arc::downgrade(generation), gate: Arc::clone(gate) };
        RawHost_TO::from_value(handle, TD_Opaque)
    }

    fn ask<T>(&self, panicked: impl FnOnce() -> T, ask: impl FnOnce(&Arc<dyn HostServices>) -> T) -> T {
        let Some(services) = self.services.as_ref() else { return panicked() };
        catch_unwind(AssertUnwindSafe(|| ask(services))).unwrap_or_else(|_| panicked())
    }
}

impl HostHandle {
    /// What the module's code is at on this thread.
    fn scope(&self) -> Option<Scope> {
        scope_of(self.origin.instance)
    }

    fn told(
        &self,
        ask: impl FnOnce(&Arc<dyn HostServices>) -> ServiceFuture<Result<(), Failure>>,
    ) -> FfiFuture<RResult<(), RawFailure>> {
        let answer = self.ask(|| -> ServiceFuture<_> { Box::pin(ready(Err(panicked()))) }, ask);
        let fence = Fence::new(answer, &self.gate, || Err(panicked()));
        async move { RResult::from(fence.await.map_err(Failure::into_raw)) }.into_ffi()
    }

    fn read_call(&self, call: RawCall) -> Result<ModuleCall, Failure> {
        let as_module = call.behalf.is_null();
        let behalf = if as_module {
            // Deadline and depth are those of the work it is at, whoever's name it is in.
            self.scope().map(|scope| Behalf {
                subject: None,
                roles: Arc::from([]),
                request_id: scope.request_id,
                deadline_millis: scope.deadline_millis,
                depth: scope.depth,
            })
        } else {
            // SAFETY: module-api makes the context from a request that it borrows until this call returns.
            let found = unsafe { behalf(call.behalf, self.origin.instance) };
            let foreign = || Failure::new(FailureKind::Misuse, "the request was not made to this instance");
            Some(found.ok_or_else(foreign)?)
        };
        Ok(ModuleCall {
            module: call.module.into_string(),
            method: call.method.into_string(),
            path: call.path.into_string(),
            headers: read_headers(call.headers),
            body: call.body.into_vec(),
            behalf,
            as_module,
        })
    }
}

fn read_headers(headers: RVec<RawHeader>) -> Vec<(String, String)> {
    headers.into_iter().map(|header| (header.name.into_string(), header.value.into_string())).collect()
}

fn write_whole(answer: Answer) -> RawAnswer {
    let headers = answer.headers.into_iter();
    RawAnswer {
        status: answer.status,
        headers: headers
            .map(|(name, value)| RawHeader { name: RString::from(name), value: RString::from(value) })
            .collect(),
        body: RVec::from(answer.body),
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        let services = self.services.take();
        if catch_unwind(AssertUnwindSafe(|| drop(services))).is_err() {
            tracing::error!("an instance's services panicked while they were dropped");
        }
    }
}

fn panicked() -> Failure {
    Failure::new(FailureKind::Internal, "a service of the host panicked")
}

fn stopping() -> Failure {
    Failure::new(FailureKind::Stopping, "the instance is being stopped")
}

fn at_once<T: Send + 'static>(answer: T) -> FfiFuture<T> {
    ready(answer).into_ffi()
}

impl RawHost for HostHandle {
    fn tenant_id(&self) -> RStr<'_> {
        RStr::from_str(&self.origin.of.tenant)
    }

    fn settings(&self) -> RString {
        RString::from(self.ask(|| "{}".to_owned(), |services| services.settings()))
    }

    fn flag(&self, name: RStr<'_>) -> u8 {
        self.ask(|| 2, |services| services.flag(name.as_str()).map_or(2, u8::from))
    }

    fn now_millis(&self) -> i64 {
        self.ask(|| 0, |services| services.now_millis())
    }

    fn random_id(&self) -> RString {
        RString::from(self.ask(String::new, |services| services.random_id()))
    }

    fn store(&self, op: RawStoreOp) -> RawLater<RawStoreAnswer> {
        let op = match read_op(op) {
            Ok(op) => op,
            Err(failure) => return RawLater::Ready(RResult::RErr(failure.into_raw())),
        };
        let claim = self.scope().and_then(|scope| scope.claim);
        let asked = self.ask(
            || StoreAnswer::Ready(Err(panicked())),
            |services| match claim {
                Some(claim) => services.store_under(claim, op),
                None => services.store(op),
            },
        );
        match asked {
            StoreAnswer::Ready(answer) => RawLater::Ready(write_answer(answer)),
            StoreAnswer::Pending(answer) => {
                let fence = Fence::new(answer, &self.gate, || Err(panicked()));
                RawLater::Pending(async move { write_answer(fence.await) }.into_ffi())
            }
        }
    }

    fn blocking(&self, job: JobBox) -> FfiFuture<RResult<(), RawFailure>> {
        let Some(generation) = self.generation.upgrade() else {
            return at_once(RResult::RErr(stopping().into_raw()));
        };
        let held = HeldJob { job, origin: self.origin.clone(), _generation: generation };
        let answer = self.ask(
            || -> ServiceFuture<_> { Box::pin(ready(Err(panicked()))) },
            |services| services.blocking(Box::new(move || held.run())),
        );
        let fence = Fence::new(answer, &self.gate, || Err(panicked()));
        async move { RResult::from(fence.await.map_err(Failure::into_raw)) }.into_ffi()
    }

    fn call(&self, call: RawCall) -> FfiFuture<RResult<ROption<RawAnswer>, RawFailure>> {
        let call = match self.read_call(call) {
            Ok(call) => call,
            Err(failure) => return at_once(RResult::RErr(failure.into_raw())),
        };
        let answer = self.ask(|| -> ServiceFuture<_> { Box::pin(ready(Err(panicked()))) }, |it| it.call(call));
        let fence = Fence::new(answer, &self.gate, || Err(panicked()));
        async move {
            let answered = fence.await.map(|answer| ROption::from(answer.map(write_whole)));
            RResult::from(answered.map_err(Failure::into_raw))
        }
        .into_ffi()
    }

    fn fetch(&self, fetch: RawFetch) -> FfiFuture<RResult<RawAnswer, RawFailure>> {
        let fetch = Fetch {
            method: fetch.method.into_string(),
            url: fetch.url.into_string(),
            headers: read_headers(fetch.headers),
            body: fetch.body.into_vec(),
            timeout: (fetch.timeout != 0).then(|| Duration::from_millis(fetch.timeout)),
        };
        let answer = self.ask(|| -> ServiceFuture<_> { Box::pin(ready(Err(panicked()))) }, |it| it.fetch(fetch));
        let fence = Fence::new(answer, &self.gate, || Err(panicked()));
        async move { RResult::from(fence.await.map(write_whole).map_err(Failure::into_raw)) }.into_ffi()
    }

    fn publish(&self, name: RStr<'_>, body: RVec<u8>) -> FfiFuture<RResult<(), RawFailure>> {
        let (claim, name, body) =
            (self.scope().and_then(|scope| scope.claim), name.as_str().to_owned(), body.into_vec());
        self.told(|services| services.publish(claim, name, body))
    }

    fn wake(&self, key: RStr<'_>, at: ROption<i64>) -> FfiFuture<RResult<(), RawFailure>> {
        let (claim, key) = (self.scope().and_then(|scope| scope.claim), key.as_str().to_owned());
        self.told(|services| services.wake(claim, key, at.into_option()))
    }

    fn sleep(&self, millis: u64) -> FfiFuture<()> {
        let answer = self.ask(
            || -> ServiceFuture<()> { Box::pin(ready(())) },
            |services| services.sleep(Duration::from_millis(millis)),
        );
        Fence::new(answer, &self.gate, || ()).into_ffi()
    }

    fn spawn(&self, task: FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        let Some(generation) = self.generation.upgrade() else {
            return RResult::RErr(stopping().into_raw());
        };
        let held = HeldTask { task: Some(task), origin: self.origin.clone(), _generation: generation };
        RResult::from(
            self.ask(|| Err(panicked()), |services| services.spawn(Box::pin(held))).map_err(Failure::into_raw),
        )
    }
}

// Fields are dropped in this order: the module's closure before the library it is in.
struct HeldJob {
    job: JobBox,
    origin: Origin,
    _generation: Arc<Generation>,
}

impl HeldJob {
    fn run(mut self) -> Result<(), Failure> {
        let (origin, job) = (&self.origin, &mut self.job);
        // It blocks its thread by design.
        origin.within_unwatched(None, || job.run()).into_result().map_err(Failure::from_raw)
    }
}

// As above.
struct HeldTask {
    task: Option<FfiFuture<RResult<(), RawFailure>>>,
    origin: Origin,
    _generation: Arc<Generation>,
}

impl Drop for HeldTask {
    fn drop(&mut self) {
        let task = self.task.take();
        self.origin.within(None, || drop(task));
    }
}

impl Future for HeldTask {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (origin, task) = (&this.origin, &mut this.task);
        let outcome = std::task::ready!(origin.within(None, || polled(task, cx)));
        Poll::Ready(outcome.and_then(|done| done.into_result().map_err(Failure::from_raw)))
    }
}

fn read_op(op: RawStoreOp) -> Result<StoreOp, Failure> {
    let (id, body, revision) = (op.id.into_string(), op.body.into_vec(), op.revision);
    let action = match op.kind {
        STORE_GET => StoreAction::Get { id },
        STORE_INSERT => StoreAction::Insert { id, body },
        STORE_PUT => StoreAction::Put { id, body, revision },
        STORE_DELETE => StoreAction::Delete { id, revision },
        STORE_FIND => StoreAction::Find { query: body },
        other => {
            let text = format!("the host has no store operation {other}; the module's module-api is newer");
            return Err(Failure::new(FailureKind::Unsupported, text));
        }
    };
    Ok(StoreOp { model: op.model.into_string(), action })
}

fn write_answer(answer: Result<Documents, Failure>) -> RawStoreAnswer {
    match answer {
        Ok(found) => RResult::ROk(RawDocuments {
            documents: found
                .documents
                .into_iter()
                .map(|(id, revision, body)| RawDocument { id: RString::from(id), revision, body: RVec::from(body) })
                .collect(),
            next: found.next.map_or(ROption::RNone, |next| ROption::RSome(RString::from(next))),
        }),
        Err(failure) => RResult::RErr(failure.into_raw()),
    }
}
