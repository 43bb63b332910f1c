//! The handlers of `/employees`. Why a department is looked at twice is told in `membership`, how an employee is
//! deleted in `leaving`.

use module_api::{
    prelude::*,
    rest::{IfMatch, Listing, Params, cursor_or, etag},
};

use crate::{
    BASE, HrCore, WRITE_ATTEMPTS,
    employee::{EmployeeBody, StoredEmployee, email_taken_or, view},
    leaving::NotLetGo,
    membership::Before,
    search::{EMPLOYEE_FILTERS, EmployeeSearch, Phase, Place, can_be_an_id},
    too_many_writers,
};

/// How many questions one page may take. Only people found by whole name *and* by last word are skipped, so
/// one question nearly always does; the bound is for a tenant where all are called so.
const MAX_QUESTIONS: usize = 8;

fn shown(id: &str, revision: u64, stored: &StoredEmployee) -> Result<Response> {
    Ok(Response::json(&view(id, revision, stored))?.with_header("etag", etag(revision)))
}

fn employee_not_found(id: &str) -> Error {
    Fault::not_found("employee-not-found", format!("there is no employee {id}")).into()
}

impl HrCore {
    /// `GET /employees?name=&email=&department=&limit=&cursor=`: `name` is the beginning of the name or of its
    /// last word, `email` the beginning of the address (a whole address comes first), both in any case.
    pub(crate) async fn list_employees(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &EMPLOYEE_FILTERS)?;
        let (search, place) = EmployeeSearch::read(&params)?;
        let found = self.search(&search, place, params.limit).await;
        let (documents, next) = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: next.map(|place| place.to_cursor()) })
    }

    /// A page of a search, and where the next one begins.
    async fn search(
        &self,
        search: &EmployeeSearch,
        begin: Place,
        limit: usize,
    ) -> Result<(Vec<Document<StoredEmployee>>, Option<Place>), StoreError> {
        let mut found = Vec::new();
        let mut place = begin;
        for _ in 0..MAX_QUESTIONS {
            let wanted = limit - found.len();
            // With the page full, one more question tells whether anything new follows.
            let query = search.query(place.phase, place.after.as_deref(), wanted.max(1));
            let page = self.employees.find(&query).await?;
            let mut fresh = page.documents.into_iter().filter(|one| search.is_new(place.phase, &one.value)).peekable();
            if wanted == 0 && fresh.peek().is_some() {
                return Ok((found, Some(place)));
            }
            found.extend(fresh);
            place = match (page.next, search.phase_after(place.phase)) {
                (None, None) => return Ok((found, None)),
                (None, Some(phase)) => Place { phase, after: None },
                (after, _) => Place { phase: place.phase, after },
            };
            if found.len() == limit && place.phase == Phase::Main {
                break;
            }
        }
        Ok((found, Some(place)))
    }

    /// `POST /employees`
    pub(crate) async fn create_employee(&self, request: Request) -> Result<Response> {
        let body: EmployeeBody = request.json()?;
        let employee = body.check()?;
        self.admits_employees(employee.department.as_deref()).await?;
        let stored = StoredEmployee::new(employee, self.tenant.now_millis());
        let id = self.tenant.random_id();
        let inserted = self.employees.insert(&id, &stored).await;
        let revision = inserted.map_err(|error| email_taken_or(error, &stored))?;
        if let Err(refused) = self.admits_employees(stored.department.as_deref()).await {
            self.take_back(&id, stored, Before::Absent).await;
            return Err(refused);
        }
        let created = Response::created(format!("{BASE}/employees/{id}"), &view(&id, revision, &stored))?;
        Ok(created.with_header("etag", etag(revision)))
    }

    /// `GET /employees/{id}`
    pub(crate) async fn show_employee(&self, request: Request) -> Result<Response> {
        let found = self.employee(request.param("id")).await?;
        shown(&found.id, found.revision, &found.value)
    }

    /// `PUT /employees/{id}`
    pub(crate) async fn replace_employee(&self, request: Request) -> Result<Response> {
        let body: EmployeeBody = request.json()?;
        let employee = body.check()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.employee(request.param("id")).await?;
            condition.admit(found.revision)?;
            let moves = employee.department != found.value.department;
            if moves {
                self.admits_employees(employee.department.as_deref()).await?;
            }
            let stored = found.value.replaced_by(&employee, self.tenant.now_millis());
            let revision = match self.employees.put(&found.id, &stored, found.revision).await {
                Ok(revision) => revision,
                Err(StoreError::Revision) => continue,
                Err(StoreError::Missing) => return Err(employee_not_found(&found.id)),
                Err(other) => return Err(email_taken_or(other, &stored)),
            };
            if moves && let Err(refused) = self.admits_employees(stored.department.as_deref()).await {
                self.take_back(&found.id, stored, Before::Was(found.value)).await;
                return Err(refused);
            }
            return shown(&found.id, revision, &stored);
        }
        Err(too_many_writers())
    }

    /// `DELETE /employees/{id}`: publishes `employee.deleted`.
    pub(crate) async fn delete_employee(&self, request: Request) -> Result<Response> {
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.employee(request.param("id")).await?;
            condition.admit(found.revision)?;
            match self.let_go(&found, request.deadline_millis()).await {
                Ok(()) => return Ok(Response::no_content()),
                Err(NotLetGo::Store(StoreError::Revision)) => {}
                Err(NotLetGo::Store(StoreError::Missing)) => return Err(employee_not_found(&found.id)),
                Err(NotLetGo::Store(other)) => return Err(other.into()),
                Err(NotLetGo::Service(other)) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    async fn employee(&self, id: &str) -> Result<Document<StoredEmployee>> {
        let found = if can_be_an_id(id) { self.employees.get(id).await? } else { None };
        found.filter(|found| !found.value.leaving).ok_or_else(|| employee_not_found(id))
    }
}
