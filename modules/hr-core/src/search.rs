//! Turns the parameters of a listing into questions to the store, which can combine equalities with one
//! prefix, and refuses what it can't combine.
//!
//! `name` finds people by the beginning of their whole name or of its last word, so `le` finds both Leo Ray
//! and Ann Lee. Those are two questions, asked one after the other: first all by whole name, then those by
//! last word who weren't among the first. The cursor says which question it belongs to.

use module_api::{
    prelude::*,
    rest::{Params, foreign_cursor},
};

use crate::{employee::StoredEmployee, text::fold};

/// The parameters of `GET /employees` beside those of paging.
pub(crate) const EMPLOYEE_FILTERS: [&str; 3] = ["name", "email", "department"];

/// Whether text of a client can be the id of a document at all.
pub(crate) fn can_be_an_id(text: &str) -> bool {
    (1..=256).contains(&text.len())
}

/// Departments in the order of their names.
pub(crate) fn departments(params: &Params<'_>) -> Query {
    let mut query = Query::new().order_by("name_key").limit(params.limit);
    if let Some(name) = params.get("name") {
        query = query.prefix("name_key", fold(name));
    }
    if let Some(cursor) = params.cursor() { query.after(cursor) } else { query }
}

/// Which question of a search is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// All that fit, in the order of names or e-mail addresses.
    Main,
    /// By last word, in its order.
    Family,
}

/// Where a page of a search begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which question goes on.
    pub(crate) phase: Phase,
    /// The store's own cursor; `None` at the question's beginning.
    pub(crate) after: Option<String>,
}

impl Place {
    /// The cursor for the client.
    pub(crate) fn to_cursor(&self) -> String {
        let letter = if self.phase == Phase::Main { 'm' } else { 'f' };
        format!("{letter}.{}", self.after.as_deref().unwrap_or_default())
    }

    fn of_cursor(cursor: &str) -> Option<Self> {
        let (letter, after) = cursor.split_once('.')?;
        let phase = match letter {
            "m" => Phase::Main,
            "f" => Phase::Family,
            _ => return None,
        };
        Some(Self { phase, after: Some(after.to_owned()).filter(|after| !after.is_empty()) })
    }
}

/// A search for employees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EmployeeSearch {
    /// Beginning of the folded name.
    name: Option<String>,
    /// Beginning of the folded e-mail address.
    email: Option<String>,
    department: Option<String>,
}

impl EmployeeSearch {
    /// Reads the filters, and where the page begins.
    ///
    /// # Errors
    ///
    /// 400 `bad-filter` for filters that can't be combined; REQUEST_INVALID for a foreign cursor.
    pub(crate) fn read(params: &Params<'_>) -> Result<(Self, Place)> {
        let folded = |name| params.get(name).map(fold);
        let search = Self {
            name: folded("name"),
            email: folded("email"),
            department: params.get("department").map(|id| id.trim().to_owned()),
        };
        if search.name.is_some() && search.email.is_some() {
            return Err(Fault::bad_request(
                "bad-filter",
                "`name` and `email` can't be combined: search by one of them; each goes together with `department`",
            )
            .into());
        }
        let place = match params.cursor() {
            None => Place { phase: Phase::Main, after: None },
            Some(cursor) => Place::of_cursor(cursor).ok_or_else(foreign_cursor)?,
        };
        if place.phase == Phase::Family && search.name.is_none() {
            return Err(foreign_cursor());
        }
        Ok((search, place))
    }

    /// The question that comes after one was answered to its end.
    pub(crate) fn phase_after(&self, phase: Phase) -> Option<Phase> {
        (phase == Phase::Main && self.name.is_some()).then_some(Phase::Family)
    }

    /// The question to the store.
    pub(crate) fn query(&self, phase: Phase, after: Option<&str>, limit: usize) -> Query {
        let mut query = Query::new().limit(limit);
        if let Some(department) = &self.department {
            query = query.equal("department", department.as_str());
        }
        query = match (&self.name, &self.email, phase) {
            (Some(name), _, Phase::Main) => query.prefix("name_key", name.as_str()).order_by("name_key"),
            (Some(name), _, Phase::Family) => query.prefix("family_key", name.as_str()).order_by("family_key"),
            (None, Some(email), _) => query.prefix("email_key", email.as_str()).order_by("email_key"),
            (None, None, _) => query.order_by("name_key"),
        };
        if let Some(after) = after { query.after(after) } else { query }
    }

    /// Whether an answer to this question is new: the first question has all whose whole name fits.
    pub(crate) fn is_new(&self, phase: Phase, found: &StoredEmployee) -> bool {
        let was_found_by_name = self.name.as_ref().is_some_and(|name| found.name_key.starts_with(name.as_str()));
        phase == Phase::Main || !was_found_by_name
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{from_value, json, to_value};

    use super::*;

    fn params(pairs: &[(&'static str, &'static str)]) -> Params<'static> {
        let pairs = pairs.iter().map(|&(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        Params::read(pairs, &EMPLOYEE_FILTERS).unwrap()
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<(EmployeeSearch, Place), String> {
        EmployeeSearch::read(&params(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_asked_for_twice() {
        let (search, place) = read(&[("name", " LE "), ("department", "d1")]).unwrap();
        assert_eq!(place, Place { phase: Phase::Main, after: None });
        let question = |field: &str| {
            json!({
                "equal": [["department", "d1"]], "range": {"field": field, "prefix": "le"},
                "order_by": field, "descending": false, "limit": 20,
            })
        };
        assert_eq!(to_value(search.query(Phase::Main, None, 20)).unwrap(), question("name_key"));
        assert_eq!(to_value(search.query(Phase::Family, None, 20)).unwrap(), question("family_key"));
        assert_eq!(search.phase_after(Phase::Main), Some(Phase::Family));
        assert_eq!(search.phase_after(Phase::Family), None);
    }

    #[test]
    fn an_address_and_a_plain_listing_are_asked_for_once() {
        let (by_email, _) = read(&[("email", "Ann@")]).unwrap();
        assert_eq!(
            to_value(by_email.query(Phase::Main, Some("c"), 1)).unwrap(),
            json!({
                "equal": [], "range": {"field": "email_key", "prefix": "ann@"},
                "order_by": "email_key", "descending": false, "limit": 1, "after": "c",
            })
        );
        assert_eq!(by_email.phase_after(Phase::Main), None);
        let (all, _) = read(&[]).unwrap();
        assert_eq!(
            to_value(all.query(Phase::Main, None, 50)).unwrap(),
            json!({"equal": [], "order_by": "name_key", "descending": false, "limit": 50})
        );
    }

    #[test]
    fn nobody_is_listed_twice() {
        let (search, _) = read(&[("name", "le")]).unwrap();
        let person = |name: &str| -> StoredEmployee {
            let stored = json!({
                "name": name, "name_key": fold(name), "email": "", "email_key": "", "created_at": 0, "updated_at": 0,
            });
            from_value(stored).unwrap()
        };
        assert!(search.is_new(Phase::Main, &person("Leo Lee")));
        assert!(!search.is_new(Phase::Family, &person("Leo Lee")));
        assert!(search.is_new(Phase::Family, &person("Ann Lee")));
    }

    #[test]
    fn cursors_come_back_as_they_went_and_others_are_refused() {
        for place in
            [Place { phase: Phase::Main, after: Some("a.b".to_owned()) }, Place { phase: Phase::Family, after: None }]
        {
            assert_eq!(Place::of_cursor(&place.to_cursor()), Some(place));
        }
        for foreign in ["x.y", "m", "zzz"] {
            assert!(read(&[("cursor", foreign)]).unwrap_err().starts_with("`cursor` must be"), "{foreign}");
        }
        assert!(read(&[("cursor", "f.abc"), ("email", "a")]).is_err());
        assert!(read(&[("cursor", "f.abc"), ("name", "a")]).is_ok());
    }

    #[test]
    fn two_prefixes_are_refused_in_clear_words() {
        let error = EmployeeSearch::read(&params(&[("name", "an"), ("email", "an")])).unwrap_err();
        let fault = error.as_fault().unwrap();
        assert_eq!((fault.status(), fault.code()), (400, "bad-filter"));
        assert!(fault.message().contains("can't be combined"));
    }

    #[test]
    fn departments_are_searched_by_the_beginning_of_their_name() {
        assert_eq!(
            to_value(departments(&params(&[("name", "Sa"), ("limit", "5")]))).unwrap(),
            json!({
                "equal": [], "range": {"field": "name_key", "prefix": "sa"},
                "order_by": "name_key", "descending": false, "limit": 5,
            })
        );
    }
}
