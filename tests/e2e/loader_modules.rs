//! The real modules are opened, asked and unloaded a thousand times each, in one process.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{MailSink, artifacts};

/// Opens, asks and unloads modules so many times; what is left, after a look at what must hold for any.
fn unloaded(cycles: u32, modules: impl FnOnce(&mut Command)) -> Value {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_unload_soak"));
    soak.args(["--cycles", &cycles.to_string()]).env("RUST_BACKTRACE", "1");
    modules(&mut soak);
    let run = soak.output().expect("the soak starts");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", run.status);
    let left: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!(left["unloaded"], cycles, "{left:#}");
    assert_eq!(left["still_mapped"], 0, "{left:#}");
    assert!(left["growth_bytes"].as_i64().is_some_and(|growth| growth < 5 << 20), "{left:#}");
    left
}

#[test]
fn hr_core_and_tasks_are_unloaded_a_thousand_times_each() {
    let built = artifacts();
    let left = unloaded(2_000, |soak| {
        soak.arg(built.library("hr-core"))
            .args([
                "POST /departments {\"name\":\"Sales\"}",
                "GET /departments",
                "GET /employees?name=a",
                "~GET /employees",
            ])
            .arg("--")
            .arg(built.library("tasks"))
            .args(["POST /items {\"title\":\"Call Grace\",\"due\":\"2026-12-01\"}", "GET /items", "GET /report"]);
    });
    assert_eq!(left["outcomes"]["GET /report: 200"], 3000, "{left:#}");
    assert_eq!(left["outcomes"]["POST /departments: 201"], 3000, "{left:#}");
}

#[test]
fn the_clinic_is_unloaded_a_thousand_times_with_a_race_for_a_time_in_between() {
    let patient = json!({
        "record": "A-1", "record_key": "a-1", "name": "Ann", "name_key": "ann", "family_key": "ann",
        "email": "ann@example.com", "email_key": "ann@example.com", "created_at": 0, "updated_at": 0,
    });
    let wish = json!({ "patient": "p1", "clinician": "e1", "start": "2099-03-02T09:00:00+01:00" });
    let left = unloaded(1_000, |soak| {
        soak.arg(artifacts().library("clinic"))
            .args(["--settings", &json!({ "time-zone": "Europe/Berlin" }).to_string()])
            .args(["--stored", &format!("Patient p1 {patient}")])
            .args([
                "POST /patients {\"record\":\"B-1\",\"name\":\"Bob\"}",
                &format!("POST /appointments {wish}"),
                "GET /appointments?clinician=e1&day=2099-03-02",
                "~GET /patients?family=a",
            ]);
    });
    assert_eq!(left["outcomes"]["POST /patients: 201"], 3000, "{left:#}");
    assert_eq!(left["outcomes"]["POST /appointments: 201"], 1000, "{left:#}");
    let lost = "POST /appointments: the clinician has another appointment at that time";
    assert_eq!(left["outcomes"][lost], 2000, "{left:#}");
    assert_eq!(left["outcomes"]["GET /appointments?clinician=e1&day=2099-03-02: 200"], 3000, "{left:#}");
}

#[test]
fn email_service_is_unloaded_a_thousand_times_with_mail_delivered_in_between() {
    let sink = MailSink::start();
    // Over TLS, whose library keeps more to itself than the rest together.
    let settings = json!({
        "server": "localhost", "port": sink.port(), "security": "starttls", "ca": sink.ca, "from": "desk@example.com",
    });
    let left = unloaded(1_000, |soak| {
        soak.arg(artifacts().library("email-service")).args(["--settings", &settings.to_string()]).args([
            "PUT /templates/hi {\"subject\":\"Hi {{ name }}\",\"text\":\"Hi {{ name }}\"}",
            "POST /messages {\"to\":\"ann@example.com\",\"subject\":\"Soak\",\"text\":\"t\",\"html\":\"<p>t\"}",
            "~GET /messages",
        ]);
    });
    assert_eq!(left["outcomes"]["PUT /templates/hi: 201"], 1000, "{left:#}");
    assert_eq!(left["outcomes"]["POST /messages: 202"], 3000, "{left:#}");
    assert_eq!(left["outcomes"]["wake-up: handled"], 3000, "{left:#}");
    assert_eq!(sink.received().iter().filter(|mail| mail.encrypted).count(), 3000);
}
