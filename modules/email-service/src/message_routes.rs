//! The handlers of `/messages`, `/messages/{id}` and `/messages/{id}/retry`.

use module_api::{
    prelude::*,
    rest::{Listing, Params, Problems, cursor_or, etag},
};
use serde::Serialize;

use crate::{
    BASE, EmailService, WRITE_ATTEMPTS,
    message::{Content, MessageBody, Status, StoredMessage, to_key, view, whole},
};

/// How long the store may take to keep a message whose wake-up is set already; after that the wake-up finds nothing.
const SAFETY_MILLIS: i64 = 60_000;

/// What `POST /messages` answers.
#[derive(Serialize)]
struct Queued<'a> {
    id: &'a str,
    status: Status,
}

fn accepted(id: &str, status: Status) -> Result<Response> {
    let answer = Response::json(&Queued { id, status })?.with_status(202);
    Ok(answer.with_header("location", format!("{BASE}/messages/{id}")))
}

fn message_not_found(id: &str) -> Error {
    Fault::not_found("message-not-found", format!("there is no message {id}")).into()
}

fn being_sent(id: &str) -> Error {
    Fault::conflict("being-sent", format!("message {id} is being handed to the server; look again in a minute")).into()
}

/// What a write answers that lost every round against other writers.
fn too_many_writers() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing this message at the same time; try again").into()
}

impl EmailService {
    /// `POST /messages`: 202 as soon as the message is kept.
    pub(crate) async fn queue(&self, request: Request) -> Result<Response> {
        let body: MessageBody = request.json()?;
        let is_html_on = self.tenant.flag("html");
        let new = body.check(is_html_on)?;
        if let Some(key) = &new.key
            && let Some(first) = self.first_with(key).await?
        {
            return self.accepted_before(&first).await;
        }
        let (content, template) = match new.content {
            Content::Ready(content) => (content, None),
            Content::Template(name, data) => {
                if !self.tenant.flag("templates") {
                    return Err(Error::invalid("`template` can't be used: the tenant's feature `templates` is off"));
                }
                (self.template(&name).await?.value.render(&data, is_html_on)?, Some(name))
            }
        };
        let (now, id) = (self.tenant.now_millis(), self.tenant.random_id());
        let created_by = sender(&request);
        let stored = StoredMessage::new(new.to, content, (new.key.clone(), template), created_by, now);
        // First the wake-up, then what it is for: a host that is killed in between leaves nothing that nobody sends.
        self.wake(&id, now.saturating_add(SAFETY_MILLIS)).await?;
        match self.messages.insert(&id, &stored).await {
            Ok(_) => {}
            Err(StoreError::NotUnique { field }) if field == "key" => {
                let key = new.key.as_deref().unwrap_or_default();
                let first = self.first_with(key).await?.ok_or_else(too_many_writers)?;
                return self.accepted_before(&first).await;
            }
            Err(other) => return Err(other.into()),
        }
        self.wake(&id, now).await?;
        accepted(&id, Status::Queued)
    }

    async fn first_with(&self, key: &str) -> Result<Option<Document<StoredMessage>>> {
        Ok(self.messages.find(&Query::new().equal("key", key).limit(1)).await?.documents.pop())
    }

    async fn accepted_before(&self, first: &Document<StoredMessage>) -> Result<Response> {
        accepted(&first.id, first.value.status)
    }

    /// `GET /messages?status=&to=&order=&limit=&cursor=`
    pub(crate) async fn list(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &["status", "to", "order"])?;
        let mut problems = Problems::default();
        let mut query = Query::new().limit(params.limit);
        if let Some(text) = params.get("status") {
            match Status::parse(text.trim()) {
                Some(status) => query = query.equal("status", status.as_str()),
                None => problems.add("status", "must be one of queued, sent, failed"),
            }
        }
        match params.get("order").unwrap_or("created") {
            "created" => {}
            "-created" => query = query.descending(),
            _ => problems.add("order", "must be one of created, -created"),
        }
        problems.settle()?;
        if let Some(to) = params.get("to") {
            query = query.equal("to_key", to_key(to));
        }
        if let Some(cursor) = params.cursor() {
            query = query.after(cursor);
        }
        let found = self.messages.find(&query).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = page.documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: page.next })
    }

    /// `GET /messages/{id}`
    pub(crate) async fn show(&self, request: Request) -> Result<Response> {
        let found = self.message(request.param("id")).await?;
        let shown = Response::json(&whole(&found.id, found.revision, &found.value))?;
        Ok(shown.with_header("etag", etag(found.revision)))
    }

    /// `DELETE /messages/{id}`: one that is queued is not sent any more.
    pub(crate) async fn delete(&self, request: Request) -> Result<Response> {
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.message(request.param("id")).await?;
            if found.value.is_being_handed_over(self.tenant.now_millis()) {
                return Err(being_sent(&found.id));
            }
            match self.messages.delete(&found.id, found.revision).await {
                Ok(()) => {
                    self.tenant.cancel_wake(&found.id).await?;
                    return Ok(Response::no_content());
                }
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(message_not_found(&found.id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    /// `POST /messages/{id}/retry`: a failed one gets all its tries again; a queued one is tried now.
    pub(crate) async fn retry(&self, request: Request) -> Result<Response> {
        for _ in 0..WRITE_ATTEMPTS {
            let mut found = self.message(request.param("id")).await?;
            let now = self.tenant.now_millis();
            if found.value.status == Status::Sent {
                return Err(Fault::conflict("already-sent", format!("message {} was sent", found.id)).into());
            }
            if found.value.is_being_handed_over(now) {
                return Err(being_sent(&found.id));
            }
            found.value.queue_again(now);
            self.wake(&found.id, now.saturating_add(SAFETY_MILLIS)).await?;
            match self.messages.put(&found.id, &found.value, found.revision).await {
                Ok(_) => {
                    self.wake(&found.id, now).await?;
                    return accepted(&found.id, Status::Queued);
                }
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(message_not_found(&found.id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    async fn message(&self, id: &str) -> Result<Document<StoredMessage>> {
        // The store refuses ids that no document can have; here they are simply unknown.
        let found = if (1..=256).contains(&id.len()) { self.messages.get(id).await? } else { None };
        found.ok_or_else(|| message_not_found(id))
    }
}

/// Who asked: a person, or a module in its own name.
fn sender(request: &Request) -> Option<String> {
    let module = || request.roles().find(|role| role.starts_with("module:"));
    request.user().or_else(module).map(str::to_owned)
}
