//! Counts tasks by status and by the ISO week they are due in.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{status::Status, task::StoredTask};

/// The key of tasks without a due date; sorts behind all weeks.
const NO_DUE: &str = "no-due";

/// How many tasks there are.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    total: u64,
    /// All four, also those with no task.
    by_status: BTreeMap<Status, u64>,
    /// By ISO week of the due date, such as `2026-W48`, or `no-due`; only what there is.
    by_week: BTreeMap<String, BTreeMap<Status, u64>>,
}

impl Report {
    /// A report on no tasks.
    pub(crate) fn new() -> Self {
        Self { total: 0, by_status: Status::ALL.map(|status| (status, 0)).into(), by_week: BTreeMap::new() }
    }

    /// Counts one task more.
    pub(crate) fn count(&mut self, task: &StoredTask) {
        self.total += 1;
        *self.by_status.entry(task.status).or_default() += 1;
        let week = task.due.map_or_else(|| NO_DUE.to_owned(), |day| day.iso_week());
        *self.by_week.entry(week).or_default().entry(task.status).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_string, to_value};

    use super::*;

    fn report(tasks: &[(&str, Option<&str>)]) -> Report {
        let mut report = Report::new();
        for (status, due) in tasks {
            let task = json!({
                "number": 1, "title": "t", "status": status, "due": due, "created_at": 0, "updated_at": 0,
            });
            report.count(&from_value(task).unwrap());
        }
        report
    }

    #[test]
    fn a_tenant_without_tasks_has_zeros() {
        assert_eq!(
            to_value(report(&[])).unwrap(),
            json!({"total": 0, "by_status": {"open": 0, "in-progress": 0, "done": 0, "cancelled": 0}, "by_week": {}})
        );
    }

    #[test]
    fn tasks_are_counted_by_status_and_week_in_order() {
        let report = report(&[
            ("open", Some("2021-01-03")),
            ("done", None),
            ("open", Some("2020-12-28")),
            ("done", Some("2021-01-04")),
            ("cancelled", Some("2020-12-31")),
        ]);
        assert_eq!(
            to_string(&report).unwrap(),
            concat!(
                r#"{"total":5,"by_status":{"open":2,"in-progress":0,"done":2,"cancelled":1},"#,
                r#""by_week":{"2020-W53":{"open":2,"cancelled":1},"2021-W01":{"done":1},"no-due":{"done":1}}}"#
            )
        );
    }
}
