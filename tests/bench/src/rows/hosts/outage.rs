//! Both backends are killed while clients load all hosts, and come back on their ports and folders.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use super::site::{Site, Target, ask, block_on, missing, until, value};
use crate::{
    background::Background,
    failure::{Doing, Failure, Result},
    interrupt,
    line::{Asked, Line, json, status},
};

/// How many clients of a host ask for what touches no document, and how many call a collection. Each has one request at
/// a time and sends the next with the answer.
const CLIENTS: usize = 2;

/// For how long the load runs before the backends are killed.
const BEFORE: Duration = Duration::from_secs(1);

/// How many failures are told in words.
const TOLD: usize = 5;

/// Where the backends are; each follows on the one before.
const THERE: u8 = 0;
const LEAVING: u8 = 1;
const AWAY: u8 = 2;
const RETURNING: u8 = 3;
const BACK: u8 = 4;

/// What clients saw.
#[derive(Default)]
pub(super) struct Seen {
    /// Requests that touch no document, from before the outage until after it.
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// Calls of a collection that were sent and answered while both backends were away.
    pub(super) calls: u64,
    /// Those of them that were answered STORE_UNAVAILABLE.
    pub(super) refused: u64,
    /// The longest call of a collection of which any moment was in the outage.
    pub(super) longest: Duration,
    /// From when both backends listened again until everything worked.
    pub(super) recovered: Duration,
    /// Some failures in words.
    pub(super) told: Vec<String>,
}

impl Seen {
    fn tell(&mut self, what: &str, asked: &Asked) {
        if self.told.len() < TOLD {
            self.told.push(format!("{what}: {}", missing(&asked.answer)));
        }
    }
}

/// Runs it; fails where not everything works again afterwards.
pub(super) fn measure(site: &mut Site, lasting: Duration, known: u64) -> Result<Seen> {
    let targets = site.targets();
    if targets[0].tries(&targets[0].write("before", known)) != 201 {
        return Err(Failure::new("a document could not be written before the outage"));
    }
    for target in &targets {
        until("the flag is everywhere", || Ok(flag(target) == Some(known)))?;
    }
    let phase = Arc::new(AtomicU8::new(THERE));
    let (told, asked) = (Arc::clone(&phase), targets.clone());
    let load = Background::start(move |end| load(&asked, known, &told, end))?;
    pause(&load, BEFORE)?;
    phase.store(LEAVING, Ordering::SeqCst);
    site.mongo.kill();
    site.redis.kill();
    phase.store(AWAY, Ordering::SeqCst);
    eprintln!("hosts: both backends are away for {lasting:?}");
    pause(&load, lasting)?;
    phase.store(RETURNING, Ordering::SeqCst);
    site.mongo.restart().doing("start MongoDB again")?;
    site.redis.restart().doing("start Redis again")?;
    phase.store(BACK, Ordering::SeqCst);
    let back = Instant::now();
    works_again(site, known)?;
    let recovered = back.elapsed();
    let seen = load.end()?;
    Ok(Seen { recovered, ..seen })
}

/// Lets the load run for a time, unless it fails or all is to end.
fn pause<T: Send + 'static>(load: &Background<T>, lasting: Duration) -> Result<()> {
    let over = Instant::now() + lasting;
    while Instant::now() < over && !load.is_over() {
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Waits until each host is up to date, writes documents that the others read, and makes changes that all see.
fn works_again(site: &Site, known: u64) -> Result<()> {
    let targets = site.targets();
    for (number, target) in (0_u64..).zip(&targets) {
        until("a host is up to date again", || {
            let answer = ask(target.tenants, &target.flag()).unwrap_or_default();
            Ok(value(&answer).is_some() && !is_stale(&answer))
        })?;
        let mut tries = 0;
        let mut id = String::new();
        until("a host writes documents again", || {
            // What was not acknowledged may be there all the same.
            tries += 1;
            id = format!("after-{number}-{tries}");
            Ok(target.tries(&target.write(&id, number)) == 201)
        })?;
        let change = target.set_flag(known + number + 1);
        until("a host makes changes again", || {
            Ok(ask(target.operators, &change).is_some_and(|answer| status(&answer) == 200))
        })?;
        for other in &targets {
            let is_read = |id: &str| other.tries(&other.read(id)) == 200;
            until("documents are read everywhere again", || Ok(is_read("before") && is_read(&id)))?;
            until("a change is everywhere again", || Ok(flag(other) == Some(known + number + 1)))?;
        }
    }
    site.until_the_cache_is_there()
}

fn flag(target: &Target) -> Option<u64> {
    value(&ask(target.tenants, &target.flag())?)
}

fn is_stale(answer: &[u8]) -> bool {
    String::from_utf8_lossy(answer).to_ascii_lowercase().contains("\r\nx-tenon-stale:")
}

/// Asks all hosts until it is told to end.
fn load(targets: &[Target], known: u64, phase: &Arc<AtomicU8>, end: &Arc<AtomicBool>) -> Result<Seen> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    block_on(async {
        let mut clients = Vec::new();
        for (host, target) in targets.iter().enumerate() {
            for client in 0..CLIENTS {
                let (one, other) = (target.clone(), target.clone());
                let books = (Rc::clone(&seen), Arc::clone(phase), Arc::clone(end));
                clients.push(tokio::task::spawn_local(ask_without_documents(one, known, books.clone())));
                clients.push(tokio::task::spawn_local(call_collection(other, format!("{host}-{client}"), books)));
            }
        }
        for client in clients {
            client.await.map_err(|_| Failure::new("a client panicked"))?;
        }
        Ok(())
    })??;
    Ok(seen.take())
}

type Books = (Rc<RefCell<Seen>>, Arc<AtomicU8>, Arc<AtomicBool>);

/// The guarded route and the flag in turn.
async fn ask_without_documents(target: Target, known: u64, (seen, _, end): Books) {
    let (mark, flag) = (target.mark(), target.flag());
    let mut line = Line::to(target.tenants);
    while !end.load(Ordering::Relaxed) {
        for (what, request) in [("the guarded route", &mark), ("the flag", &flag)] {
            let asked = line.ask(request).await;
            let is_good = asked.answer.as_ref().is_ok_and(|answer| {
                // Once the backends are back it is changed.
                status(answer) == 200 && (what != "the flag" || value(answer).is_some_and(|value| value >= known))
            });
            let mut seen = seen.borrow_mut();
            seen.sent += 1;
            if !is_good {
                seen.failed += 1;
                seen.tell(what, &asked);
            }
        }
    }
}

/// A write and a read in turn.
async fn call_collection(target: Target, name: String, (seen, phase, end): Books) {
    let mut line = Line::to(target.tenants);
    let mut number = 0;
    while !end.load(Ordering::Relaxed) {
        number += 1;
        for request in [target.write(&format!("load-{name}-{number}"), number), target.read("before")] {
            let sent = phase.load(Ordering::SeqCst);
            let asked = line.ask(&request).await;
            let received = phase.load(Ordering::SeqCst);
            let mut seen = seen.borrow_mut();
            if received >= LEAVING && sent <= RETURNING {
                seen.longest = seen.longest.max(asked.times.received - asked.times.sent);
            }
            if sent == AWAY && received == AWAY {
                seen.calls += 1;
                let is_refused = asked
                    .answer
                    .as_ref()
                    .is_ok_and(|answer| status(answer) == 503 && json(answer)["code"] == "STORE_UNAVAILABLE");
                seen.refused += u64::from(is_refused);
                if !is_refused {
                    seen.tell("a collection", &asked);
                }
            }
        }
    }
}
