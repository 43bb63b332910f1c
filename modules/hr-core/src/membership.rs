//! Keeps employees out of departments that are going or gone, without transactions over several documents.
//!
//! Who deletes a department marks it as closing, looks for employees, then deletes it. Who writes an employee
//! looks at the department after the write as well as before. Either the deleter sees the employee or the
//! writer sees the mark, and then takes the write back.

use module_api::prelude::*;

use crate::{
    HrCore, WRITE_ATTEMPTS, department::StoredDepartment, employee::StoredEmployee, search::can_be_an_id,
    too_many_writers,
};

/// What an employee becomes again when a write is taken back.
pub(crate) enum Before {
    /// Not there.
    Absent,
    /// The employee as it was.
    Was(StoredEmployee),
}

impl HrCore {
    /// Deletes a department unless it has employees; says whether it did.
    pub(crate) async fn close_and_delete(&self, found: Document<StoredDepartment>) -> Result<bool, StoreError> {
        let Document { id, mut revision, value: mut department, .. } = found;
        // Looked at before the mark too: the usual refusal should leave no trace in the revision.
        if !department.closing {
            if self.has_employees(&id).await? {
                return Ok(false);
            }
            department.closing = true;
            revision = self.departments.put(&id, &department, revision).await?;
        }
        if self.has_employees(&id).await? {
            department.closing = false;
            self.departments.put(&id, &department, revision).await?;
            return Ok(false);
        }
        self.departments.delete(&id, revision).await?;
        Ok(true)
    }

    async fn has_employees(&self, department: &str) -> Result<bool, StoreError> {
        let query = Query::new().equal("department", department).limit(1);
        Ok(!self.employees.find(&query).await?.documents.is_empty())
    }

    /// Checks that an employee may be in a department; being in none is always right.
    ///
    /// # Errors
    ///
    /// 422 `unknown-department`, 409 `department-closing`; those of the store.
    pub(crate) async fn admits_employees(&self, department: Option<&str>) -> Result<()> {
        let Some(id) = department else { return Ok(()) };
        let found = if can_be_an_id(id) { self.departments.get(id).await? } else { None };
        match found {
            Some(department) if department.value.closing => Err(Fault::conflict(
                "department-closing",
                format!("department {id} is being deleted; to keep it instead, save it once more"),
            )
            .into()),
            Some(_) => Ok(()),
            None => Err(Fault::new(422, "unknown-department", format!("there is no department {id}")).into()),
        }
    }

    /// Takes a write back that put an employee into a department which then turned out to be going. Where
    /// even that fails, the log says so and the employee stays as written.
    pub(crate) async fn take_back(&self, id: &str, written: StoredEmployee, before: Before) {
        if let Err(error) = self.try_to_take_back(id, written.department, before).await {
            tracing::warn!(employee = id, %error, "an employee is left in a department that is being deleted");
        }
    }

    async fn try_to_take_back(&self, id: &str, written: Option<String>, mut before: Before) -> Result<()> {
        let mut refused = written;
        for _ in 0..WRITE_ATTEMPTS {
            let Some(found) = self.employees.get(id).await? else { return Ok(()) };
            if found.value.department != refused {
                // Somebody moved the employee on, and checked where to.
                return Ok(());
            }
            let done = match &before {
                Before::Absent => self.employees.delete(id, found.revision).await,
                Before::Was(employee) => self.employees.put(id, employee, found.revision).await.map(drop),
            };
            match (done, &mut before) {
                (Err(StoreError::Revision), _) => {}
                (Err(StoreError::Missing), _) | (Ok(()), Before::Absent) => return Ok(()),
                (Err(other), _) => return Err(other.into()),
                (Ok(()), Before::Was(employee)) => {
                    if self.admits_employees(employee.department.as_deref()).await.is_ok() {
                        return Ok(());
                    }
                    // The department before is gone by now as well; in none, the employee is safe.
                    refused = employee.department.take();
                }
            }
        }
        Err(too_many_writers())
    }
}
