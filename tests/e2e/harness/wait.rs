//! Waits for what must come, with a deadline. Nothing waits for a fixed time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take here; a guess that is generous for a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until a condition holds.
///
/// # Panics
///
/// After [`LONG`], naming what was waited for.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Waits until there is something.
///
/// # Panics
///
/// As [`until`].
pub(crate) fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LONG:?} in vain: {what}");
        thread::sleep(LOOK_EVERY);
    }
}
