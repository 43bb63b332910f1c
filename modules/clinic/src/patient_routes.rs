//! The handlers of `/patients`. How one is deleted is told in `patient_removal`.

use module_api::{
    prelude::*,
    rest::{IfMatch, Listing, Params, cursor_or, etag},
};

use crate::{
    BASE, Clinic, WRITE_ATTEMPTS, can_be_an_id,
    patient::{PatientBody, StoredPatient, record_taken_or, view},
    text::fold,
    too_many_writers,
};

/// The parameters of a listing beside those of paging: one of them at a time.
const FILTERS: [&str; 4] = ["name", "family", "email", "record"];

fn shown(id: &str, revision: u64, stored: &StoredPatient) -> Result<Response> {
    Ok(Response::json(&view(id, revision, stored))?.with_header("etag", etag(revision)))
}

fn patient_not_found(id: &str) -> Error {
    Fault::not_found("patient-not-found", format!("there is no patient {id}")).into()
}

fn patient_has_appointments() -> Error {
    Fault::conflict("patient-has-appointments", "the patient has appointments to come; cancel them first").into()
}

/// The question that the parameters ask. `name` and `family` are the beginning of the whole name and of its last word,
/// `email` and `record` are whole; all in any case.
///
/// # Errors
///
/// 400 `bad-filter` where there are several.
fn query(params: &Params<'_>) -> Result<Query> {
    let sent: Vec<&str> = FILTERS.into_iter().filter(|filter| params.get(filter).is_some()).collect();
    if sent.len() > 1 {
        let message = format!("search by one of {}", FILTERS.join(", "));
        return Err(Fault::bad_request("bad-filter", message).into());
    }
    let query = Query::new().limit(params.limit);
    let text = sent.first().and_then(|filter| params.get(filter)).map(fold).unwrap_or_default();
    let query = match sent.first() {
        Some(&"name") => query.prefix("name_key", text).order_by("name_key"),
        Some(&"family") => query.prefix("family_key", text).order_by("family_key"),
        Some(&"email") => query.equal("email_key", text).order_by("name_key"),
        Some(_) => query.equal("record_key", text),
        None => query.order_by("name_key"),
    };
    Ok(if let Some(cursor) = params.cursor() { query.after(cursor) } else { query })
}

impl Clinic {
    /// `GET /patients?name=&family=&email=&record=&limit=&cursor=`
    pub(crate) async fn list_patients(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &FILTERS)?;
        let found = self.patients.find(&query(&params)?).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let items = page.documents.iter().map(|found| view(&found.id, found.revision, &found.value)).collect();
        Response::json(&Listing { items, next: page.next })
    }

    /// `POST /patients`
    pub(crate) async fn create_patient(&self, request: Request) -> Result<Response> {
        let body: PatientBody = request.json()?;
        let stored = StoredPatient::new(body.check()?, self.tenant.now_millis());
        let id = self.tenant.random_id();
        let inserted = self.patients.insert(&id, &stored).await;
        let revision = inserted.map_err(|error| record_taken_or(error, &stored))?;
        let created = Response::created(format!("{BASE}/patients/{id}"), &view(&id, revision, &stored))?;
        Ok(created.with_header("etag", etag(revision)))
    }

    /// `GET /patients/{id}`
    pub(crate) async fn show_patient(&self, request: Request) -> Result<Response> {
        let found = self.patient(request.param("id")).await?;
        shown(&found.id, found.revision, &found.value)
    }

    /// `PUT /patients/{id}`
    pub(crate) async fn replace_patient(&self, request: Request) -> Result<Response> {
        let body: PatientBody = request.json()?;
        let patient = body.check()?;
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.patient(request.param("id")).await?;
            condition.admit(found.revision)?;
            let stored = found.value.replaced_by(&patient, self.tenant.now_millis());
            match self.patients.put(&found.id, &stored, found.revision).await {
                Ok(revision) => return shown(&found.id, revision, &stored),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(patient_not_found(&found.id)),
                Err(other) => return Err(record_taken_or(other, &stored)),
            }
        }
        Err(too_many_writers())
    }

    /// `DELETE /patients/{id}`: with all their past appointments.
    pub(crate) async fn delete_patient(&self, request: Request) -> Result<Response> {
        let condition = IfMatch::read(request.header("if-match"))?;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.patient(request.param("id")).await?;
            condition.admit(found.revision)?;
            match self.close_and_delete(found).await {
                Ok(true) => return Ok(Response::no_content()),
                Ok(false) => return Err(patient_has_appointments()),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Err(patient_not_found(request.param("id"))),
                Err(other) => return Err(other.into()),
            }
        }
        Err(too_many_writers())
    }

    async fn patient(&self, id: &str) -> Result<Document<StoredPatient>> {
        let found = if can_be_an_id(id) { self.patients.get(id).await? } else { None };
        found.ok_or_else(|| patient_not_found(id))
    }
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
    fn patients_are_found_by_one_of_four() {
        let question = |pairs| asked(pairs).unwrap();
        assert_eq!(question(&[("name", " ANN l")])["range"], json!({"field": "name_key", "prefix": "ann l"}));
        assert_eq!(question(&[("family", "Lee")])["range"], json!({"field": "family_key", "prefix": "lee"}));
        assert_eq!(question(&[("email", "A@x.y")])["equal"], json!([["email_key", "a@x.y"]]));
        assert_eq!(question(&[("record", "A-7")])["equal"], json!([["record_key", "a-7"]]));
        assert_eq!(question(&[])["order_by"], "name_key");
        let error = asked(&[("name", "a"), ("record", "b")]).unwrap_err();
        assert_eq!(error, "bad-filter (400): search by one of name, family, email, record");
    }
}
