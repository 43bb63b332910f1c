//! When a folder is quiet enough to be read.

use std::time::{Duration, Instant};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind},
};

/// What one event says about the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A file is whole: it was closed after writing, renamed, or taken away.
    Whole,
    /// Somebody may still be writing.
    Changing,
    /// Nothing of interest, such as a read.
    Nothing,
}

/// Reads an event.
pub(super) fn said(event: &Event) -> Said {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => Said::Whole,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => Said::Changing,
        EventKind::Access(_) => Said::Nothing,
    }
}

/// Collects events until the folder is to be read.
#[derive(Debug)]
pub(super) struct Settle {
    quiet: Duration,
    /// Read at this moment, unless something says otherwise before.
    due: Option<Instant>,
}

impl Settle {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, due: None }
    }

    pub(super) fn note(&mut self, said: Said, now: Instant) {
        match said {
            Said::Whole => self.due = Some(now),
            Said::Changing => self.due = Some(now + self.quiet),
            Said::Nothing => {}
        }
    }

    /// How long to wait for the next event before reading; `None`: nothing is due.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether to read now; then nothing is due any more.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, RemoveKind};

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event::new(kind)
    }

    #[test]
    fn a_closed_or_removed_file_is_read_at_once_and_a_growing_one_after_quiet() {
        let start = Instant::now();
        let quiet = Duration::from_millis(50);
        let mut settle = Settle::new(quiet);
        assert_eq!(settle.wait(start), None);

        settle.note(said(&event(EventKind::Create(CreateKind::File))), start);
        assert!(!settle.take_due(start));
        let later = start + Duration::from_millis(40);
        settle.note(said(&event(EventKind::Modify(ModifyKind::Any))), later);
        assert_eq!(settle.wait(later), Some(quiet));
        assert!(settle.take_due(later + quiet));
        assert!(!settle.take_due(later + quiet));

        settle.note(said(&event(EventKind::Access(AccessKind::Close(AccessMode::Write)))), start);
        assert!(settle.take_due(start));
        settle.note(said(&event(EventKind::Remove(RemoveKind::File))), start);
        assert!(settle.take_due(start));
        settle.note(said(&event(EventKind::Access(AccessKind::Read))), start);
        assert!(!settle.take_due(start + quiet));
    }
}
