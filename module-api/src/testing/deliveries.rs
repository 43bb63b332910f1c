//! Events and wake-ups that wait for the module under test, in memory, by the rules of a host's store: one wake-up for
//! a key, events of one publisher in their order, repeats after a back-off, dead letters.

use std::time::Duration;

use serde_json::Value;

/// How long after the first failure a delivery is tried again; doubled with each further one.
const RETRY_BASE: Duration = Duration::from_secs(1);
/// The longest time between two tries.
const RETRY_LIMIT: Duration = Duration::from_secs(300);
/// After so many failures a delivery is a dead letter.
const ATTEMPTS: u32 = 10;
/// What could not be tried now is looked at again after this time.
const POSTPONE: Duration = Duration::from_secs(30);

/// What is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivered {
    Event {
        publisher: String,
        name: String,
        id: String,
        /// JSON.
        body: Vec<u8>,
        published_at: i64,
    },
    Wake {
        key: String,
    },
}

/// As operators see it.
impl std::fmt::Display for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event { publisher, name, .. } => write!(f, "event {publisher}:{name}"),
            Self::Wake { key } => write!(f, "wake-up {key}"),
        }
    }
}

/// An event or a wake-up that was given up after ten failures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// As operators see it: `event hr-core:employee.deleted`, `wake-up remind/7`.
    pub what: String,
    /// How often it failed.
    pub failures: u32,
    /// What it failed of last.
    pub error: String,
}

struct Waiting {
    /// In the order in which they came.
    number: u64,
    what: Delivered,
    /// Absent behind others of the same publisher.
    due: Option<i64>,
    /// When a wake-up is due that was set again while it was handled.
    again: Option<i64>,
    /// Whether a wake-up was taken back while it was handled.
    is_over: bool,
    failures: u32,
    is_handled: bool,
}

/// A delivery that is being handled.
pub(super) struct Claimed {
    pub(super) number: u64,
    pub(super) what: Delivered,
    /// From 1.
    pub(super) attempt: u32,
}

/// What came of a try.
pub(super) enum Tried {
    Handled,
    /// It was not tried, for a reason that is not the handler's.
    Postponed,
    Failed(String),
}

/// All that waits, and what became of the rest.
#[derive(Default)]
pub(super) struct Deliveries {
    waiting: Vec<Waiting>,
    next: u64,
    /// What was handled last, to be handled again: its number, how often it had failed, and what it was.
    last: Option<(u64, u32, Delivered)>,
    /// With their numbers, in the order of these.
    dead: Vec<(u64, DeadLetter)>,
    /// By the module itself.
    pub(super) published: Vec<(String, Value)>,
}

impl Deliveries {
    /// Sets a wake-up, or moves it.
    pub(super) fn set_wake(&mut self, key: &str, at: i64) {
        match self.wake(key) {
            None => drop(self.add(Delivered::Wake { key: key.to_owned() }, Some(at))),
            Some(known) if known.is_handled => (known.again, known.is_over) = (Some(at), false),
            Some(known) => (known.due, known.failures) = (Some(at), 0),
        }
    }

    /// Takes a wake-up back; one that is being handled is over whatever comes of it.
    pub(super) fn cancel_wake(&mut self, key: &str) {
        if let Some(known) = self.wake(key) {
            (known.again, known.is_over) = (None, known.is_handled);
        }
        self.waiting.retain(|it| it.is_handled || !matches!(&it.what, Delivered::Wake { key: of } if of == key));
    }

    /// Key and time of each wake-up, in the order in which they are due.
    pub(super) fn wakes(&self) -> Vec<(String, i64)> {
        let mut due: Vec<_> = self.waiting.iter().filter_map(|it| Some(((it.due?, it.number), &it.what))).collect();
        due.sort_unstable_by_key(|(order, _)| *order);
        let wake = |((due, _), what): &((i64, u64), &Delivered)| match what {
            Delivered::Wake { key } => Some((key.clone(), *due)),
            Delivered::Event { .. } => None,
        };
        due.iter().filter_map(wake).collect()
    }

    /// Adds an event behind those of its publisher; gives its number.
    pub(super) fn add_event(&mut self, event: Delivered, now: i64) -> u64 {
        let is_first = !self.waiting.iter().any(|it| is_of_one_queue(&it.what, &event));
        self.add(event, is_first.then_some(now))
    }

    fn add(&mut self, what: Delivered, due: Option<i64>) -> u64 {
        self.next += 1;
        self.waiting.push(Waiting {
            number: self.next,
            what,
            due,
            again: None,
            is_over: false,
            failures: 0,
            is_handled: false,
        });
        self.next
    }

    fn wake(&mut self, key: &str) -> Option<&mut Waiting> {
        self.waiting.iter_mut().find(|it| matches!(&it.what, Delivered::Wake { key: of } if of == key))
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.waiting.iter().filter(|it| !it.is_handled).filter_map(|it| it.due).min()
    }

    /// The first that is due.
    pub(super) fn claim_due(&mut self, now: i64) -> Option<Claimed> {
        let free = self.waiting.iter_mut().filter(|it| !it.is_handled && it.due.is_some_and(|due| due <= now));
        free.min_by_key(|it| (it.due, it.number)).map(claim)
    }

    /// This one.
    ///
    /// # Errors
    ///
    /// Behind which it waits.
    pub(super) fn claim_event(&mut self, number: u64) -> Result<Claimed, String> {
        let at = self.waiting.iter().position(|it| it.number == number).ok_or("it is not there any more")?;
        let what = self.waiting[at].what.clone();
        match self.waiting.iter().find(|it| it.number < number && is_of_one_queue(&it.what, &what)) {
            Some(first) => Err(format!("it waits behind {} (failures: {})", first.what, first.failures)),
            None => Ok(claim(&mut self.waiting[at])),
        }
    }

    /// What was handled last, once more and in its old place, as if nobody knew that it was.
    pub(super) fn claim_last(&mut self, now: i64) -> Option<Claimed> {
        let (number, failures, last) = self.last.clone()?;
        if let Delivered::Wake { key } = &last
            && let Some(known) = self.wake(key)
        {
            known.again = known.due;
            return Some(claim(known));
        }
        self.waiting.iter_mut().filter(|it| is_of_one_queue(&it.what, &last)).for_each(|it| it.due = None);
        let at = self.waiting.partition_point(|it| it.number < number);
        let what = last;
        self.waiting.insert(
            at,
            Waiting { number, what, due: Some(now), again: None, is_over: false, failures, is_handled: false },
        );
        self.waiting.get_mut(at).map(claim)
    }

    /// What was given up, in the order in which it came in: where operators see it.
    pub(super) fn dead(&self) -> Vec<DeadLetter> {
        self.dead.iter().map(|(_, letter)| letter.clone()).collect()
    }

    /// Notes what came of a try. A wake-up that was set again meanwhile is a new one.
    pub(super) fn end(&mut self, claimed: Claimed, tried: Tried, now: i64) {
        let Some(at) = self.waiting.iter().position(|it| it.number == claimed.number) else { return };
        let it = &mut self.waiting[at];
        it.is_handled = false;
        if matches!(tried, Tried::Handled) {
            self.last = Some((claimed.number, it.failures, claimed.what));
        }
        if it.is_over {
            drop(self.remove(at));
            return;
        }
        match (tried, it.again.take()) {
            (Tried::Postponed, again) => it.due = again.or(Some(now + millis(POSTPONE))),
            (_, Some(again)) => (it.due, it.failures) = (Some(again), 0),
            (Tried::Handled, None) => drop(self.remove(at)),
            (Tried::Failed(error), None) => {
                it.failures += 1;
                if it.failures < ATTEMPTS {
                    it.due = Some(now + millis(back_off(it.failures)));
                } else {
                    let (number, failures) = (it.number, it.failures);
                    let what = self.remove(at).to_string();
                    let place = self.dead.partition_point(|(other, _)| *other < number);
                    self.dead.insert(place, (number, DeadLetter { what, failures, error }));
                }
            }
        }
    }

    /// Takes one away; the next of its publisher is due, since it was published.
    fn remove(&mut self, at: usize) -> Delivered {
        let gone = self.waiting.remove(at).what;
        if let Some(next) = self.waiting.iter_mut().find(|it| is_of_one_queue(&it.what, &gone))
            && let Delivered::Event { published_at, .. } = next.what
        {
            next.due = next.due.or(Some(published_at));
        }
        gone
    }
}

fn claim(waiting: &mut Waiting) -> Claimed {
    waiting.is_handled = true;
    Claimed { number: waiting.number, what: waiting.what.clone(), attempt: waiting.failures + 1 }
}

fn is_of_one_queue(one: &Delivered, other: &Delivered) -> bool {
    let publisher = |what: &Delivered| match what {
        Delivered::Event { publisher, .. } => Some(publisher.clone()),
        Delivered::Wake { .. } => None,
    };
    publisher(one).is_some_and(|of| publisher(other) == Some(of))
}

fn back_off(failures: u32) -> Duration {
    RETRY_BASE.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(RETRY_LIMIT)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
