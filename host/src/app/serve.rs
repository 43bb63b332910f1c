//! `tenon serve`: a host that runs until a signal.

use std::io;

use super::{
    builder::{HostBuilder, StartError},
    host::Host,
};

/// Runs a host until SIGTERM or SIGINT, then stops it orderly. A second signal ends the process at once with
/// status 1. `on_start` is told when both listeners answer.
///
/// # Errors
///
/// [`StartError`] where it did not start.
pub fn serve(builder: HostBuilder, on_start: impl FnOnce(&Host)) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Io { what: "the main runtime".to_owned(), source })?;
    runtime.block_on(async {
        let mut signals =
            Signals::new().map_err(|source| StartError::Io { what: "the signal handlers".to_owned(), source })?;
        let host = builder.start().await?;
        on_start(&host);
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
        tokio::select! {
            () = host.shutdown() => tracing::info!("stopped"),
            _ = signals.next() => {
                tracing::warn!("a second signal: leaving at once");
                std::process::exit(1);
            }
        }
        Ok(())
    })
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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

    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "ctrl-c"
    }
}
