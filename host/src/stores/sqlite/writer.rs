//! The thread that writes. It takes all that waits, carries it out in one transaction with a savepoint for each
//! write, and answers after the commit: one sync of the disk for the whole group, and one failing write leaves the
//! others alone.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, closed, readers::Readers};

/// How many writes wait, and how many one commit takes, at most. A guess: large enough to share a sync, small enough
/// that the first of a group doesn't wait long for the last. Who finds the queue full waits outside it.
const GROUP: usize = 256;

/// A handle to the queue. The thread ends, orderly, when the last handle is gone.
pub(super) struct Writer(mpsc::Sender<Message>);

/// What the thread owns, and closes at its end, in this order.
pub(super) struct Estate {
    pub(super) readers: Readers,
    pub(super) reader_threads: Vec<JoinHandle<()>>,
    pub(super) connection: Connection,
    pub(super) lock: File,
}

enum Message {
    Write(Box<dyn Pending>),
    /// Finish what is queued, end, then answer.
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(estate: Estate) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, queue) = mpsc::channel(GROUP);
        let thread = thread::Builder::new().name("tenon-write".to_owned()).spawn(move || serve(queue, estate))?;
        Ok((Self(sender), thread))
    }

    /// Whether writes are still taken.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// Hands a write over and waits for its commit.
    ///
    /// # Cancel safety
    ///
    /// Dropped while the queue is full, nothing was handed over; after that, the write is carried out.
    pub(super) async fn write<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Write { run: Some(run), outcome: None, reply };
        self.0.send(Message::Write(Box::new(write))).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Ends the thread after all that was handed over before.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Message::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// A write that waits, whatever it returns.
trait Pending: Send {
    /// Carries it out; whether its changes are to be kept.
    fn apply(&mut self, connection: &Connection) -> bool;
    /// The transaction is gone, and with it what `apply` has seen or done.
    fn lose(&mut self, cause: &Arc<rusqlite::Error>);
    /// Tells who waits. Whether anybody does is not our business.
    fn answer(self: Box<Self>);
}

struct Write<T, F> {
    run: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Pending for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn apply(&mut self, connection: &Connection) -> bool {
        let Some(run) = self.run.take() else { return false };
        // A panic is an error of ours; its write is taken back, and without an outcome the asker learns of it.
        self.outcome = catch_unwind(AssertUnwindSafe(|| run(connection))).ok();
        matches!(self.outcome, Some(Ok(_)))
    }

    fn lose(&mut self, cause: &Arc<rusqlite::Error>) {
        self.outcome = Some(Err(StoreError::Unavailable(Box::new(Lost(cause.clone())))));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            let _ = self.reply.send(outcome);
        }
    }
}

/// A group's commit failed.
#[derive(Debug, thiserror::Error)]
#[error("the commit failed")]
struct Lost(#[source] Arc<rusqlite::Error>);

fn serve(mut queue: mpsc::Receiver<Message>, estate: Estate) {
    let Estate { readers, reader_threads, connection, lock } = estate;
    let mut closers = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let mut group = VecDeque::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write(write) => group.push_back(write),
                Message::Close(reply) => {
                    // What is in the queue is still received.
                    queue.close();
                    closers.push(reply);
                }
            }
            next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        commit(&connection, group);
    }
    readers.close();
    for thread in reader_threads {
        let _ = thread.join();
    }
    // The log has it all already; this only spares the next start the work.
    if let Err(problem) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%problem, "the embedded store's log could not be folded into its file");
    }
    drop(connection);
    drop(lock);
    for reply in closers {
        let _ = reply.send(());
    }
}

/// Carries out a group. An error that ends the whole transaction (a full disk, say) takes the writes before it along;
/// those after it get a transaction of their own.
fn commit(connection: &Connection, mut waiting: VecDeque<Box<dyn Pending>>) {
    while !waiting.is_empty() {
        let mut applied = Vec::with_capacity(waiting.len());
        if let Err(cause) = transact(connection, &mut waiting, &mut applied) {
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            tracing::error!(problem = %cause, writes = applied.len(), "writes to the embedded store were lost");
            let cause = Arc::new(cause);
            applied.iter_mut().for_each(|write| write.lose(&cause));
        }
        applied.into_iter().for_each(|write| write.answer());
    }
}

/// Moves each write from `waiting` to `applied` as it is carried out; at least one, or there would be no end.
fn transact(
    connection: &Connection,
    waiting: &mut VecDeque<Box<dyn Pending>>,
    applied: &mut Vec<Box<dyn Pending>>,
) -> rusqlite::Result<()> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
    if let Err(cause) = run("BEGIN IMMEDIATE") {
        applied.extend(waiting.drain(..));
        return Err(cause);
    }
    while let Some(mut write) = waiting.pop_front() {
        let savepoint = run("SAVEPOINT write");
        let is_kept = savepoint.is_ok() && write.apply(connection);
        applied.push(write);
        savepoint?;
        if !is_kept {
            // Fails where SQLite has ended the transaction, and then so do we.
            run("ROLLBACK TO write")?;
        }
        run("RELEASE write")?;
    }
    run("COMMIT")
}
