//! One time of a clinician, wanted at both hosts at once.

use std::thread;

use serde_json::{Value, json};
use tenon_host::stores::{CollectionKey, Store};

use super::{Member, Pair};
use crate::harness::{Answer, Ask};

const APPOINTMENTS: &str = "/api/v1/clinic/appointments";
const DAY: &str = "2099-03-02";

fn ask(member: &Member, method: &str, path: &str) -> Ask {
    Ask::new(member.host.address(), method, path).header("x-tenant-id", "acme").by("ada", "Admin")
}

fn made(member: &Member, path: &str, body: &Value) -> String {
    ask(member, "POST", path).json(body).send().expect(201)["id"].as_str().unwrap().to_owned()
}

fn listed(member: &Member, query: &str) -> Vec<Value> {
    let page = ask(member, "GET", &format!("{APPOINTMENTS}?{query}")).send().expect(200);
    page["items"].as_array().unwrap().clone()
}

/// The appointments that hold a time of a clinician's day.
fn held(pair: &Pair, clinician: &str) -> Vec<Value> {
    let at = CollectionKey {
        tenant: "acme".parse().unwrap(),
        module: "clinic".parse().unwrap(),
        model: "Calendar".to_owned(),
    };
    let found = pair.runtime.block_on(pair.store.get(&at, &format!("{DAY}@{clinician}"))).unwrap().unwrap();
    let calendar: Value = serde_json::from_slice(&found.body).unwrap();
    calendar["entries"].as_array().unwrap().iter().map(|entry| entry["appointment"].clone()).collect()
}

/// Asks both hosts for the same, this often at once at each.
fn together(pair: &Pair, at_once: usize, each: usize, send: impl Fn(&Member) -> Answer + Sync) -> Vec<Answer> {
    thread::scope(|scope| {
        let send = &send;
        let members = [&pair.one, &pair.other].into_iter().cycle().take(2 * at_once);
        let askers: Vec<_> =
            members.map(|member| scope.spawn(move || (0..each).map(|_| send(member)).collect::<Vec<_>>())).collect();
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    })
}

#[test]
fn a_time_that_a_thousand_want_at_two_hosts_is_given_once() {
    let pair = Pair::with(&["hr-core", "clinic"]);
    let (one, other) = (&pair.one, &pair.other);
    let cy = made(one, "/api/v1/hr/employees", &json!({ "name": "Cy Young", "email": "cy@example.com" }));
    let ann = made(other, "/api/v1/clinic/patients", &json!({ "record": "A-1", "name": "Ann Lee" }));
    let wish = |clock: &str| json!({ "patient": ann, "clinician": cy, "start": format!("{DAY}T{clock}:00Z") });

    let body = wish("09:00");
    let answers = together(&pair, 100, 5, |member| ask(member, "POST", APPOINTMENTS).json(&body).send());
    assert_eq!(answers.len(), 1_000);
    let mut won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).map(Answer::json).collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.refuses(409, "clinic:overlap", "the clinician has another appointment at that time");
    }
    let mut booked = won.remove(0);
    booked.as_object_mut().unwrap().remove("notified");
    for member in [one, other] {
        for query in ["", &format!("clinician={cy}"), &format!("day={DAY}"), &format!("patient={ann}")] {
            assert_eq!(listed(member, query), [booked.clone()], "{query}");
        }
    }
    assert_eq!(held(&pair, &cy), [booked["id"].clone()]);

    // While both move it at once, it has one time at the end, and so has the calendar.
    let place = format!("{APPOINTMENTS}/{}/reschedule", booked["id"].as_str().unwrap());
    let answers = together(&pair, 5, 2, |member| {
        let clock = if std::ptr::eq(member, one) { "11:00" } else { "13:00" };
        ask(member, "POST", &place).json(&json!({ "start": format!("{DAY}T{clock}:00Z") })).send()
    });
    for answer in &answers {
        let code = answer.json()["code"].clone();
        assert!(answer.status == 200 || code == "clinic:concurrent-writes", "{}", answer.text());
    }
    let moved = listed(one, "");
    assert_eq!((listed(other, ""), moved.len()), (moved.clone(), 1));
    assert_eq!(held(&pair, &cy), [booked["id"].clone()], "the times that it had are free");
    assert_ne!(moved[0]["start"], booked["start"]);
    // Each host gives away what the other one has freed.
    made(other, APPOINTMENTS, &wish("09:00"));
    let taken = ask(one, "POST", APPOINTMENTS).json(&wish("09:15")).send();
    taken.refuses(409, "clinic:overlap", "the clinician has another appointment at that time");
    pair.stop();
}
