//! Runs a module's futures on the thread of the test, under a clock that only the test and waiting can move.
//!
//! Nothing here needs a runtime: a future that has something to do is polled, and where nothing has, the clock
//! jumps to the next timer. So a handler that sleeps for an hour answers at once, and a test is the same each time.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use abi_stable::std_types::RResult;
use async_ffi::FfiFuture;

use crate::abi::RawFailure;

/// Tasks that wake themselves again and again are left alone after so many rounds without time passing.
const MOST_ROUNDS: usize = 10_000;
/// How long a closure on another thread is waited for where no request waits for it.
const JOB_PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rung by every waker; heard by the thread of the test.
#[derive(Default)]
struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rings) += 1;
        self.rung.notify_all();
    }

    fn rings(&self) -> u64 {
        *lock(&self.rings)
    }

    /// Whether it was rung since, or is within the time.
    fn wait_since(&self, seen: u64, patience: Duration) -> bool {
        let waited = self.rung.wait_timeout_while(lock(&self.rings), patience, |rings| *rings == seen);
        let (rings, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rings != seen
    }
}

struct Flag {
    is_ready: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_ready.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// A future that is polled only after it was woken.
struct Running<F: Future> {
    future: Option<F>,
    flag: Arc<Flag>,
    output: Option<F::Output>,
}

impl<F: Future + Unpin> Running<F> {
    fn new(future: F, bell: &Arc<Bell>) -> Self {
        let flag = Arc::new(Flag { is_ready: AtomicBool::new(true), bell: Arc::clone(bell) });
        Self { future: Some(future), flag, output: None }
    }

    /// Polls it where it was woken; says whether it was.
    fn go_on(&mut self) -> bool {
        let Some(future) = self.future.as_mut() else { return false };
        if !self.flag.is_ready.swap(false, Ordering::AcqRel) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        if let Poll::Ready(output) = Pin::new(future).poll(&mut Context::from_waker(&waker)) {
            self.output = Some(output);
            self.future = None;
        }
        true
    }

    fn has_ended(&self) -> bool {
        self.future.is_none()
    }
}

/// A future on the stack of the test.
pub(super) type Driven<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

type Task = FfiFuture<RResult<(), RawFailure>>;

/// What an instance has spawned.
#[derive(Default)]
pub(super) struct Tasks(Mutex<TaskList>);

#[derive(Default)]
struct TaskList {
    running: Vec<Running<Task>>,
    failures: Vec<RawFailure>,
    is_closed: bool,
}

impl Tasks {
    /// Takes no more, and drops those that run.
    pub(super) fn stop(&self) {
        let mut list = lock(&self.0);
        list.is_closed = true;
        let running = std::mem::take(&mut list.running);
        // Their drop is the module's code, which may come back here.
        drop(list);
        drop(running);
    }

    /// The failures of tasks since this was asked last: each is a panic.
    pub(super) fn take_failures(&self) -> Vec<RawFailure> {
        std::mem::take(&mut lock(&self.0).failures)
    }

    fn go_on(&self) -> bool {
        // Taken out, because a task may spawn another.
        let mut running = std::mem::take(&mut lock(&self.0).running);
        let mut moved = false;
        for task in &mut running {
            moved |= task.go_on();
        }
        let mut list = lock(&self.0);
        for task in &mut running {
            if let Some(RResult::RErr(failure)) = task.output.take() {
                list.failures.push(failure);
            }
        }
        running.retain(|task| !task.has_ended());
        if !list.is_closed {
            running.append(&mut list.running);
            list.running = running;
        }
        moved
    }
}

/// The clock, the bell, and the closures that run on other threads.
pub(super) struct Executor {
    bell: Arc<Bell>,
    pub(super) clock: Arc<Clock>,
    jobs: AtomicUsize,
}

impl Executor {
    pub(super) fn new(now_millis: i64) -> Self {
        let hands = Hands { now: now_millis, next: 0, timers: BTreeMap::new() };
        Self { bell: Arc::default(), clock: Arc::new(Clock(Mutex::new(hands))), jobs: AtomicUsize::new(0) }
    }

    /// Adds a task.
    ///
    /// # Errors
    ///
    /// The task, where the tasks were stopped.
    pub(super) fn spawn(&self, tasks: &Tasks, task: Task) -> Result<(), Task> {
        let mut list = lock(&tasks.0);
        if list.is_closed {
            return Err(task);
        }
        list.running.push(Running::new(task, &self.bell));
        drop(list);
        self.bell.ring();
        Ok(())
    }

    /// Runs a closure on a thread of its own; the clock stands still meanwhile.
    pub(super) fn run_job(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        self.jobs.fetch_add(1, Ordering::AcqRel);
        let executor = Arc::clone(self);
        std::thread::spawn(move || {
            job();
            executor.jobs.fetch_sub(1, Ordering::AcqRel);
            executor.bell.ring();
        });
    }

    /// Runs futures together, and the tasks beside them, until all of them have ended or the clock has reached
    /// `limit`. What has not ended is dropped, and has no output.
    pub(super) fn drive<T>(&self, tasks: &Tasks, futures: Vec<Driven<'_, T>>, limit: i64) -> Vec<Option<T>> {
        let mut mains: Vec<_> = futures.into_iter().map(|future| Running::new(future, &self.bell)).collect();
        loop {
            let seen = self.bell.rings();
            let mut moved = false;
            for main in &mut mains {
                moved |= main.go_on();
            }
            if mains.iter().all(Running::has_ended) {
                break;
            }
            moved |= tasks.go_on();
            if !moved && !self.wait(seen, limit) {
                break;
            }
        }
        mains.into_iter().map(|main| main.output).collect()
    }

    /// Lets tasks go on until each of them waits for time to pass.
    pub(super) fn settle(&self, tasks: &Tasks) {
        for _ in 0..MOST_ROUNDS {
            let seen = self.bell.rings();
            if tasks.go_on() {
                continue;
            }
            let has_jobs = self.jobs.load(Ordering::Acquire) > 0;
            if !(self.bell.rings() != seen || has_jobs && self.bell.wait_since(seen, JOB_PATIENCE)) {
                return;
            }
        }
    }

    /// Waits until something can go on; `false` where nothing can before `limit`.
    fn wait(&self, seen: u64, limit: i64) -> bool {
        // Read before the bell: a job rings before it is counted as done.
        let has_jobs = self.jobs.load(Ordering::Acquire) > 0;
        if self.bell.rings() != seen {
            return true;
        }
        let left = Duration::from_millis(u64::try_from(limit.saturating_sub(self.clock.now())).unwrap_or(0));
        let goes_on = match self.clock.next_timer() {
            Some(due) if !has_jobs => {
                self.clock.set(due.min(limit));
                due <= limit
            }
            // Somebody else's thread is at work, or nothing at all: that takes real time.
            _ => self.bell.wait_since(seen, left),
        };
        if !goes_on {
            self.clock.set(limit);
        }
        goes_on
    }
}

/// The time as the module sees it, in milliseconds since the Unix epoch.
pub(super) struct Clock(Mutex<Hands>);

struct Hands {
    now: i64,
    next: u64,
    timers: BTreeMap<(i64, u64), Waker>,
}

impl Clock {
    pub(super) fn now(&self) -> i64 {
        lock(&self.0).now
    }

    /// Sets the time and wakes what is due.
    pub(super) fn set(&self, to: i64) {
        let mut hands = lock(&self.0);
        hands.now = to;
        let later = hands.timers.split_off(&(to.saturating_add(1), 0));
        let due = std::mem::replace(&mut hands.timers, later);
        drop(hands);
        due.into_values().for_each(Waker::wake);
    }

    /// When the next timer ends.
    pub(super) fn next_timer(&self) -> Option<i64> {
        lock(&self.0).timers.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn sleep(self: &Arc<Self>, millis: u64) -> Sleep {
        let mut hands = lock(&self.0);
        hands.next += 1;
        let due = hands.now.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX));
        Sleep { clock: Arc::clone(self), timer: (due, hands.next) }
    }
}

/// Ends when the clock has reached its time.
pub(super) struct Sleep {
    clock: Arc<Clock>,
    timer: (i64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut hands = lock(&self.clock.0);
        if hands.now >= self.timer.0 {
            return Poll::Ready(());
        }
        hands.timers.insert(self.timer, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = lock(&self.clock.0).timers.remove(&self.timer);
        drop(waker);
    }
}
