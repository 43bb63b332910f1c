//! Row `ofrep`: all flags of a tenant for one user, over HTTP, from a host with one worker on one core. Once as a client
//! asks that has another answer, once as one that has this answer already.

use std::{rc::Rc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tenon_host::identity::{FLAGS_READ, KeyWish, NewKey};

use super::{Effort, progress};
use crate::{
    failure::{Doing, Failure, Result},
    flag_file::{self, FLAGS, KINDS},
    load, machine,
    machine::CpuTime,
    report::{Goal, Line, Report},
    server::{Kind, Server},
    stats::Spread,
    tenants,
};

const ROW: &str = "ofrep";
const TENANT: &str = "bench";
const CONNECTIONS: usize = 32;
const USERS: usize = 64;
const ROUND: Duration = Duration::from_secs(1);

/// What was measured of one kind of request.
#[derive(Default)]
struct Measured {
    per_second: Vec<f64>,
    answers: u64,
    time: CpuTime,
    wall: Duration,
    load_busy: Vec<f64>,
}

impl Measured {
    fn round(&mut self, server: &Server, requests: &[Vec<u8>], lasting: Duration) -> Result<()> {
        let before = server.time()?;
        let round = load::closed(server.address, Rc::from(requests), CONNECTIONS, lasting)?;
        let after = server.time()?;
        self.per_second.push(round.per_second());
        self.answers += round.answers;
        self.time.user += after.user - before.user;
        self.time.system += after.system - before.system;
        self.wall += round.wall;
        self.load_busy.push(round.load_busy);
        Ok(())
    }
}

pub(crate) fn ofrep(effort: Effort, report: &mut Report) -> Result<()> {
    let (server_core, load_core) = machine::two_cores()?;
    let folder = super::folder()?;
    flag_file::write(folder.path())?;
    let mut document = tenants::document(TENANT, &[])?;
    let (name, created_by) = ("bench".to_owned(), "bench".to_owned());
    let wish = KeyWish { name, scopes: vec![FLAGS_READ.to_owned()], expires_at: None, created_by };
    let key = NewKey::make(&document.id, wish, Timestamp::now()).doing("make a key")?;
    document.api_keys.push(key.stored);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    runtime.block_on(tenants::store_documents(&folder.path().join("data"), [document]))?;
    let server = Server::start_prepared(Kind::PerCore, 1, Some(server_core), folder.path())?;

    let unknown: Vec<Vec<u8>> = (0..USERS).map(|user| request(&key.text, user, "\"another\"")).collect();
    let whole = load::answers(server.address, Rc::from(&*unknown))?;
    let bytes = whole.iter().map(Vec::len).sum::<usize>() / USERS;
    let known = whole.iter().enumerate().map(|(user, answer)| Ok(request(&key.text, user, etag(answer)?)));
    let known = known.collect::<Result<Vec<_>>>()?;

    let (mut anew, mut same) = (Measured::default(), Measured::default());
    let rounds = effort.rounds(10);
    // On a thread of its own, so that this one stays where the system puts it.
    let loading = || {
        machine::pin(load_core)?;
        for round in 0..=rounds {
            progress("ofrep", round, rounds + 1)?;
            // A round that isn't counted: the first seconds of a server are not like the rest.
            if round == 0 {
                (anew, same) = (Measured::default(), Measured::default());
                Measured::default().round(&server, &unknown, ROUND / 2)?;
                Measured::default().round(&server, &known, ROUND / 2)?;
            } else {
                anew.round(&server, &unknown, ROUND)?;
                same.round(&server, &known, ROUND)?;
            }
            expect(&server, &unknown, b"HTTP/1.1 200")?;
            expect(&server, &known, b"HTTP/1.1 304")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| scope.spawn(loading).join()).map_err(|_| Failure::new("the load panicked"))??;
    let kinds = KINDS.map(|(kind, count)| format!("{count} {kind}")).join(", ");
    let what = format!("{FLAGS} flags ({kinds}), {} KB: other ETag", bytes / 1000);
    add(report, &anew, &what, Goal::AtLeast(5_000.0));
    add(report, &same, &format!("{FLAGS} flags: same ETag, 304"), Goal::AtLeast(50_000.0));
    Ok(())
}

fn request(key: &str, user: usize, etag: &str) -> Vec<u8> {
    let body = json!({ "context": flag_file::user(user) }).to_string();
    let head = format!(
        "POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: bench.test\r\nX-API-Key: {key}\r\nIf-None-Match: {etag}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

fn etag(answer: &[u8]) -> Result<&str> {
    let found = answer.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"etag: "));
    let text = found.and_then(|tag| std::str::from_utf8(tag).ok());
    text.map(str::trim).ok_or_else(|| {
        let answer = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        Failure::new(format!("the host's answer has no ETag: {answer}"))
    })
}

/// Whether all answers have this status: else something else would be measured.
fn expect(server: &Server, requests: &[Vec<u8>], status: &[u8]) -> Result<()> {
    let answers = load::answers(server.address, Rc::from(requests))?;
    match answers.iter().find(|answer| !answer.starts_with(status)) {
        None => Ok(()),
        Some(answer) => {
            let answer = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
            Err(Failure::new(format!("expected {}, found: {answer}", String::from_utf8_lossy(status))))
        }
    }
}

fn add(report: &mut Report, it: &Measured, what: &str, goal: Goal) {
    if let Some(spread) = Spread::of(it.per_second.iter().copied()) {
        report.lines.push(Line::of_spread(ROW, what, spread, "req/s").with_goal(goal));
    }
    for (name, time) in [("user", it.time.user), ("kernel", it.time.system)] {
        let each = time.as_secs_f64() * 1e6 / it.answers.max(1) as f64;
        report.lines.push(Line::of_figure(ROW, format!("{what}: {name} time of a request"), each, "us"));
    }
    let busy = (it.time.user + it.time.system).as_secs_f64() / it.wall.as_secs_f64();
    let load_busy = Spread::of(it.load_busy.iter().copied()).map_or(0.0, |spread| spread.median);
    if busy < 0.95 && load_busy > 0.95 {
        report.notes.push(format!(
            "{what}: the host used {:.0} % of its core while the load used {:.0} % of its own: the load was the bottleneck",
            busy * 100.0,
            load_busy * 100.0
        ));
    }
}
