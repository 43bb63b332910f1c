//! Which thread is inside which instance's code right now, for the watchdog. Each thread writes a place of its own,
//! with plain stores and nothing else: going in and out costs a few nanoseconds, no lock, no allocation.

use std::{
    cell::{Cell, OnceCell},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One thread's place; on cache lines of its own, as its thread writes it at each entry. Only its thread writes it, but
/// for `thread`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Place {
    /// The innermost entry; 0 while the thread is in no module. No number stands here twice.
    entry: AtomicU64,
    /// Whose code that entry went into. Changed only while `entry` is 0.
    instance: AtomicU64,
    /// The outermost entry and its instance where it is not the innermost: module code asked for something that
    /// entered another instance on the same thread.
    outer_entry: AtomicU64,
    outer_instance: AtomicU64,
    /// How many entries there have been.
    count: AtomicU64,
    /// The thread's name, as far as it has one.
    thread: Mutex<String>,
}

/// Where a thread was before an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    entry: u64,
    instance: u64,
}

/// One entry into module code, as seen from another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Tells it from all others of its place.
    pub(super) number: u64,
    pub(super) instance: u64,
}

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) innermost: Entry,
    /// The same as `innermost` where there is no other.
    pub(super) outermost: Entry,
}

impl Place {
    /// The thread goes into an instance's code; it leaves by [`Place::leave`] with what this returns.
    pub(super) fn enter(&self, instance: u64) -> Before {
        // Relaxed: these are this thread's own values.
        let before =
            Before { entry: self.entry.load(Ordering::Relaxed), instance: self.instance.load(Ordering::Relaxed) };
        let entry = self.count.load(Ordering::Relaxed) + 1;
        self.count.store(entry, Ordering::Relaxed);
        if before.entry != 0 {
            self.go_deeper(before);
        }
        self.write(entry, instance);
        before
    }

    /// The thread is where it was before.
    pub(super) fn leave(&self, before: Before) {
        self.entry.store(0, Ordering::Release);
        if before.entry != 0 {
            self.come_back(before);
        }
    }

    #[cold]
    fn go_deeper(&self, before: Before) {
        self.entry.store(0, Ordering::Release);
        if self.outer_entry.load(Ordering::Relaxed) == 0 {
            self.outer_instance.store(before.instance, Ordering::Release);
            self.outer_entry.store(before.entry, Ordering::Release);
        }
    }

    #[cold]
    fn come_back(&self, before: Before) {
        if self.outer_entry.load(Ordering::Relaxed) == before.entry {
            self.outer_entry.store(0, Ordering::Release);
        }
        self.write(before.entry, before.instance);
    }

    /// `entry` is 0 before: whoever reads the new instance finds afterwards that the old entry is over.
    fn write(&self, entry: u64, instance: u64) {
        self.instance.store(instance, Ordering::Release);
        self.entry.store(entry, Ordering::Release);
    }

    /// Where the thread is; `None` where it is in no module, or on its way in or out.
    pub(super) fn look(&self) -> Option<Sight> {
        let number = self.entry.load(Ordering::Acquire);
        let innermost = Entry { number, instance: self.instance.load(Ordering::Acquire) };
        let outer = self.outer_entry.load(Ordering::Acquire);
        let outer = Entry { number: outer, instance: self.outer_instance.load(Ordering::Acquire) };
        if number == 0 || self.entry.load(Ordering::Acquire) != number {
            return None;
        }
        Some(Sight { innermost, outermost: if outer.number == 0 { innermost } else { outer } })
    }

    /// Of the thread.
    pub(super) fn thread(&self) -> String {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Every place, and those that no thread has any more. Places live as long as the process and are used again: there
/// are as many as there ever were threads in module code at once.
#[derive(Default)]
struct Places {
    all: Vec<&'static Place>,
    free: Vec<&'static Place>,
}

static PLACES: Mutex<Places> = Mutex::new(Places { all: Vec::new(), free: Vec::new() });

/// Gives a thread's place back when the thread ends.
struct Taken(&'static Place);

impl Drop for Taken {
    fn drop(&mut self) {
        PLACE.set(None);
        PLACES.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.0);
    }
}

thread_local! {
    static PLACE: Cell<Option<&'static Place>> = const { Cell::new(None) };
    static TAKEN: OnceCell<Taken> = const { OnceCell::new() };
}

/// This thread's place; `None` while the thread ends.
pub(super) fn place() -> Option<&'static Place> {
    PLACE.get().or_else(take)
}

#[cold]
fn take() -> Option<&'static Place> {
    TAKEN
        .try_with(|taken| {
            let place = taken.get_or_init(|| Taken(free_place())).0;
            PLACE.set(Some(place));
            place
        })
        .ok()
}

fn free_place() -> &'static Place {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let place = places.free.pop().unwrap_or_else(|| {
        let place: &'static Place = Box::leak(Box::default());
        places.all.push(place);
        place
    });
    drop(places);
    let name = std::thread::current().name().unwrap_or("a thread without a name").to_owned();
    *place.thread.lock().unwrap_or_else(PoisonError::into_inner) = name;
    place
}

/// Every place from the `known`th on, in the order in which they were made.
pub(super) fn places_after(known: usize) -> Vec<&'static Place> {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.all.get(known..).map(<[_]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_the_innermost_and_the_outermost_entry() {
        let place = Place::default();
        let numbers = |sight: Option<Sight>| {
            sight.map(|it| (it.innermost.instance, it.outermost.instance, it.innermost.number, it.outermost.number))
        };
        assert_eq!(place.look(), None);
        let outside = place.enter(7);
        assert_eq!(numbers(place.look()), Some((7, 7, 1, 1)));
        let in_seven = place.enter(8);
        let in_eight = place.enter(9);
        assert_eq!(numbers(place.look()), Some((9, 7, 3, 1)));
        place.leave(in_eight);
        assert_eq!(numbers(place.look()), Some((8, 7, 2, 1)));
        place.leave(in_seven);
        assert_eq!(numbers(place.look()), Some((7, 7, 1, 1)), "the outer entry goes on");
        place.leave(outside);
        assert_eq!(place.look(), None);
        place.enter(7);
        assert_eq!(numbers(place.look()), Some((7, 7, 4, 4)), "no entry has the number of another");
    }

    #[test]
    fn places_of_threads_that_ended_are_used_again() {
        let in_thread = |name: &str| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let thread = thread.spawn(|| place().map(|place| (std::ptr::from_ref(place) as usize, place.thread())));
            thread.unwrap().join().unwrap().unwrap()
        };
        let seen: std::collections::HashSet<_> = (0..200).map(|_| in_thread("passing").0).collect();
        assert_eq!(in_thread("named").1, "named");
        // Other tests take places too.
        assert!(seen.len() < 100, "{}", seen.len());
    }
}
