//! What one runtime of the gateway does: accepts from the listening sockets it was given, serves HTTP/1 on what comes,
//! and stops orderly.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

use super::{door::Door, head_timer::HeadClock, listener::GatewaySettings};

/// What all runtimes of the gateway have in common.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) door: Arc<Door>,
    pub(super) settings: GatewaySettings,
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

/// Serves until the gateway stops.
pub(super) async fn serve(serving: Serving, mut orders: mpsc::UnboundedReceiver<Order>) {
    let Serving { door, settings, mut stopped } = serving;
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
    let graceful = GracefulShutdown::new();
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
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file descriptors: waits for some to come back instead of spinning.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let door = Arc::clone(&door);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        http.timer(clock.timer());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            // Clients go away; that is no news.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(sockets);
    let deadline = stopped.borrow().unwrap_or_default();
    if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
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
    async fn accept(&mut self) -> io::Result<TcpStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        for step in 0..self.taken.len() {
            let at = (self.next + step) % self.taken.len();
            if let Poll::Ready(accepted) = self.taken[at].1.poll_accept(cx) {
                self.next = at + 1;
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    }
}
