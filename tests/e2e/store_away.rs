//! The store is away: writes are refused with a code that says so, what needs no write is served, and all is well
//! once the store is back.

use rusqlite::Connection;
use serde_json::json;

use crate::harness::Setup;

const NOTES: &str = "/fixtures/answers/notes";

#[test]
fn while_a_foreign_program_has_the_store_locked_writes_are_refused_and_reads_served() {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let write = |text: &str| host.of("acme", "POST", NOTES).json(&json!({ "text": text })).send();
    write("before").expect(201);

    let foreign = Connection::open(host.setup().data().join("tenon.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = write("meanwhile");
    refused.refuses(503, "STORE_UNAVAILABLE", "The store is unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(!refused.text().contains("locked"), "the reason is for the log: {refused:?}");
    assert_eq!(host.get("acme", NOTES).expect(200), json!(["before"]));
    let ran = host.tenon(&["tenants", "create", "late"]);
    ran.refuses(6, "STORE_UNAVAILABLE", "The store is unavailable");
    assert!(ran.stderr.contains("reason: ") && ran.stderr.contains("locked"), "operators are told: {ran:?}");

    foreign.execute_batch("ROLLBACK").unwrap();
    write("after").expect(201);
    host.tenon(&["tenants", "create", "late"]).succeeds();
    assert_eq!(host.get("acme", NOTES).expect(200).as_array().unwrap().len(), 2, "what was refused is not there");
}
