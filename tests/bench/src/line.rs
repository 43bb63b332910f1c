//! A connection that is made anew where it failed, and what came of each request on it: for loads that go on whatever
//! becomes of the server.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::load::Client;

/// After so long without an answer there is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait before a connection that failed is made anew.
const RECONNECT: Duration = Duration::from_millis(10);

/// When a request was sent, and its answer received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
}

/// A connection, while it holds.
pub(crate) struct Line {
    address: SocketAddr,
    client: Option<Client>,
}

/// What came of a request.
pub(crate) struct Asked {
    pub(crate) times: Times,
    pub(crate) answer: io::Result<Vec<u8>>,
}

impl Line {
    /// Not made yet.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    /// Sends a request and waits for its whole answer, or until there is none.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Asked {
        let sent = Instant::now();
        let asking = async {
            let client = match &mut self.client {
                Some(client) => client,
                none => none.insert(Client::connect(self.address).await?),
            };
            Ok(client.exchange(request).await?.to_vec())
        };
        let answer = tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))));
        let times = Times { sent, received: Instant::now() };
        if answer.is_err() {
            self.client = None;
            tokio::time::sleep(RECONNECT).await;
        }
        Asked { times, answer }
    }
}

/// The status of an answer; 0 where it is none.
pub(crate) fn status(answer: &[u8]) -> u16 {
    let digits = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// The body of an answer.
pub(crate) fn body(answer: &[u8]) -> &[u8] {
    const BLANK: &[u8] = b"\r\n\r\n";
    answer.windows(BLANK.len()).position(|at| at == BLANK).map_or(&[], |at| &answer[at + BLANK.len()..])
}

/// The body of an answer as JSON; null where it is none.
pub(crate) fn json(answer: &[u8]) -> Value {
    serde_json::from_slice(body(answer)).unwrap_or_default()
}

/// The first lines of an answer, for people.
pub(crate) fn shown(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(600)]).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_found_in_an_answer() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        assert_eq!((status(answer), json(answer)["a"].as_u64()), (503, Some(1)));
        assert_eq!((status(b"HTTP/1.1 20"), json(b"HTTP/1.1 204 No Content\r\n\r\n")), (0, Value::Null));
    }
}
