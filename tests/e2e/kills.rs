//! kill -9 at random moments during writes: whatever was acknowledged is there when the host is back.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Host, Setup, until};

const KILLS: u64 = 50;
const WRITERS: u64 = 4;
const EMPLOYEES: &str = "/api/v1/hr/employees";

/// A writer's last words on one address, so that a round can be looked through afterwards.
#[derive(Default)]
struct Written {
    /// Answered 201, and not deleted since.
    acknowledged: BTreeSet<String>,
    /// Sent, but not answered: it may be there or not.
    unsure: BTreeSet<String>,
    /// Answered 204 to a deletion.
    deleted: BTreeSet<String>,
}

/// Writes until the host is gone. Every fourth employee is deleted again.
fn write(host: &Host, round: u64, writer: u64, written: &Mutex<Written>, gone: &AtomicBool) {
    for number in 0_u64.. {
        if gone.load(Ordering::SeqCst) {
            return;
        }
        let email = format!("r{round}.w{writer}.n{number}@example.com");
        let body = json!({ "name": format!("Writer {writer}"), "email": email });
        written.lock().unwrap().unsure.insert(email.clone());
        let Ok(answer) = host.of("acme", "POST", EMPLOYEES).json(&body).try_send() else { return };
        let made = answer.expect(201);
        {
            let mut written = written.lock().unwrap();
            written.unsure.remove(&email);
            written.acknowledged.insert(email.clone());
        }
        if number % 4 == 3 {
            {
                let mut written = written.lock().unwrap();
                written.acknowledged.remove(&email);
                written.unsure.insert(email.clone());
            }
            let place = format!("{EMPLOYEES}/{}", made["id"].as_str().unwrap());
            let Ok(answer) = host.of("acme", "DELETE", &place).try_send() else { return };
            assert_eq!(answer.status, 204, "{}", answer.text());
            let mut written = written.lock().unwrap();
            written.unsure.remove(&email);
            written.deleted.insert(email);
        }
    }
}

/// The addresses of all employees that begin so.
fn stored(host: &Host, beginning: &str) -> BTreeSet<String> {
    let (mut found, mut cursor) = (BTreeSet::new(), None::<String>);
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = host.get("acme", &format!("{EMPLOYEES}?limit=200&email={beginning}{after}")).expect(200);
        let email = |item: &Value| item["email"].as_str().unwrap().to_owned();
        for item in page["items"].as_array().unwrap() {
            assert!(found.insert(email(item)), "an address is there twice: {item}");
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return found,
        }
    }
}

/// Different in each round, the same in each run: between the first write and some hundred.
fn moment(round: u64) -> Duration {
    Duration::from_micros(round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695) >> 33 & 0xffff)
}

#[test]
fn fifty_kills_lose_no_acknowledged_write() {
    let mut host = Setup::with(&["hr-core"]).start();
    host.tenant("acme", &["hr-core"]);
    let mut all = Written::default();
    for round in 0..KILLS {
        let written = Mutex::new(Written::default());
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (host, written, gone) = (&host, &written, &gone);
                scope.spawn(move || write(host, round, writer, written, gone));
            }
            until("writes are under way", || !written.lock().unwrap().acknowledged.is_empty());
            thread::sleep(moment(round));
            host.kill();
            gone.store(true, Ordering::SeqCst);
        });
        host = host.killed_and_started();
        let written = written.into_inner().unwrap();
        let found = stored(&host, &format!("r{round}."));
        let lost: Vec<_> = written.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        let back: Vec<_> = written.deleted.intersection(&found).collect();
        assert!(back.is_empty(), "round {round} brought back {back:?}");
        let strange: Vec<_> = found.iter().filter(|it| !written.acknowledged.contains(*it)).collect();
        assert!(strange.iter().all(|it| written.unsure.contains(*it)), "round {round} made up {strange:?}");
        all.acknowledged.extend(written.acknowledged);
        all.unsure.extend(written.unsure);
    }
    let found = stored(&host, "r");
    let lost: Vec<_> = all.acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "later rounds lost {lost:?}");
    assert!(all.acknowledged.len() as u64 > KILLS, "there was something to lose");
    println!("{} acknowledged writes, {} unsure, {KILLS} kills", all.acknowledged.len(), all.unsure.len());
    host.stop();
}
