//! The handlers of `/departments`. How one is deleted is told in `membership`.

use module_api::{
    prelude::*,
    rest::{IfMatch, Listing, Params, cursor_or, etag},
};

use crate::{
    BASE, HrCore, WRITE_ATTEMPTS,
    department::{DepartmentBody, StoredDepartment, name_taken_or, view},
    search::{can_be_an_id, departments},
    too_many_writers,
};

fn shown(id: &str, revision: u64, stored: &StoredDepartment) -> Result<Response> {
    Ok(Response::json(&view(id, revision, stored))?.with_header("etag", etag(revision)))
}

fn department_not_found(id: &str) -> Error {
    Fault::not_found("department-not-found", format!("there is no department {id}")).into()
}

fn department_not_empty() -> Error {
    Fault::conflict("department-not-empty", "the department has employees; move them to another one first").into()
}

impl HrCore {
    /// `GET /departments?name=&limit=&cursor=`: by name; `name` is the beginning of it.
    pub(crate) async fn list_departments(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &["name"])?;
        let found = self.departments.find(&departments(&params)).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = page.documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: page.next })
    }

    /// `POST /departments`
    pub(crate) async fn create_department(&self, request: Request) -> Result<Response> {
        let body: DepartmentBody = request.json()?;
        let stored = StoredDepartment::new(body.check()?, self.tenant.now_millis());
        let id = self.tenant.random_id();
        let inserted = self.departments.insert(&id, &stored).await;
        let revision = inserted.map_err(|error| name_taken_or(error, &stored))?;
        let created = Response::created(format!("{BASE}/departments/{id}"), &view(&id, revision, &stored))?;
        Ok(created.with_header("etag", etag(revision)))
    }

    /// `GET /departments/{id}`
    pub(crate) async fn show_department(&self, request: Request) -> Result<Response> {
        let found = self.department(request.param("id")).await?;
        shown(&found.id, found.revision, &found.value)
    }

    /// `PUT /departments/{id}`
    pub(crate) async fn replace_department(&self, request: Request) -> Result<Response> {
        let body: DepartmentBody = request.json()?;
        let department = body.check()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.department(request.param("id")).await?;
            condition.admit(found.revision)?;
            let stored = found.value.replaced_by(&department, self.tenant.now_millis());
            match self.departments.put(&found.id, &stored, found.revision).await {
                Ok(revision) => return shown(&found.id, revision, &stored),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(department_not_found(&found.id)),
                Err(other) => return Err(name_taken_or(other, &stored)),
            }
        }
        Err(too_many_writers())
    }

    /// `DELETE /departments/{id}`
    pub(crate) async fn delete_department(&self, request: Request) -> Result<Response> {
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.department(request.param("id")).await?;
            condition.admit(found.revision)?;
            match self.close_and_delete(found).await {
                Ok(true) => return Ok(Response::no_content()),
                Ok(false) => return Err(department_not_empty()),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(department_not_found(request.param("id"))),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    async fn department(&self, id: &str) -> Result<Document<StoredDepartment>> {
        let found = if can_be_an_id(id) { self.departments.get(id).await? } else { None };
        found.ok_or_else(|| department_not_found(id))
    }
}
