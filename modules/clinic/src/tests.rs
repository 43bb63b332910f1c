//! What a client of the clinic sees, from request to answer.

use std::time::Duration;

use module_api::testing::{CalledRequest, TestAnswer, TestHost, TestRequest, Value, conformance, json};

use crate::Clinic;

/// A Monday.
const DAY: &str = "2026-03-02";

fn host() -> TestHost<Clinic> {
    TestHost::new().user("ada").role("Reception").module("hr-core", hr_core)
}

/// hr-core with two employees.
fn hr_core(asked: &CalledRequest) -> TestAnswer {
    let cy = json!({"id": "e1", "name": "Cy Young", "email": "cy@x.org"});
    let dee = json!({"id": "e2", "name": "Dee", "email": "dee@x.org"});
    match (asked.path.as_str(), asked.query.as_str()) {
        ("/employees/e1", _) => TestAnswer::json(&cy),
        ("/employees/e2", _) => TestAnswer::json(&dee),
        ("/employees", "limit=1&email=CY%40x%2Eorg") => TestAnswer::json(&json!({"items": [cy], "next": null})),
        ("/employees", _) => TestAnswer::json(&json!({"items": [], "next": null})),
        _ => TestAnswer::refusal(404, "hr-core:employee-not-found"),
    }
}

/// A patient; returns their id.
fn patient(host: &TestHost<Clinic>, record: &str) -> String {
    let body = json!({"record": record, "name": "Ann Lee", "email": "ann@example.com"});
    let made: Value = host.post("/patients", &body).expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

fn wish(patient: &str, clinician: &str, start: &str) -> Value {
    json!({"patient": patient, "clinician": clinician, "start": start})
}

fn at(clock: &str) -> String {
    format!("{DAY}T{clock}:00Z")
}

fn booking<'h>(host: &'h TestHost<Clinic>, patient: &str, clock: &str) -> TestRequest<'h, Clinic> {
    host.request("POST", "/appointments").json(&wish(patient, "e1", &at(clock)))
}

/// An appointment of half an hour; returns its path.
fn booked(host: &TestHost<Clinic>, patient: &str, clock: &str) -> String {
    booking(host, patient, clock).send().expect(201).header("location").unwrap().to_owned()
}

fn id_of(place: &str) -> &str {
    place.rsplit('/').next().unwrap()
}

/// The entries of a calendar as (appointment, from), in minutes since the day began.
fn entries(host: &TestHost<Clinic>, calendar: &str) -> Vec<(String, i64)> {
    let found = host.stored("Calendar").into_iter().find(|(id, _, _)| id == calendar);
    let entries = found.map(|(_, _, value)| value["entries"].as_array().unwrap().clone()).unwrap_or_default();
    let told = entries.iter().map(|entry| {
        let minute = entry["from"].as_i64().unwrap() % 86_400 / 60;
        (entry["appointment"].as_str().unwrap().to_owned(), minute)
    });
    told.collect()
}

#[test]
fn it_conforms() {
    conformance::<Clinic>();
}

#[test]
fn each_role_may_do_its_part_and_nobody_else_anything() {
    let host = host();
    let ann = patient(&host, "A-1");
    let try_as = |role: &str, method: &str, path: &str| {
        host.request(method, path).user("eve").role(role).json(&json!({})).send().status
    };
    for (method, path) in
        [("GET", "/patients"), ("POST", "/patients"), ("GET", "/appointments"), ("POST", "/appointments")]
    {
        assert_eq!(try_as("Member", method, path), 403, "{method} {path}");
        assert_eq!(host.request(method, path).anonymous().send().status, 401, "{method} {path}");
    }
    assert_eq!(try_as("Clinician", "GET", "/patients"), 200);
    assert_eq!(try_as("Clinician", "POST", "/patients"), 403);
    assert_eq!(try_as("Clinician", "POST", "/appointments"), 400);
    assert_eq!(try_as("Reception", "DELETE", &format!("/patients/{ann}")), 403);
    assert_eq!(try_as("Admin", "DELETE", &format!("/patients/{ann}")), 204);
}

#[test]
fn patients_are_made_found_and_changed() {
    let host = host();
    let ann = patient(&host, "A-1");
    let taken = host.post("/patients", &json!({"record": "a-1", "name": "Bob"}));
    assert_eq!((taken.status, taken.code()), (409, "clinic:record-taken"));
    for query in ["name=ann", "family=LEE", "email=Ann@example.com", "record=a-1"] {
        let page: Value = host.get(&format!("/patients?{query}")).expect(200).json();
        assert_eq!(page["items"][0]["id"], json!(ann), "{query}");
    }
    assert_eq!(host.get("/patients?name=a&record=b").code(), "clinic:bad-filter");
    let place = format!("/patients/{ann}");
    let body = json!({"record": "A-2", "name": "Ann Ek"});
    let changed = host.request("PUT", &place).header("if-match", "\"1\"").json(&body).send().expect(200);
    assert_eq!(changed.json::<Value>()["email"], Value::Null);
    let late = host.request("PUT", &place).header("if-match", "\"1\"").json(&body).send();
    assert_eq!((late.status, late.code()), (412, "clinic:revision-mismatch"));
    assert_eq!(host.get("/patients/nobody").code(), "clinic:patient-not-found");
}

#[test]
fn an_appointment_is_booked_listed_and_shown() {
    let host = host().settings(json!({"time-zone": "Europe/Berlin", "default-minutes": 45}));
    let ann = patient(&host, "A-1");
    let made = host.post("/appointments", &wish(&ann, "CY@x.org", "2026-03-02T10:00:00+01:00")).expect(201);
    let one: Value = made.json();
    assert_eq!(
        (&one["clinician"], &one["clinician_name"], &one["start"], &one["minutes"], &one["day"], &one["status"]),
        (
            &json!("e1"),
            &json!("Cy Young"),
            &json!("2026-03-02T10:00:00+01:00"),
            &json!(45),
            &json!(DAY),
            &json!("booked")
        )
    );
    assert_eq!((&one["booked_by"], &one["notified"]), (&json!("ada"), &json!(false)));
    let (call, shown) =
        (host.calls().remove(0), host.get(made.header("location").unwrap()).expect(200).json::<Value>());
    assert_eq!((call.user.as_deref(), call.as_module), (Some("ada"), false));
    assert_eq!((&shown["id"], shown.get("notified")), (&one["id"], None));
    for query in [format!("clinician=e1&day={DAY}"), format!("patient={ann}"), "status=booked".to_owned()] {
        let page: Value = host.get(&format!("/appointments?{query}")).expect(200).json();
        assert_eq!(page["items"], json!([shown]), "{query}");
    }
    assert_eq!(host.get("/appointments?clinician=e2").json::<Value>()["items"], json!([]));
    assert_eq!(host.get("/appointments/none").code(), "clinic:appointment-not-found");
}

#[test]
fn what_cannot_be_booked_is_refused_with_the_reason() {
    let host = host();
    let ann = patient(&host, "A-1");
    let refused = |body: Value| {
        let answer = host.post("/appointments", &body);
        (answer.status, answer.code().to_owned())
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused(wish("nobody", "e1", &at("09:00"))), is(422, "clinic:patient-unknown"));
    assert_eq!(refused(wish(&ann, "e9", &at("09:00"))), is(422, "clinic:clinician-unknown"));
    assert_eq!(refused(wish(&ann, "nobody@x.org", &at("09:00"))), is(422, "clinic:clinician-unknown"));
    assert_eq!(refused(wish(&ann, "e1", &at("07:00"))), is(422, "clinic:outside-opening-hours"));
    assert_eq!(refused(wish(&ann, "e1", &at("09:07"))), is(422, "clinic:off-grid"));
    assert_eq!(refused(wish(&ann, "e1", "2025-12-31T09:00:00Z")), is(422, "clinic:in-the-past"));
    assert_eq!(refused(wish(&ann, "e1", "tomorrow")), is(400, "REQUEST_INVALID"));
    for answer in [TestAnswer::unreachable as fn() -> TestAnswer, TestAnswer::timeout] {
        host.set_module("hr-core", move |_| answer());
        assert_eq!(refused(wish(&ann, "e1", &at("09:00"))), is(424, "clinic:clinician-unchecked"));
    }
    assert!(host.stored("Calendar").is_empty() && host.stored("Appointment").is_empty());
}

#[test]
fn one_of_many_gets_the_time_and_the_calendar_has_it_once() {
    let host = host();
    let ann = patient(&host, "A-1");
    let answers = host.together((0..50).map(|_| booking(&host, &ann, "09:00")));
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.code() == "clinic:overlap").count(), 49);
    let id = won[0].json::<Value>()["id"].as_str().unwrap().to_owned();
    assert_eq!(entries(&host, "2026-03-02@e1"), [(id, 540)]);
    assert_eq!(host.stored("Appointment").len(), 1);
    let revision = host.stored("Calendar")[0].1;
    assert_eq!(booking(&host, &ann, "09:15").send().code(), "clinic:overlap");
    assert_eq!(host.stored("Calendar")[0].1, revision, "who can't have it writes nothing");
    booked(&host, &ann, "09:30");
    booked(&host, &ann, "08:30");
}

#[test]
fn all_times_of_a_day_can_be_booked_at_once() {
    let host = host();
    let ann = patient(&host, "A-1");
    let clocks: Vec<String> = (8..18).flat_map(|hour| [format!("{hour:02}:00"), format!("{hour:02}:30")]).collect();
    let answers = host.together(clocks.iter().map(|clock| booking(&host, &ann, clock)));
    assert!(answers.iter().all(|answer| answer.status == 201));
    let begins: Vec<i64> = entries(&host, "2026-03-02@e1").into_iter().map(|(_, from)| from).collect();
    assert_eq!(begins, (0..20).map(|at| 480 + at * 30).collect::<Vec<_>>());
}

#[test]
fn an_appointment_moves_and_leaves_its_time_to_others() {
    let host = host();
    let ann = patient(&host, "A-1");
    let (one, other) = (booked(&host, &ann, "09:00"), booked(&host, &ann, "10:00"));
    let moving = |place: &str, body: Value| host.post(&format!("{place}/reschedule"), &body);
    assert_eq!(moving(&one, json!({"start": at("10:15")})).code(), "clinic:overlap");
    assert_eq!(entries(&host, "2026-03-02@e1").len(), 2, "it keeps what it has");
    let moved = moving(&one, json!({"start": at("09:15")})).expect(200).json::<Value>();
    assert_eq!((&moved["start"], &moved["notified"]), (&json!("2026-03-02T09:15:00+00:00"), &json!(false)));
    assert_eq!(entries(&host, "2026-03-02@e1")[0], (id_of(&one).to_owned(), 555), "within its own time");
    let stale = host.request("POST", &format!("{one}/reschedule")).header("if-match", "\"1\"");
    assert_eq!(stale.json(&json!({"minutes": 15})).send().status, 412);

    moving(&one, json!({"start": "2026-03-03T09:00:00Z", "clinician": "e2", "minutes": 60})).expect(200);
    assert_eq!(entries(&host, "2026-03-02@e1"), [(id_of(&other).to_owned(), 600)]);
    assert_eq!(entries(&host, "2026-03-03@e2"), [(id_of(&one).to_owned(), 540)]);
    let revision = host.get(&one).json::<Value>()["revision"].clone();
    assert_eq!(moving(&one, json!({"minutes": 60})).expect(200).json::<Value>()["revision"], revision);
    assert_eq!(moving(&one, json!({})).code(), "REQUEST_INVALID");

    host.request("POST", &format!("{one}/cancel")).send().expect(200);
    let again = host.post(&format!("{one}/cancel"), &json!({"reason": "twice"})).expect(200).json::<Value>();
    assert_eq!((&again["status"], again.get("cancel_reason")), (&json!("cancelled"), None));
    assert_eq!(entries(&host, "2026-03-03@e2"), []);
    assert_eq!(moving(&one, json!({"minutes": 15})).code(), "clinic:appointment-cancelled");
}

#[test]
fn of_two_who_move_an_appointment_both_are_answered_and_it_holds_one_time() {
    let host = host();
    let ann = patient(&host, "A-1");
    for round in 0..4 {
        let place = booked(&host, &ann, &format!("{:02}:00", 9 + round));
        let to = |day: &str| {
            let start = format!("{day}T{:02}:00:00Z", 9 + round);
            host.request("POST", &format!("{place}/reschedule")).json(&json!({"start": start}))
        };
        let cancel = host.request("POST", &format!("{place}/cancel"));
        let mut requests = vec![to("2026-03-03"), to("2026-03-04")];
        requests.extend((round % 2 == 1).then_some(cancel));
        let answers = host.together(requests);
        assert!(answers.iter().all(|answer| answer.status < 500));
        let shown: Value = host.get(&place).expect(200).json();
        let held: Vec<String> = host
            .stored("Calendar")
            .into_iter()
            .filter(|(id, _, _)| entries(&host, id).iter().any(|(of, _)| of == id_of(&place)))
            .map(|(id, _, _)| id)
            .collect();
        if shown["status"] == "cancelled" {
            assert!(held.is_empty(), "{held:?}");
        } else {
            assert_eq!(held, [format!("{}@e1", shown["day"].as_str().unwrap())]);
        }
    }
}

/// An entry as a host leaves it that was killed after it had reserved the time; reserved at the test's beginning.
fn left(slot: &str, appointment: &str, clock: &str) -> Value {
    let from: jiff::Timestamp = at(clock).parse().unwrap();
    let (from, since) = (from.as_second(), 1_767_225_600_000_i64);
    json!({"slot": slot, "appointment": appointment, "from": from, "until": from + 1_800, "since": since})
}

#[test]
fn a_time_that_was_reserved_for_nothing_is_free_after_a_while() {
    let host = host();
    let ann = patient(&host, "A-1");
    let place = {
        let start = "2026-03-03T09:00:00Z";
        let made = host.post("/appointments", &wish(&ann, "e1", start)).expect(201);
        made.header("location").unwrap().to_owned()
    };
    // One that was never booked, one that was to move here.
    let entries_left = [left("s1", "never", "09:00"), left("s2", id_of(&place), "10:00")];
    host.store("Calendar", "2026-03-02@e1", &json!({"entries": entries_left}));
    for clock in ["09:00", "10:00"] {
        assert_eq!(booking(&host, &ann, clock).send().code(), "clinic:overlap", "they may be at work");
    }
    let before = host.get(&place).json::<Value>();
    host.advance(Duration::from_secs(61));
    let booked = ["09:00", "10:00"].map(|clock| id_of(&booked(&host, &ann, clock)).to_owned());
    let held: Vec<String> = entries(&host, "2026-03-02@e1").into_iter().map(|(of, _)| of).collect();
    assert_eq!(held, booked);
    // Whoever comes back can no longer finish.
    assert!(host.stored("Appointment").iter().any(|(id, _, one)| id == "never" && one["abandoned_at"].is_i64()));
    assert_eq!(host.get("/appointments/never").code(), "clinic:appointment-not-found");
    let after = host.get(&place).json::<Value>();
    assert_eq!((&after["start"], after["revision"].as_u64()), (&before["start"], Some(2)));
    assert_eq!(entries(&host, "2026-03-03@e1"), [(id_of(&place).to_owned(), 540)]);
}

#[test]
fn a_time_that_was_left_behind_is_free_and_one_that_is_held_in_another_zones_day_is_not() {
    let host = host();
    let ann = patient(&host, "A-1");
    let place = booked(&host, &ann, "09:00");
    host.post(&format!("{place}/cancel"), &json!({})).expect(200);
    // Killed after the appointment was cancelled, before its time was freed.
    host.store("Calendar", "2026-03-03@e1", &json!({"entries": [left("s1", id_of(&place), "23:00")]}));
    host.set_settings(json!({"opens": "00:00", "closes": "24:00"})).unwrap();
    booked(&host, &ann, "23:00");
    // Where the practice is now it is the next day already.
    host.set_settings(json!({"time-zone": "Asia/Tokyo", "opens": "00:00", "closes": "24:00"})).unwrap();
    assert_eq!(booking(&host, &ann, "23:15").send().code(), "clinic:overlap");
    booked(&host, &ann, "23:30");
    assert_eq!(entries(&host, "2026-03-03@e1").len(), 2);
}

#[test]
fn the_patient_is_written_to_where_there_is_somebody_to_do_it() {
    let host = host();
    let ann = patient(&host, "A-1");
    host.set_module("email-service", |asked| {
        assert!(asked.as_module && asked.user.is_none());
        TestAnswer::json(&json!({"id": "m1", "status": "queued"})).with_status(202)
    });
    let made: Value = booking(&host, &ann, "09:00").send().expect(201).json();
    let place = format!("/appointments/{}", made["id"].as_str().unwrap());
    assert_eq!(made["notified"], true);
    let moved: Value = host.post(&format!("{place}/reschedule"), &json!({"minutes": 15})).expect(200).json();
    let cancelled: Value = host.post(&format!("{place}/cancel"), &json!({})).expect(200).json();
    assert_eq!((&moved["notified"], &cancelled["notified"]), (&json!(true), &json!(true)));
    let letters: Vec<Value> =
        host.calls().iter().filter(|call| call.line() == "POST /messages").map(CalledRequest::json).collect();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        letters[0],
        json!({
            "to": "ann@example.com", "subject": "Your appointment", "key": format!("{id}:booked:1"),
            "text": "Dear Ann Lee,\n\nyou have an appointment with Cy Young on Monday 2026-03-02 09:00, for 30 minutes.\n",
        })
    );
    assert_eq!(
        (&letters[1]["key"], &letters[2]["key"]),
        (&json!(format!("{id}:moved:2")), &json!(format!("{id}:cancelled:3")))
    );

    for answer in
        [TestAnswer::timeout as fn() -> TestAnswer, TestAnswer::unreachable, || TestAnswer::refusal(403, "FORBIDDEN")]
    {
        host.set_module("email-service", move |_| answer());
        let place = booked(&host, &ann, "09:00");
        let cancelled: Value = host.post(&format!("{place}/cancel"), &json!({})).expect(200).json();
        assert_eq!(cancelled["notified"], false);
    }
    host.set_flag("confirmations", false);
    host.set_module("email-service", |_| panic!("nobody is to be written to"));
    assert_eq!(booking(&host, &ann, "09:00").send().expect(201).json::<Value>()["notified"], false);
}

#[test]
fn appointments_of_a_clinician_who_is_gone_wait_for_another_one() {
    let host = host();
    let ann = patient(&host, "A-1");
    let (one, other) = (booked(&host, &ann, "09:00"), booked(&host, &ann, "10:00"));
    host.post(&format!("{other}/reschedule"), &json!({"clinician": "e2"})).expect(200);
    let gone = json!({"id": "e1", "name": "Cy Young", "email": "cy@x.org"});
    host.deliver("hr-core", "employee.deleted", &gone).unwrap();
    let before = host.stored("Appointment");
    host.deliver_again().unwrap();
    assert_eq!(host.stored("Appointment"), before, "a second time changes nothing");
    let status = |place: &str| host.get(place).json::<Value>()["status"].as_str().unwrap().to_owned();
    assert_eq!((status(&one), status(&other)), ("needs-clinician".to_owned(), "booked".to_owned()));
    // Who looked before the clinician was gone may book after that.
    let late = booked(&host, &ann, "11:00");
    host.advance(Duration::from_secs(600));
    assert_eq!((status(&late), host.dead_letters().len()), ("needs-clinician".to_owned(), 0));

    let moving = |body: Value| host.post(&format!("{one}/reschedule"), &body);
    assert_eq!(moving(json!({"minutes": 15})).code(), "clinic:clinician-needed");
    assert_eq!(moving(json!({"clinician": "e2", "start": at("10:15")})).code(), "clinic:overlap");
    assert_eq!(moving(json!({"clinician": "e2"})).expect(200).json::<Value>()["status"], "booked");
    assert_eq!(entries(&host, "2026-03-02@e2").len(), 2);
}

#[test]
fn a_patient_stays_while_an_appointment_is_to_come() {
    let host = host().role("Admin");
    let ann = patient(&host, "A-1");
    let (one, place) = (booked(&host, &ann, "09:00"), format!("/patients/{ann}"));
    let refused = host.delete(&place);
    assert_eq!((refused.status, refused.code()), (409, "clinic:patient-has-appointments"));
    host.post(&format!("{one}/cancel"), &json!({})).expect(200);
    host.delete(&place).expect(204);
    assert!(host.stored("Patient").is_empty() && host.stored("Appointment").is_empty());
}

#[test]
fn nothing_is_booked_for_a_patient_who_is_deleted_at_the_same_time() {
    for late in 0..6 {
        let host = host().role("Admin");
        let ann = patient(&host, "A-1");
        let clock = |at: u32| format!("{:02}:00", 9 + at);
        let delete = || host.request("DELETE", &format!("/patients/{ann}"));
        // The order in which they begin decides who looks first.
        let mut requests: Vec<_> = (0..late).map(|at| booking(&host, &ann, &clock(at))).collect();
        requests.push(delete());
        requests.extend((late..6).map(|at| booking(&host, &ann, &clock(at))));
        let answers = host.together(requests);
        assert!(answers.iter().all(|answer| answer.status < 500));
        let is_gone = host.stored("Patient").is_empty();
        let booked = host.stored("Appointment").len();
        assert!(!is_gone || booked == 0, "{booked} appointments are left of a patient who is gone");
        assert_eq!(entries(&host, "2026-03-02@e1").len(), booked);
    }
}

#[test]
fn changed_settings_count_from_the_next_booking_on() {
    let host = host();
    let ann = patient(&host, "A-1");
    assert_eq!(booking(&host, &ann, "07:00").send().code(), "clinic:outside-opening-hours");
    host.set_settings(json!({"opens": "07:00"})).unwrap();
    booked(&host, &ann, "07:00");
    host.set_settings(json!({"time-zone": "Mars/Olympus"})).unwrap();
    assert_eq!(booking(&host, &ann, "09:00").send().code(), "clinic:settings-unusable");
    host.get("/appointments").expect(200);
}
