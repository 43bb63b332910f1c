//! The operators' listener: one thread with a runtime of its own, on which no module's code ever runs.

use std::{convert::Infallible, io, net::SocketAddr, thread::JoinHandle, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    sync::oneshot,
};
use tower::ServiceExt;

/// How long a request's head may take.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// How long requests that are being answered may hold up the end.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A running listener. One that is dropped stops too, without anybody waiting for it.
#[derive(Debug)]
pub struct AdminListener {
    address: SocketAddr,
    /// Gone: the listener is to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminListener {
    /// Binds (port 0 takes any), unless it is given a socket that listens, and begins to serve. Blocks only for the
    /// binding; not for threads of a runtime.
    ///
    /// # Errors
    ///
    /// Where the address can't be bound or the thread can't be made.
    pub fn start(listen: SocketAddr, given: Option<std::net::TcpListener>, router: Router) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            match given {
                Some(socket) => TcpListener::from_std(socket)?,
                None => bind(listen)?,
            }
        };
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("tenon-admin".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, stopped)))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets requests that are being answered end within 5 s, and ends the thread. Blocks until
    /// then.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the operators' listener panicked");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

async fn serve(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    let graceful = GracefulShutdown::new();
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: waits for some to come back instead of spinning.
                tracing::warn!(%error, "an operator's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let answer = router.clone().oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            // Clients go away; that is no news.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an operator's connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_WAIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("operators' requests were still being answered at the end");
    }
    open.shutdown().await;
}
