//! Looks ten times a second where threads are, and tells of module code that does not give its thread back. Such code
//! can't be stopped; others can keep away from it until it returns.
//!
//! Time is counted in the watchdog's own ticks: while the process is paused, or the machine asleep, none pass, and
//! nobody is blamed for it.

use std::{
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{
    presence::{Entry, Place, Sight, places_after},
    roll::Roll,
};

/// Between two looks.
const TICK: Duration = Duration::from_millis(100);

const TICKS_PER_SECOND: u32 = 10;

/// Module code that lasts longer than so many ticks does not give its thread back.
const STUCK_TICKS: u32 = 10;

/// After so many ticks whoever is outermost is blamed, even if each single entry inside is short.
const STUCK_OUTSIDE_TICKS: u32 = 3 * STUCK_TICKS;

/// Module code that has not given its thread back for a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Whose instance it is.
    pub tenant: String,
    /// Which module's.
    pub module: String,
    /// Tells the instance from all others of the process.
    pub instance: u64,
    /// The name of the thread.
    pub thread: String,
    /// When the watchdog saw it there first.
    pub since: SystemTime,
    /// The same, on a clock that only goes forward.
    pub began: Instant,
}

/// Whoever is told of stuck module code, on the watchdog's thread: must not wait, least of all for modules.
pub trait OnStuck: Send + Sync + 'static {
    /// Module code does not give its thread back.
    fn stuck(&self, stuck: &Stuck);

    /// Called at each tick while any is stuck.
    fn still_stuck(&self);

    /// It has, after this long.
    fn returned(&self, stuck: &Stuck, lasted: Duration);
}

/// The watchdog of one loader. Its thread ends soon after it is told to stop.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchdog({} stuck)", self.stuck().len())
    }
}

struct Shared {
    roll: Arc<Roll>,
    books: Mutex<Books>,
    stopped: Condvar,
}

#[derive(Default)]
struct Books {
    told: Option<Arc<dyn OnStuck>>,
    stuck: Vec<Stuck>,
    is_stopping: bool,
}

impl Watchdog {
    pub(super) fn start(roll: Arc<Roll>) -> io::Result<Self> {
        let shared = Arc::new(Shared { roll, books: Mutex::default(), stopped: Condvar::new() });
        let watching = Arc::clone(&shared);
        std::thread::Builder::new().name("tenon-watchdog".to_owned()).spawn(move || watching.run())?;
        Ok(Self { shared })
    }

    /// Hands in who is told; the last one counts.
    pub(super) fn tell(&self, told: Arc<dyn OnStuck>) {
        self.shared.books().told = Some(told);
    }

    /// What is stuck now, the longest first.
    pub(super) fn stuck(&self) -> Vec<Stuck> {
        self.shared.books().stuck.clone()
    }

    pub(super) fn stop(&self) {
        let mut books = self.shared.books();
        books.is_stopping = true;
        // It may hold the whole host.
        let told = books.told.take();
        drop(books);
        self.shared.stopped.notify_all();
        drop(told);
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut watch = Watch::default();
        for tick in 1_u32.. {
            let books = self.books();
            let (books, _) = self
                .stopped
                .wait_timeout_while(books, TICK, |books| !books.is_stopping)
                .unwrap_or_else(PoisonError::into_inner);
            if books.is_stopping {
                return;
            }
            drop(books);
            let news = watch.tick(&self.roll);
            self.tell(&watch, &news);
            if tick.is_multiple_of(TICKS_PER_SECOND) {
                self.roll.log_limit.tell();
            }
        }
    }

    /// Outside all locks: whoever is told may ask what is stuck.
    fn tell(&self, watch: &Watch, news: &[News]) {
        let mut books = self.books();
        if !news.is_empty() {
            books.stuck = watch.stuck();
        }
        let is_any_stuck = !books.stuck.is_empty();
        let told = books.told.clone();
        drop(books);
        let Some(told) = told else { return };
        for news in news {
            match news {
                News::Stuck(stuck) => told.stuck(stuck),
                News::Returned(stuck) => told.returned(stuck, stuck.began.elapsed()),
            }
        }
        if is_any_stuck {
            told.still_stuck();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Stuck(Stuck),
    Returned(Stuck),
}

/// What the watchdog knows of each place.
#[derive(Default)]
struct Watch {
    places: Vec<Watched>,
}

struct Watched {
    place: &'static Place,
    innermost: Option<Lasting>,
    outermost: Option<Lasting>,
    /// Whom it has told of, by which entry.
    blamed: Option<(Entry, Stuck)>,
}

/// An entry that was seen at the last look.
#[derive(Clone, Copy)]
struct Lasting {
    entry: Entry,
    /// For so many ticks since it was seen first.
    ticks: u32,
    since: SystemTime,
    began: Instant,
}

impl Lasting {
    /// The same entry one tick later, or another one.
    fn follow(known: Option<Self>, seen: Entry) -> Self {
        match known {
            Some(known) if known.entry == seen => Self { ticks: known.ticks + 1, ..known },
            _ => Self { entry: seen, ticks: 0, since: SystemTime::now(), began: Instant::now() },
        }
    }
}

impl Watch {
    fn tick(&mut self, roll: &Roll) -> Vec<News> {
        let new = places_after(self.places.len());
        self.places.extend(new.into_iter().map(Watched::new));
        self.places.iter_mut().flat_map(|watched| watched.tick(watched.place.look(), roll)).collect()
    }

    fn stuck(&self) -> Vec<Stuck> {
        let mut stuck: Vec<Stuck> =
            self.places.iter().filter_map(|watched| Some(watched.blamed.as_ref()?.1.clone())).collect();
        stuck.sort_by_key(|stuck| stuck.began);
        stuck
    }
}

impl Watched {
    fn new(place: &'static Place) -> Self {
        Self { place, innermost: None, outermost: None, blamed: None }
    }

    fn tick(&mut self, sight: Option<Sight>, roll: &Roll) -> impl Iterator<Item = News> + use<> {
        let returned = self
            .blamed
            .take_if(|(entry, _)| sight.is_none_or(|sight| sight.innermost != *entry && sight.outermost != *entry));
        self.innermost = sight.map(|sight| Lasting::follow(self.innermost, sight.innermost));
        self.outermost = sight.map(|sight| Lasting::follow(self.outermost, sight.outermost));
        let stuck = if self.blamed.is_none() { self.judge(roll) } else { None };
        returned.map(|(_, stuck)| News::Returned(stuck)).into_iter().chain(stuck.map(News::Stuck))
    }

    /// Whose fault it is that the thread does not come back.
    fn judge(&mut self, roll: &Roll) -> Option<Stuck> {
        let inner = self.innermost.filter(|lasting| lasting.ticks >= STUCK_TICKS);
        let outer = self.outermost.filter(|lasting| lasting.ticks >= STUCK_OUTSIDE_TICKS);
        let lasting = inner.or(outer)?;
        // Gone, or of another loader of this process, which has a watchdog of its own.
        let whose = roll.find(lasting.entry.instance)?;
        let stuck = Stuck {
            tenant: whose.tenant.to_string(),
            module: whose.module.to_string(),
            instance: lasting.entry.instance,
            thread: self.place.thread(),
            since: lasting.since,
            began: lasting.began,
        };
        self.blamed = Some((lasting.entry, stuck.clone()));
        Some(stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place that a test writes, and what the watchdog makes of it.
    struct Bench {
        roll: Arc<Roll>,
        watched: Watched,
        _listed: Vec<Arc<super::super::roll::Listed>>,
    }

    impl Bench {
        fn new() -> Self {
            let roll = Arc::new(Roll::new(1));
            let listed = vec![roll.enter(1, "acme", "outer").1, roll.enter(2, "acme", "inner").1];
            Self { roll, watched: Watched::new(Box::leak(Box::default())), _listed: listed }
        }

        fn ticks(&mut self, count: u32) -> Vec<News> {
            let look = |bench: &mut Self| bench.watched.tick(bench.watched.place.look(), &bench.roll);
            (0..count).flat_map(|_| look(self)).collect()
        }
    }

    fn told(news: &[News]) -> Vec<(&'static str, &str)> {
        news.iter()
            .map(|news| match news {
                News::Stuck(stuck) => ("stuck", &*stuck.module),
                News::Returned(stuck) => ("returned", &*stuck.module),
            })
            .collect()
    }

    #[test]
    fn an_entry_that_outlasts_ten_ticks_is_told_of_once_and_again_when_it_is_over() {
        let mut bench = Bench::new();
        let outside = bench.watched.place.enter(1);
        assert_eq!(told(&bench.ticks(10)), []);
        assert_eq!(told(&bench.ticks(1)), [("stuck", "outer")]);
        assert_eq!(told(&bench.ticks(50)), []);
        bench.watched.place.leave(outside);
        assert_eq!(told(&bench.ticks(1)), [("returned", "outer")]);
        assert_eq!(told(&bench.ticks(50)), []);
    }

    #[test]
    fn many_short_entries_are_not_one_long_one() {
        let mut bench = Bench::new();
        for _ in 0..50 {
            let outside = bench.watched.place.enter(1);
            assert_eq!(told(&bench.ticks(1)), []);
            bench.watched.place.leave(outside);
        }
    }

    #[test]
    fn the_one_inside_is_blamed_where_it_is_the_same_one_and_else_the_one_outside() {
        let mut bench = Bench::new();
        let outside = bench.watched.place.enter(1);
        let in_outer = bench.watched.place.enter(2);
        assert_eq!(told(&bench.ticks(11)), [("stuck", "inner")]);
        bench.watched.place.leave(in_outer);
        assert_eq!(told(&bench.ticks(11)), [("returned", "inner"), ("stuck", "outer")]);
        bench.watched.place.leave(outside);

        let mut bench = Bench::new();
        bench.watched.place.enter(1);
        let mut news = Vec::new();
        for _ in 0..40 {
            let in_outer = bench.watched.place.enter(2);
            news.extend(bench.ticks(1));
            bench.watched.place.leave(in_outer);
        }
        assert_eq!(told(&news), [("stuck", "outer")], "it keeps the thread by calling others without end");
    }

    #[test]
    fn instances_of_another_loader_are_that_ones_business() {
        let mut bench = Bench::new();
        bench.watched.place.enter(99);
        assert_eq!(told(&bench.ticks(50)), []);
    }
}
