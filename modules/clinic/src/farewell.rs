//! What becomes of the appointments of a clinician who is deleted in hr-core: those to come are marked
//! `needs-clinician`, for somebody to give them to another clinician or to cancel them. Nobody is written to before that
//! is decided. What is past stays as it was.
//!
//! Somebody may have looked the clinician up just before they were gone and book just after that. No request lives as
//! long as [`SECOND_LOOK`], so a second look then finds the last of these.

use std::time::Duration;

use module_api::prelude::*;
use serde::Deserialize;

use crate::{
    Clinic, PAGE, WRITE_ATTEMPTS,
    appointment::{Record, Status, stored_moment},
};

/// What the keys of wake-ups begin with; an employee's id follows.
const WAKE: &str = "without-clinician:";

/// How long after the event appointments are looked at again. Ten times a request's usual deadline, which operators
/// can change.
const SECOND_LOOK: Duration = Duration::from_secs(300);

/// hr-core's event `employee.deleted`.
#[derive(Debug, Deserialize)]
struct Deleted {
    id: String,
}

impl Clinic {
    /// Handles `hr-core:employee.deleted`.
    pub(crate) async fn employee_deleted(&self, event: &Event) -> Result<()> {
        let Deleted { id } = event.json()?;
        self.tenant.wake_at(&format!("{WAKE}{id}"), self.tenant.now() + SECOND_LOOK).await?;
        self.mark_those_to_come(&id).await
    }

    /// The second look.
    pub(crate) async fn look_again(&self, key: &str) -> Result<()> {
        match key.strip_prefix(WAKE) {
            Some(id) => self.mark_those_to_come(id).await,
            None => Err(Error::internal(format!("nobody here sets the wake-up `{key}`"))),
        }
    }

    async fn mark_those_to_come(&self, clinician: &str) -> Result<()> {
        let now = self.tenant.now_millis();
        let query = Query::new()
            .equal("clinician", clinician)
            .equal("status", Status::Booked.as_str())
            .from("starts", stored_moment(now / 1_000))
            .order_by("starts")
            .limit(PAGE);
        let (mut marked, mut lost) = (0, 0);
        loop {
            // What was marked is not found again, so each page is a first one.
            let page = self.appointments.find(&query).await?;
            if page.documents.is_empty() {
                break;
            }
            let before = marked;
            for found in page.documents {
                let Record::Appointment(one) = &found.value else { continue };
                let record = Record::Appointment(Box::new(one.without_clinician(now)));
                match self.appointments.put(&found.id, &record, found.revision).await {
                    Ok(_) => marked += 1,
                    Err(StoreError::Revision | StoreError::Missing) => {}
                    Err(other) => return Err(other.into()),
                }
            }
            lost = if marked == before { lost + 1 } else { 0 };
            if lost == WRITE_ATTEMPTS {
                return Err(Error::internal("others keep writing the appointments of a former employee"));
            }
        }
        if marked > 0 {
            tracing::warn!(marked, "appointments need another clinician: theirs is no employee any more");
        }
        Ok(())
    }
}
