//! The runtime on which module code runs that no request waits for, and what makes its threads, and the
//! gateway's, give up what an unloading library left on them.

use std::{io, sync::Arc};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::loader::{Loader, sweep_this_thread};

/// The background runtime.
#[derive(Debug)]
pub(super) struct Background {
    runtime: Runtime,
    workers: usize,
}

impl Background {
    /// Starts it with so many workers, at least two: one that a module keeps busy leaves another.
    pub(super) fn start(workers: usize) -> io::Result<Self> {
        let workers = workers.max(2);
        let runtime = Builder::new_multi_thread()
            // What a module leaves on a blocking thread goes when the thread does.
            .thread_keep_alive(std::time::Duration::from_millis(200))
            .worker_threads(workers)
            .enable_all()
            .thread_name("tenon-background")
            .on_thread_park(sweep_this_thread)
            .build()?;
        Ok(Self { runtime, workers })
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Ends it without waiting for what is stuck in it.
    pub(super) fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// Tells the loader how to reach the threads that run module code.
pub(super) fn register_sweepers(loader: &Loader, gateway: &[Handle], background: &Background) {
    // A current-thread runtime needs one job. Of a work-stealing one, each worker must be met or park: more
    // jobs than workers meet those awake, and those asleep have swept when they parked.
    let reach = |handle: Handle, jobs: usize| {
        loader.add_sweeper(Arc::new(move || {
            for _ in 0..jobs {
                handle.spawn(async { sweep_this_thread() });
            }
        }));
    };
    for handle in gateway {
        reach(handle.clone(), 2 * background.workers);
    }
    reach(background.handle(), 2 * background.workers);
}
