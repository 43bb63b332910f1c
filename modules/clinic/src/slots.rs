//! How a clinician never has two appointments at once: with requests beside each other, on several hosts, and with any
//! of them killed at any point. The store has no transaction over several documents, so:
//!
//! - Whoever wants a time *reserves* it first: an entry in the one document of that clinician and day, by
//!   compare-and-set, if nobody's entry is in the way. Of any number who try, one succeeds.
//! - Then the appointment is written, and says which entry holds its time: by `insert` where it is new, by
//!   compare-and-set where it moves. That write alone decides. While an appointment moves it has both times, never none.
//! - Then the entry of the time before is freed.
//!
//! An entry counts as long as its appointment names it. One that is left by somebody who was killed is found by whoever
//! it stands in the way of: if it is old, its appointment is written first - as abandoned where it was never booked,
//! unchanged but with a new revision where it was to move - so that the one who reserved it can no longer finish even
//! if they do come back. Only then is the entry freed. Clocks decide how long that is waited for, never whether it is
//! safe.

use std::time::Duration;

use module_api::prelude::*;

use crate::{
    Clinic, WRITE_ATTEMPTS,
    appointment::{Record, Status},
    calendar::{Calendar, Entry, calendar_id},
    hours::Time,
    too_many_writers,
};

/// How often a reservation is tried. Each lost round means that somebody else changed that day, so this is enough for
/// well over a hundred at once; a guess beyond what a practice does.
const ATTEMPTS: u32 = 64;

/// The longest pause between two rounds.
const MAX_PAUSE_MILLIS: u64 = 64;

/// How long whoever has reserved a time is waited for. Twice as long as a request usually lives.
const GRACE_MILLIS: i64 = 60_000;

fn overlap() -> Error {
    Fault::conflict("overlap", "the clinician has another appointment at that time").into()
}

impl Clinic {
    /// Holds a time in a clinician's calendar for an appointment, and says in which entry. What the appointment itself
    /// holds is not in its way.
    ///
    /// # Errors
    ///
    /// 409 `overlap`, without a write; 409 `concurrent-writes`; those of the store.
    pub(crate) async fn reserve(&self, clinician: &str, time: &Time, appointment: &str) -> Result<String> {
        self.no_overlap_beside(clinician, time, appointment).await?;
        let id = calendar_id(clinician, &time.day);
        for attempt in 0..ATTEMPTS {
            let found = self.calendars.get(&id).await?;
            let revision = found.as_ref().map(|found| found.revision);
            let mut calendar = found.map(|found| found.value).unwrap_or_default();
            let Some(left) = self.left_in_the_way(&calendar, time, appointment).await? else { return Err(overlap()) };
            calendar.free(&left);
            let slot = self.tenant.random_id();
            calendar.add(Entry::new(&slot, appointment, time, self.tenant.now_millis()));
            let written = match revision {
                Some(revision) => self.calendars.put(&id, &calendar, revision).await,
                None => self.calendars.insert(&id, &calendar).await,
            };
            match written {
                Ok(_) => return Ok(slot),
                Err(StoreError::Exists | StoreError::Revision) => {
                    self.tenant.sleep(pause(attempt, &self.tenant.random_id())).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// Frees an entry. Only for one that no appointment can name any more: the write that would have done so has failed
    /// for good, or another one has taken its place. Where this fails, the entry is found by who it stands in the way of.
    pub(crate) async fn free(&self, (calendar, slot): (String, String)) {
        if let Err(error) = self.try_to_free(&calendar, slot).await {
            tracing::info!(calendar, %error, "a time that nobody needs is freed later");
        }
    }

    async fn try_to_free(&self, id: &str, slot: String) -> Result<()> {
        let slots = [slot];
        for attempt in 0..WRITE_ATTEMPTS {
            let Some(mut found) = self.calendars.get(id).await? else { return Ok(()) };
            if !found.value.free(&slots) {
                return Ok(());
            }
            match self.calendars.put(id, &found.value, found.revision).await {
                Ok(_) | Err(StoreError::Missing) => return Ok(()),
                Err(StoreError::Revision) => self.tenant.sleep(pause(attempt, &self.tenant.random_id())).await,
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// Looks at the days beside. An appointment lies within its day, but the practice may have had another time zone,
    /// with other days, when it was booked.
    async fn no_overlap_beside(&self, clinician: &str, time: &Time, appointment: &str) -> Result<()> {
        for day in time.days_beside() {
            if let Some(found) = self.calendars.get(&calendar_id(clinician, &day)).await?
                && self.left_in_the_way(&found.value, time, appointment).await?.is_none()
            {
                return Err(overlap());
            }
        }
        Ok(())
    }

    /// The entries in the way of a time that nobody holds any more; `None` where somebody holds one.
    async fn left_in_the_way(
        &self,
        calendar: &Calendar,
        time: &Time,
        appointment: &str,
    ) -> Result<Option<Vec<String>>> {
        let mut left = Vec::new();
        for entry in calendar.in_the_way(time, appointment) {
            if self.is_held(entry).await? {
                return Ok(None);
            }
            left.push(entry.slot.clone());
        }
        Ok(Some(left))
    }

    /// Whether an entry holds its time. After a no, no appointment can come to name it.
    async fn is_held(&self, entry: &Entry) -> Result<bool> {
        let now = self.tenant.now_millis();
        let may_be_at_work = now - entry.since < GRACE_MILLIS;
        for _ in 0..WRITE_ATTEMPTS {
            let written = match self.appointments.get(&entry.appointment).await? {
                Some(found) => match &found.value {
                    Record::Abandoned { .. } => return Ok(false),
                    Record::Appointment(one) if one.slot.as_ref() == Some(&entry.slot) => return Ok(true),
                    Record::Appointment(one) if one.status == Status::Cancelled => return Ok(false),
                    Record::Appointment(_) if may_be_at_work => return Ok(true),
                    // Who reserved it for a move has read an older revision, and fails from here on.
                    Record::Appointment(_) => {
                        self.appointments.put(&found.id, &found.value, found.revision).await.map(drop)
                    }
                },
                None if may_be_at_work => return Ok(true),
                None => {
                    let abandoned = Record::Abandoned { abandoned_at: now };
                    self.appointments.insert(&entry.appointment, &abandoned).await.map(drop)
                }
            };
            match written {
                Ok(()) => return Ok(false),
                // It is another one now: look again.
                Err(StoreError::Exists | StoreError::Revision | StoreError::Missing) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }
}

/// How long to wait after a lost round: longer each time, and not as long as the others wait. The chance comes
/// from the end of a random id; the beginning of one is the time.
fn pause(attempt: u32, random_id: &str) -> Duration {
    let longest = (1_u64 << attempt.min(6)).min(MAX_PAUSE_MILLIS);
    let chance = random_id.bytes().rev().take(4).fold(0_u64, |sum, byte| sum * 31 + u64::from(byte));
    Duration::from_millis(chance % longest)
}
