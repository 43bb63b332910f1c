//! How an employee goes, so that whoever subscribes to `employee.deleted` hears of it even if the host is killed in
//! between.
//!
//! Two writes and an event can't be one. So the deletion is decided by one write, and everything after it can be
//! repeated until it is done:
//!
//! 1. a wake-up is set, for when this request can no longer be running;
//! 2. the employee is marked as leaving, by compare-and-set: from here on they are gone for everybody who asks;
//! 3. the event is published;
//! 4. the document is deleted and the wake-up taken back.
//!
//! Killed before 2, the wake-up finds an employee who stays. Killed later, it does 3 and 4 again. To publish first would
//! tell of deletions that are then refused; to delete first would leave nobody who knows what is to be told.

use std::time::{Duration, SystemTime};

use module_api::prelude::*;
use serde::Serialize;

use crate::{HrCore, employee::StoredEmployee};

/// The event, as `module.toml` lists it.
const DELETED: &str = "employee.deleted";

/// What the keys of wake-ups begin with; an employee's id follows.
const WAKE: &str = "leaving:";

/// How long after a request's deadline its wake-up comes. A guess: time for a write that was begun just before.
const RESERVE: Duration = Duration::from_secs(5);

/// What subscribers are told.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
}

/// Why an employee stays.
pub(crate) enum NotLetGo {
    /// The mark was not written.
    Store(StoreError),
    /// The wake-up was not set.
    Service(ServiceError),
}

impl HrCore {
    /// Deletes an employee and tells everybody. When this returns, the deletion is decided; what fails after that is
    /// logged, and done by the wake-up.
    pub(crate) async fn let_go(&self, found: &Document<StoredEmployee>, deadline_millis: i64) -> Result<(), NotLetGo> {
        let (id, key) = (&found.id, format!("{WAKE}{}", found.id));
        let deadline = Duration::from_millis(u64::try_from(deadline_millis).unwrap_or_default());
        let later = SystemTime::UNIX_EPOCH + deadline + RESERVE;
        self.tenant.wake_at(&key, later).await.map_err(NotLetGo::Service)?;
        let left = found.value.left(self.tenant.now_millis());
        let revision = self.employees.put(id, &left, found.revision).await.map_err(NotLetGo::Store)?;
        let told = match self.tell_and_delete(id, &left, revision).await {
            Ok(()) => self.tenant.cancel_wake(&key).await.map_err(Error::from),
            failed => failed,
        };
        if let Err(error) = told {
            tracing::warn!(employee = %id, %error, "an employee is deleted; what is left to do is done later");
        }
        Ok(())
    }

    /// Does what is left of a deletion.
    pub(crate) async fn finish_leaving(&self, key: &str) -> Result<()> {
        let Some(id) = key.strip_prefix(WAKE) else {
            return Err(Error::internal(format!("nobody here sets the wake-up `{key}`")));
        };
        match self.employees.get(id).await? {
            Some(found) if found.value.leaving => self.tell_and_delete(id, &found.value, found.revision).await,
            // Gone already, or the mark was never written and the employee stays.
            _ => Ok(()),
        }
    }

    async fn tell_and_delete(&self, id: &str, left: &StoredEmployee, revision: u64) -> Result<()> {
        self.tenant.publish(DELETED, &Deleted { id, name: &left.name, email: &left.email }).await?;
        match self.employees.delete(id, revision).await {
            // Somebody else has done the same.
            Ok(()) | Err(StoreError::Missing) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}
