//! The threads that read: each has a connection of its own, all take from one queue. Refuses to let an async worker
//! wait for a disk.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{StoreError, closed};

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A handle to the queue.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled once for each job, and to all at the close.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Not bounded: each job has somebody who waits for it, and those are limited where requests are let in.
    jobs: VecDeque<Job>,
    /// What is in the queue is still done; nothing is added.
    is_closed: bool,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(&self, connections: Vec<Connection>) -> io::Result<Vec<JoinHandle<()>>> {
        let start = |(index, connection)| {
            let readers = self.clone();
            thread::Builder::new().name(format!("tenon-read-{index}")).spawn(move || readers.serve(&connection))
        };
        connections.into_iter().enumerate().map(start).collect()
    }

    /// Runs a query on one of the threads.
    ///
    /// # Cancel safety
    ///
    /// A query that nobody waits for any more is not begun.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(query(connection));
            }
        });
        self.push(job)?;
        answer.await.map_err(|_| closed())?
    }

    /// Lets the threads finish what is queued, and end.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_all();
    }

    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(closed());
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.0.changed.notify_one();
        Ok(())
    }

    fn serve(&self, connection: &Connection) {
        while let Some(job) = self.next() {
            // A panic drops the job and so its reply, which the asker sees; the thread has others to serve.
            let _ = catch_unwind(AssertUnwindSafe(|| job(connection)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing that can panic runs under the lock, so what a poisoned one guards is whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
