//! Turns the parameters of `GET /items` into a question to the store, and refuses what it can't combine.

use module_api::{
    prelude::*,
    rest::{Params, Problems},
};

use crate::{dates::Day, status::Status};

/// The parameters beside those of paging.
pub(crate) const FILTERS: [&str; 5] = ["status", "assignee", "due_from", "due_before", "order"];

/// The question that the parameters ask, but for `assignee`, who is looked up first.
///
/// `order` is `created` (by number; the default), `due`, or one of them after a `-` for the highest first. A
/// range of due dates comes in the order of due dates. Tasks without a due date are in no range and not in a
/// listing by due date.
///
/// # Errors
///
/// REQUEST_INVALID with all values that can't be read; 400 `bad-filter` where they contradict each other.
pub(crate) fn query(params: &Params<'_>) -> Result<Query> {
    let mut problems = Problems::default();
    let status = params
        .get("status")
        .and_then(|text| Status::parse(text.trim()).map_err(|why| problems.add("status", why)).ok());
    let mut day = |name: &str| {
        let text = params.get(name)?;
        let day = Day::parse(text.trim());
        if day.is_none() {
            problems.add(name, "must be a day of the calendar as YYYY-MM-DD");
        }
        day
    };
    let (due_from, due_before) = (day("due_from"), day("due_before"));
    let has_range = due_from.is_some() || due_before.is_some();
    let order = params.get("order").unwrap_or(if has_range { "due" } else { "created" });
    let (field, is_descending) = match order {
        "created" => ("number", false),
        "-created" => ("number", true),
        "due" => ("due", false),
        "-due" => ("due", true),
        _ => {
            problems.add("order", "must be one of created, -created, due, -due");
            ("number", false)
        }
    };
    problems.settle()?;

    if has_range && field != "due" {
        return Err(bad_filter(
            "a range of due dates comes in the order of due dates: leave `order` out, or use `due` or `-due`",
        ));
    }
    if let (Some(from), Some(before)) = (due_from, due_before)
        && from >= before
    {
        return Err(bad_filter("`due_from` must be a day before `due_before`"));
    }

    let mut query = Query::new().order_by(field).limit(params.limit);
    if is_descending {
        query = query.descending();
    }
    if let Some(status) = status {
        query = query.equal("status", status.as_str());
    }
    if let Some(day) = due_from {
        query = query.from("due", day.to_string());
    }
    if let Some(day) = due_before {
        query = query.below("due", day.to_string());
    }
    if let Some(cursor) = params.cursor() {
        query = query.after(cursor);
    }
    Ok(query)
}

fn bad_filter(message: &str) -> Error {
    Fault::bad_request("bad-filter", message).into()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json, to_value};

    use super::*;

    fn asked(pairs: &[(&'static str, &'static str)]) -> Result<Value, String> {
        let pairs = pairs.iter().map(|&(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        let query = Params::read(pairs, &FILTERS).and_then(|params| query(&params));
        query.map(|query| to_value(query).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_filters_tasks_come_in_the_order_of_creation() {
        assert_eq!(asked(&[]).unwrap(), json!({"equal": [], "order_by": "number", "descending": false, "limit": 50}));
    }

    #[test]
    fn all_filters_go_together() {
        assert_eq!(
            asked(&[
                ("status", "in-progress"),
                ("due_from", "2026-11-01"),
                ("due_before", "2026-12-01"),
                ("order", "-due"),
                ("limit", "5"),
                ("cursor", "c"),
            ])
            .unwrap(),
            json!({
                "equal": [["status", "in-progress"]],
                "range": {"field": "due", "from": "2026-11-01", "to": "2026-12-01"},
                "order_by": "due", "descending": true, "limit": 5, "after": "c",
            })
        );
    }

    #[test]
    fn a_range_is_in_the_order_of_due_dates() {
        let open_ended = asked(&[("due_before", "2026-12-01")]).unwrap();
        assert_eq!((&open_ended["order_by"], &open_ended["range"]["to"]), (&json!("due"), &json!("2026-12-01")));
        let error = asked(&[("due_from", "2026-12-01"), ("order", "created")]).unwrap_err();
        assert!(error.starts_with("bad-filter (400): a range of due dates"), "{error}");
    }

    #[test]
    fn an_empty_range_is_a_mistake() {
        let error = asked(&[("due_from", "2026-12-01"), ("due_before", "2026-12-01")]).unwrap_err();
        assert!(error.contains("`due_from` must be a day before `due_before`"), "{error}");
    }

    #[test]
    fn all_unreadable_values_are_told_at_once() {
        assert_eq!(
            asked(&[("status", "late"), ("due_from", "2026-02-30"), ("due_before", "x"), ("order", "title")]),
            Err("`status` must be one of open, in-progress, done, cancelled; \
                 `due_from` must be a day of the calendar as YYYY-MM-DD; \
                 `due_before` must be a day of the calendar as YYYY-MM-DD; \
                 `order` must be one of created, -created, due, -due"
                .to_owned())
        );
    }
}
