//! Replaces the file, again and again: the next version comes when each tenant has what the last one was to give it.

use std::time::{Duration, Instant};

use super::{
    asking::Shared,
    host::Host,
    versions::{Mood, Versions, mood_of},
};
use crate::{
    failure::{Failure, Result},
    interrupt,
};

/// The time between two files, unless what the first does takes longer. So there are more than three a second, and
/// time between swaps that is far from all.
const EVERY: Duration = Duration::from_millis(200);

/// By when a version must have done what it is to do. What comes later counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Replaces the file in a running host.
pub(super) struct Replacing<'a> {
    pub(super) versions: &'a Versions,
    pub(super) host: &'a mut Host,
    pub(super) books: &'a Shared,
    pub(super) tenants: usize,
    /// How long a version that panics may take until all have left it again.
    pub(super) until_panic: Duration,
}

impl Replacing<'_> {
    /// Puts the next version in the place of the last one and waits until it has done what it is to do.
    pub(super) fn next(&mut self) -> Result<()> {
        let begun = Instant::now();
        let next = self.books.open().ledger.count();
        self.replace(next, mood_of(next))?;
        while begun.elapsed() < EVERY {
            self.pause()?;
        }
        Ok(())
    }

    /// Puts a good version in the place of the last one: then only that one is in use.
    pub(super) fn last(&mut self) -> Result<()> {
        let next = self.books.open().ledger.count();
        self.replace(next, Mood::Calm)
    }

    fn replace(&mut self, next: usize, mood: Mood) -> Result<()> {
        // With one tenant nobody is left who would not wait.
        let mood = if self.tenants == 1 && mood == Mood::Slow { Mood::Calm } else { mood };
        let written = self.versions.write(next, mood)?;
        self.books.open().ledger.place(mood, Instant::now());
        written.put_in_place()?;
        let placed = Instant::now();
        loop {
            if self.is_done(next, mood, placed) {
                return Ok(());
            }
            if placed.elapsed() > PATIENCE {
                self.books.open().ledger.missed(next);
                return Ok(());
            }
            self.pause()?;
        }
    }

    fn is_done(&self, version: usize, mood: Mood, placed: Instant) -> bool {
        let books = self.books.open();
        let known = books.ledger.version(version);
        match mood {
            Mood::Refuses => known.refused,
            Mood::Calm | Mood::Slow => known.reached.len() == self.tenants,
            // A tenant may be back before it was seen to have moved.
            Mood::Panics if placed.elapsed() < self.until_panic => books.ledger.back_from(version) == self.tenants,
            Mood::Panics => known.reached.len() == self.tenants || books.ledger.back_from(version) > 0,
        }
    }

    fn pause(&mut self) -> Result<()> {
        interrupt::check()?;
        self.host.check()?;
        std::thread::sleep(LOOK_EVERY);
        Ok(())
    }

    /// Waits until only the last version is mapped; says how many others are when the time is over.
    pub(super) fn until_unloaded(&mut self) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let mapped = self.host.mapped()?;
            if mapped == 0 {
                return Err(Failure::new("no module is mapped into the host"));
            }
            if mapped == 1 || begun.elapsed() > PATIENCE {
                return Ok(mapped - 1);
            }
            self.pause()?;
        }
    }
}
