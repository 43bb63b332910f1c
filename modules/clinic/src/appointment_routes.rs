//! The handlers that show appointments.

use module_api::{
    prelude::*,
    rest::{Listing, Params, Problems, cursor_or, etag},
};

use crate::{
    Clinic,
    appointment::{Appointment, Record, Status, view},
    can_be_an_id,
};

/// The parameters of a listing beside those of paging; all can be combined.
const FILTERS: [&str; 4] = ["clinician", "day", "patient", "status"];

pub(crate) fn appointment_not_found(id: &str) -> Error {
    Fault::not_found("appointment-not-found", format!("there is no appointment {id}")).into()
}

/// The question that the parameters ask, in the order of time.
///
/// # Errors
///
/// REQUEST_INVALID with all values that can't be read.
fn query(params: &Params<'_>) -> Result<Query> {
    let mut problems = Problems::default();
    if let Some(day) = params.get("day")
        && day.parse::<jiff::civil::Date>().ok().map(|date| date.to_string()).as_deref() != Some(day)
    {
        problems.add("day", "must be a day of the calendar as YYYY-MM-DD");
    }
    if params.get("status").is_some_and(|status| Status::parse(status).is_none()) {
        problems.add("status", "must be one of booked, needs-clinician, cancelled");
    }
    problems.settle()?;
    let mut query = Query::new().order_by("starts").limit(params.limit);
    for filter in FILTERS {
        if let Some(value) = params.get(filter) {
            query = query.equal(filter, value);
        }
    }
    Ok(if let Some(cursor) = params.cursor() { query.after(cursor) } else { query })
}

impl Clinic {
    /// `GET /appointments?clinician=&day=&patient=&status=&limit=&cursor=`: in the order of time. `clinician` and
    /// `patient` are ids, `day` is the practice's.
    pub(crate) async fn list_appointments(&self, request: Request) -> Result<Response> {
        let params = Params::read(request.query_pairs(), &FILTERS)?;
        let found = self.appointments.find(&query(&params)?).await;
        let page = found.map_err(|error| cursor_or(error, params.cursor()))?;
        let hours = self.hours();
        let items = page.documents.iter().filter_map(|found| match &found.value {
            Record::Appointment(one) => Some(view(&found.id, found.revision, one, &hours)),
            // Without a time it is in no listing; this is for the compiler.
            Record::Abandoned { .. } => None,
        });
        Response::json(&Listing { items: items.collect(), next: page.next })
    }

    /// `GET /appointments/{id}`
    pub(crate) async fn show_appointment(&self, request: Request) -> Result<Response> {
        let (id, found, revision) = self.appointment(request.param("id")).await?;
        self.shown(&id, revision, &found, None)
    }

    /// An appointment as an answer.
    pub(crate) fn shown(
        &self,
        id: &str,
        revision: u64,
        appointment: &Appointment,
        notified: Option<bool>,
    ) -> Result<Response> {
        let mut shown = view(id, revision, appointment, &self.hours());
        shown.notified = notified;
        Ok(Response::json(&shown)?.with_header("etag", etag(revision)))
    }

    /// An appointment with its id and revision.
    ///
    /// # Errors
    ///
    /// 404 `appointment-not-found`; those of the store.
    pub(crate) async fn appointment(&self, id: &str) -> Result<(String, Appointment, u64)> {
        let found = if can_be_an_id(id) { self.appointments.get(id).await? } else { None };
        match found {
            Some(Document { id, revision, value: Record::Appointment(one), .. }) => Ok((id, *one, revision)),
            _ => Err(appointment_not_found(id)),
        }
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
    fn filters_go_together_in_the_order_of_time() {
        assert_eq!(
            asked(&[("day", "2031-03-03"), ("clinician", "e1"), ("limit", "5")]).unwrap(),
            json!({
                "equal": [["clinician", "e1"], ["day", "2031-03-03"]],
                "order_by": "starts", "descending": false, "limit": 5,
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(
            asked(&[("day", "2031-02-30"), ("status", "late")]).unwrap_err(),
            "`day` must be a day of the calendar as YYYY-MM-DD; \
             `status` must be one of booked, needs-clinician, cancelled"
        );
        assert!(asked(&[("day", "20310303")]).is_err());
    }
}
