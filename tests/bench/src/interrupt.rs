//! Ctrl-C and SIGTERM: the first one ends the measuring orderly, so that folders and processes go; a second one
//! ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Doing, Failure, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen, on a thread of its own.
pub(crate) fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.doing("make a runtime for signals")?;
    let listening = async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(listening))
        .map(drop)
        .doing("start the thread for signals")
}

/// Whether it is time to end; asked between rounds.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Failure::new("interrupted")) } else { Ok(()) }
}
