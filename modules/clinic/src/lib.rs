//! Module clinic: the patients of a practice, and when they see whom.
//!
//! Reading order: `slots` tells how a clinician never has two appointments at once, whatever runs beside and whoever is
//! killed half-way; `calendar` is the document behind that and `appointment` what is booked. `booking` are the handlers
//! that book, move and cancel. `hours` are the tenant's settings, `clinicians` asks hr-core, `mail` asks email-service,
//! `farewell` hears of employees who are gone. `patient` and the two `*_routes` files are as in any module; `text` is a
//! small part.

#![forbid(unsafe_code)]

mod appointment;
mod appointment_routes;
mod booking;
mod calendar;
mod clinicians;
mod farewell;
mod hours;
mod mail;
mod patient;
mod patient_removal;
mod patient_routes;
mod slots;
mod text;

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use module_api::prelude::*;

use crate::{appointment::Record, calendar::Calendar, hours::Hours, patient::StoredPatient};

/// Where the module's routes begin; the same as `routes.base` in `module.toml`.
const BASE: &str = "/api/v1/clinic";

/// How often a write is tried when others write the same document at the same time. A guess: each round lost
/// means that somebody else's write went through.
const WRITE_ATTEMPTS: u32 = 16;

/// The largest page the store gives.
const PAGE: usize = 200;

struct Clinic {
    tenant: Tenant,
    patients: Collection<StoredPatient>,
    appointments: Collection<Record>,
    calendars: Collection<Calendar>,
    /// Read when the settings change: a time zone takes longer to read than a booking should.
    hours: RwLock<Arc<Hours>>,
}

impl Module for Clinic {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self {
            patients: tenant.collection("Patient")?,
            appointments: tenant.collection("Appointment")?,
            calendars: tenant.collection("Calendar")?,
            hours: RwLock::new(Arc::new(Hours::read(&tenant)?)),
            tenant,
        })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .get("/patients", Self::list_patients)
            .post("/patients", Self::create_patient)
            .get("/patients/{id}", Self::show_patient)
            .put("/patients/{id}", Self::replace_patient)
            .delete("/patients/{id}", Self::delete_patient)
            .get("/appointments", Self::list_appointments)
            .post("/appointments", Self::book)
            .get("/appointments/{id}", Self::show_appointment)
            .post("/appointments/{id}/reschedule", Self::reschedule)
            .post("/appointments/{id}/cancel", Self::cancel);
    }

    async fn settings_changed(&self) -> Result<()> {
        let hours = Arc::new(Hours::read(&self.tenant)?);
        *self.hours.write().unwrap_or_else(PoisonError::into_inner) = hours;
        Ok(())
    }

    async fn on_event(&self, event: Event) -> Result<()> {
        self.employee_deleted(&event).await
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        self.look_again(&key).await
    }
}

impl Clinic {
    fn hours(&self) -> Arc<Hours> {
        Arc::clone(&self.hours.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether text of a client can be the id of a document at all.
fn can_be_an_id(text: &str) -> bool {
    (1..=256).contains(&text.len())
}

/// What a write answers that lost every round against other writers.
fn too_many_writers() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing at the same time; try again").into()
}

module_api::export_module!(Clinic);
