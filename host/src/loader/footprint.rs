//! What loaded modules left on the process's threads: thread-local destructors, keys, threads of their own.
//!
//! Owners are found by address range, never by path: two generations of one file must not be mixed up. Each
//! entry is run by the thread it belongs to, at its end or when the reaper asks; what can't be run is
//! forgotten and counted, never run elsewhere, because a destructor may look at its own thread's locals.
//!
//! Everything here may be called while a thread is torn down: no tracing, no thread-local with a lazy
//! destructor but [`AT_END`], and no lock held while code of a module runs.

#![expect(unsafe_code, reason = "runs destructors that modules registered with the C library")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::c_void,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    interpose::{self, Key},
    objects,
};

/// A destructor as the C library takes it.
pub(super) type Destructor = unsafe extern "C" fn(*mut c_void);

/// How often a thread's keys are gone through at its end, because a key's destructor may set the key again.
/// Source: POSIX, `PTHREAD_DESTRUCTOR_ITERATIONS`.
const ROUNDS: usize = 4;

static STATE: Mutex<State> = Mutex::new(State { areas: Vec::new(), threads: BTreeMap::new(), keys: Vec::new() });
/// How many areas there are: with none, nothing is looked up.
static AREAS: AtomicUsize = AtomicUsize::new(0);
/// How many of them are to be unloaded: with none, a sweep is one load.
static RETIRING: AtomicUsize = AtomicUsize::new(0);

struct State {
    areas: Vec<Area>,
    threads: BTreeMap<u64, Left>,
    keys: Vec<KeyOfModule>,
}

/// Where a library is mapped.
struct Area {
    id: u64,
    start: usize,
    end: usize,
    retiring: bool,
    /// Threads that code of this area started and that have not ended.
    threads: usize,
    /// Destructors of this area that run right now.
    running: usize,
}

/// What modules left on one thread.
#[derive(Default)]
struct Left {
    /// The area whose code started the thread.
    of: Option<u64>,
    destructors: Vec<Entry>,
    keys: Vec<(u64, Key)>,
}

struct Entry {
    area: u64,
    destructor: Destructor,
    object: Object,
}

/// What a destructor is given.
#[derive(Clone, Copy)]
struct Object(*mut c_void);

// SAFETY: the pointer is only ever used by the thread that registered it; the others move it at most.
unsafe impl Send for Object {}

struct KeyOfModule {
    area: u64,
    key: Key,
    destructor: Destructor,
}

/// What stands in the way of an unload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct InTheWay {
    /// Destructors and keys on threads that are not the module's own.
    pub(super) entries: usize,
    /// The module's own threads.
    pub(super) threads: usize,
    /// Destructors that run right now.
    pub(super) running: usize,
}

impl State {
    fn area_at(&self, address: usize) -> Option<u64> {
        self.areas.iter().find(|area| (area.start..area.end).contains(&address)).map(|area| area.id)
    }

    fn area(&mut self, id: u64) -> Option<&mut Area> {
        self.areas.iter_mut().find(|area| area.id == id)
    }

    fn is_retiring(&self, id: u64) -> bool {
        self.areas.iter().any(|area| area.id == id && area.retiring)
    }

    /// Forgets a library that is gone, and gives the keys that it left to be deleted.
    fn strike_off(&mut self, id: u64) -> Vec<KeyOfModule> {
        if self.is_retiring(id) {
            RETIRING.fetch_sub(1, Ordering::Release);
        }
        self.areas.retain(|area| area.id != id);
        AREAS.store(self.areas.len(), Ordering::Release);
        for left in self.threads.values_mut() {
            left.destructors.retain(|entry| entry.area != id);
            left.keys.retain(|(area, _)| *area != id);
        }
        let (gone, kept) = std::mem::take(&mut self.keys).into_iter().partition(|known| known.area == id);
        self.keys = kept;
        gone
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- threads ---

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Armed,
    Draining,
    Ended,
}

thread_local! {
    // None of these has a destructor, so they can be read until the thread's very end.
    static STAGE: Cell<Stage> = const { Cell::new(Stage::New) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static OPENS: Cell<bool> = const { Cell::new(false) };
    /// Runs what is left when the thread ends.
    static AT_END: AtEnd = const { AtEnd };
}

struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        STAGE.with(|stage| stage.set(Stage::Draining));
        run_own(|_, _| true);
        STAGE.with(|stage| stage.set(Stage::Ended));
        let number = this_thread();
        let mut state = state();
        let left = state.threads.remove(&number);
        if let Some(area) = left.and_then(|left| left.of).and_then(|id| state.area(id)) {
            area.threads -= 1;
        }
        drop(state);
        ring();
    }
}

/// A number that no other thread of the process ever has; the system's own are used again.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

/// Sees to it that [`AtEnd`] runs on this thread. `false` where the thread is past that.
fn arm() -> bool {
    match STAGE.with(Cell::get) {
        Stage::New => {
            // Set first: registering the thread-local comes back here through the interposed function.
            STAGE.with(|stage| stage.set(Stage::Armed));
            AT_END.try_with(|_| ()).is_ok()
        }
        Stage::Armed | Stage::Draining => true,
        Stage::Ended => false,
    }
}

// --- what interposed functions record ---

/// The library that is being opened: its number and copy.
static OPENING: Mutex<Option<(u64, PathBuf)>> = Mutex::new(None);

/// Runs what opens a library. Its constructors run before anybody knows where it lies, so what they register
/// on this thread is looked up the long way.
pub(super) fn while_opening<T>(id: u64, path: &Path, open: impl FnOnce() -> T) -> T {
    *OPENING.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, path.to_owned()));
    OPENS.with(|opens| opens.set(true));
    let opened = open();
    OPENS.with(|opens| opens.set(false));
    *OPENING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    opened
}

/// Enters the range of the library that this thread opens, where the address is in it.
fn meet(address: usize) {
    if OPENS.with(Cell::get)
        && let Some((id, path)) = OPENING.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        && let Some(range) = objects::range_around(address, Some(path))
    {
        occupy(*id, range);
    }
}

/// Whether an address belongs to a module.
pub(super) fn is_module(address: usize) -> bool {
    meet(address);
    AREAS.load(Ordering::Acquire) > 0 && state().area_at(address).is_some()
}

/// Takes a thread-local destructor over from the C library. `false` where it is none of a module: neither the
/// function nor `library`, an address in whoever registers it, lies in one. The function alone does not say:
/// it may be a library's that the module uses, and the C library would keep the module for it.
pub(super) fn take_destructor(destructor: Destructor, object: *mut c_void, library: usize) -> bool {
    let Some(owner) = [destructor as usize, library].into_iter().find(|address| is_module(*address)) else {
        return false;
    };
    // Past its end a thread has nobody to run it; it is left alone, as if the thread had been killed.
    if arm() {
        let mut state = state();
        if let Some(area) = state.area_at(owner) {
            let entry = Entry { area, destructor, object: Object(object) };
            state.threads.entry(this_thread()).or_default().destructors.push(entry);
        }
    }
    true
}

/// Records a key whose destructor belongs to a module and which the C library knows without one.
pub(super) fn take_key(key: Key, destructor: Destructor) {
    let mut state = state();
    if let Some(area) = state.area_at(destructor as usize) {
        state.keys.push(KeyOfModule { area, key, destructor });
    }
}

/// Forgets a key that its module deleted.
pub(super) fn drop_key(key: Key) {
    let mut state = state();
    state.keys.retain(|known| known.key != key);
    for left in state.threads.values_mut() {
        left.keys.retain(|(_, used)| *used != key);
    }
}

/// Notes that this thread has a value under a module's key.
pub(super) fn use_key(key: Key) {
    if !arm() {
        return;
    }
    let mut state = state();
    let Some(area) = state.keys.iter().find(|known| known.key == key).map(|known| known.area) else { return };
    let left = state.threads.entry(this_thread()).or_default();
    if !left.keys.contains(&(area, key)) {
        left.keys.push((area, key));
    }
}

/// Counts a thread that code of a module is about to start. `None` where it is no module's.
pub(super) fn begin_thread(start: usize) -> Option<u64> {
    meet(start);
    if AREAS.load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut state = state();
    let id = state.area_at(start)?;
    state.area(id)?.threads += 1;
    Some(id)
}

/// Takes back [`begin_thread`] where the thread could not be started.
pub(super) fn abandon_thread(id: u64) {
    if let Some(area) = state().area(id) {
        area.threads -= 1;
    }
    ring();
}

/// Called first on the new thread: its end is counted after its thread-locals are gone.
pub(super) fn adopt_thread(id: u64) {
    arm();
    state().threads.entry(this_thread()).or_default().of = Some(id);
}

// --- running ---

/// Runs what modules that are to be unloaded left on this thread. A load where there is nothing to do; meant
/// to be called whenever a thread is about to wait, and when a [`super::Sweeper`] asks.
pub fn sweep_this_thread() {
    if RETIRING.load(Ordering::Acquire) > 0 && STAGE.with(Cell::get) == Stage::Armed {
        run_own(State::is_retiring);
    }
}

/// Runs this thread's entries, the last registered first, then its keys, until there are none.
fn run_own(wanted: impl Fn(&State, u64) -> bool) {
    let number = this_thread();
    for _ in 0..ROUNDS {
        while let Some((area, entry)) = next_destructor(number, &wanted) {
            // SAFETY: the module registered this pair for this thread; it is run once, here on that thread,
            // and the library stays mapped while `running` is not 0.
            unsafe { (entry.destructor)(entry.object.0) };
            done(area);
        }
        let keys = take_keys(number, &wanted);
        if keys.is_empty() {
            return;
        }
        for KeyOfModule { area, key, destructor } in keys {
            let value = interpose::take_value(key);
            if !value.is_null() {
                // SAFETY: the value is the one that this thread set under the key, taken out before; the
                // library stays mapped while `running` is not 0.
                unsafe { destructor(value) };
            }
            done(area);
        }
    }
}

fn next_destructor(number: u64, wanted: &impl Fn(&State, u64) -> bool) -> Option<(u64, Entry)> {
    let mut state = state();
    let destructors = &state.threads.get(&number)?.destructors;
    let at = destructors.iter().rposition(|entry| wanted(&state, entry.area))?;
    let entry = state.threads.get_mut(&number)?.destructors.remove(at);
    let area = entry.area;
    state.area(area)?.running += 1;
    Some((area, entry))
}

/// The keys under which this thread has values, each counted as running.
fn take_keys(number: u64, wanted: &impl Fn(&State, u64) -> bool) -> Vec<KeyOfModule> {
    let mut state = state();
    let Some(left) = state.threads.get(&number) else { return Vec::new() };
    let (due, kept): (Vec<_>, Vec<_>) = left.keys.iter().partition(|(area, _)| wanted(&state, *area));
    let due: Vec<KeyOfModule> = due
        .into_iter()
        .filter_map(|(area, key)| {
            let known = state.keys.iter().find(|known| known.key == key && known.area == area)?;
            Some(KeyOfModule { area, key, destructor: known.destructor })
        })
        .collect();
    if let Some(left) = state.threads.get_mut(&number) {
        left.keys = kept;
    }
    for key in &due {
        if let Some(area) = state.area(key.area) {
            area.running += 1;
        }
    }
    due
}

fn done(id: u64) {
    if let Some(area) = state().area(id) {
        area.running -= 1;
    }
    ring();
}

// --- what the loader asks ---

/// Enters a library's range; once more is no harm.
pub(super) fn occupy(id: u64, (start, end): (usize, usize)) {
    let mut state = state();
    if state.area(id).is_some() {
        return;
    }
    // Where another library lies now, the one before is gone, whether that was seen or not. Left in the list,
    // it would be taken for the owner of what this one registers.
    let before: Vec<u64> =
        state.areas.iter().filter(|area| area.start < end && start < area.end).map(|area| area.id).collect();
    let keys = before.into_iter().flat_map(|id| state.strike_off(id)).collect();
    state.areas.push(Area { id, start, end, retiring: false, threads: 0, running: 0 });
    AREAS.store(state.areas.len(), Ordering::Release);
    drop(state);
    delete_keys(keys);
}

/// Marks a library as one to be unloaded: sweeps run its entries from now on.
pub(super) fn retire(id: u64) {
    let mut state = state();
    if let Some(area) = state.area(id)
        && !area.retiring
    {
        area.retiring = true;
        RETIRING.fetch_add(1, Ordering::Release);
    }
}

/// Takes back [`retire`]: the library stays, and threads run its entries when they end.
pub(super) fn retain(id: u64) {
    let mut state = state();
    if let Some(area) = state.area(id)
        && area.retiring
    {
        area.retiring = false;
        RETIRING.fetch_sub(1, Ordering::Release);
    }
}

/// The number of a signal that the process handles in a library.
pub(super) fn handled_signal(id: u64) -> Option<i32> {
    let range = state().area(id).map(|area| (area.start, area.end))?;
    objects::handled_signal(range)
}

/// What stands in the way of unloading a library.
pub(super) fn in_the_way(id: u64) -> InTheWay {
    let mut state = state();
    let entries = others(&state, id).map(|left| count(left, id)).sum();
    state.area(id).map_or(InTheWay::default(), |area| InTheWay {
        entries,
        threads: area.threads,
        running: area.running,
    })
}

/// The threads that are not the library's own: those run their entries when they end.
fn others(state: &State, id: u64) -> impl Iterator<Item = &Left> {
    state.threads.values().filter(move |left| left.of != Some(id))
}

fn count(left: &Left, id: u64) -> usize {
    let destructors = left.destructors.iter().filter(|entry| entry.area == id).count();
    destructors + left.keys.iter().filter(|(area, _)| *area == id).count()
}

/// Forgets a library's entries on the threads that are not its own, and says how many there were.
pub(super) fn forget(id: u64) -> usize {
    let mut state = state();
    let mut forgotten = 0;
    for left in state.threads.values_mut().filter(|left| left.of != Some(id)) {
        forgotten += count(left, id);
        left.destructors.retain(|entry| entry.area != id);
        left.keys.retain(|(area, _)| *area != id);
    }
    forgotten
}

/// Gives a range back after the library is gone from it, with the keys that it did not delete.
pub(super) fn vacate(id: u64) {
    let keys = state().strike_off(id);
    delete_keys(keys);
}

fn delete_keys(keys: Vec<KeyOfModule>) {
    for known in keys {
        interpose::delete_key(known.key);
    }
}

// --- the bell ---

/// Counts the changes that a reaper could wait for.
static CHANGES: Mutex<u64> = Mutex::new(0);
static BELL: Condvar = Condvar::new();

/// Tells every waiting reaper that something changed.
pub(super) fn ring() {
    *CHANGES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    BELL.notify_all();
}

/// How many changes there were. Read before looking, so that [`wait`] misses none.
pub(super) fn changes() -> u64 {
    *CHANGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until there were more changes than `seen`, or until a time.
pub(super) fn wait(seen: u64, until: Option<Instant>) {
    let mut changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
    while *changes == seen {
        changes = match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => BELL.wait(changes).unwrap_or_else(PoisonError::into_inner),
            Some(left) if left.is_zero() => return,
            Some(left) => BELL.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}
