//! What becomes of the tasks of an employee who is deleted: they are nobody's.
//!
//! Somebody may have looked the employee up just before they were gone and write the task just after all tasks were
//! taken from them. No request lives as long as [`SECOND_LOOK`], so a second look then finds the last of these.

use std::time::Duration;

use module_api::prelude::*;
use serde::Deserialize;

use crate::Tasks;

/// What the keys of wake-ups begin with; an employee's id follows.
const WAKE: &str = "unassign:";

/// How long after the event tasks are looked at again. Ten times a request's usual deadline, which operators can change.
const SECOND_LOOK: Duration = Duration::from_secs(300);

/// hr-core's event `employee.deleted`.
#[derive(Debug, Deserialize)]
struct Deleted {
    id: String,
    /// What a task of version 1.0 may have in the place of the id.
    email: String,
}

impl Tasks {
    /// Handles `hr-core:employee.deleted`.
    pub(crate) async fn employee_deleted(&self, event: &Event) -> Result<()> {
        let Deleted { id, email } = event.json()?;
        self.tenant.wake_at(&format!("{WAKE}{id}"), self.tenant.now() + SECOND_LOOK).await?;
        self.unassign(&id).await?;
        self.unassign(&email).await
    }

    /// The second look.
    pub(crate) async fn look_again(&self, key: &str) -> Result<()> {
        match key.strip_prefix(WAKE) {
            Some(id) => self.unassign(id).await,
            None => Err(Error::internal(format!("nobody here sets the wake-up `{key}`"))),
        }
    }
}
