//! What stands behind a module's tenant handle in a test: the services of a host, in memory.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use abi_stable::std_types::{ROption, RResult, RStr, RString, RVec};
use async_ffi::{FfiFuture, FutureExt};

use crate::abi::{
    FAILURE_MISUSE, FAILURE_STOPPING, FAILURE_STORE_UNAVAILABLE, JobBox, RawAnswer, RawCall, RawFailure, RawFetch,
    RawHost, RawLater, RawStoreAnswer, RawStoreOp,
};

use super::{
    answer::Postponed,
    calls::{self, Peers},
    deliveries::Deliveries,
    executor::{Executor, Tasks, lock},
    manifest::Manifest,
    outside::{self, Outside},
    store::{MemoryStore, failure},
};

/// The time at which every test begins, unless it says otherwise: 2026-01-01T00:00:00Z.
const BEGIN_MILLIS: i64 = 1_767_225_600_000;

/// The longest key of a wake-up, as on a host.
const MAX_KEY_BYTES: usize = 256;

/// All that outlives an instance.
pub(super) struct World {
    pub(super) manifest: Manifest,
    pub(super) executor: Arc<Executor>,
    pub(super) store: Mutex<MemoryStore>,
    pub(super) view: Mutex<View>,
    pub(super) peers: Mutex<Peers>,
    pub(super) outside: Mutex<Outside>,
    pub(super) deliveries: Mutex<Deliveries>,
    pub(super) panics: Postponed,
    ids: AtomicU64,
}

/// The tenant's document as the module sees it.
pub(super) struct View {
    pub(super) tenant: String,
    /// A JSON object.
    pub(super) settings: String,
    /// What the tenant set; all else has the manifest's default.
    pub(super) flags: BTreeMap<String, bool>,
}

impl World {
    pub(super) fn new(manifest: Manifest) -> Self {
        let view = View { tenant: "test-tenant".to_owned(), settings: "{}".to_owned(), flags: BTreeMap::new() };
        Self {
            manifest,
            executor: Arc::new(Executor::new(BEGIN_MILLIS)),
            store: Mutex::default(),
            view: Mutex::new(view),
            peers: Mutex::default(),
            outside: Mutex::default(),
            deliveries: Mutex::default(),
            panics: Postponed::default(),
            ids: AtomicU64::new(1),
        }
    }

    /// Whether a feature is on; `None` where it is neither set nor declared.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        lock(&self.view).flags.get(name).or_else(|| self.manifest.features.get(name)).copied()
    }

    fn check_store(&self) -> Result<(), RawFailure> {
        let is_away = lock(&self.store).is_away;
        if is_away { Err(failure(FAILURE_STORE_UNAVAILABLE, "the store is unavailable")) } else { Ok(()) }
    }

    /// A UUID version 7 that is the same in each run: the clock's time, then a count.
    pub(super) fn next_id(&self) -> String {
        let (millis, count) = (self.executor.clock.now().cast_unsigned(), self.ids.fetch_add(1, Ordering::Relaxed));
        format!(
            "{:08x}-{:04x}-7000-8{:03x}-{:012x}",
            (millis >> 16) & 0xffff_ffff,
            millis & 0xffff,
            (count >> 48) & 0xfff,
            count & 0xffff_ffff_ffff
        )
    }
}

/// The services of one instance.
pub(super) struct FakeHost {
    world: Arc<World>,
    tasks: Arc<Tasks>,
    instance: u64,
    tenant: String,
}

impl FakeHost {
    pub(super) fn new(world: &Arc<World>, tasks: &Arc<Tasks>, instance: u64) -> Self {
        let tenant = lock(&world.view).tenant.clone();
        Self { world: Arc::clone(world), tasks: Arc::clone(tasks), instance, tenant }
    }
}

impl RawHost for FakeHost {
    fn tenant_id(&self) -> RStr<'_> {
        RStr::from_str(&self.tenant)
    }

    fn settings(&self) -> RString {
        RString::from(lock(&self.world.view).settings.as_str())
    }

    fn flag(&self, name: RStr<'_>) -> u8 {
        self.world.flag(name.as_str()).map_or(2, u8::from)
    }

    fn now_millis(&self) -> i64 {
        self.world.executor.clock.now()
    }

    fn random_id(&self) -> RString {
        RString::from(self.world.next_id())
    }

    fn store(&self, op: RawStoreOp) -> RawLater<RawStoreAnswer> {
        let answer = lock(&self.world.store).act(&self.world.manifest, op);
        RawLater::Pending(after_others(move || RResult::from(answer)).into_ffi())
    }

    fn blocking(&self, job: JobBox) -> FfiFuture<RResult<(), RawFailure>> {
        let slot = Arc::new(Mutex::new(Slot { outcome: None, waker: None }));
        let done = Done { slot: Arc::clone(&slot) };
        let mut job = job;
        self.world.executor.run_job(move || {
            let outcome = job.run();
            // The answer comes when the closure is gone.
            drop(job);
            let mut slot = lock(&slot);
            slot.outcome = Some(outcome);
            let waker = slot.waker.take();
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        done.into_ffi()
    }

    fn call(&self, call: RawCall) -> FfiFuture<RResult<ROption<RawAnswer>, RawFailure>> {
        let read = calls::read(&self.world, self.instance, call);
        let world = Arc::clone(&self.world);
        let answered = move || {
            let Some((answerer, request)) = read? else { return Ok(ROption::RNone) };
            let who = format!("module `{}`", request.module);
            world.panics.ask(&answerer, &request, &who).map(ROption::RSome)
        };
        after_others(move || RResult::from(answered())).into_ffi()
    }

    fn fetch(&self, fetch: RawFetch) -> FfiFuture<RResult<RawAnswer, RawFailure>> {
        let world = Arc::clone(&self.world);
        let answered = move || {
            let (answerer, request) = outside::read(&world, fetch)?;
            world.panics.ask(&answerer, &request, &format!("`{}`", request.host))
        };
        after_others(move || RResult::from(answered())).into_ffi()
    }

    fn publish(&self, name: RStr<'_>, body: RVec<u8>) -> FfiFuture<RResult<(), RawFailure>> {
        let (world, name) = (Arc::clone(&self.world), name.as_str().to_owned());
        let publish = move || {
            if !world.manifest.publishes.contains(&name) {
                let text = format!("event `{name}` is not listed under `publishes` in the manifest");
                return Err(failure(FAILURE_MISUSE, text));
            }
            world.check_store()?;
            // What module-api has written is JSON.
            let payload = serde_json::from_slice(&body).unwrap_or_default();
            lock(&world.deliveries).published.push((name, payload));
            Ok(())
        };
        after_others(move || RResult::from(publish())).into_ffi()
    }

    fn wake(&self, key: RStr<'_>, at: ROption<i64>) -> FfiFuture<RResult<(), RawFailure>> {
        let (world, key) = (Arc::clone(&self.world), key.as_str().to_owned());
        let wake = move || {
            if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                let text = format!("the key of a wake-up has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len());
                return Err(failure(FAILURE_MISUSE, text));
            }
            world.check_store()?;
            let mut deliveries = lock(&world.deliveries);
            match at {
                ROption::RSome(at) => deliveries.set_wake(&key, at),
                ROption::RNone => deliveries.cancel_wake(&key),
            }
            Ok(())
        };
        after_others(move || RResult::from(wake())).into_ffi()
    }

    fn sleep(&self, millis: u64) -> FfiFuture<()> {
        self.world.executor.clock.sleep(millis).into_ffi()
    }

    #[cfg(not(feature = "__fixture-older"))]
    fn spawn(&self, task: FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        match self.world.executor.spawn(&self.tasks, task) {
            Ok(()) => RResult::ROk(()),
            Err(_refused) => RResult::RErr(failure(FAILURE_STOPPING, "the instance is being stopped")),
        }
    }
}

/// Answers after everything else has gone on, once. A real host answers later too: requests that run together take
/// turns here, so that what they do to each other in between is seen.
async fn after_others<T>(answer: impl FnOnce() -> T) -> T {
    let mut has_waited = false;
    let others = poll_fn(move |cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    others.await;
    answer()
}

struct Slot {
    outcome: Option<RResult<(), RawFailure>>,
    waker: Option<Waker>,
}

/// The end of a closure on another thread.
struct Done {
    slot: Arc<Mutex<Slot>>,
}

impl Future for Done {
    type Output = RResult<(), RawFailure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.slot);
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
