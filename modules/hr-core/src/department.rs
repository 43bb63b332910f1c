//! What a department is: as a client sends it, as it is stored, as it is shown.

use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};

use crate::text::{fold, rfc3339};

const MAX_NAME_CHARS: usize = 200;
const MAX_DESCRIPTION_CHARS: usize = 2_000;

/// The body of POST and PUT. `name` is optional only so that its absence is reported beside other problems.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DepartmentBody {
    name: Option<String>,
    description: Option<String>,
}

/// A body that was checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewDepartment {
    name: String,
    description: Option<String>,
}

impl DepartmentBody {
    /// Trims and checks the fields.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(&self) -> Result<NewDepartment> {
        let mut problems = Problems::default();
        let checked = NewDepartment {
            name: problems.required_line("name", self.name.as_deref(), MAX_NAME_CHARS),
            description: problems.optional_prose("description", self.description.as_deref(), MAX_DESCRIPTION_CHARS),
        };
        problems.settle()?;
        Ok(checked)
    }
}

/// A department as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredDepartment {
    name: String,
    /// The name folded: unique in the tenant, and the order of listings.
    name_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created_at: i64,
    updated_at: i64,
    /// Set while the department is being deleted: from then on nobody can be put into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) closing: bool,
}

impl StoredDepartment {
    /// A department that begins now.
    pub(crate) fn new(department: NewDepartment, now: i64) -> Self {
        let NewDepartment { name, description } = department;
        Self { name_key: fold(&name), name, description, created_at: now, updated_at: now, closing: false }
    }

    /// The same department with other contents. Writing it also ends a deletion that was left half-way.
    pub(crate) fn replaced_by(&self, department: &NewDepartment, now: i64) -> Self {
        let NewDepartment { name, description } = department;
        Self {
            name: name.clone(),
            name_key: fold(name),
            description: description.clone(),
            created_at: self.created_at,
            updated_at: now,
            closing: false,
        }
    }
}

/// A department as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct DepartmentView<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    created_at: String,
    updated_at: String,
    revision: u64,
}

/// What a client sees of a stored department.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a StoredDepartment) -> DepartmentView<'a> {
    DepartmentView {
        id,
        name: &stored.name,
        description: stored.description.as_deref(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        revision,
    }
}

/// Names the conflict where the store refused a second department of this name.
pub(crate) fn name_taken_or(error: StoreError, department: &StoredDepartment) -> Error {
    match error {
        StoreError::NotUnique { field } if field == "name_key" => {
            Fault::conflict("department-name-taken", format!("there is a department named {} already", department.name))
                .into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn check(body: serde_json::Value) -> Result<NewDepartment, String> {
        let body: DepartmentBody = from_value(body).map_err(|error| error.to_string())?;
        body.check().map_err(|error| error.to_string())
    }

    #[test]
    fn bodies_are_trimmed_and_checked() {
        let checked = check(json!({"name": " Sales ", "description": ""})).unwrap();
        assert_eq!(checked, NewDepartment { name: "Sales".to_owned(), description: None });
        assert_eq!(
            check(json!({"description": "x".repeat(2_001)})).unwrap_err(),
            "`name` is required; `description` has 2001 characters, at most 2000 are allowed"
        );
        assert!(check(json!({"name": "Sales", "boss": "Ann"})).unwrap_err().contains("unknown field `boss`"));
    }

    #[test]
    fn stored_and_shown_forms_differ() {
        let stored = StoredDepartment::new(check(json!({"name": "Field  Sales"})).unwrap(), 0);
        assert_eq!(
            to_value(&stored).unwrap(),
            json!({"name": "Field  Sales", "name_key": "field sales", "created_at": 0, "updated_at": 0})
        );
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            to_value(view("d1", 3, &stored)).unwrap(),
            json!({"id": "d1", "name": "Field  Sales", "created_at": time, "updated_at": time, "revision": 3})
        );
    }

    #[test]
    fn replacing_keeps_the_birthday_and_reopens() {
        let mut stored = StoredDepartment::new(check(json!({"name": "Sales", "description": "old"})).unwrap(), 5);
        stored.closing = true;
        let replaced = stored.replaced_by(&check(json!({"name": "Sales and more"})).unwrap(), 9);
        assert_eq!(
            to_value(replaced).unwrap(),
            json!({"name": "Sales and more", "name_key": "sales and more", "created_at": 5, "updated_at": 9})
        );
    }

    #[test]
    fn only_the_name_conflict_is_the_clients() {
        let stored = StoredDepartment::new(check(json!({"name": "Sales"})).unwrap(), 0);
        let taken = name_taken_or(StoreError::NotUnique { field: "name_key".to_owned() }, &stored);
        assert_eq!(taken.as_fault().unwrap().code(), "department-name-taken");
        assert!(name_taken_or(StoreError::Unavailable, &stored).as_fault().is_none());
    }
}
