//! What one runtime of the gateway does: accepts from the listening sockets it was given, serves HTTP/1 on what comes,
//! and stops orderly.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

use super::{
    body::AnswerBody,
    connection::{Count, Link},
    door::Door,
    head_timer::HeadClock,
    listener::GatewaySettings,
    patient::Patient,
    respond,
};
use crate::problem::Problem;

/// What all runtimes of the gateway have in common.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) door: Arc<Door>,
    pub(super) settings: GatewaySettings,
    /// Those that are served.
    pub(super) connections: Count,
    /// Those that are told that there are too many.
    pub(super) refused: Count,
    /// How long open requests may take once the gateway stops.
    pub(super) stopped: watch::Receiver<Option<Duration>>,
}

/// From which sockets to accept. Sockets are known by their number.
#[derive(Debug)]
pub(super) enum Order {
    /// This one, too.
    Take(usize, std::net::TcpListener),
    /// This one no more; connections that came by it stay.
    Leave(usize),
}

/// The most header lines hyper takes unless it is told otherwise.
const HYPER_MAX_HEADERS: usize = 100;

/// How many clients at once are told that there are too many connections.
const MOST_REFUSED: usize = 128;

/// How long telling them may take.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// Answers where there are too many connections.
async fn refuse(_: http::Request<Incoming>) -> Result<http::Response<AnswerBody>, Infallible> {
    Ok(respond::last(&Problem::too_many_connections()))
}

/// Serves until the gateway stops.
pub(super) async fn serve(serving: Serving, mut orders: mpsc::UnboundedReceiver<Order>) {
    let Serving { door, settings, connections, refused, mut stopped } = serving;
    let mut http = http1::Builder::new();
    // Not `pipeline_flush`: it would hold an answer back while a part of the next request is there already.
    http.header_read_timeout(settings.header_timeout).max_buf_size(settings.header_bytes.max(8192));
    // Told the number it has anyway, hyper would clear the room for so many header lines before each head.
    if settings.header_count != HYPER_MAX_HEADERS {
        http.max_headers(settings.header_count);
    }
    let mut clock = HeadClock::new(settings.header_timeout);
    let mut ticks = tokio::time::interval(clock.every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = tokio::task::JoinSet::new();
    let mut sockets = Sockets::default();
    loop {
        let accepted = tokio::select! {
            accepted = sockets.accept() => accepted,
            _ = ticks.tick() => {
                clock.tick();
                continue;
            }
            Some(order) = orders.recv() => {
                sockets.follow(order);
                continue;
            }
            _ = stopped.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (Patient::new(stream, settings.write_timeout), peer),
            Err(error) => {
                // Out of file descriptors: waits for some to come back instead of spinning.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        http.timer(clock.timer());
        let Some(counted) = connections.add(settings.connections) else {
            // They are counted apart: who comes when even these are too many is hung up on.
            if let Some(counted) = refused.add(MOST_REFUSED) {
                let refusing = http.serve_connection(TokioIo::new(stream), service_fn(refuse));
                open.spawn(async move {
                    let _ = tokio::time::timeout(REFUSAL_WAIT, refusing).await;
                    drop(counted);
                });
            }
            continue;
        };
        // One count for the connection's requests: the door's own is shared by all threads.
        let link = Arc::new(Link::new(Arc::clone(&door), peer));
        let of_requests = Arc::clone(&link);
        let service = service_fn(move |request| Arc::clone(&of_requests).answer(request));
        let running = link.run(http.serve_connection(TokioIo::new(stream), service), stopped.clone());
        open.spawn(async move {
            running.await;
            drop(counted);
        });
    }
    drop(sockets);
    let deadline = stopped.borrow().unwrap_or_default();
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, all).await.is_err() {
        tracing::warn!(?deadline, "connections were still open at the shutdown deadline");
    }
    open.shutdown().await;
}

/// The sockets that this runtime accepts from: one of its own, and those of threads that are stuck.
#[derive(Default)]
struct Sockets {
    taken: Vec<(usize, TcpListener)>,
    /// Where the next look begins, so that none is served before all others for ever.
    next: usize,
}

impl Sockets {
    fn follow(&mut self, order: Order) {
        match order {
            Order::Take(number, socket) => match TcpListener::from_std(socket) {
                Ok(socket) => self.taken.push((number, socket)),
                Err(error) => tracing::error!(%error, "a listening socket can't be served"),
            },
            Order::Leave(number) => self.taken.retain(|(taken, _)| *taken != number),
        }
    }

    /// The next connection; waits for ever where there is no socket.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: no connection is lost.
    async fn accept(&mut self) -> io::Result<(TcpStream, IpAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, IpAddr)>> {
        for step in 0..self.taken.len() {
            let at = (self.next + step) % self.taken.len();
            if let Poll::Ready(accepted) = self.taken[at].1.poll_accept(cx) {
                self.next = at + 1;
                return Poll::Ready(accepted.map(|(stream, peer)| {
                    let _ = stream.set_nodelay(true);
                    (stream, peer.ip())
                }));
            }
        }
        Poll::Pending
    }
}
