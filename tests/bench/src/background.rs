//! Work on a thread of its own while the calling one measures, or disturbs; until it is told to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::failure::{Doing, Failure, Result};

/// Running work. Told to end and waited for when it is dropped.
pub(crate) struct Background<T> {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts the work, which looks at what it is given to know when to end.
    pub(crate) fn start(work: impl FnOnce(&Arc<AtomicBool>) -> Result<T> + Send + 'static) -> Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || work(&until));
        Ok(Self { end, thread: Some(thread.doing("start the load's thread")?) })
    }

    /// Whether it has ended by itself, which means that it failed.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it when each request that is under way has its answer.
    pub(crate) fn end(mut self) -> Result<T> {
        self.end.store(true, Ordering::Relaxed);
        let over = || Err(Failure::new("the load panicked"));
        self.thread.take().map_or_else(over, |thread| thread.join().unwrap_or_else(|_| over()))
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
