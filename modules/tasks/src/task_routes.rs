//! The handlers of `/items` and `/items/{id}`.

use module_api::{
    prelude::*,
    rest::{IfMatch, Listing, Params, cursor_or, etag},
};

use crate::{
    BASE, Tasks, WRITE_ATTEMPTS,
    filter::{self, FILTERS},
    task::{StoredTask, TaskBody, view},
};

fn shown(id: &str, revision: u64, stored: &StoredTask) -> Result<Response> {
    Ok(Response::json(&view(id, revision, stored))?.with_header("etag", etag(revision)))
}

fn task_not_found(id: &str) -> Error {
    Fault::not_found("task-not-found", format!("there is no task {id}")).into()
}

/// What a write answers that lost every round against other writers.
fn too_many_writers() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing this task at the same time; try again").into()
}

impl Tasks {
    /// `GET /items?status=&assignee=&due_from=&due_before=&order=&limit=&cursor=`
    pub(crate) async fn list(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &FILTERS)?;
        let mut query = filter::query(&params)?;
        if let Some(assignee) = params.get("assignee") {
            query = query.equal("assignee", self.assignee_to_find(&request, assignee.trim()).await?);
        }
        let found = self.tasks.find(&query).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = page.documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: page.next })
    }

    /// `POST /items`
    pub(crate) async fn create(&self, request: Request) -> Result<Response> {
        let body: TaskBody = request.json()?;
        let fields = body.checked()?;
        let assignee = match &fields.assignee {
            Some(sent) => Some(self.assignee(&request, sent).await?),
            None => None,
        };
        let number = self.take_numbers(1).await?;
        let now = self.tenant.now_millis();
        let stored = StoredTask::new(number, fields, assignee.as_ref(), request.user(), now);
        let id = self.tenant.random_id();
        let revision = self.tasks.insert(&id, &stored).await?;
        let created = Response::created(format!("{BASE}/items/{id}"), &view(&id, revision, &stored))?;
        Ok(created.with_header("etag", etag(revision)))
    }

    /// `GET /items/{id}`
    pub(crate) async fn show(&self, request: Request) -> Result<Response> {
        let found = self.task(request.param("id")).await?;
        shown(&found.id, found.revision, &found.value)
    }

    /// `PUT /items/{id}`
    pub(crate) async fn replace(&self, request: Request) -> Result<Response> {
        let body: TaskBody = request.json()?;
        let fields = body.checked()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        let mut assignee = None;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.task(request.param("id")).await?;
            condition.admit(found.revision)?;
            // Who has the task already may keep it: a task of version 1.0 says what was sent then.
            let is_new = fields.assignee != found.value.assignee;
            if let (None, true, Some(sent)) = (&assignee, is_new, &fields.assignee) {
                assignee = Some(self.assignee(&request, sent).await?);
            }
            let new = assignee.as_ref().filter(|_| is_new);
            let stored = found.value.replaced_by(&fields, new, self.tenant.now_millis());
            match self.tasks.put(&found.id, &stored, found.revision).await {
                Ok(revision) => return shown(&found.id, revision, &stored),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(task_not_found(&found.id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// `DELETE /items/{id}`
    pub(crate) async fn delete(&self, request: Request) -> Result<Response> {
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.task(request.param("id")).await?;
            condition.admit(found.revision)?;
            match self.tasks.delete(&found.id, found.revision).await {
                Ok(()) => return Ok(Response::no_content()),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(task_not_found(&found.id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    async fn task(&self, id: &str) -> Result<Document<StoredTask>> {
        // Longer text can't be the id of a document at all.
        let can_be_an_id = (1..=256).contains(&id.len());
        let found = if can_be_an_id { self.tasks.get(id).await? } else { None };
        found.ok_or_else(|| task_not_found(id))
    }
}
