//! Keeps patients who have appointments, and takes past ones along with the patient, without transactions over several
//! documents.
//!
//! Who deletes a patient marks them as closing, looks for appointments to come, deletes what is past, then the patient.
//! Who books looks at the patient after the booking as well as before. Either the deleter sees the appointment or the
//! booker sees the mark, and then takes the booking back. A deletion that was left half-way goes on when it is asked for
//! again.

use module_api::prelude::*;

use crate::{
    Clinic, PAGE,
    appointment::{Record, Status, stored_moment},
    can_be_an_id,
    patient::StoredPatient,
};

impl Clinic {
    /// Deletes a patient with all their past and cancelled appointments, unless one is to come; says whether it did.
    pub(crate) async fn close_and_delete(&self, found: Document<StoredPatient>) -> Result<bool, StoreError> {
        let Document { id, mut revision, value: mut patient, .. } = found;
        // Looked at before the mark too: the usual refusal should leave no trace in the revision.
        if !patient.closing {
            if self.has_appointments_to_come(&id).await? {
                return Ok(false);
            }
            patient.closing = true;
            revision = self.patients.put(&id, &patient, revision).await?;
        }
        if self.has_appointments_to_come(&id).await? {
            patient.closing = false;
            self.patients.put(&id, &patient, revision).await?;
            return Ok(false);
        }
        self.forget_appointments(&id).await?;
        self.patients.delete(&id, revision).await?;
        Ok(true)
    }

    async fn has_appointments_to_come(&self, patient: &str) -> Result<bool, StoreError> {
        let now = stored_moment(self.tenant.now_millis() / 1_000);
        for status in [Status::Booked, Status::NeedsClinician] {
            let query = Query::new().equal("patient", patient).equal("status", status.as_str());
            let query = query.from("starts", now.as_str()).order_by("starts").limit(1);
            if !self.appointments.find(&query).await?.documents.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn forget_appointments(&self, patient: &str) -> Result<(), StoreError> {
        let query = Query::new().equal("patient", patient).limit(PAGE);
        loop {
            let page = self.appointments.find(&query).await?;
            if page.documents.is_empty() {
                return Ok(());
            }
            for found in page.documents {
                match self.appointments.delete(&found.id, found.revision).await {
                    Ok(()) | Err(StoreError::Missing) => {}
                    Err(other) => return Err(other),
                }
                if let Record::Appointment(one) = &found.value
                    && let Some(held) = one.held()
                {
                    self.free(held).await;
                }
            }
        }
    }

    /// Checks that something may be booked for a patient.
    ///
    /// # Errors
    ///
    /// 422 `patient-unknown`, 409 `patient-closing`; those of the store.
    pub(crate) async fn admits_appointments(&self, id: &str) -> Result<()> {
        let found = if can_be_an_id(id) { self.patients.get(id).await? } else { None };
        match found {
            Some(patient) if patient.value.closing => Err(Fault::conflict(
                "patient-closing",
                format!("patient {id} is being deleted; to keep them instead, save them once more"),
            )
            .into()),
            Some(_) => Ok(()),
            None => Err(Fault::new(422, "patient-unknown", format!("there is no patient {id}")).into()),
        }
    }
}
