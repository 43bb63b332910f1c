//! The runtime on which module code runs that no request waits for, and what makes its threads, and the
//! gateway's, give up what an unloading library left on them.

use std::{io, sync::Arc};

use tokio::runtime::{Builder, Handle, Runtime};

use super::containment::BackgroundThreads;
use crate::{
    gateway::Crew,
    loader::{Loader, sweep_this_thread},
};

/// What the background workers are called.
const NAME: &str = "tenon-background";

/// How many background workers there are beside the configured ones. tokio can't add a worker to a runtime that
/// runs, so the spares are there from the start; a worker that is not needed sleeps.
const SPARES: usize = 4;

/// The background runtime.
#[derive(Debug)]
pub(super) struct Background {
    runtime: Runtime,
    workers: usize,
}

impl Background {
    /// Starts it with so many workers, and spares: each that a module keeps leaves another.
    pub(super) fn start(workers: usize) -> io::Result<Self> {
        let workers = workers.max(1) + SPARES;
        let runtime = Builder::new_multi_thread()
            // What a module leaves on a blocking thread goes when the thread does.
            .thread_keep_alive(std::time::Duration::from_millis(200))
            .worker_threads(workers)
            .enable_all()
            .thread_name(NAME)
            .on_thread_park(sweep_this_thread)
            .build()?;
        Ok(Self { runtime, workers })
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// What it can lose to modules.
    pub(super) fn threads(&self) -> BackgroundThreads {
        BackgroundThreads { handle: self.handle(), name: NAME, workers: self.workers }
    }

    /// Ends it without waiting for what is stuck in it.
    pub(super) fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// Tells the loader how to reach the threads that run module code.
pub(super) fn register_sweepers(loader: &Loader, crew: &Arc<Crew>, background: &Background) {
    // A current-thread runtime needs one job. Of a work-stealing one, each worker must be met or park: more
    // jobs than workers meet those awake, and those asleep have swept when they parked.
    let jobs = 2 * background.workers;
    let reach = move |handle: &Handle| {
        for _ in 0..jobs {
            handle.spawn(async { sweep_this_thread() });
        }
    };
    // Asked each time: there may be spares by then.
    let crew = Arc::clone(crew);
    loader.add_sweeper(Arc::new(move || crew.handles().iter().for_each(reach)));
    let background = background.handle();
    loader.add_sweeper(Arc::new(move || reach(&background)));
}
