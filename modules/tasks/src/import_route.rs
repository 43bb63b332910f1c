//! The handler of `/items/import`.

use std::collections::{BTreeMap, BTreeSet};

use module_api::prelude::*;
use serde::Serialize;

use crate::{
    Tasks,
    assignee::{Employee, assignee_unknown, no_employee},
    import::{self, Row},
    task::StoredTask,
};

/// How long before the request's deadline an import stops by itself, so that it can still say how far it
/// came. A guess: many times what one write takes.
const RESERVE_MILLIS: i64 = 1_000;

#[derive(Debug, Serialize)]
struct Imported {
    imported: usize,
    /// The ids of the tasks, in the order of the rows.
    items: Vec<String>,
}

impl Tasks {
    /// `POST /items/import` with CSV as the body, whatever its content type.
    ///
    /// All rows are checked before the first is stored. The store has no transaction over several documents:
    /// where it fails in between, the answer says which rows are in.
    pub(crate) async fn import(&self, request: Request) -> Result<Response> {
        let rows = import::read(request.text()?)?;
        let assignees = self.assignees(&request, &rows).await?;
        let total = rows.len();
        let first_number = self.take_numbers(total as u64).await?;
        let mut items = Vec::with_capacity(total);
        for (number, Row { line, fields }) in (first_number..).zip(rows) {
            let now = self.tenant.now_millis();
            if !items.is_empty() && now + RESERVE_MILLIS > request.deadline_millis() {
                return Err(incomplete(items.len(), total, line, "time ran out"));
            }
            let assignee = fields.assignee.as_ref().and_then(|sent| assignees.get(sent));
            let task = StoredTask::new(number, fields, assignee, request.user(), now);
            let id = self.tenant.random_id();
            match self.tasks.insert(&id, &task).await {
                Ok(_) => items.push(id),
                Err(error) if items.is_empty() => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, imported = items.len(), total, "an import stopped half-way");
                    return Err(incomplete(items.len(), total, line, "the store failed"));
                }
            }
        }
        Response::json(&Imported { imported: items.len(), items })
    }

    /// Who the rows assign tasks to, by what they say; each is looked up once.
    ///
    /// # Errors
    ///
    /// 422 `assignee-unknown` with the lines of all who are no employees.
    async fn assignees(&self, request: &Request, rows: &[Row]) -> Result<BTreeMap<String, Employee>> {
        let sent: BTreeSet<&String> = rows.iter().filter_map(|row| row.fields.assignee.as_ref()).collect();
        let (mut known, all) = (BTreeMap::new(), sent.len());
        for assignee in sent {
            known.extend(self.employee(request, assignee).await?.map(|employee| (assignee.clone(), employee)));
        }
        if known.len() == all {
            return Ok(known);
        }
        let told = rows.iter().filter_map(|Row { line, fields }| {
            let unknown = fields.assignee.as_ref().filter(|sent| !known.contains_key(*sent))?;
            Some(format!("line {line}: {}", no_employee(unknown)))
        });
        Err(assignee_unknown(format!("nothing was imported; {}", told.collect::<Vec<_>>().join("; "))))
    }
}

fn incomplete(imported: usize, total: usize, line: u64, why: &str) -> Error {
    let message = format!(
        "{why}: {imported} of {total} tasks were imported; send the header and the rows from line {line} on again"
    );
    Fault::conflict("import-incomplete", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_import_says_how_to_go_on() {
        let error = incomplete(12, 40, 14, "the store failed");
        let fault = error.as_fault().unwrap();
        assert_eq!((fault.status(), fault.code()), (409, "import-incomplete"));
        assert_eq!(
            fault.message(),
            "the store failed: 12 of 40 tasks were imported; send the header and the rows from line 14 on again"
        );
    }
}
