//! What an employee is: as a client sends it, as it is stored, as it is shown.

use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};

use crate::text::{fold, last_word, rfc3339};

const MAX_NAME_CHARS: usize = 200;
const MAX_TITLE_CHARS: usize = 200;
const MAX_ID_CHARS: usize = 64;
/// Source: RFC 5321, section 4.5.3.1, less the angle brackets of a path.
const MAX_EMAIL_BYTES: usize = 254;

/// The body of POST and PUT. Required fields are optional here only so that their absence is reported beside
/// other problems.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmployeeBody {
    name: Option<String>,
    email: Option<String>,
    department: Option<String>,
    title: Option<String>,
}

/// A body that was checked, but for whether its department exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEmployee {
    name: String,
    email: String,
    pub(crate) department: Option<String>,
    title: Option<String>,
}

impl EmployeeBody {
    /// Trims and checks the fields.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(&self) -> Result<NewEmployee> {
        let mut problems = Problems::default();
        let name = problems.required_line("name", self.name.as_deref(), MAX_NAME_CHARS);
        let email = self.email.as_deref().map(str::trim);
        match email.map(check_email) {
            None => problems.add("email", "is required"),
            Some(Err(why)) => problems.add("email", why),
            Some(Ok(())) => {}
        }
        let checked = NewEmployee {
            name,
            email: email.unwrap_or_default().to_owned(),
            department: problems.optional_line("department", self.department.as_deref(), MAX_ID_CHARS),
            title: problems.optional_line("title", self.title.as_deref(), MAX_TITLE_CHARS),
        };
        problems.settle()?;
        Ok(checked)
    }
}

/// Refuses what can't be an address, and no more: only a sent mail proves one.
fn check_email(email: &str) -> Result<(), &'static str> {
    if email.is_empty() {
        return Err("must not be empty");
    }
    if email.len() > MAX_EMAIL_BYTES {
        return Err("is longer than 254 bytes");
    }
    if email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must not have spaces or control characters");
    }
    let Some((local, domain)) = email.split_once('@').filter(|(_, domain)| !domain.contains('@')) else {
        return Err("must have one @");
    };
    if local.is_empty() {
        return Err("has nothing before the @");
    }
    let is_dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    if is_dotted || domain.eq_ignore_ascii_case("localhost") {
        Ok(())
    } else {
        Err("must have a domain such as example.com after the @")
    }
}

/// An employee as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEmployee {
    pub(crate) name: String,
    /// The name folded: searched by prefix, and the order of listings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name_key: String,
    /// The last word of `name_key` where it has several, so that people are found by family name too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family_key: Option<String>,
    pub(crate) email: String,
    /// The address folded: unique in the tenant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    email_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) department: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    created_at: i64,
    updated_at: i64,
    /// Set when the employee was deleted, until everybody who must know has been told; see `leaving`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leaving: bool,
}

impl StoredEmployee {
    /// An employee who begins now.
    pub(crate) fn new(employee: NewEmployee, now: i64) -> Self {
        let NewEmployee { name, email, department, title } = employee;
        let name_key = fold(&name);
        Self {
            family_key: last_word(&name_key).map(str::to_owned),
            email_key: fold(&email),
            name_key,
            name,
            email,
            department,
            title,
            created_at: now,
            updated_at: now,
            leaving: false,
        }
    }

    /// What stays of an employee who was deleted, for a moment: who it was. Without the searched fields they are in
    /// no listing and no department, and their address is free.
    pub(crate) fn left(&self, now: i64) -> Self {
        Self {
            name: self.name.clone(),
            name_key: String::new(),
            family_key: None,
            email: self.email.clone(),
            email_key: String::new(),
            department: None,
            title: None,
            created_at: self.created_at,
            updated_at: now,
            leaving: true,
        }
    }

    /// The same employee with other contents.
    pub(crate) fn replaced_by(&self, employee: &NewEmployee, now: i64) -> Self {
        Self { created_at: self.created_at, ..Self::new(employee.clone(), now) }
    }
}

/// An employee as a client sees them.
#[derive(Debug, Serialize)]
pub(crate) struct EmployeeView<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    created_at: String,
    updated_at: String,
    revision: u64,
}

/// What a client sees of a stored employee.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a StoredEmployee) -> EmployeeView<'a> {
    EmployeeView {
        id,
        name: &stored.name,
        email: &stored.email,
        department: stored.department.as_deref(),
        title: stored.title.as_deref(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        revision,
    }
}

/// Names the conflict where the store refused a second employee with this address.
pub(crate) fn email_taken_or(error: StoreError, employee: &StoredEmployee) -> Error {
    match error {
        StoreError::NotUnique { field } if field == "email_key" => {
            Fault::conflict("email-taken", format!("another employee has the e-mail address {}", employee.email)).into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn check(body: serde_json::Value) -> Result<NewEmployee, String> {
        let body: EmployeeBody = from_value(body).map_err(|error| error.to_string())?;
        body.check().map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_refused_only_when_they_cannot_be_one() {
        let long = format!("{}@example.com", "a".repeat(242));
        assert_eq!(long.len(), 254);
        for good in ["ann@example.com", "a+b@x.y", "root@LocalHost", "jürgen@bücher.example", &long] {
            assert_eq!(check_email(good), Ok(()), "{good}");
        }
        let too_long = format!("a{long}");
        for (bad, why) in [
            ("", "empty"),
            ("ann", "one @"),
            ("ann@", "domain"),
            ("@example.com", "before"),
            ("a@b@example.com", "one @"),
            ("ann@example", "domain"),
            ("ann@.com", "domain"),
            ("ann@example..com", "domain"),
            ("ann@example.com.", "domain"),
            ("ann lee@example.com", "spaces"),
            ("ann\u{0}@example.com", "control"),
            (&too_long, "254"),
        ] {
            assert!(check_email(bad).is_err_and(|text| text.contains(why)), "{bad}: {:?}", check_email(bad));
        }
    }

    #[test]
    fn all_fields_are_reported_at_once() {
        assert_eq!(
            check(json!({"email": "ann", "title": "x".repeat(201)})).unwrap_err(),
            "`name` is required; `email` must have one @; `title` has 201 characters, at most 200 are allowed"
        );
        assert_eq!(check(json!({})).unwrap_err(), "`name` is required; `email` is required");
        assert!(check(json!({"nmae": "Ann"})).unwrap_err().starts_with("unknown field `nmae`, expected one of `name`"));
    }

    #[test]
    fn what_is_stored_can_be_searched_and_what_is_shown_is_as_written() {
        let new = check(json!({"name": " Ann  LEE ", "email": " Ann@Example.com ", "department": "d1"})).unwrap();
        let stored = StoredEmployee::new(new, 0);
        assert_eq!(
            to_value(&stored).unwrap(),
            json!({
                "name": "Ann  LEE", "name_key": "ann lee", "family_key": "lee",
                "email": "Ann@Example.com", "email_key": "ann@example.com",
                "department": "d1", "created_at": 0, "updated_at": 0,
            })
        );
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            to_value(view("e1", 1, &stored)).unwrap(),
            json!({
                "id": "e1", "name": "Ann  LEE", "email": "Ann@Example.com", "department": "d1",
                "created_at": time, "updated_at": time, "revision": 1,
            })
        );
    }

    #[test]
    fn replacing_clears_what_is_left_out() {
        let old = check(json!({"name": "Ann", "email": "a@b.c", "title": "Boss", "department": "d1"})).unwrap();
        let new = check(json!({"name": "Ann", "email": "a@b.c"})).unwrap();
        let replaced = StoredEmployee::new(old, 5).replaced_by(&new, 9);
        assert_eq!(
            to_value(replaced).unwrap(),
            json!({
                "name": "Ann", "name_key": "ann", "email": "a@b.c", "email_key": "a@b.c",
                "created_at": 5, "updated_at": 9,
            })
        );
    }

    #[test]
    fn who_has_left_is_in_no_index() {
        let new = check(json!({"name": "Ann Lee", "email": "a@b.c", "title": "Boss", "department": "d1"})).unwrap();
        let left = to_value(StoredEmployee::new(new, 5).left(9)).unwrap();
        assert_eq!(
            left,
            json!({"name": "Ann Lee", "email": "a@b.c", "created_at": 5, "updated_at": 9, "leaving": true})
        );
        assert!(from_value::<StoredEmployee>(left).unwrap().leaving);
    }

    #[test]
    fn only_the_address_conflict_is_the_clients() {
        let stored = StoredEmployee::new(check(json!({"name": "Ann", "email": "a@b.c"})).unwrap(), 0);
        let taken = email_taken_or(StoreError::NotUnique { field: "email_key".to_owned() }, &stored);
        assert_eq!(taken.as_fault().map(|fault| (fault.status(), fault.code())), Some((409, "email-taken")));
        assert!(email_taken_or(StoreError::Unavailable, &stored).as_fault().is_none());
    }
}
