//! The load: HTTP/1.1 clients on one thread, as light as they can be, so that the server is what is measured.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

use crate::{
    failure::{Doing, Failure, Result},
    machine,
    stats::Latencies,
    tenants::{BASE, TENANTS, item_path, tenant_name},
};

/// A stuck server must not stall the benchmark for ever.
const STUCK: Duration = Duration::from_secs(20);

/// What one round of load saw.
#[derive(Debug)]
pub(crate) struct Round {
    /// Answers, each a complete one and a success.
    pub(crate) answers: u64,
    /// From the first request to the end.
    pub(crate) wall: Duration,
    /// From a request to its whole answer.
    pub(crate) latencies: Latencies,
    /// Which part of the round the load's own thread was busy, 0 to 1.
    pub(crate) load_busy: f64,
}

impl Round {
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.wall.as_secs_f64()
    }
}

/// What is asked for, in turn; as bytes.
pub(crate) type Requests = Rc<[Vec<u8>]>;

/// One request for each tenant.
pub(crate) fn requests() -> Requests {
    (0..TENANTS).map(|index| request(&item_path(index), index).into_bytes()).collect()
}

pub(crate) fn request(path: &str, tenant: usize) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nX-Tenant-Id: {}\r\n\r\n", tenant_name(tenant))
}

/// Keeps so many connections busy: each sends its next request when it has the answer. Runs on the calling
/// thread.
pub(crate) fn closed(address: SocketAddr, requests: Requests, connections: usize, lasting: Duration) -> Result<Round> {
    run(async move {
        let latencies = Rc::new(RefCell::new(Latencies::default()));
        let mut clients = Vec::new();
        for index in 0..connections {
            let mut client = Client::connect(address).await?;
            // What is new to this server is made before the clock runs.
            client.ask(&requests[index % requests.len()]).await?;
            clients.push(client);
        }
        let (begun, busy) = (Instant::now(), machine::thread_time());
        let until = begun + lasting;
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(index, mut client)| {
                let (requests, latencies) = (Rc::clone(&requests), Rc::clone(&latencies));
                tokio::task::spawn_local(async move {
                    let (mut answers, mut sent) = (0, Instant::now());
                    // Each connection begins elsewhere, so that neighbours don't ask for the same tenant.
                    let mut next = index * requests.len() / connections;
                    while sent < until {
                        client.ask(&requests[next]).await?;
                        let now = Instant::now();
                        latencies.borrow_mut().add(now - sent);
                        (answers, sent, next) = (answers + 1, now, (next + 1) % requests.len());
                    }
                    Ok::<u64, io::Error>(answers)
                })
            })
            .collect();
        let mut answers = 0;
        for task in tasks {
            answers += task.await.map_err(io::Error::other)??;
        }
        let wall = begun.elapsed();
        let load_busy = (machine::thread_time() - busy).as_secs_f64() / wall.as_secs_f64();
        let latencies = latencies.take();
        Ok(Round { answers, wall, latencies, load_busy })
    })
}

/// The answers to requests, one after the other.
pub(crate) fn answers(address: SocketAddr, requests: Requests) -> Result<Vec<Vec<u8>>> {
    run(async move {
        let mut client = Client::connect(address).await?;
        let mut answers = Vec::new();
        for request in requests.iter() {
            answers.push(client.exchange(request).await?.to_vec());
        }
        Ok(answers)
    })
}

/// Asks each tenant once, so that each has its instance.
pub(crate) fn warm_up(address: SocketAddr) -> Result<()> {
    let requests = requests();
    run(async move {
        let mut client = Client::connect(address).await?;
        for request in requests.iter() {
            client.ask(request).await?;
        }
        Ok(())
    })
}

/// At what rate requests are sent whatever becomes of them, and what else happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) connections: usize,
    /// Of one connection.
    pub(crate) every: Duration,
    pub(crate) lasting: Duration,
    /// How often a further client sends a request that blocks its thread; `None`: never.
    pub(crate) block_every: Option<Duration>,
}

/// Sends requests at a fixed pace. Latencies count from the moment when a request was due: one that is sent late
/// because the answer before it was late has waited too.
pub(crate) fn paced(address: SocketAddr, pace: Pace) -> Result<Latencies> {
    let requests = requests();
    run(async move {
        let latencies = Rc::new(RefCell::new(Latencies::default()));
        let begin = Instant::now() + Duration::from_millis(50);
        let mut tasks = Vec::new();
        for index in 0..pace.connections {
            let mut client = Client::connect(address).await?;
            let (requests, latencies) = (Rc::clone(&requests), Rc::clone(&latencies));
            tasks.push(tokio::task::spawn_local(async move {
                let offset = pace.every.mul_f64(index as f64 / pace.connections as f64);
                let mut due = begin + offset;
                let mut next = index * TENANTS / pace.connections;
                while due < begin + pace.lasting {
                    let in_time = Instant::now() < due;
                    tokio::time::sleep_until(due.into()).await;
                    // A timer may be late by a millisecond, which is not the server's fault.
                    let from = if in_time { Instant::now() } else { due };
                    client.ask(&requests[next]).await?;
                    latencies.borrow_mut().add(from.elapsed());
                    next = (next + 1) % TENANTS;
                    due += pace.every;
                }
                Ok::<(), io::Error>(())
            }));
        }
        if let Some(every) = pace.block_every {
            let mut client = Client::connect(address).await?;
            let block = request(&format!("{BASE}/block"), 0).into_bytes();
            tasks.push(tokio::task::spawn_local(async move {
                let mut due = begin + every / 2;
                while due < begin + pace.lasting {
                    tokio::time::sleep_until(due.into()).await;
                    client.ask(&block).await?;
                    due += every;
                }
                Ok(())
            }));
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(latencies.take())
    })
}

fn run<T>(load: impl Future<Output = io::Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    let limited = async { tokio::time::timeout(STUCK, load).await };
    match LocalSet::new().block_on(&runtime, limited) {
        Ok(done) => done.doing("load the server"),
        Err(_) => Err(Failure::new(format!("the server was stuck: the round did not end within {STUCK:?}"))),
    }
}

/// One connection. Asks for one thing at a time.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 128 * 1024] })
    }

    /// Sends a request and waits for its whole answer, which must be a success.
    async fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        let answer = self.exchange(request).await?;
        // What has not changed is a success too.
        if answer.starts_with(b"HTTP/1.1 20") || answer.starts_with(b"HTTP/1.1 304") {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(answer).into_owned()))
        }
    }

    /// Sends a request and waits for its whole answer, whatever it is: head and body. One in chunks ends with the
    /// empty one, which nothing before it may look like.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            filled += read;
            let answer = &self.buffer[..filled];
            match answer_length(answer) {
                Some(Length::Bytes(length)) if length == filled => break,
                Some(Length::Bytes(length)) if length < filled => {
                    return Err(io::Error::other("the server sent more than it said"));
                }
                Some(Length::InChunks) if answer.ends_with(b"\r\n0\r\n\r\n") => break,
                _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        Ok(&self.buffer[..filled])
    }
}

/// Where an answer ends.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    /// After so many bytes, head and body together.
    Bytes(usize),
    InChunks,
}

/// The length of an answer; `None` where the head is not complete. Where it says nothing there is no body.
fn answer_length(answer: &[u8]) -> Option<Length> {
    const LENGTH: &[u8] = b"content-length:";
    const CODING: &[u8] = b"transfer-encoding:";
    let (mut at, mut body, mut in_chunks) = (0, 0, false);
    let is = |line: &[u8], name: &[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
    loop {
        let end = at + answer[at..].iter().position(|byte| *byte == b'\n')?;
        let line = answer[at..end].trim_ascii_end();
        at = end + 1;
        if line.is_empty() {
            return Some(if in_chunks { Length::InChunks } else { Length::Bytes(at + body) });
        }
        if is(line, LENGTH) {
            body = std::str::from_utf8(line[LENGTH.len()..].trim_ascii()).ok()?.parse().ok()?;
        }
        in_chunks |= is(line, CODING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_length_is_known_when_its_head_is_complete() {
        let bytes = |count| Some(Length::Bytes(count));
        assert_eq!(answer_length(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n"), None);
        assert_eq!(answer_length(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), bytes(41));
        assert_eq!(answer_length(b"HTTP/1.1 204 No Content\r\nx-request-id: 7\r\n\r\n"), bytes(44));
        let in_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        assert_eq!(answer_length(in_chunks), Some(Length::InChunks));
    }
}
