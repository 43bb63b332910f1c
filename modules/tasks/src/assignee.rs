//! Who a task is assigned to: an employee of hr-core, asked for by id or e-mail address in the caller's name.
//!
//! What is stored is the employee's id, which stays when the person gets another address, and their name at that time
//! for people to read. Version 1.0 stored what was sent, unchecked. Such a task is found all the same, and gets the id
//! when somebody lists the tasks of that employee; one that is written back with the assignee it has is not refused.

use module_api::prelude::*;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{PAGE, Tasks, WRITE_ATTEMPTS};

/// An employee as far as tasks needs to know them; hr-core shows more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Employee {
    pub(crate) id: String,
    pub(crate) name: String,
    email: String,
}

#[derive(Debug, Deserialize)]
struct Employees {
    items: Vec<Employee>,
}

/// 422: nobody is called so.
pub(crate) fn assignee_unknown(message: impl Into<String>) -> Error {
    Fault::new(422, "assignee-unknown", message).into()
}

/// That there is no such employee, to be read alone or after a line's number.
pub(crate) fn no_employee(assignee: &str) -> String {
    format!("there is no employee {assignee}")
}

/// 424: it can't be known now. The reason is for the log.
fn unchecked(assignee: &str, why: &str) -> Error {
    tracing::warn!(why, "an assignee can't be looked up in hr-core");
    let message = format!("whether {assignee} is an employee can't be looked up in hr-core now; try again later");
    Fault::new(424, "assignee-unchecked", message).into()
}

fn is_same_address(one: &str, other: &str) -> bool {
    // As hr-core compares: character by character.
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

impl Tasks {
    /// The employee with this id or e-mail address, if there is one.
    ///
    /// # Errors
    ///
    /// 424 `assignee-unchecked` where hr-core does not answer, or not to this caller.
    pub(crate) async fn employee(&self, request: &Request, assignee: &str) -> Result<Option<Employee>> {
        let encoded = utf8_percent_encode(assignee, NON_ALPHANUMERIC);
        let is_address = assignee.contains('@');
        // A whole address comes first among those that begin so.
        let path =
            if is_address { format!("/employees?limit=1&email={encoded}") } else { format!("/employees/{encoded}") };
        let answer = match self.tenant.call(request, "hr-core").get(&path).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(unchecked(assignee, "hr-core is not enabled")),
            Err(error) => return Err(unchecked(assignee, &error.to_string())),
        };
        match answer.code().as_deref() {
            None if answer.is_success() && is_address => {
                let found = answer.json::<Employees>()?.items.into_iter().next();
                Ok(found.filter(|employee| is_same_address(&employee.email, assignee)))
            }
            None if answer.is_success() => answer.json().map(Some),
            Some("hr-core:employee-not-found") => Ok(None),
            code => Err(unchecked(assignee, &format!("{} {}", answer.status(), code.unwrap_or_default()))),
        }
    }

    /// The employee who is to be assigned.
    ///
    /// # Errors
    ///
    /// 422 `assignee-unknown`, and as [`Tasks::employee`].
    pub(crate) async fn assignee(&self, request: &Request, assignee: &str) -> Result<Employee> {
        self.employee(request, assignee).await?.ok_or_else(|| assignee_unknown(no_employee(assignee)))
    }

    /// What the tasks of somebody are to be searched by. Tasks of version 1.0 that have the employee's address instead
    /// of the id get the id first, or they would be missing.
    ///
    /// # Errors
    ///
    /// As [`Tasks::employee`], and those of the store.
    pub(crate) async fn assignee_to_find(&self, request: &Request, assignee: &str) -> Result<String> {
        let Some(employee) = self.employee(request, assignee).await? else {
            // Nobody who is known now; a task of version 1.0 may still say so.
            return Ok(assignee.to_owned());
        };
        for address in [&*employee.email, assignee] {
            if address != employee.id {
                self.rewrite(address, Some(&employee)).await?;
            }
        }
        Ok(employee.id)
    }

    /// Takes all tasks from somebody who is gone. Doing it twice is as doing it once.
    pub(crate) async fn unassign(&self, assignee: &str) -> Result<()> {
        let count = self.rewrite(assignee, None).await?;
        if count > 0 {
            tracing::info!(count, "tasks of a former employee are nobody's now");
        }
        Ok(())
    }

    /// Gives all tasks whose assignee is `from` to somebody else, or nobody; says how many. A task that somebody
    /// writes meanwhile is read again, and left alone where it has got another assignee.
    async fn rewrite(&self, from: &str, to: Option<&Employee>) -> Result<usize> {
        let query = Query::new().equal("assignee", from).limit(PAGE);
        let (mut count, mut lost) = (0, 0);
        loop {
            // What was written is not found again, so each page is a first one.
            let page = self.tasks.find(&query).await?;
            if page.documents.is_empty() {
                return Ok(count);
            }
            let before = count;
            for found in page.documents {
                let task = found.value.given_to(to, self.tenant.now_millis());
                match self.tasks.put(&found.id, &task, found.revision).await {
                    Ok(_) => count += 1,
                    Err(StoreError::Revision | StoreError::Missing) => {}
                    Err(other) => return Err(other.into()),
                }
            }
            lost = if count == before { lost + 1 } else { 0 };
            if lost == WRITE_ATTEMPTS {
                return Err(Error::internal(format!("others keep writing tasks of {from} at the same time")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_as_people_do() {
        assert!(is_same_address("Ada@Example.com", "ada@example.COM"));
        assert!(!is_same_address("ada@example.com", "ada@example.com.au"));
    }
}
