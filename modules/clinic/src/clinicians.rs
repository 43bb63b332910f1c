//! Who can see patients: an employee of hr-core, asked for by id or e-mail address in the caller's name.

use module_api::prelude::*;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{Clinic, appointment::Clinician};

/// An employee as far as the clinic needs to know them; hr-core shows more.
#[derive(Debug, Deserialize)]
struct Employee {
    id: String,
    name: String,
    email: String,
}

#[derive(Debug, Deserialize)]
struct Employees {
    items: Vec<Employee>,
}

/// 424: it can't be known now. The reason is for the log.
fn unchecked(clinician: &str, why: &str) -> Error {
    tracing::warn!(why, "a clinician can't be looked up in hr-core");
    let message = format!("whether {clinician} is an employee can't be looked up in hr-core now; try again later");
    Fault::new(424, "clinician-unchecked", message).into()
}

fn is_same_address(one: &str, other: &str) -> bool {
    // As hr-core compares: character by character.
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

impl Clinic {
    /// The employee with this id or e-mail address.
    ///
    /// # Errors
    ///
    /// 422 `clinician-unknown`; 424 `clinician-unchecked` where hr-core does not answer, or not to this caller.
    pub(crate) async fn clinician(&self, request: &Request, clinician: &str) -> Result<Clinician> {
        let encoded = utf8_percent_encode(clinician, NON_ALPHANUMERIC);
        let is_address = clinician.contains('@');
        // A whole address comes first among those that begin so.
        let path =
            if is_address { format!("/employees?limit=1&email={encoded}") } else { format!("/employees/{encoded}") };
        let answer = match self.tenant.call(request, "hr-core").get(&path).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(unchecked(clinician, "hr-core is not enabled")),
            Err(error) => return Err(unchecked(clinician, &error.to_string())),
        };
        let found = match answer.code().as_deref() {
            None if answer.is_success() && is_address => {
                let found = answer.json::<Employees>()?.items.into_iter().next();
                found.filter(|employee| is_same_address(&employee.email, clinician))
            }
            None if answer.is_success() => Some(answer.json::<Employee>()?),
            Some("hr-core:employee-not-found") => None,
            code => return Err(unchecked(clinician, &format!("{} {}", answer.status(), code.unwrap_or_default()))),
        };
        match found {
            Some(Employee { id, name, .. }) => Ok(Clinician { id, name }),
            None => Err(Fault::new(422, "clinician-unknown", format!("there is no employee {clinician}")).into()),
        }
    }
}
