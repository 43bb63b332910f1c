//! What a task is: as a client sends it, as it is stored, as it is shown.

use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};

use crate::{
    assignee::Employee,
    dates::{Day, rfc3339},
    status::Status,
};

const MAX_TITLE_CHARS: usize = 200;
const MAX_DESCRIPTION_CHARS: usize = 10_000;
/// Room for an e-mail address.
const MAX_ASSIGNEE_CHARS: usize = 254;

/// The body of POST and PUT, and a row of an import. All fields are texts and optional here, so that
/// everything wrong with them is reported at once.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskBody {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) due: Option<String>,
    pub(crate) assignee: Option<String>,
}

/// A body that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskFields {
    pub(crate) title: String,
    description: Option<String>,
    status: Option<Status>,
    due: Option<Day>,
    /// An employee's id or e-mail address, as sent; `assignee` looks them up.
    pub(crate) assignee: Option<String>,
}

impl TaskBody {
    /// Trims the fields and notes what is wrong with them. What is returned beside problems is never used.
    pub(crate) fn check(&self, problems: &mut Problems) -> TaskFields {
        let title = problems.required_line("title", self.title.as_deref(), MAX_TITLE_CHARS);
        let description = problems.optional_prose("description", self.description.as_deref(), MAX_DESCRIPTION_CHARS);
        let filled =
            |sent: &Option<String>| sent.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let status =
            filled(&self.status).and_then(|text| Status::parse(&text).map_err(|why| problems.add("status", why)).ok());
        let due = filled(&self.due).and_then(|text| {
            let day = Day::parse(&text);
            if day.is_none() {
                problems.add("due", "must be a day of the calendar as YYYY-MM-DD");
            }
            day
        });
        let assignee = problems.optional_line("assignee", self.assignee.as_deref(), MAX_ASSIGNEE_CHARS);
        TaskFields { title, description, status, due, assignee }
    }

    /// The fields, trimmed and checked.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn checked(&self) -> Result<TaskFields> {
        let mut problems = Problems::default();
        let fields = self.check(&mut problems);
        problems.settle()?;
        Ok(fields)
    }
}

/// A task as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTask {
    /// Unique in the tenant; grows, and with it the order of creation.
    number: u64,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Day>,
    /// The employee's id. Version 1.0 stored what was sent, which may be an address or nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) assignee: Option<String>,
    /// What the employee was called when the task was assigned; absent in tasks of version 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assignee_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    created_at: i64,
    updated_at: i64,
    /// When the status became `done`; absent in every other status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed_at: Option<i64>,
}

impl StoredTask {
    /// A task that begins now; open where its status was left out.
    pub(crate) fn new(
        number: u64,
        fields: TaskFields,
        assignee: Option<&Employee>,
        created_by: Option<&str>,
        now: i64,
    ) -> Self {
        let TaskFields { title, description, status, due, assignee: _ } = fields;
        let (assignee, assignee_name) = who(assignee);
        let status = status.unwrap_or(Status::Open);
        Self {
            number,
            title,
            description,
            status,
            due,
            assignee,
            assignee_name,
            created_by: created_by.map(str::to_owned),
            created_at: now,
            updated_at: now,
            completed_at: (status == Status::Done).then_some(now),
        }
    }

    /// The same task with other fields. What is left out is cleared, but for the status, which can't be
    /// empty and stays. Without a new `assignee`, one that was sent is the one that the task has.
    pub(crate) fn replaced_by(&self, fields: &TaskFields, assignee: Option<&Employee>, now: i64) -> Self {
        let TaskFields { title, description, status, due, assignee: sent } = fields.clone();
        let (assignee, assignee_name) = match (assignee, sent) {
            (None, Some(_)) => (self.assignee.clone(), self.assignee_name.clone()),
            (new, _) => who(new),
        };
        let status = status.unwrap_or(self.status);
        let completed_at = (status == Status::Done).then(|| self.completed_at.unwrap_or(now));
        let created_by = self.created_by.clone();
        Self {
            title,
            description,
            status,
            due,
            assignee,
            assignee_name,
            created_by,
            updated_at: now,
            completed_at,
            ..*self
        }
    }

    /// The same task, assigned to somebody else or nobody.
    pub(crate) fn given_to(&self, employee: Option<&Employee>, now: i64) -> Self {
        let (assignee, assignee_name) = who(employee);
        Self { assignee, assignee_name, updated_at: now, ..self.clone() }
    }
}

fn who(employee: Option<&Employee>) -> (Option<String>, Option<String>) {
    employee.map(|employee| (employee.id.clone(), employee.name.clone())).unzip()
}

/// A task as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct TaskView<'a> {
    id: &'a str,
    number: u64,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Day>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    revision: u64,
}

/// What a client sees of a stored task.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a StoredTask) -> TaskView<'a> {
    TaskView {
        id,
        number: stored.number,
        title: &stored.title,
        description: stored.description.as_deref(),
        status: stored.status,
        due: stored.due,
        assignee: stored.assignee.as_deref(),
        assignee_name: stored.assignee_name.as_deref(),
        created_by: stored.created_by.as_deref(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        completed_at: stored.completed_at.map(rfc3339),
        revision,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn fields(body: serde_json::Value) -> Result<TaskFields, String> {
        let body: TaskBody = from_value(body).map_err(|error| error.to_string())?;
        body.checked().map_err(|error| error.to_string())
    }

    fn bo() -> Employee {
        from_value(json!({"id": "e1", "name": "Bo Ek", "email": "bo@x.y"})).unwrap()
    }

    /// A task that is Bo's where its body has an assignee.
    fn task(body: serde_json::Value) -> StoredTask {
        let fields = fields(body).unwrap();
        let assignee = fields.assignee.as_ref().map(|_| bo());
        StoredTask::new(7, fields, assignee.as_ref(), Some("ann"), 1_000)
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(
            fields(json!({"title": "x".repeat(201), "status": "late", "due": "2026-02-30", "assignee": "a\u{0}"})),
            Err("`title` has 201 characters, at most 200 are allowed; \
                 `status` must be one of open, in-progress, done, cancelled; \
                 `due` must be a day of the calendar as YYYY-MM-DD; \
                 `assignee` must be one line without control characters"
                .to_owned())
        );
        assert_eq!(fields(json!({})), Err("`title` is required".to_owned()));
        assert!(fields(json!({"title": "a", "owner": "b"})).unwrap_err().contains("unknown field `owner`"));
    }

    #[test]
    fn a_new_task_is_open_and_blank_fields_count_as_left_out() {
        let stored = task(json!({"title": " Paint ", "description": " ", "due": "", "assignee": null}));
        assert_eq!(
            to_value(&stored).unwrap(),
            json!({
                "number": 7, "title": "Paint", "status": "open", "created_by": "ann",
                "created_at": 1_000, "updated_at": 1_000,
            })
        );
    }

    #[test]
    fn what_is_shown_has_times_as_text() {
        let stored = task(json!({"title": "Paint", "status": "done", "due": "2026-11-30", "assignee": "bo@x.y"}));
        let time = "1970-01-01T00:00:01.000Z";
        assert_eq!(
            to_value(view("t1", 2, &stored)).unwrap(),
            json!({
                "id": "t1", "number": 7, "title": "Paint", "status": "done", "due": "2026-11-30",
                "assignee": "e1", "assignee_name": "Bo Ek", "created_by": "ann", "created_at": time, "updated_at": time,
                "completed_at": time, "revision": 2,
            })
        );
    }

    #[test]
    fn completion_is_dated_once_and_forgotten_when_reopened() {
        let open = task(json!({"title": "Paint"}));
        let done = open.replaced_by(&fields(json!({"title": "Paint", "status": "done"})).unwrap(), None, 2_000);
        assert_eq!(done.completed_at, Some(2_000));
        let renamed = done.replaced_by(&fields(json!({"title": "Paint it"})).unwrap(), None, 3_000);
        assert_eq!((renamed.status, renamed.completed_at, renamed.updated_at), (Status::Done, Some(2_000), 3_000));
        let reopened = renamed.replaced_by(&fields(json!({"title": "Paint", "status": "open"})).unwrap(), None, 4_000);
        assert_eq!(reopened.completed_at, None);
    }

    #[test]
    fn an_assignee_who_is_sent_back_stays_and_another_one_comes_by_id() {
        let old: StoredTask = from_value(json!({
            "number": 1, "title": "t", "status": "open", "assignee": "somebody", "created_at": 0, "updated_at": 0,
        }))
        .unwrap();
        let same = fields(json!({"title": "t", "assignee": "somebody"})).unwrap();
        assert_eq!(old.replaced_by(&same, None, 1).assignee.as_deref(), Some("somebody"));
        let bos = old.replaced_by(&same, Some(&bo()), 1);
        assert_eq!((bos.assignee.as_deref(), bos.assignee_name.as_deref()), (Some("e1"), Some("Bo Ek")));
        let nobodys = bos.given_to(None, 2);
        assert_eq!((nobodys.assignee, nobodys.assignee_name, nobodys.updated_at), (None, None, 2));
    }

    #[test]
    fn replacing_clears_what_is_left_out_and_keeps_the_origin() {
        let old = task(json!({"title": "Paint", "description": "red", "due": "2026-11-30", "assignee": "bo"}));
        let new = old.replaced_by(&fields(json!({"title": "Paint"})).unwrap(), None, 2_000);
        assert_eq!(
            to_value(new).unwrap(),
            json!({
                "number": 7, "title": "Paint", "status": "open", "created_by": "ann",
                "created_at": 1_000, "updated_at": 2_000,
            })
        );
    }
}
