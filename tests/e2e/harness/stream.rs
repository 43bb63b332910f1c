//! A stream of server-sent events, read as a browser does.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use super::LONG;

/// An answer that does not end by itself.
pub(crate) struct Events {
    /// The HTTP status.
    pub(crate) status: u16,
    head: Vec<String>,
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Events {
    /// Asks for a stream, with these header lines.
    ///
    /// # Panics
    ///
    /// Where no answer begins in time.
    pub(crate) fn open(address: SocketAddr, path: &str, headers: &[&str]) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        // HTTP/1.0, so that the pieces come as they are.
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n").expect("the request is sent");
        let mut events = Self { status: 0, head: Vec::new(), lines: BufReader::new(stream) };
        while let Some(line) = events.line().filter(|line| !line.is_empty()) {
            events.head.push(line);
        }
        let status = events.head.first().and_then(|line| line.split(' ').nth(1)).expect("a status");
        events.status = status.parse().expect("a number");
        events
    }

    /// A header of the answer; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let of = |line: &'_ String| line.split_once(": ").is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.iter().find(|line| of(line)).and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }

    /// The next line; `None` where the stream has ended.
    ///
    /// # Panics
    ///
    /// Where none comes in time.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("a line in time");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; comments are passed over. `None` where the stream has ended.
    ///
    /// # Panics
    ///
    /// As [`Events::line`], and where an event is not as OFREP has it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let (mut id, mut data) = (None, None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                _ if line.is_empty() => {
                    if let (Some(id), Some(data)) = (id.take(), data.take()) {
                        return Some(Event { id, data });
                    }
                }
                Some(("event", name)) => assert_eq!(name, "message"),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data = Some(serde_json::from_str(value).expect("JSON")),
                _ => {}
            }
        }
    }

    /// Reads to the end of the stream, whatever comes before it.
    ///
    /// # Panics
    ///
    /// As [`Events::line`].
    pub(crate) fn ends(mut self) {
        while self.line().is_some() {}
    }
}
