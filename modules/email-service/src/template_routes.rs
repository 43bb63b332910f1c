//! The handlers of `/templates` and `/templates/{name}`.

use module_api::{
    prelude::*,
    rest::{IfMatch, Listing, Params, cursor_or, etag},
};

use crate::{
    BASE, EmailService, WRITE_ATTEMPTS,
    template::{StoredTemplate, TemplateBody, is_name, view},
};

pub(crate) fn template_not_found(name: &str) -> Error {
    Fault::not_found("template-not-found", format!("there is no template {name}")).into()
}

/// What a write answers that lost every round against other writers.
fn too_many_writers() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing this template at the same time; try again").into()
}

impl EmailService {
    /// `GET /templates?limit=&cursor=`: in the order of their names.
    pub(crate) async fn list_templates(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &[])?;
        let found = self.templates.list(params.limit, params.cursor()).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = page.documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: page.next })
    }

    /// `GET /templates/{name}`
    pub(crate) async fn show_template(&self, request: Request) -> Result<Response> {
        let found = self.template(request.param("name")).await?;
        let shown = Response::json(&view(&found.id, found.revision, &found.value))?;
        Ok(shown.with_header("etag", etag(found.revision)))
    }

    /// `PUT /templates/{name}`: makes it, or replaces it; messages that are queued stay as they are.
    pub(crate) async fn put_template(&self, request: Request) -> Result<Response> {
        let name = request.param("name");
        if !is_name(name) {
            return Err(Error::invalid(
                "a template's name has 1 to 63 lower-case letters, digits and `-`, a letter first",
            ));
        }
        let (body, condition): (TemplateBody, _) = (request.json()?, IfMatch::read(request.header("if-match"))?);
        let new = body.check(self.tenant.now_millis())?;
        for _ in 0..WRITE_ATTEMPTS {
            let (written, stored, is_new) = match self.templates.get(name).await? {
                Some(found) => {
                    condition.admit(found.revision)?;
                    let stored = found.value.replaced_by(&new);
                    (self.templates.put(name, &stored, found.revision).await, stored, false)
                }
                // A condition is about a template that is there.
                None if request.header("if-match").is_some() => return Err(template_not_found(name)),
                None => (self.templates.insert(name, &new).await, new.clone(), true),
            };
            let revision = match written {
                Ok(revision) => revision,
                Err(StoreError::Revision | StoreError::Missing | StoreError::Exists) => continue,
                Err(other) => return Err(other.into()),
            };
            let shown = view(name, revision, &stored);
            let answer = if is_new {
                Response::created(format!("{BASE}/templates/{name}"), &shown)?
            } else {
                Response::json(&shown)?
            };
            return Ok(answer.with_header("etag", etag(revision)));
        }
        Err(too_many_writers())
    }

    /// `DELETE /templates/{name}`
    pub(crate) async fn delete_template(&self, request: Request) -> Result<Response> {
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.template(request.param("name")).await?;
            condition.admit(found.revision)?;
            match self.templates.delete(&found.id, found.revision).await {
                Ok(()) => return Ok(Response::no_content()),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(template_not_found(&found.id)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    pub(crate) async fn template(&self, name: &str) -> Result<Document<StoredTemplate>> {
        let found = if is_name(name) { self.templates.get(name).await? } else { None };
        found.ok_or_else(|| template_not_found(name))
    }
}
