//! A practice and its patients: a clinician never has two appointments at once, whoever asks and however many. The same
//! race between two hosts is in `two_hosts`.

use std::{collections::BTreeMap, thread};

use serde_json::{Value, json};
use tenon_host::stores::{CollectionKey, SqliteStore, Store};

use crate::harness::{Answer, Host, MailSink, Setup, until, until_some};

const APPOINTMENTS: &str = "/api/v1/clinic/appointments";
const PATIENTS: &str = "/api/v1/clinic/patients";
const EMPLOYEES: &str = "/api/v1/hr/employees";
/// A Monday, long after anybody runs this.
const DAY: &str = "2099-03-02";

fn start() -> Host {
    let host = Setup::with(&["clinic", "hr-core"]).start();
    host.tenant("acme", &["hr-core", "clinic"]);
    host
}

fn post(host: &Host, tenant: &str, path: &str, body: Value) -> Answer {
    host.of(tenant, "POST", path).json(&body).send()
}

fn id_of(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

/// A new employee; returns their id.
fn employ(host: &Host, tenant: &str, name: &str, email: &str) -> String {
    id_of(&post(host, tenant, EMPLOYEES, json!({ "name": name, "email": email })).expect(201))
}

/// A new patient; returns their id.
fn admit(host: &Host, tenant: &str, record: &str) -> String {
    let body = json!({ "record": record, "name": "Ann Lee", "email": "ann@example.com" });
    id_of(&post(host, tenant, PATIENTS, body).expect(201))
}

fn wish(patient: &str, clinician: &str, clock: &str) -> Value {
    json!({ "patient": patient, "clinician": clinician, "start": format!("{DAY}T{clock}:00Z") })
}

fn book(host: &Host, patient: &str, clinician: &str, clock: &str) -> Value {
    post(host, "acme", APPOINTMENTS, wish(patient, clinician, clock)).expect(201)
}

fn overlaps(answer: &Answer) {
    answer.refuses(409, "clinic:overlap", "the clinician has another appointment at that time");
}

/// What a listing has, in its order.
fn listed(host: &Host, tenant: &str, query: &str) -> Vec<Value> {
    host.get(tenant, &format!("{APPOINTMENTS}?{query}")).expect(200)["items"].as_array().unwrap().clone()
}

fn shown(host: &Host, id: &str) -> Value {
    host.get("acme", &format!("{APPOINTMENTS}/{id}")).expect(200)
}

/// The appointments that hold a time of a clinician's day, as the store has them once the host has ended.
fn held(setup: &Setup, clinician: &str) -> Vec<String> {
    let store = SqliteStore::open(setup.data()).unwrap();
    let at = CollectionKey {
        tenant: "acme".parse().unwrap(),
        module: "clinic".parse().unwrap(),
        model: "Calendar".to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(store.get(&at, &format!("{DAY}@{clinician}"))).unwrap();
    runtime.block_on(store.close());
    let calendar: Value = found.map_or(Value::Null, |found| serde_json::from_slice(&found.body).unwrap());
    let entries = calendar["entries"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["appointment"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn of_a_thousand_who_want_one_time_one_gets_it() {
    const AT_ONCE: usize = 200;
    const EACH: usize = 5;
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let (mut outcomes, mut won) = (BTreeMap::new(), Vec::new());
    thread::scope(|scope| {
        let (host, ann, cy) = (&host, &ann, &cy);
        let askers: Vec<_> = (0..AT_ONCE)
            .map(|asker| {
                // Half know the clinician by address. Some want a longer time that only begins or ends within.
                let clinician = if asker % 2 == 0 { cy.as_str() } else { "CY@example.com" };
                let mut body = wish(ann, clinician, "09:00");
                if asker % 4 == 3 {
                    body = wish(ann, clinician, "08:45");
                    body["minutes"] = json!(60);
                }
                scope.spawn(move || (0..EACH).map(|_| post(host, "acme", APPOINTMENTS, body.clone())).collect())
            })
            .collect();
        for answer in askers.into_iter().flat_map(|asker| -> Vec<Answer> { asker.join().unwrap() }) {
            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
            *outcomes.entry((answer.status, code)).or_insert(0) += 1;
            if answer.status == 201 {
                won.push(answer.json());
            } else {
                overlaps(&answer);
            }
        }
    });
    let overlap = (409, "clinic:overlap".to_owned());
    assert_eq!(outcomes, BTreeMap::from([((201, String::new()), 1), (overlap, AT_ONCE * EACH - 1)]));

    // Whatever shows appointments shows this one, and no other.
    let mut one = won.remove(0);
    let id = id_of(&one);
    assert_eq!(one.as_object_mut().unwrap().remove("notified"), Some(json!(false)));
    assert_eq!(shown(&host, &id), one);
    for query in ["", &format!("clinician={cy}"), &format!("day={DAY}"), &format!("patient={ann}"), "status=booked"] {
        assert_eq!(listed(&host, "acme", query), [one.clone()], "{query}");
    }
    for query in ["clinician=nobody", "day=2099-03-03", "patient=nobody", "status=cancelled", "status=needs-clinician"]
    {
        assert_eq!(listed(&host, "acme", query), Vec::<Value>::new(), "{query}");
    }
    // Those who lost have left nothing behind: the times beside are free, and this one is once it is cancelled.
    let before = book(&host, &ann, &cy, "08:15");
    let after = book(&host, &ann, &cy, "09:45");
    overlaps(&post(&host, "acme", APPOINTMENTS, wish(&ann, &cy, "09:00")));
    post(&host, "acme", &format!("{APPOINTMENTS}/{id}/cancel"), json!({})).expect(200);
    let again = book(&host, &ann, &cy, "09:00");
    let begins: Vec<_> = listed(&host, "acme", "status=booked").iter().map(id_of).collect();
    let booked = [id_of(&before), id_of(&again), id_of(&after)];
    assert_eq!(begins, booked);
    assert_eq!(held(&host.stop(), &cy), booked, "the calendar holds what is booked");
}

#[test]
fn a_day_is_booked_out_however_many_want_each_of_its_times() {
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let clocks: Vec<_> = (8..18).flat_map(|hour| ["00", "30"].map(|minute| format!("{hour:02}:{minute}"))).collect();
    // Two want each time while others of the same day are booked: all of these write one document.
    let answers: Vec<Answer> = thread::scope(|scope| {
        let askers: Vec<_> = clocks
            .iter()
            .chain(&clocks)
            .map(|clock| scope.spawn(|| post(&host, "acme", APPOINTMENTS, wish(&ann, &cy, clock))))
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), clocks.len());
    answers.iter().filter(|answer| answer.status != 201).for_each(overlaps);
    let booked = listed(&host, "acme", &format!("clinician={cy}&day={DAY}"));
    let starts: Vec<_> = booked.iter().map(|one| one["start"].as_str().unwrap().to_owned()).collect();
    assert_eq!(starts, clocks.iter().map(|clock| format!("{DAY}T{clock}:00+00:00")).collect::<Vec<_>>());
    let ids: Vec<_> = booked.iter().map(id_of).collect();
    assert_eq!(held(&host.stop(), &cy), ids);
}

#[test]
fn patients_get_a_letter_where_the_tenant_has_mail() {
    let sink = MailSink::start();
    let host = Setup::with(&["clinic", "email-service", "hr-core"]).start();
    host.tenant("acme", &["hr-core", "clinic"]);
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    assert_eq!(book(&host, &ann, &cy, "09:00")["notified"], false, "nobody is there who could write");

    host.tenon(&["enable", "acme", "email-service"]).succeeds();
    let settings =
        json!({ "server": "127.0.0.1", "port": sink.port(), "security": "none", "from": "desk@example.com" });
    let path = "/admin/v1/tenants/acme/settings/email-service";
    host.ask_operators("PUT", path).token(&host.token()).json(&settings).send().expect(200);
    let booked = book(&host, &ann, &cy, "10:00");
    assert_eq!(booked["notified"], true);
    let place = format!("{APPOINTMENTS}/{}", id_of(&booked));
    let moved = post(&host, "acme", &format!("{place}/reschedule"), json!({ "start": format!("{DAY}T11:00:00Z") }));
    assert_eq!(moved.expect(200)["notified"], true);
    assert_eq!(post(&host, "acme", &format!("{place}/cancel"), json!({})).expect(200)["notified"], true);
    // They are sent beside each other, so in any order.
    sink.until_received(3);
    let mut letters: Vec<_> =
        sink.received().iter().map(|mail| (mail.header("Subject"), mail.content.clone())).collect();
    letters.sort_unstable();
    let told = [
        ("Your appointment", "with Cy Young on Monday 2099-03-02 10:00, for 30 minutes."),
        ("Your appointment has changed", "is now with Cy Young on Monday 2099-03-02 11:00, for 30 minutes."),
        ("Your appointment is cancelled", "with Cy Young on Monday 2099-03-02 11:00 is cancelled."),
    ];
    for ((subject, content), (expected, line)) in letters.iter().zip(told) {
        assert_eq!(subject, expected);
        // Long lines are broken.
        let content = content.replace("=\r\n", "").replace("\r\n", " ");
        assert!(content.contains(line), "{line}: {content}");
    }
    assert!(sink.received().iter().all(|mail| mail.envelope == ["<desk@example.com>", "<ann@example.com>"]));

    // Nobody is written to without an address, nor while the feature is off, nor once there is no mail any more.
    let bob = id_of(&post(&host, "acme", PATIENTS, json!({ "record": "B-1", "name": "Bob Ek" })).expect(201));
    assert_eq!(book(&host, &bob, &cy, "12:00")["notified"], false);
    host.tenon(&["flags", "set", "acme", "confirmations=false"]).succeeds();
    assert_eq!(book(&host, &ann, &cy, "13:00")["notified"], false);
    host.tenon(&["flags", "unset", "acme", "confirmations"]).succeeds();
    assert_eq!(book(&host, &ann, &cy, "14:00")["notified"], true);
    sink.until_received(4);
    host.tenon(&["disable", "acme", "email-service"]).succeeds();
    assert_eq!(book(&host, &ann, &cy, "15:00")["notified"], false);
    assert_eq!(sink.received().len(), 4);
    host.stop();
}

#[test]
fn what_is_booked_stays_booked_when_no_mail_server_answers() {
    let mut sink = MailSink::start();
    let host = Setup::with(&["clinic", "email-service", "hr-core"]).start();
    host.tenant("acme", &["hr-core", "email-service", "clinic"]);
    sink.leave();
    let settings = json!({
        "server": "127.0.0.1", "port": sink.port(), "security": "none", "from": "desk@example.com", "retry-seconds": 0.05,
        "attempts": 50,
    });
    let path = "/admin/v1/tenants/acme/settings/email-service";
    host.ask_operators("PUT", path).token(&host.token()).json(&settings).send().expect(200);
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    // The letter is kept, and that is what the answer says.
    assert_eq!(book(&host, &ann, &cy, "09:00")["notified"], true);
    let messages = "/api/v1/email/messages";
    until("it was tried", || {
        let page = host.get("acme", messages).expect(200);
        page["items"][0]["attempts"].as_u64() >= Some(1)
    });
    assert_eq!(listed(&host, "acme", "status=booked").len(), 1);
    sink.come_back();
    sink.until_received(1);
    assert_eq!(sink.received()[0].header("Subject"), "Your appointment");
    host.stop();
}

#[test]
fn only_an_employee_can_see_patients() {
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let try_with = |clinician: &str| post(&host, "acme", APPOINTMENTS, wish(&ann, clinician, "09:00"));
    for (nobody, named) in [("bob", "bob"), ("cy@example.co", "cy@example.co"), (" a/b?c%2F ", "a/b?c%2F")] {
        let text = format!("there is no employee {named}");
        try_with(nobody).refuses(422, "clinic:clinician-unknown", &text);
    }
    assert_eq!(listed(&host, "acme", ""), Vec::<Value>::new());
    let one = id_of(&book(&host, &ann, &cy, "09:00"));
    let place = format!("{APPOINTMENTS}/{one}/reschedule");
    let moved = post(&host, "acme", &place, json!({ "clinician": "bob" }));
    moved.refuses(422, "clinic:clinician-unknown", "there is no employee bob");
    assert_eq!(shown(&host, &one)["clinician"], *cy);
    host.stop();
}

#[test]
fn appointments_of_a_clinician_who_is_gone_wait_for_another_one() {
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let dee = employ(&host, "acme", "Dee", "dee@example.com");
    let ann = admit(&host, "acme", "A-1");
    let one = id_of(&book(&host, &ann, &cy, "09:00"));
    let other = id_of(&book(&host, &ann, &dee, "09:00"));
    host.of("acme", "DELETE", &format!("{EMPLOYEES}/{cy}")).send().expect(204);
    let waiting = until_some("it needs another clinician", || {
        Some(shown(&host, &one)).filter(|shown| shown["status"] == "needs-clinician")
    });
    assert_eq!((&waiting["clinician"], &waiting["clinician_name"]), (&json!(cy), &json!("Cy Young")), "{waiting}");
    assert_eq!(listed(&host, "acme", "status=needs-clinician"), [waiting]);
    assert_eq!(shown(&host, &other)["status"], "booked", "others keep theirs");
    for clinician in [cy.as_str(), "cy@example.com"] {
        let refused = post(&host, "acme", APPOINTMENTS, wish(&ann, clinician, "10:00"));
        refused.refuses(422, "clinic:clinician-unknown", &format!("there is no employee {clinician}"));
    }

    let moving = |body: Value| post(&host, "acme", &format!("{APPOINTMENTS}/{one}/reschedule"), body);
    let text = "the clinician of the appointment is no employee any more; say who is to see the patient instead";
    moving(json!({ "start": format!("{DAY}T10:00:00Z") })).refuses(409, "clinic:clinician-needed", text);
    overlaps(&moving(json!({ "clinician": dee })));
    let moved = moving(json!({ "clinician": dee, "start": format!("{DAY}T10:00:00Z") })).expect(200);
    assert_eq!((&moved["status"], &moved["clinician_name"]), (&json!("booked"), &json!("Dee")));
    let setup = host.stop();
    assert_eq!(held(&setup, &dee), [other, one]);
}

#[test]
fn what_cannot_be_booked_is_refused_in_clear_words() {
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let refused = |body: Value, status: u16, code: &str, text: &str| {
        post(&host, "acme", APPOINTMENTS, body).refuses(status, code, text);
    };
    refused(
        json!({ "start": "tomorrow", "minutes": 0 }),
        400,
        "REQUEST_INVALID",
        "`patient` is required; `clinician` is required; `start` must be a time with an offset as in RFC 3339, such as \
         2031-03-03T09:00:00+01:00; `minutes` must be from 1 to 1440",
    );
    refused(wish("nobody", &cy, "09:00"), 422, "clinic:patient-unknown", "there is no patient nobody");
    refused(
        wish(&ann, &cy, "07:00"),
        422,
        "clinic:outside-opening-hours",
        "2099-03-02T07:00:00+00:00 to 2099-03-02T07:30:00+00:00 is outside the opening hours: monday, tuesday, wednesday, \
         thursday, friday, 08:00 to 18:00",
    );
    let text = "appointments begin every 15 minutes, counted from 08:00";
    refused(wish(&ann, &cy, "09:07"), 422, "clinic:off-grid", text);
    let past = json!({ "patient": ann, "clinician": cy, "start": "2020-03-02T09:00:00Z" });
    refused(past, 422, "clinic:in-the-past", "an appointment can't begin in the past");
    for (body, sent) in [("{\"patient\":", "cut short"), ("[1]", "a list"), ("{\"colour\":1}", "an unknown field")] {
        let answer = host.of("acme", "POST", APPOINTMENTS).body("application/json", body).send();
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("REQUEST_INVALID")), "{sent}");
    }
    let filter = host.get("acme", &format!("{APPOINTMENTS}?day=2099-02-30&status=late"));
    let text = "`day` must be a day of the calendar as YYYY-MM-DD; \
                `status` must be one of booked, needs-clinician, cancelled";
    filter.refuses(400, "REQUEST_INVALID", text);
    let text = "there is no appointment never";
    host.get("acme", &format!("{APPOINTMENTS}/never")).refuses(404, "clinic:appointment-not-found", text);
    // What only a practice's staff may do.
    let body = wish(&ann, &cy, "09:00");
    let as_member = host.ask("POST", APPOINTMENTS).header("x-tenant-id", "acme").by("eve", "Member").json(&body).send();
    assert_eq!((as_member.status, &as_member.json()["code"]), (403, &json!("FORBIDDEN")));
    let anonymous = host.ask("POST", APPOINTMENTS).header("x-tenant-id", "acme").json(&body).send();
    assert_eq!((anonymous.status, &anonymous.json()["code"]), (401, &json!("UNAUTHENTICATED")));
    assert_eq!(listed(&host, "acme", ""), Vec::<Value>::new());
    host.stop();
}

#[test]
fn opening_hours_are_the_tenant_s_settings_and_count_from_the_next_booking_on() {
    let host = start();
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let early = || post(&host, "acme", APPOINTMENTS, wish(&ann, &cy, "06:00"));
    assert_eq!(early().json()["code"], "clinic:outside-opening-hours");
    host.tenon(&["settings", "set", "acme", "clinic", "time-zone=Europe/Berlin", "opens=07:00"]).succeeds();
    let made = until_some("the module knows the new hours", || Some(early()).filter(|answer| answer.status == 201));
    assert_eq!(made.json()["start"], "2099-03-02T07:00:00+01:00");
    let refused = host.tenon(&["settings", "set", "acme", "clinic", "opens=later"]);
    assert_ne!(refused.code, 0, "the schema knows times");
    host.tenon(&["settings", "set", "acme", "clinic", "time-zone=Mars/Olympus"]).succeeds();
    let told = "an administrator must correct the settings of module clinic: \
                `time-zone` is `Mars/Olympus`, which is no time zone";
    until("the module knows the new zone", || {
        let answer = post(&host, "acme", APPOINTMENTS, wish(&ann, &cy, "09:00"));
        answer.status == 409 && answer.json()["message"].as_str().is_some_and(|text| text.starts_with(told))
    });
    assert_eq!(listed(&host, "acme", "").len(), 1, "what is booked is shown all the same");
    host.stop();
}

#[test]
fn another_tenant_sees_nothing_of_it() {
    let host = start();
    host.tenant("other", &["hr-core", "clinic"]);
    let cy = employ(&host, "acme", "Cy Young", "cy@example.com");
    let ann = admit(&host, "acme", "A-1");
    let made = book(&host, &ann, &cy, "09:00");
    let one = format!("{APPOINTMENTS}/{}", id_of(&made));
    for query in ["", &format!("clinician={cy}"), &format!("day={DAY}"), &format!("patient={ann}"), "status=booked"] {
        assert_eq!(listed(&host, "other", query), Vec::<Value>::new(), "{query}");
    }
    assert_eq!(host.get("other", PATIENTS).expect(200)["items"], json!([]));
    assert_eq!(host.get("other", &format!("{PATIENTS}/{ann}")).json()["code"], "clinic:patient-not-found");
    for (method, path) in
        [("GET", one.clone()), ("POST", format!("{one}/cancel")), ("POST", format!("{one}/reschedule"))]
    {
        let answer = host.of("other", method, &path).json(&json!({ "minutes": 15 })).send();
        let answer = if path.ends_with("cancel") { host.of("other", method, &path).send() } else { answer };
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("clinic:appointment-not-found")), "{path}");
    }
    // Neither acme's patient nor acme's clinician is anybody there, and the same record is another patient's.
    let foreign = post(&host, "other", APPOINTMENTS, wish(&ann, &cy, "09:00"));
    foreign.refuses(422, "clinic:patient-unknown", &format!("there is no patient {ann}"));
    let bob = admit(&host, "other", "A-1");
    let foreign = post(&host, "other", APPOINTMENTS, wish(&bob, &cy, "09:00"));
    foreign.refuses(422, "clinic:clinician-unknown", &format!("there is no employee {cy}"));
    // The same time, of another practice's clinician with the same address.
    let theirs = employ(&host, "other", "Cy Young", "cy@example.com");
    post(&host, "other", APPOINTMENTS, wish(&bob, &theirs, "09:00")).expect(201);
    assert_eq!(listed(&host, "acme", "").len(), 1);
    host.stop();
}

#[test]
fn the_clinic_needs_hr_core_as_long_as_it_is_there() {
    let host = Setup::with(&["clinic", "hr-core"]).start();
    host.tenant("acme", &[]);
    let missing = "Cannot enable clinic: missing required dependencies: hr-core";
    host.tenon(&["enable", "acme", "clinic"]).refuses(4, "MODULE_DEPENDENCY_MISSING", missing);
    host.get("acme", APPOINTMENTS).refuses(403, "MODULE_NOT_ENABLED", "Module clinic is not enabled");
    host.tenon(&["enable", "acme", "clinic", "--with-dependencies"]).succeeds();
    host.get("acme", APPOINTMENTS).expect(200);
    let dependents = "Cannot disable hr-core: required by: clinic";
    host.tenon(&["disable", "acme", "hr-core"]).refuses(4, "MODULE_HAS_DEPENDENTS", dependents);
    host.get("acme", APPOINTMENTS).expect(200);
    host.tenon(&["disable", "acme", "clinic"]).succeeds();
    host.tenon(&["disable", "acme", "hr-core"]).succeeds();
    host.get("acme", APPOINTMENTS).refuses(403, "MODULE_NOT_ENABLED", "Module clinic is not enabled");
    host.get("acme", EMPLOYEES).refuses(403, "MODULE_NOT_ENABLED", "Module hr-core is not enabled");
    host.stop();
}
