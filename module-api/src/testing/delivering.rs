//! Events and wake-ups reach the module under test, as its time passes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    Module,
    abi::{FAILURE_PANIC, RawEvent, RawFailure},
};

use super::{
    DeadLetter, TestHost,
    deliveries::{Claimed, Delivered, Tried},
    executor::{Tasks, lock},
    instance::Instance,
    response::shown,
};

/// More deliveries than this while no time passes are a circle.
const MOST_AT_ONCE: usize = 1000;

/// Time, events and wake-ups.
///
/// Nothing is delivered before [`TestHost::advance`] lets it, `advance(Duration::ZERO)` included, and one is handled
/// after the other; only [`TestHost::deliver`] hands its event over at once. What fails is repeated after 1 s, 2 s, 4 s
/// and so on up to 5 min, ten times in all: within 10 min of the test's clock it is handled, or a dead letter.
impl<M: Module> TestHost<M> {
    /// Lets time pass: timers end, wake-ups that are due and events that have failed before are handled, each at its
    /// time and in that order. While the store is away nothing is delivered.
    ///
    /// # Panics
    ///
    /// Where a handler sets its wake-up again without end for a time that has come already.
    #[track_caller]
    pub fn advance(&self, time: Duration) {
        let clock = &self.world.executor.clock;
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let circle = self.driving(|| {
            let until = clock.now().saturating_add(time);
            let mut to = clock.now();
            loop {
                self.pass(to);
                for round in 0.. {
                    let Some(claimed) = self.claim_due() else { break };
                    if round == MOST_AT_ONCE {
                        return Some(claimed.what);
                    }
                    let _ = self.handle(claimed);
                }
                let now = clock.now();
                if now >= until {
                    return None;
                }
                let next = [self.next_due(), clock.next_timer()].into_iter().flatten().min();
                to = next.unwrap_or(until).clamp(now, until);
            }
        });
        if let Some(what) = circle {
            panic!("{what} comes again and again while no time passes");
        }
    }

    /// Hands an event of another module to `on_event` and says what came of it. Where it fails it is repeated as time
    /// passes; until it is handled or given up, later events of its publisher wait behind it.
    ///
    /// # Errors
    ///
    /// What the handler failed of, why there is no instance, or behind what the event waits.
    ///
    /// # Panics
    ///
    /// Where `module.toml` does not list the event under `subscribes`, or the payload can't be written as JSON.
    #[track_caller]
    pub fn deliver(&self, publisher: &str, event: &str, payload: &impl Serialize) -> Result<(), String> {
        let body = serde_json::to_vec(payload).unwrap_or_else(|error| panic!("the event can't be written: {error}"));
        let subscription = format!("{publisher}:{event}");
        let subscribed = &self.world.manifest.subscribes;
        assert!(subscribed.contains(&subscription), "module.toml does not list `{subscription}` under `subscribes`");
        let now = self.world.executor.clock.now();
        let (publisher, name) = (publisher.to_owned(), event.to_owned());
        let event = Delivered::Event { publisher, name, id: self.world.next_id(), body, published_at: now };
        let claimed = {
            let mut deliveries = lock(&self.world.deliveries);
            let number = deliveries.add_event(event, now);
            deliveries.claim_event(number)?
        };
        self.driving(|| self.handle(claimed))
    }

    /// Hands over once more what was handled last, as a host does that was killed before it could note it: an event
    /// has the same id. What a handler makes of it should be the same as of the first time.
    ///
    /// # Errors
    ///
    /// As [`TestHost::deliver`].
    ///
    /// # Panics
    ///
    /// Where nothing was handled yet.
    #[track_caller]
    pub fn deliver_again(&self) -> Result<(), String> {
        let claimed = lock(&self.world.deliveries).claim_last(self.world.executor.clock.now());
        let Some(claimed) = claimed else { panic!("no event and no wake-up was handled yet") };
        self.driving(|| self.handle(claimed))
    }

    /// The wake-ups that are set: key and time, in the order in which they are due.
    pub fn wakes(&self) -> Vec<(String, SystemTime)> {
        let time = |millis: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        let wakes = lock(&self.world.deliveries).wakes();
        wakes.into_iter().map(|(key, due)| (key, time(due))).collect()
    }

    /// The events and wake-ups that were given up after ten failures, in the order in which they were published or first
    /// set, as operators see them.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.world.deliveries).dead()
    }

    /// What the module has published so far, in its order: name and payload.
    pub fn published(&self) -> Vec<(String, Value)> {
        lock(&self.world.deliveries).published.clone()
    }

    /// Runs each hook with nonsense; which of them panicked, and where.
    pub(super) fn nonsense(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |what: String, outcome: Result<(), RawFailure>| {
            if let Some(failure) = outcome.err().filter(|failure| failure.kind == FAILURE_PANIC) {
                problems.push(format!("{what} {}", shown(&failure)));
            }
        };
        let run =
            |what| self.driving(|| self.instance().map_or(Ok(()), |instance| self.run_delivery(&instance, what, 1)));
        check("`on_wake` with a made-up key".to_owned(), run(Delivered::Wake { key: "made-up".to_owned() }));
        for subscription in &self.world.manifest.subscribes {
            let (publisher, name) = subscription.split_once(':').unwrap_or_default();
            let (publisher, name, id) = (publisher.to_owned(), name.to_owned(), self.world.next_id());
            let event = Delivered::Event { publisher, name, id, body: b"[\"made-up\"]".to_vec(), published_at: 0 };
            check(format!("`on_event` of `{subscription}` with a made-up payload"), run(event));
        }
        let told = |instance| self.run_hook(&instance, |object| object.settings_changed());
        check("`settings_changed`".to_owned(), self.driving(|| self.instance().map_or(Ok(()), told)));
        problems
    }

    /// Lets tasks run until the clock has reached a time.
    fn pass(&self, to: i64) {
        let executor = &self.world.executor;
        let current = lock(&self.current).clone();
        let idle = Arc::new(Tasks::default());
        let tasks = current.as_ref().map_or(&idle, |instance| &instance.tasks);
        let sleep = executor.clock.sleep(u64::try_from(to.saturating_sub(executor.clock.now())).unwrap_or(0));
        executor.drive(tasks, vec![Box::pin(sleep)], i64::MAX);
        executor.settle(tasks);
        if let Some(instance) = current {
            self.look_after(instance, false);
        }
    }

    fn next_due(&self) -> Option<i64> {
        let is_away = lock(&self.world.store).is_away;
        lock(&self.world.deliveries).next_due().filter(|_| !is_away)
    }

    fn claim_due(&self) -> Option<Claimed> {
        let is_away = lock(&self.world.store).is_away;
        let now = self.world.executor.clock.now();
        if is_away { None } else { lock(&self.world.deliveries).claim_due(now) }
    }

    /// Runs the handler of a delivery and notes what came of it.
    fn handle(&self, claimed: Claimed) -> Result<(), String> {
        let (tried, outcome) = match self.instance() {
            Err(why) => (Tried::Postponed, Err(why)),
            Ok(instance) => {
                let handled = self.run_delivery(&instance, claimed.what.clone(), claimed.attempt);
                match handled.map_err(|failure| shown(&failure)) {
                    Ok(()) => (Tried::Handled, Ok(())),
                    Err(text) => (Tried::Failed(text.clone()), Err(text)),
                }
            }
        };
        let now = self.world.executor.clock.now();
        lock(&self.world.deliveries).end(claimed, tried, now);
        outcome
    }

    fn run_delivery(&self, instance: &Arc<Instance>, what: Delivered, attempt: u32) -> Result<(), RawFailure> {
        // It stands where requests have their id.
        let work = self.world.next_id();
        match what {
            Delivered::Wake { key } => self.run_work(instance, work, |object| object.on_wake(key.into())),
            Delivered::Event { publisher, name, id, body, published_at } => {
                let (id, publisher, name, body) = (id.into(), publisher.into(), name.into(), body.into());
                let event = RawEvent { id, publisher, name, body, published_at, attempt };
                self.run_work(instance, work, |object| object.on_event(event))
            }
        }
    }
}
