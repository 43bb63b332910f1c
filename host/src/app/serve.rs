//! `tenon serve`: a host that runs until a signal.

use std::io;

use super::{
    builder::{HostBuilder, StartError},
    host::Host,
};

/// Runs a host until SIGTERM or SIGINT, then stops it orderly; a second one ends the process at once with status 1. With
/// SIGHUP the plugins folder is read again. `on_start` is told when both listeners answer.
///
/// # Errors
///
/// [`StartError`] where it did not start.
pub fn serve(builder: HostBuilder, on_start: impl FnOnce(&Host)) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Io { what: "the main runtime".to_owned(), source })?;
    let ended = runtime.block_on(async {
        let mut signals =
            Signals::new().map_err(|source| StartError::Io { what: "the signal handlers".to_owned(), source })?;
        let host = builder.start().await?;
        on_start(&host);
        let signal = loop {
            match signals.next().await {
                Signal::Stop(signal) => break signal,
                Signal::Reload => {
                    tracing::info!(signal = "SIGHUP", "the plugins folder is read");
                    // Not awaited: a folder that hangs must not keep the host from ending. That it can't be read is
                    // logged where it is tried.
                    drop(tokio::spawn(host.rescan(None)));
                }
            }
        };
        tracing::info!(signal, "stopping");
        let stopped_again = async { while !matches!(signals.next().await, Signal::Stop(_)) {} };
        tokio::select! {
            () = host.shutdown() => tracing::info!("stopped"),
            () = stopped_again => {
                tracing::warn!("a second signal: leaving at once");
                std::process::exit(1);
            }
        }
        Ok(())
    });
    // A folder that hangs may still be read.
    runtime.shutdown_background();
    ended
}

/// What the process is told.
enum Signal {
    /// To end; the name of the signal.
    Stop(&'static str),
    /// To read the folder.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal elsewhere"))]
    Reload,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::Stop("ctrl-c")
    }
}
