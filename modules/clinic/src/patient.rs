//! What a patient is: as a client sends it, as it is stored, as it is shown.

use jiff::civil::Date;
use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};

use crate::text::{can_be_an_address, fold, last_word, rfc3339};

const MAX_RECORD_CHARS: usize = 40;
const MAX_NAME_CHARS: usize = 200;
const MAX_EMAIL_CHARS: usize = 254;
const MAX_PHONE_CHARS: usize = 40;
const MAX_NOTE_CHARS: usize = 10_000;

/// The body of POST and PUT. Required fields are optional here only so that their absence is reported beside other
/// problems.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatientBody {
    record: Option<String>,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    born: Option<String>,
    note: Option<String>,
}

/// A body that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPatient {
    record: String,
    name: String,
    email: Option<String>,
    phone: Option<String>,
    born: Option<String>,
    note: Option<String>,
}

impl PatientBody {
    /// Trims and checks the fields.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(&self) -> Result<NewPatient> {
        let mut problems = Problems::default();
        let checked = NewPatient {
            record: problems.required_line("record", self.record.as_deref(), MAX_RECORD_CHARS),
            name: problems.required_line("name", self.name.as_deref(), MAX_NAME_CHARS),
            email: problems.optional_line("email", self.email.as_deref(), MAX_EMAIL_CHARS),
            phone: problems.optional_line("phone", self.phone.as_deref(), MAX_PHONE_CHARS),
            born: problems.optional_line("born", self.born.as_deref(), "YYYY-MM-DD".len()),
            note: problems.optional_prose("note", self.note.as_deref(), MAX_NOTE_CHARS),
        };
        if checked.email.as_deref().is_some_and(|email| !can_be_an_address(email)) {
            problems.add("email", "must be an address such as ann@example.com");
        }
        let is_day = |text: &str| text.parse::<Date>().is_ok_and(|date| date.to_string() == text);
        if checked.born.as_deref().is_some_and(|born| !is_day(born)) {
            problems.add("born", "must be a day of the calendar as YYYY-MM-DD");
        }
        problems.settle()?;
        Ok(checked)
    }
}

/// A patient as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPatient {
    /// The practice's own number for the patient.
    pub(crate) record: String,
    /// It folded: unique in the tenant.
    record_key: String,
    pub(crate) name: String,
    /// The name folded: searched by prefix, and the order of listings.
    name_key: String,
    /// The last word of it.
    family_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// The address folded. Several may have it: a family often does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    created_at: i64,
    updated_at: i64,
    /// Set while the patient is being deleted: from then on nothing can be booked for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) closing: bool,
}

impl StoredPatient {
    /// A patient who is new.
    pub(crate) fn new(patient: NewPatient, now: i64) -> Self {
        let NewPatient { record, name, email, phone, born, note } = patient;
        let name_key = fold(&name);
        Self {
            record_key: fold(&record),
            record,
            family_key: last_word(&name_key).to_owned(),
            name_key,
            name,
            email_key: email.as_deref().map(fold),
            email,
            phone,
            born,
            note,
            created_at: now,
            updated_at: now,
            closing: false,
        }
    }

    /// The same patient with other contents. Writing it also ends a deletion that was left half-way.
    pub(crate) fn replaced_by(&self, patient: &NewPatient, now: i64) -> Self {
        Self { created_at: self.created_at, ..Self::new(patient.clone(), now) }
    }
}

/// A patient as a client sees them.
#[derive(Debug, Serialize)]
pub(crate) struct PatientView<'a> {
    id: &'a str,
    record: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    created_at: String,
    updated_at: String,
    revision: u64,
}

/// What a client sees of a stored patient.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a StoredPatient) -> PatientView<'a> {
    PatientView {
        id,
        record: &stored.record,
        name: &stored.name,
        email: stored.email.as_deref(),
        phone: stored.phone.as_deref(),
        born: stored.born.as_deref(),
        note: stored.note.as_deref(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        revision,
    }
}

/// Names the conflict where the store refused a second patient with this number.
pub(crate) fn record_taken_or(error: StoreError, patient: &StoredPatient) -> Error {
    match error {
        StoreError::NotUnique { field } if field == "record_key" => {
            Fault::conflict("record-taken", format!("another patient has the record number {}", patient.record)).into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn check(body: serde_json::Value) -> Result<NewPatient, String> {
        let body: PatientBody = from_value(body).map_err(|error| error.to_string())?;
        body.check().map_err(|error| error.to_string())
    }

    #[test]
    fn all_fields_are_reported_at_once() {
        assert_eq!(
            check(json!({"email": "ann", "born": "1970-02-30", "phone": "1".repeat(41)})).unwrap_err(),
            "`record` is required; `name` is required; `phone` has 41 characters, at most 40 are allowed; \
             `email` must be an address such as ann@example.com; \
             `born` must be a day of the calendar as YYYY-MM-DD"
        );
        assert!(check(json!({"nmae": "Ann"})).unwrap_err().contains("unknown field `nmae`"));
    }

    #[test]
    fn what_is_stored_can_be_searched_and_what_is_shown_is_as_written() {
        let stored = StoredPatient::new(check(json!({"record": " A-7 ", "name": "Ann  LEE", "email": ""})).unwrap(), 0);
        assert_eq!(
            to_value(&stored).unwrap(),
            json!({
                "record": "A-7", "record_key": "a-7", "name": "Ann  LEE", "name_key": "ann lee", "family_key": "lee",
                "created_at": 0, "updated_at": 0,
            })
        );
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            to_value(view("p1", 1, &stored)).unwrap(),
            json!({
                "id": "p1", "record": "A-7", "name": "Ann  LEE", "created_at": time, "updated_at": time, "revision": 1,
            })
        );
    }

    #[test]
    fn only_the_number_conflict_is_the_clients() {
        let stored = StoredPatient::new(check(json!({"record": "A-7", "name": "Ann"})).unwrap(), 0);
        let taken = record_taken_or(StoreError::NotUnique { field: "record_key".to_owned() }, &stored);
        assert_eq!(taken.as_fault().map(|fault| (fault.status(), fault.code())), Some((409, "record-taken")));
        assert!(record_taken_or(StoreError::Unavailable, &stored).as_fault().is_none());
    }
}
