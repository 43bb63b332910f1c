//! Letters to patients, through email-service where the tenant has it. What was booked is booked whatever becomes of the
//! letter: the answer says whether one was queued, the log why not.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use module_api::prelude::*;
use serde::Serialize;

use crate::{Clinic, appointment::Appointment, patient::StoredPatient};

/// How long email-service may take to queue a letter; a guess, many times what it needs.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a letter is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About {
    Booked,
    Moved,
    Cancelled,
}

/// What email-service takes. It queues a `key` once, however often it is sent.
#[derive(Debug, Serialize)]
struct Message {
    to: String,
    subject: &'static str,
    text: String,
    key: String,
}

impl Clinic {
    /// Writes to the patient of an appointment, and says whether the letter was queued. `revision` is the
    /// appointment's: there is one letter for each change.
    pub(crate) async fn notify(&self, about: About, id: &str, revision: u64, appointment: &Appointment) -> bool {
        let outcome = match self.message(about, id, revision, appointment).await {
            Ok(message) => self.queue(&message).await,
            Err(why) => Err(why),
        };
        if let Err(why) = &outcome {
            tracing::info!(appointment = id, ?about, why, "the patient was not written to");
        }
        outcome.is_ok()
    }

    async fn message(
        &self,
        about: About,
        id: &str,
        revision: u64,
        appointment: &Appointment,
    ) -> Result<Message, String> {
        if !self.tenant.flag("confirmations") {
            return Err("feature confirmations is off".to_owned());
        }
        let found = self.patients.get(&appointment.patient).await.map_err(|error| error.to_string())?;
        let StoredPatient { name, email, .. } = found.ok_or("there is no such patient any more")?.value;
        let to = email.ok_or("the patient has no e-mail address")?;
        let when = self.hours().told(appointment.start());
        let (who, minutes) = (&appointment.clinician_name, appointment.minutes());
        let (kind, subject, line) = match about {
            About::Booked => (
                "booked",
                "Your appointment",
                format!("you have an appointment with {who} on {when}, for {minutes} minutes."),
            ),
            About::Moved => (
                "moved",
                "Your appointment has changed",
                format!("your appointment is now with {who} on {when}, for {minutes} minutes."),
            ),
            About::Cancelled => (
                "cancelled",
                "Your appointment is cancelled",
                format!("your appointment with {who} on {when} is cancelled."),
            ),
        };
        Ok(Message { to, subject, text: format!("Dear {name},\n\n{line}\n"), key: format!("{id}:{kind}:{revision}") })
    }

    async fn queue(&self, message: &Message) -> Result<(), String> {
        let call = self.tenant.call_as_module("email-service").post("/messages", message);
        match within(call, self.tenant.sleep(PATIENCE)).await {
            Some(Ok(Some(answer))) if answer.is_success() => Ok(()),
            Some(Ok(Some(answer))) => {
                Err(format!("email-service refused it: {} {}", answer.status(), answer.code().unwrap_or_default()))
            }
            Some(Ok(None)) => Err("email-service is not enabled".to_owned()),
            Some(Err(error)) => Err(format!("email-service can't be asked: {error}")),
            None => Err(format!("email-service took longer than {} s", PATIENCE.as_secs())),
        }
    }
}

/// What comes of `work` if it comes before `limit` has passed.
async fn within<T>(work: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut limit) = (pin!(work), pin!(limit));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
    })
    .await
}
