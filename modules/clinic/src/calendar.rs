//! A clinician's day as one document: which time is held by which appointment. Changed by compare-and-set only.

use serde::{Deserialize, Serialize};

use crate::hours::Time;

/// Who holds which time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calendar {
    /// In the order of time.
    entries: Vec<Entry>,
}

/// A time that is held. Whether it still is, its appointment says; see `slots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Different for each time that is reserved, also where an appointment moves.
    pub(crate) slot: String,
    /// The id of the appointment.
    pub(crate) appointment: String,
    /// Seconds since the Unix epoch.
    from: i64,
    /// As `from`; the end itself is free.
    until: i64,
    /// When it was reserved, in milliseconds since the Unix epoch.
    pub(crate) since: i64,
}

impl Entry {
    /// A time that is reserved now.
    pub(crate) fn new(slot: &str, appointment: &str, time: &Time, now: i64) -> Self {
        let (slot, appointment) = (slot.to_owned(), appointment.to_owned());
        Self { slot, appointment, from: time.from, until: time.until(), since: now }
    }
}

/// The id of a clinician's day.
pub(crate) fn calendar_id(clinician: &str, day: &str) -> String {
    format!("{day}@{clinician}")
}

impl Calendar {
    /// What stands in the way of another appointment than `appointment`.
    pub(crate) fn in_the_way(&self, time: &Time, appointment: &str) -> impl Iterator<Item = &Entry> {
        let (from, until) = (time.from, time.until());
        self.entries
            .iter()
            .filter(move |entry| entry.from < until && from < entry.until && entry.appointment != appointment)
    }

    /// Adds an entry at its place.
    pub(crate) fn add(&mut self, entry: Entry) {
        let at = self.entries.partition_point(|other| other.from <= entry.from);
        self.entries.insert(at, entry);
    }

    /// Takes entries out; says whether there were any.
    pub(crate) fn free(&mut self, slots: &[String]) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !slots.contains(&entry.slot));
        self.entries.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(from: i64, minutes: i64) -> Time {
        Time { day: "2031-03-03".to_owned(), from: from * 60, minutes }
    }

    #[test]
    fn times_that_touch_do_not_overlap() {
        let mut calendar = Calendar::default();
        for (slot, from) in [("b", 60), ("a", 30), ("c", 120)] {
            calendar.add(Entry::new(slot, &format!("of {slot}"), &time(from, 30), 0));
        }
        let in_the_way = |from, minutes, of: &str| -> String {
            calendar.in_the_way(&time(from, minutes), of).map(|entry| entry.slot.as_str()).collect()
        };
        assert_eq!(in_the_way(0, 30, "new"), "");
        assert_eq!(in_the_way(90, 30, "new"), "");
        assert_eq!(in_the_way(0, 31, "new"), "a");
        assert_eq!(in_the_way(59, 2, "new"), "ab");
        assert_eq!(in_the_way(70, 5, "new"), "b");
        assert_eq!(in_the_way(0, 600, "new"), "abc");
        assert_eq!(in_the_way(0, 600, "of b"), "ac", "an appointment may move within its own time");
    }

    #[test]
    fn what_is_freed_is_gone_and_the_rest_stays() {
        let mut calendar = Calendar::default();
        calendar.add(Entry::new("a", "x", &time(0, 30), 0));
        calendar.add(Entry::new("b", "x", &time(30, 30), 0));
        assert!(!calendar.free(&["c".to_owned()]));
        assert!(calendar.free(&["a".to_owned()]));
        assert_eq!(calendar.entries.iter().map(|entry| entry.slot.as_str()).collect::<String>(), "b");
    }
}
