//! The tenant listener: binds, starts the threads that serve, and stops them.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpSocket,
    runtime::{Builder, Runtime},
    sync::watch,
};

use super::{
    connection::Count,
    crew::{Crew, own_runtime},
    door::Door,
    serve::Serving,
};
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

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// Sockets of the gateway's own, at this address; port 0 takes any.
    Bind(SocketAddr),
    /// A socket that listens already and that somebody else keeps open when the gateway ends, so that no connection is
    /// refused meanwhile. Must not block.
    Given(std::net::TcpListener),
}

impl Listener {
    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Bind(address) => Ok(*address),
            Self::Given(socket) => socket.local_addr(),
        }
    }
}

/// How the listener behaves.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
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
    /// How many connections there may be; over that, clients are told so.
    pub connections: usize,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
}

/// A running listener.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    crew: Arc<Crew>,
    /// Told by each thread when it ends. In a mutex only so that a host can be shared.
    ended: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

/// How long connections that were cut may take to be gone, before a thread is left to the process's end: a handler
/// that never yields keeps its thread.
pub(super) const CUT_WAIT: Duration = Duration::from_secs(2);

impl Gateway {
    /// Begins to serve on the sockets that `listener` makes.
    ///
    /// # Errors
    ///
    /// Where the address can't be bound or a thread can't be made.
    pub fn start(settings: &GatewaySettings, listener: Listener, door: Arc<Door>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let (tell, ended) = std::sync::mpsc::channel();
        let workers = settings.workers.max(1);
        let (settings_of_all, connections, refused) = (settings.clone(), Count::default(), Count::default());
        let serving = Serving { door, settings: settings_of_all, connections, refused, stopped };
        let crew = Arc::new(Crew::new(serving, tell));
        let address = listener.address()?;
        let mut gateway = Self { address, stop, crew, ended: ended.into() };
        match settings.mode {
            RuntimeMode::PerCore => {
                if let Listener::Bind(address) = listener {
                    refuse_taken(address)?;
                }
                for worker in 0..workers {
                    let runtime = own_runtime()?;
                    let socket = match &listener {
                        Listener::Bind(_) => bind(&runtime, gateway.address, workers > 1)?,
                        // One queue for all: what waits in it when they end is the next host's.
                        Listener::Given(socket) => socket.try_clone()?,
                    };
                    gateway.address = socket.local_addr()?;
                    gateway.crew.add_worker(format!("tenon-gateway-{worker}"), runtime, socket)?;
                }
            }
            RuntimeMode::WorkStealing => {
                let name = "tenon-gateway";
                let runtime = Builder::new_multi_thread()
                    .worker_threads(workers)
                    .enable_all()
                    .thread_name(name)
                    .on_thread_park(sweep_this_thread)
                    .build()?;
                let socket = match listener {
                    Listener::Bind(address) => bind(&runtime, address, false)?,
                    Listener::Given(socket) => socket,
                };
                gateway.address = socket.local_addr()?;
                gateway.crew.add_shared(name.to_owned(), workers, runtime, socket)?;
            }
        }
        Ok(gateway)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The threads that serve.
    pub fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// Accepts no more, lets open requests end, closes what is left after `deadline`, and ends the threads.
    /// Blocks until then; a thread that a handler never gives back is left behind.
    pub fn stop(self, deadline: Duration) {
        let threads = self.crew.stop();
        let _ = self.stop.send(Some(deadline));
        let latest = Instant::now() + deadline + CUT_WAIT;
        let ended = self.ended.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for left in (1..=threads).rev() {
            let wait = latest.saturating_duration_since(Instant::now());
            if ended.recv_timeout(wait).is_err() {
                tracing::error!(threads = left, "handlers that do not end keep threads of the gateway");
                return;
            }
        }
    }
}

/// Refuses an address on which somebody listens already. A shared port would be granted to a second host of the
/// same user too, and the two would take turns answering.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    // The system never chooses a port that is shared.
    if address.port() == 0 { Ok(()) } else { socket(address, false).map(drop) }
}

fn bind(runtime: &Runtime, address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let _entered = runtime.enter();
    socket(address, shared)?.listen(1024)?.into_std()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_served_already_is_refused_even_if_it_is_shared() {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let runtime = own_runtime().unwrap();
        refuse_taken(any).unwrap();
        let serving = bind(&runtime, any, true).unwrap();
        let address = serving.local_addr().unwrap();
        assert_eq!(refuse_taken(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let beside = bind(&runtime, address, true).unwrap();
        drop((serving, beside));
        refuse_taken(address).unwrap();
    }
}
