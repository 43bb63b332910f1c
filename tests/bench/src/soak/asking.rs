//! The load on the host: requests at a fixed pace on connections that are kept open, and streams beside them. Each
//! answer goes into the books, whatever it is; a connection that fails is made anew.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::LocalSet;

use super::{
    ledger::Ledger,
    versions::{BASE, version_of_mark},
    windows::Windows,
};
use crate::{
    failure::{Doing, Result},
    line::{Asked, Line, Times, body, shown},
    load::{Requests, request},
};

/// How many connections are kept open: so many that each has time between its requests, and is not late by itself.
pub(super) const CONNECTIONS: usize = 128;

/// How many clients read streams, each one after the other.
const STREAMS: usize = 2;

/// How many pieces a stream of module `shifter` has.
const PIECES: usize = 5;

/// How many tenants get half of the requests; the others share the other half with them.
const BUSY: usize = 4;

/// What is told and looked at from several threads.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) windows: Windows,
    /// How long each swap took.
    pub(super) swaps: Vec<Duration>,
    /// How long after it was due a request was sent, at most.
    pub(super) late: Duration,
}

/// The books as threads share them.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Books>>);

impl Shared {
    pub(super) fn new(ledger: Ledger) -> Self {
        let (windows, swaps, late) = (Windows::default(), Vec::new(), Duration::ZERO);
        Self(Arc::new(Mutex::new(Books { ledger, windows, swaps, late })))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenants that are asked for, in turn: even among a few, else with a few that get half of the requests, so that
/// they get to the one that panics.
pub(super) fn turns(tenants: usize) -> Vec<usize> {
    (0..tenants.max(BUSY) * 2)
        .map(|turn| if turn % 2 == 0 { turn / 2 % tenants } else { turn / 2 % BUSY.min(tenants) })
        .collect()
}

/// A request for the mark of each of these tenants.
pub(super) fn requests(turns: &[usize]) -> Requests {
    turns.iter().map(|tenant| request(&format!("{BASE}/mark"), *tenant).into_bytes()).collect()
}

/// Asks until it is told to end: so many requests a second in all. Runs on the calling thread.
pub(super) fn ask(address: SocketAddr, tenants: usize, rate: f64, books: &Shared, end: &Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    let turns: Arc<[usize]> = turns(tenants).into();
    let requests = requests(&turns);
    let every = Duration::from_secs_f64(CONNECTIONS as f64 / rate.max(1.0));
    let begin = Instant::now();
    let local = LocalSet::new();
    for index in 0..CONNECTIONS {
        let (turns, requests, books, end) = (Arc::clone(&turns), requests.clone(), books.clone(), Arc::clone(end));
        local.spawn_local(async move {
            let mut line = Line::to(address);
            let mut due = begin + every.mul_f64(index as f64 / CONNECTIONS as f64);
            let mut next = index * turns.len() / CONNECTIONS;
            while !end.load(Ordering::Relaxed) {
                let in_time = Instant::now() < due;
                tokio::time::sleep_until(due.into()).await;
                // A timer may be late by a millisecond, which is not the host's fault; what waits for the answer
                // before it is.
                let from = if in_time { Instant::now() } else { due };
                let asked = line.ask(&requests[next]).await;
                note(&books, turns[next], from, due, asked);
                next = (next + 1) % turns.len();
                due += every;
            }
        });
    }
    for index in 0..STREAMS {
        let (books, end) = (books.clone(), Arc::clone(end));
        local.spawn_local(async move {
            let mut line = Line::to(address);
            let mut tenant = index * tenants / STREAMS;
            while !end.load(Ordering::Relaxed) {
                let asked = line.ask(request(&format!("{BASE}/stream"), tenant).as_bytes()).await;
                note_stream(&books, tenant, asked);
                tenant = (tenant + 1) % tenants;
            }
        });
    }
    runtime.block_on(local);
    Ok(())
}

fn note(books: &Shared, tenant: usize, from: Instant, due: Instant, asked: Asked) {
    let Asked { times, answer } = asked;
    let mut books = books.open();
    books.ledger.requests += 1;
    books.late = books.late.max(times.sent.saturating_duration_since(due));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return books.ledger.lost(tenant, times, &error.to_string()),
    };
    books.windows.answered(Times { sent: from, received: times.received });
    let text = body(&answer);
    if answer.starts_with(b"HTTP/1.1 200 ")
        && let Some(version) = version_of_mark(text)
    {
        books.ledger.answered(tenant, version, times);
    } else if answer.starts_with(b"HTTP/1.1 500 ") && has_panicked(text) {
        books.ledger.panicked(tenant, times);
    } else {
        books.ledger.impossible(tenant, times, &shown(&answer));
    }
}

fn has_panicked(body: &[u8]) -> bool {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    problem.is_some_and(|problem| problem["code"] == "MODULE_PANICKED")
}

/// A stream must be whole, and by one version throughout.
fn note_stream(books: &Shared, tenant: usize, asked: Asked) {
    let Asked { times, answer } = asked;
    let mut books = books.open();
    books.ledger.requests += 1;
    books.ledger.streams += 1;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return books.ledger.lost(tenant, times, &format!("a stream: {error}")),
    };
    // Between the pieces stand the sizes of chunks.
    let pieces: Vec<&[u8]> =
        body(&answer).split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"serial")).collect();
    let version = pieces.first().and_then(|mark| version_of_mark(mark));
    match version {
        Some(version) if pieces.len() == PIECES && pieces.iter().all(|piece| piece == &pieces[0]) => {
            books.ledger.streamed(tenant, version, times);
        }
        _ => books.ledger.impossible(tenant, times, &format!("a stream: {}", shown(&answer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tenants_are_asked_evenly_and_of_many_a_few_more_often() {
        let count = |tenants, tenant| turns(tenants).iter().filter(|it| **it == tenant).count();
        assert_eq!((count(4, 0), count(4, 3), count(1, 0)), (2, 2, 8));
        assert_eq!((count(200, 0), count(200, 4), count(200, 199)), (51, 1, 1));
    }
}
