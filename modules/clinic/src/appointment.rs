//! What an appointment is: as a client sends it, as it is stored, as it is shown.

use jiff::Timestamp;
use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};

use crate::{
    calendar::calendar_id,
    hours::{Hours, MAX_MINUTES, Time},
    text::rfc3339,
};

const MAX_ID_CHARS: usize = 254;
const MAX_REASON_CHARS: usize = 1_000;

/// The body of `POST /appointments`, and of `reschedule`, which has no patient. All is optional here, so that everything
/// wrong is reported at once.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppointmentBody {
    patient: Option<String>,
    clinician: Option<String>,
    start: Option<String>,
    minutes: Option<i64>,
    reason: Option<String>,
}

/// What is to be booked, checked but for whether there is such a patient and clinician and the practice is open.
#[derive(Debug)]
pub(crate) struct NewAppointment {
    pub(crate) patient: String,
    /// An employee's id or e-mail address, as sent.
    pub(crate) clinician: String,
    pub(crate) start: Timestamp,
    pub(crate) minutes: Option<i64>,
    pub(crate) reason: Option<String>,
}

/// What is to be another one; what is `None` stays.
#[derive(Debug)]
pub(crate) struct Change {
    /// As in [`NewAppointment`].
    pub(crate) clinician: Option<String>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) minutes: Option<i64>,
}

impl AppointmentBody {
    /// Checks the body of a booking.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(&self) -> Result<NewAppointment> {
        let mut problems = Problems::default();
        let patient = problems.required_line("patient", self.patient.as_deref(), MAX_ID_CHARS);
        let clinician = problems.required_line("clinician", self.clinician.as_deref(), MAX_ID_CHARS);
        let start = self.start(&mut problems);
        if self.start.is_none() {
            problems.add("start", "is required");
        }
        let minutes = self.minutes(&mut problems);
        let reason = problems.optional_prose("reason", self.reason.as_deref(), MAX_REASON_CHARS);
        problems.settle()?;
        Ok(NewAppointment { patient, clinician, start: start.unwrap_or_default(), minutes, reason })
    }

    /// Checks the body of a change.
    ///
    /// # Errors
    ///
    /// As [`AppointmentBody::check`].
    pub(crate) fn check_change(&self) -> Result<Change> {
        let mut problems = Problems::default();
        for (field, is_sent) in [("patient", self.patient.is_some()), ("reason", self.reason.is_some())] {
            if is_sent {
                problems.add(field, "can't be changed; book another appointment instead");
            }
        }
        let clinician = problems.optional_line("clinician", self.clinician.as_deref(), MAX_ID_CHARS);
        let change = Change { clinician, start: self.start(&mut problems), minutes: self.minutes(&mut problems) };
        if self.clinician.is_none() && self.start.is_none() && self.minutes.is_none() {
            problems.add("start", "is required where neither `clinician` nor `minutes` is given");
        }
        problems.settle()?;
        Ok(change)
    }

    fn start(&self, problems: &mut Problems) -> Option<Timestamp> {
        let parsed = self.start.as_deref()?.trim().parse();
        if parsed.is_err() {
            problems.add("start", "must be a time with an offset as in RFC 3339, such as 2031-03-03T09:00:00+01:00");
        }
        parsed.ok()
    }

    fn minutes(&self, problems: &mut Problems) -> Option<i64> {
        let minutes = self.minutes?;
        if !(1..=MAX_MINUTES).contains(&minutes) {
            problems.add("minutes", format_args!("must be from 1 to {MAX_MINUTES}"));
        }
        Some(minutes)
    }
}

/// The body of `cancel`; may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBody {
    reason: Option<String>,
}

impl CancelBody {
    /// Why it is cancelled.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID.
    pub(crate) fn check(&self) -> Result<Option<String>> {
        let mut problems = Problems::default();
        let reason = problems.optional_prose("reason", self.reason.as_deref(), MAX_REASON_CHARS);
        problems.settle()?;
        Ok(reason)
    }
}

/// How it stands with an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// It takes place, or has.
    Booked,
    /// Its clinician is no employee any more; somebody must find another one, or cancel.
    NeedsClinician,
    /// It does not take place. Nothing follows this.
    Cancelled,
}

impl Status {
    /// As it is written in JSON and queries.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::NeedsClinician => "needs-clinician",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`Status::as_str`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Booked, Self::NeedsClinician, Self::Cancelled].into_iter().find(|status| status.as_str() == text)
    }
}

/// What is stored under the id of an appointment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Record {
    /// One that was booked.
    Appointment(Box<Appointment>),
    /// One that was never booked and never can be: whoever held a time for it did not come back. See `slots`.
    Abandoned {
        /// In milliseconds since the Unix epoch.
        abandoned_at: i64,
    },
}

/// An appointment as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Appointment {
    pub(crate) patient: String,
    /// The employee's id.
    pub(crate) clinician: String,
    /// What the clinician was called when it was booked.
    pub(crate) clinician_name: String,
    /// The practice's day, `YYYY-MM-DD`: with the clinician the id of the calendar.
    pub(crate) day: String,
    /// RFC 3339 in UTC: its bytes are in the order of time.
    starts: String,
    minutes: i64,
    pub(crate) status: Status,
    /// The entry of the calendar that holds its time; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booked_by: Option<String>,
    /// Milliseconds since the Unix epoch, as all that follow.
    created_at: i64,
    updated_at: i64,
}

/// A moment as it is stored and searched for.
pub(crate) fn stored_moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// Who sees the patient: an employee's id and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clinician {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Appointment {
    /// One that is booked now.
    pub(crate) fn new(
        new: NewAppointment,
        clinician: Clinician,
        time: &Time,
        slot: String,
        booked_by: Option<&str>,
        now: i64,
    ) -> Self {
        Self {
            patient: new.patient,
            clinician: clinician.id,
            clinician_name: clinician.name,
            day: time.day.clone(),
            starts: stored_moment(time.from),
            minutes: time.minutes,
            status: Status::Booked,
            slot: Some(slot),
            reason: new.reason,
            cancel_reason: None,
            booked_by: booked_by.map(str::to_owned),
            created_at: now,
            updated_at: now,
        }
    }

    /// The same one at another time or with another clinician.
    pub(crate) fn moved(&self, clinician: Clinician, time: &Time, slot: String, now: i64) -> Self {
        Self {
            clinician: clinician.id,
            clinician_name: clinician.name,
            day: time.day.clone(),
            starts: stored_moment(time.from),
            minutes: time.minutes,
            status: Status::Booked,
            slot: Some(slot),
            updated_at: now,
            ..self.clone()
        }
    }

    /// The same one, cancelled.
    pub(crate) fn cancelled(&self, reason: Option<String>, now: i64) -> Self {
        let status = Status::Cancelled;
        Self { status, slot: None, cancel_reason: reason, updated_at: now, ..self.clone() }
    }

    /// The same one without a clinician to see the patient. Nobody needs that calendar any more.
    pub(crate) fn without_clinician(&self, now: i64) -> Self {
        Self { status: Status::NeedsClinician, slot: None, updated_at: now, ..self.clone() }
    }

    /// When it begins.
    pub(crate) fn start(&self) -> Timestamp {
        self.starts.parse().unwrap_or_default()
    }

    pub(crate) fn minutes(&self) -> i64 {
        self.minutes
    }

    pub(crate) fn clinician(&self) -> Clinician {
        Clinician { id: self.clinician.clone(), name: self.clinician_name.clone() }
    }

    /// The calendar that its time is held in, and the entry; `None` where none is.
    pub(crate) fn held(&self) -> Option<(String, String)> {
        Some((calendar_id(&self.clinician, &self.day), self.slot.clone()?))
    }
}

/// An appointment as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct AppointmentView<'a> {
    id: &'a str,
    patient: &'a str,
    clinician: &'a str,
    clinician_name: &'a str,
    day: &'a str,
    start: String,
    minutes: i64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    booked_by: Option<&'a str>,
    created_at: String,
    updated_at: String,
    revision: u64,
    /// Whether a mail to the patient was queued; absent where nothing was done that they should hear of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) notified: Option<bool>,
}

/// What a client sees of a stored appointment.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a Appointment, hours: &Hours) -> AppointmentView<'a> {
    AppointmentView {
        id,
        patient: &stored.patient,
        clinician: &stored.clinician,
        clinician_name: &stored.clinician_name,
        day: &stored.day,
        start: hours.shown(stored.start()),
        minutes: stored.minutes,
        status: stored.status,
        reason: stored.reason.as_deref(),
        cancel_reason: stored.cancel_reason.as_deref(),
        booked_by: stored.booked_by.as_deref(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        revision,
        notified: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn body(body: Value) -> AppointmentBody {
        from_value(body).unwrap()
    }

    #[test]
    fn everything_wrong_with_a_booking_is_told_at_once() {
        assert_eq!(
            body(json!({"start": "2031-03-03T09:00", "minutes": 0})).check().unwrap_err().to_string(),
            "`patient` is required; `clinician` is required; \
             `start` must be a time with an offset as in RFC 3339, such as 2031-03-03T09:00:00+01:00; \
             `minutes` must be from 1 to 1440"
        );
        let good = body(json!({"patient": "p", "clinician": "c", "start": "2031-03-03T09:00:00+01:00"})).check();
        assert_eq!(good.unwrap().start.to_string(), "2031-03-03T08:00:00Z");
    }

    #[test]
    fn a_change_says_what_is_to_be_another_one() {
        let told = |sent| body(sent).check_change().map(drop).map_err(|error| error.to_string());
        assert_eq!(told(json!({"minutes": 45})), Ok(()));
        assert_eq!(
            told(json!({"patient": "p"})).unwrap_err(),
            "`patient` can't be changed; book another appointment instead; \
             `start` is required where neither `clinician` nor `minutes` is given"
        );
    }

    #[test]
    fn both_kinds_of_record_are_told_apart() {
        let new = body(json!({"patient": "p", "clinician": "c", "start": "2031-03-03T09:00:00Z"})).check().unwrap();
        let clinician = Clinician { id: "c".to_owned(), name: "Cy".to_owned() };
        let time = Time { day: "2031-03-03".to_owned(), from: new.start.as_second(), minutes: 30 };
        let booked = Appointment::new(new, clinician, &time, "s".to_owned(), None, 7);
        assert_eq!(booked.held(), Some(("2031-03-03@c".to_owned(), "s".to_owned())));
        assert_eq!(booked.cancelled(None, 8).held(), None);
        for record in [Record::Appointment(Box::new(booked)), Record::Abandoned { abandoned_at: 5 }] {
            assert_eq!(from_value::<Record>(to_value(&record).unwrap()).unwrap(), record);
        }
    }

    #[test]
    fn every_status_has_one_spelling() {
        for status in [Status::Booked, Status::NeedsClinician, Status::Cancelled] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert_eq!(to_value(status).unwrap(), status.as_str());
        }
    }
}
