//! The instance of a test: how it is made, driven, replaced after a panic, and ended.

use std::{
    cell::Cell,
    panic::{set_hook, take_hook},
    sync::{Arc, Once},
    time::Duration,
};

use abi_stable::{erased_types::TD_Opaque, std_types::RResult};
use async_ffi::BorrowingFfiFuture;

use crate::{
    Module,
    abi::{FAILURE_PANIC, FAILURE_TIMEOUT, InstanceBox, RawFailure, RawHost_TO},
    export, guard,
};

use super::{
    TestHost, conformance,
    executor::{Driven, Tasks, lock},
    response::shown,
    scope::{self, Scope, within},
    store::failure,
    world::FakeHost,
};

/// A hook that was begun.
type Begun<'a> = BorrowingFfiFuture<'a, RResult<(), RawFailure>>;

/// How long a piece of work may take by the test's clock, as on a host whose operator set nothing else.
pub(super) const DEADLINE_SECONDS: u64 = 30;

pub(super) struct Instance {
    pub(super) object: InstanceBox,
    /// Tells it from all others of the process.
    pub(super) number: u64,
    pub(super) routes: Vec<(String, String)>,
    pub(super) tasks: Arc<Tasks>,
}

/// Instances.
impl<M: Module> TestHost<M> {
    /// Runs module code, one thread of the test at a time; then lets a panic of the test's own answers go on.
    pub(super) fn driving<T>(&self, run: impl FnOnce() -> T) -> T {
        let driving = lock(&self.driving);
        let done = run();
        drop(driving);
        self.world.panics.go_on();
        done
    }

    /// The one that lives, or a new one.
    pub(super) fn instance(&self) -> Result<Arc<Instance>, String> {
        if let Some(instance) = lock(&self.current).as_ref() {
            return Ok(Arc::clone(instance));
        }
        let routes = conformance::routes_of::<M>()?;
        conformance::compare_routes(&routes, &self.endpoints())?;
        let tasks = Arc::new(Tasks::default());
        let number = scope::next_instance();
        let host = RawHost_TO::from_value(FakeHost::new(&self.world, &tasks, number), TD_Opaque);
        let made = match self.run(&tasks, Box::pin(export::initialize::<M>(host))) {
            None => Err(format!("`initialize` did not end within {DEADLINE_SECONDS} s")),
            Some(RResult::RErr(failure)) => Err(format!("`initialize` failed: {}", shown(&failure))),
            Some(RResult::ROk(object)) => Ok(object),
        };
        let object = made.inspect_err(|_| tasks.stop())?;
        let instance = Arc::new(Instance { object, number, routes, tasks });
        if let Err(failure) = self.run_to_end(&instance, None, |object| object.health()) {
            // It is not put into service; like one that failed to initialize, it is dropped without a cleanup.
            instance.tasks.stop();
            return Err(format!("`health` failed: {}", shown(&failure)));
        }
        *lock(&self.current) = Some(Arc::clone(&instance));
        Ok(instance)
    }

    /// Runs a hook beside all work.
    pub(super) fn run_hook(
        &self,
        instance: &Arc<Instance>,
        begin: impl for<'a> FnOnce(&'a InstanceBox) -> Begun<'a>,
    ) -> Result<(), RawFailure> {
        let outcome = self.run_to_end(instance, None, begin);
        self.rest(instance, &outcome);
        outcome
    }

    /// Runs a hook as a piece of work with an id.
    pub(super) fn run_work(
        &self,
        instance: &Arc<Instance>,
        id: String,
        begin: impl for<'a> FnOnce(&'a InstanceBox) -> Begun<'a>,
    ) -> Result<(), RawFailure> {
        let outcome = self.run_to_end(instance, Some(Scope { instance: instance.number, id }), begin);
        self.rest(instance, &outcome);
        outcome
    }

    fn run_to_end(
        &self,
        instance: &Arc<Instance>,
        scope: Option<Scope>,
        begin: impl for<'a> FnOnce(&'a InstanceBox) -> Begun<'a>,
    ) -> Result<(), RawFailure> {
        let work = within(scope, Box::pin(async { begin(&instance.object).await }));
        let late = || failure(FAILURE_TIMEOUT, format!("the handler did not end within {DEADLINE_SECONDS}s"));
        self.run(&instance.tasks, Box::pin(work)).map_or_else(|| Err(late()), RResult::into_result)
    }

    /// Lets tasks go on; an instance that has panicked is replaced.
    fn rest(&self, instance: &Arc<Instance>, outcome: &Result<(), RawFailure>) {
        self.world.executor.settle(&instance.tasks);
        let has_panicked = outcome.as_ref().is_err_and(|failure| failure.kind == FAILURE_PANIC);
        self.look_after(Arc::clone(instance), has_panicked);
    }

    /// Runs one future under the usual deadline.
    pub(super) fn run<T>(&self, tasks: &Tasks, future: Driven<'_, T>) -> Option<T> {
        let limit = self.world.executor.clock.now() + Duration::from_secs(DEADLINE_SECONDS).as_millis() as i64;
        self.world.executor.drive(tasks, vec![future], limit).pop().flatten()
    }

    /// Replaces an instance that has panicked, in a handler or a task.
    pub(super) fn look_after(&self, instance: Arc<Instance>, has_panicked: bool) {
        let failures = instance.tasks.take_failures();
        if failures.is_empty() && !has_panicked {
            return;
        }
        lock(&self.failures).extend(failures.iter().map(shown));
        *lock(&self.current) = None;
        // What cleanup does after a panic is not for the test that caused it.
        let _ = self.retire(instance);
    }

    pub(super) fn retire(&self, instance: Arc<Instance>) -> Result<(), String> {
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

thread_local! {
    /// How many panics this thread has seen.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Lets the guards of a module know where a panic happened, as a host's hook would; the test's own hook still prints.
pub(super) fn remember_panics() {
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
