//! The tenant listener: accepts connections, serves HTTP/1, and stops orderly.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Handle},
    sync::watch,
    time::MissedTickBehavior,
};

use super::{door::Door, head_timer::HeadClock};
use crate::loader::sweep_this_thread;

/// On what tenant traffic runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeMode {
    /// One current-thread runtime for each worker, each with a listening socket of its own.
    #[default]
    PerCore,
    /// One runtime whose workers share their tasks.
    WorkStealing,
}

/// How the listener behaves.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where to listen; port 0 takes any.
    pub listen: SocketAddr,
    /// On what to run.
    pub mode: RuntimeMode,
    /// How many workers, at least 1.
    pub workers: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// The most bytes of a request's head.
    pub header_bytes: usize,
    /// The most header lines of a request.
    pub header_count: usize,
}

/// A running listener.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    /// How many threads serve.
    threads: usize,
    /// Told by each thread when it ends. In a mutex only so that a host can be shared.
    ended: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    handles: Vec<Handle>,
}

/// How long connections that were cut may take to be gone, before a thread is left to the process's end: a handler
/// that never yields keeps its thread.
const CUT_WAIT: Duration = Duration::from_secs(2);

impl Gateway {
    /// Binds and begins to serve.
    ///
    /// # Errors
    ///
    /// Where the address can't be bound or a thread can't be made.
    pub fn start(settings: &GatewaySettings, door: Arc<Door>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let (tell, ended) = std::sync::mpsc::channel();
        let workers = settings.workers.max(1);
        let mut gateway = Self { address: settings.listen, stop, threads: 0, ended: ended.into(), handles: Vec::new() };
        match settings.mode {
            RuntimeMode::PerCore => {
                refuse_taken(settings.listen)?;
                for worker in 0..workers {
                    let runtime =
                        Builder::new_current_thread().enable_all().on_thread_park(sweep_this_thread).build()?;
                    let listener = {
                        let _entered = runtime.enter();
                        bind(gateway.address, workers > 1)?
                    };
                    gateway.address = listener.local_addr()?;
                    let serving = serve(listener, Arc::clone(&door), settings.clone(), stopped.clone());
                    gateway.handles.push(runtime.handle().clone());
                    gateway.begin(format!("tenon-gateway-{worker}"), tell.clone(), move || {
                        runtime.block_on(serving);
                    })?;
                }
            }
            RuntimeMode::WorkStealing => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(workers)
                    .enable_all()
                    .thread_name("tenon-gateway")
                    .on_thread_park(sweep_this_thread)
                    .build()?;
                let listener = {
                    let _entered = runtime.enter();
                    bind(settings.listen, false)?
                };
                gateway.address = listener.local_addr()?;
                let serving = serve(listener, door, settings.clone(), stopped);
                gateway.handles.push(runtime.handle().clone());
                gateway.begin("tenon-gateway-main".to_owned(), tell, move || {
                    let serving = runtime.spawn(serving);
                    let _ = runtime.block_on(serving);
                    // Workers that a handler never gives back are not waited for.
                    runtime.shutdown_timeout(CUT_WAIT / 2);
                })?;
            }
        }
        Ok(gateway)
    }

    fn begin(
        &mut self,
        name: String,
        ended: std::sync::mpsc::Sender<()>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(move || {
            let _told = TellEnd(ended);
            run();
        })?;
        self.threads += 1;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The runtimes on which requests run.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Accepts no more, lets open requests end, closes what is left after `deadline`, and ends the threads.
    /// Blocks until then; a thread that a handler never gives back is left behind.
    pub fn stop(self, deadline: Duration) {
        let _ = self.stop.send(Some(deadline));
        let latest = Instant::now() + deadline + CUT_WAIT;
        let ended = self.ended.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for left in (1..=self.threads).rev() {
            let wait = latest.saturating_duration_since(Instant::now());
            if ended.recv_timeout(wait).is_err() {
                tracing::error!(threads = left, "handlers that do not end keep threads of the gateway");
                return;
            }
        }
    }
}

/// Tells when the thread ends, by a panic as well.
struct TellEnd(std::sync::mpsc::Sender<()>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Refuses an address on which somebody listens already. A shared port would be granted to a second host of the
/// same user too, and the two would take turns answering.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    // The system never chooses a port that is shared.
    if address.port() == 0 { Ok(()) } else { socket(address, false).map(drop) }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    socket(address, shared)?.listen(1024)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    #[cfg(target_os = "linux")]
    if shared {
        socket.set_reuseport(true)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = shared;
    socket.bind(address)?;
    Ok(socket)
}

/// The most header lines hyper takes unless it is told otherwise.
const HYPER_MAX_HEADERS: usize = 100;

async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    settings: GatewaySettings,
    mut stopped: watch::Receiver<Option<Duration>>,
) {
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ticks.tick() => {
                clock.tick();
                continue;
            }
            _ = stopped.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
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
    drop(listener);
    let deadline = stopped.borrow().unwrap_or_default();
    if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!(?deadline, "connections were still open at the shutdown deadline");
    }
    open.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_served_already_is_refused_even_if_it_is_shared() {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        refuse_taken(any).unwrap();
        let serving = bind(any, true).unwrap();
        let address = serving.local_addr().unwrap();
        assert_eq!(refuse_taken(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let beside = bind(address, true).unwrap();
        drop((serving, beside));
        refuse_taken(address).unwrap();
    }
}
