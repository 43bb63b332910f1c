//! The handlers that book, move and cancel appointments. Why the order of the writes is what it is, `slots` tells.

use module_api::{
    prelude::*,
    rest::{IfMatch, etag},
};

use crate::{
    BASE, Clinic, WRITE_ATTEMPTS,
    appointment::{Appointment, AppointmentBody, CancelBody, Change, Record, Status, view},
    appointment_routes::appointment_not_found,
    calendar::calendar_id,
    mail::About,
    too_many_writers,
};

fn cancelled() -> Error {
    Fault::conflict("appointment-cancelled", "the appointment is cancelled; book another one").into()
}

/// What is left of a request's time is for the letter and the answer; nothing new is begun in it.
fn out_of_time() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing at the same time; try again").into()
}

impl Clinic {
    /// `POST /appointments`
    pub(crate) async fn book(&self, request: Request) -> Result<Response> {
        let body: AppointmentBody = request.json()?;
        let new = body.check()?;
        self.admits_appointments(&new.patient).await?;
        let hours = self.hours();
        let minutes = new.minutes.unwrap_or(hours.default_minutes);
        let time = hours.time(new.start, minutes, self.tenant.now_millis())?;
        let clinician = self.clinician(&request, &new.clinician).await?;

        let (id, patient) = (self.tenant.random_id(), new.patient.clone());
        let calendar = calendar_id(&clinician.id, &time.day);
        let slot = self.reserve(&clinician.id, &time, &id).await?;
        let now = self.tenant.now_millis();
        let booked = Appointment::new(new, clinician, &time, slot.clone(), request.user(), now);
        let revision = match self.appointments.insert(&id, &Record::Appointment(Box::new(booked.clone()))).await {
            Ok(revision) => revision,
            // This took so long that somebody has declared it abandoned.
            Err(StoreError::Exists) => {
                self.free((calendar, slot)).await;
                return Err(out_of_time());
            }
            // Whether it was written is not known, so the entry stays until it is.
            Err(other) => return Err(other.into()),
        };
        // Who deletes a patient looks for appointments after saying so; who books looks for that after booking.
        if let Err(refused) = self.admits_appointments(&patient).await {
            self.take_back(&id, &booked, revision).await;
            return Err(refused);
        }
        let notified = self.notify(About::Booked, &id, revision, &booked).await;
        let mut shown = view(&id, revision, &booked, &hours);
        shown.notified = Some(notified);
        let created = Response::created(format!("{BASE}/appointments/{id}"), &shown)?;
        Ok(created.with_header("etag", etag(revision)))
    }

    /// `POST /appointments/{id}/reschedule`
    pub(crate) async fn reschedule(&self, request: Request) -> Result<Response> {
        let body: AppointmentBody = request.json()?;
        let change = body.check_change()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        let clinician = match &change.clinician {
            Some(sent) => Some(self.clinician(&request, sent).await?),
            None => None,
        };
        let hours = self.hours();
        for _ in 0..WRITE_ATTEMPTS {
            let (id, before, revision) = self.appointment(request.param("id")).await?;
            condition.admit(revision)?;
            let clinician = match (&clinician, before.status) {
                (_, Status::Cancelled) => return Err(cancelled()),
                (None, Status::NeedsClinician) => return Err(clinician_needed()),
                (None, Status::Booked) => before.clinician(),
                (Some(new), _) => new.clone(),
            };
            if is_as_it_was(&before, &clinician.id, &change) {
                return self.shown(&id, revision, &before, None);
            }
            let (start, minutes) = (change.start.unwrap_or(before.start()), change.minutes.unwrap_or(before.minutes()));
            let time = hours.time(start, minutes, self.tenant.now_millis())?;
            let calendar = calendar_id(&clinician.id, &time.day);
            let slot = self.reserve(&clinician.id, &time, &id).await?;
            let after = before.moved(clinician, &time, slot.clone(), self.tenant.now_millis());
            match self.appointments.put(&id, &Record::Appointment(Box::new(after.clone())), revision).await {
                Ok(revision) => {
                    if let Some(held_before) = before.held() {
                        self.free(held_before).await;
                    }
                    let notified = self.notify(About::Moved, &id, revision, &after).await;
                    return self.shown(&id, revision, &after, Some(notified));
                }
                Err(StoreError::Revision) => self.free((calendar, slot)).await,
                Err(StoreError::Missing) => {
                    self.free((calendar, slot)).await;
                    return Err(appointment_not_found(&id));
                }
                // As in `book`.
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// `POST /appointments/{id}/cancel`: one that is cancelled already stays so.
    pub(crate) async fn cancel(&self, request: Request) -> Result<Response> {
        let body: CancelBody = if request.body().is_empty() { CancelBody::default() } else { request.json()? };
        let reason = body.check()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let (id, before, revision) = self.appointment(request.param("id")).await?;
            condition.admit(revision)?;
            if before.status == Status::Cancelled {
                return self.shown(&id, revision, &before, None);
            }
            let after = before.cancelled(reason.clone(), self.tenant.now_millis());
            match self.appointments.put(&id, &Record::Appointment(Box::new(after.clone())), revision).await {
                Ok(revision) => {
                    if let Some(held_before) = before.held() {
                        self.free(held_before).await;
                    }
                    let notified = self.notify(About::Cancelled, &id, revision, &after).await;
                    return self.shown(&id, revision, &after, Some(notified));
                }
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(appointment_not_found(&id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// Undoes a booking that nobody was told of. Where this fails, the log says so and the appointment stays.
    async fn take_back(&self, id: &str, booked: &Appointment, revision: u64) {
        match self.appointments.delete(id, revision).await {
            Ok(()) | Err(StoreError::Missing) => {
                if let Some(held) = booked.held() {
                    self.free(held).await;
                }
            }
            Err(error) => {
                tracing::warn!(appointment = id, %error, "an appointment of a patient who is deleted is left");
            }
        }
    }
}

fn clinician_needed() -> Error {
    let message = "the clinician of the appointment is no employee any more; say who is to see the patient instead";
    Fault::conflict("clinician-needed", message).into()
}

fn is_as_it_was(before: &Appointment, clinician: &str, change: &Change) -> bool {
    before.status == Status::Booked
        && before.clinician == clinician
        && change.start.is_none_or(|start| start == before.start())
        && change.minutes.is_none_or(|minutes| minutes == before.minutes())
}
