//! The store for several hosts: a MongoDB database, which may be one that another program already keeps tenants in.
//!
//! What a commit of the embedded store holds together is one write to one document here wherever that can be: a
//! module's document carries its entries, a tenant leaves its tombstone where it was. What needs several documents (an
//! event for several subscribers, a new tenant and what is cleared away for it, all that happens under a claim) is a
//! transaction where the server is a replica set. On a standalone server, which knows no transactions, these writes come
//! in an order that is safe to repeat, and a host that is killed between them leaves an event for some of its
//! subscribers only. A claim is looked at before what is done under it, and may be lost in between. Such a server is for
//! trying things out.
//!
//! What may be more than a transaction can hold is in none: a deleted tenant's documents go behind its tombstone, a
//! collection's entries are made anew while others write. A host that is killed meanwhile leaves documents of a tenant
//! that is not there, which go when one of that id is made; a collection that is indexed by the next
//! [`Store::reindex`](super::Store::reindex).
//!
//! Weaker than the embedded store on any server: as many publishers as are at it in the same moment may pass the limit
//! of what may wait; a write that began before another host's reindex gets its new entries a moment later.
//!
//! Refuses to wait: whatever is asked is answered within [`MongoSettings::answer_within`], with
//! [`StoreError::Unavailable`] where the server does not answer. A write may still be carried out then.

mod changes;
mod definitions;
mod deliveries;
mod documents;
mod events;
mod failure;
mod find;
mod implementation;
mod json;
mod key;
mod marks;
mod moving;
mod reindex;
mod schema;
mod server;
mod tenants;
mod together;
mod wakes;

#[cfg(test)]
mod tests;

use std::{fmt, future::Future, io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    time::timeout,
};

pub use changes::Watching;

use self::{
    failure::{away, closed},
    server::{Link, Server},
};
use super::{StoreError, StoreFuture, TenantDocument};
use crate::names::TenantId;

/// How patient the store is.
#[derive(Debug, Clone, Copy)]
pub struct MongoSettings {
    /// Whoever asks has an answer after this time, if need be that the store is away.
    pub answer_within: Duration,
    /// A write that was handed over is given up after this time.
    pub carry_out_within: Duration,
    /// How often a server without change streams is looked at for changes.
    pub look_every: Duration,
}

impl Default for MongoSettings {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_millis(950),
            carry_out_within: Duration::from_secs(30),
            look_every: Duration::from_secs(1),
        }
    }
}

/// The store in a MongoDB database.
///
/// Acknowledged means that a majority of the servers has it in its journal. The server may be away when this is made, and
/// at any time later: it is found again by itself.
pub struct MongoStore {
    link: Arc<Link>,
    /// The driver's sockets and timers live here, whatever runtime the callers are on. Taken only by the drop.
    runtime: Option<Runtime>,
    /// A clone goes with each write; once all are gone, none is at work.
    at_work: std::sync::Mutex<Option<mpsc::Sender<()>>>,
    /// Whom the store tells of changes.
    watching: std::sync::Mutex<Option<Watching>>,
    /// Ends when all senders are gone.
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl MongoStore {
    /// A store in the database that the URI names. Blocks the calling thread while names are resolved; does not wait for
    /// the server. Whatever the URI says of write and read concern is overruled.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the URI is none, or names no database.
    pub fn open(uri: &str, settings: MongoSettings) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("tenon-mongo").enable_all().build();
        let runtime = runtime.map_err(|problem: io::Error| StoreError::Unavailable(Box::new(problem)))?;
        let (reply, made) = std::sync::mpsc::channel();
        let uri = uri.to_owned();
        // Not `block_on`, which panics where the caller is inside a runtime.
        runtime.spawn(async move {
            let _ = reply.send(Link::new(&uri, settings).await);
        });
        let link = match made.recv() {
            Ok(Ok(link)) => Arc::new(link),
            refused => {
                runtime.shutdown_background();
                return Err(refused.map_or_else(|_| closed(), |refused| refused.err().unwrap_or_else(closed)));
            }
        };
        let (at_work, ended) = mpsc::channel(1);
        let at_work = std::sync::Mutex::new(Some(at_work));
        let (watching, ended) = (std::sync::Mutex::default(), tokio::sync::Mutex::new(ended));
        Ok(Self { link, runtime: Some(runtime), at_work, watching, ended })
    }

    /// Whether this is a URI that names a database, without a connection. An address of kind `mongodb+srv://` is not
    /// looked up.
    ///
    /// # Errors
    ///
    /// As [`MongoStore::open`].
    pub fn check(uri: &str) -> Result<(), StoreError> {
        server::check(uri)
    }

    /// Finishes what was handed over. Later operations fail with [`StoreError::Unavailable`]. Dropping the store does the
    /// same, and blocks meanwhile.
    pub async fn close(&self) {
        drop(self.watching.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        drop(self.at_work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        while self.ended.lock().await.recv().await.is_some() {}
    }

    /// Gives a tenant's document that a foreign program wrote the next revision, and returns it. Nothing is written
    /// where the document is Tenon's own, or another host was first: however many do this at once, the revision
    /// grows by one step. Reading a tenant does it too. `None` where there is no such tenant.
    ///
    /// # Errors
    ///
    /// [`StoreError::Tenant`] where the document can't be understood; its revision stays, then, until it can.
    pub fn adopt<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        let id = id.clone();
        self.write(move |server| async move { tenants::tenant(&server, &id).await })
    }

    /// Something that only reads, or may be cut off anywhere.
    fn read<'a, T, F>(&'a self, run: impl FnOnce(Server) -> F + Send + 'static) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.run(self.link.settings.answer_within, run)
    }

    /// Something that goes on when nobody waits for it any more.
    fn write<'a, T, F>(&'a self, run: impl FnOnce(Server) -> F + Send + 'static) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.run(self.link.settings.carry_out_within, run)
    }

    /// As [`Self::write`], and is waited for as long as it takes: it grows with what is there, and nobody's request
    /// hangs on it. Begun only where the server answers.
    fn write_long<'a, T, F>(&'a self, run: impl FnOnce(Server) -> F + Send + 'static) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        const LONG: Duration = Duration::from_secs(600);
        let patience = self.link.settings.answer_within;
        self.hand_over(LONG, LONG, move |server| async move {
            timeout(patience, server.ping()).await.map_err(|_| away("it does not answer"))??;
            run(server).await
        })
    }

    fn run<'a, T, F>(&'a self, limit: Duration, run: impl FnOnce(Server) -> F + Send + 'static) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.hand_over(limit, self.link.settings.answer_within, run)
    }

    /// Runs something on the store's own threads, from the first poll on.
    fn hand_over<'a, T, F>(
        &'a self,
        limit: Duration,
        answer_within: Duration,
        run: impl FnOnce(Server) -> F + Send + 'static,
    ) -> StoreFuture<'a, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(async move {
            let at_work = self.at_work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            let (Some(runtime), Some(at_work)) = (&self.runtime, at_work) else { return Err(closed()) };
            let (reply, answer) = oneshot::channel();
            let link = Arc::clone(&self.link);
            runtime.spawn(async move {
                let work = async {
                    let patience = link.settings.answer_within;
                    let server = timeout(patience, link.server()).await.map_err(|_| away("it does not answer"))??;
                    run(server).await
                };
                let outcome = timeout(limit, work).await;
                let _ = reply.send(outcome.unwrap_or_else(|_| Err(away("it took too long"))));
                drop(at_work);
            });
            // The timer is the store's own: the caller's runtime may have none.
            let patience = runtime.spawn(async move { timeout(answer_within, answer).await });
            match patience.await {
                Ok(Ok(Ok(outcome))) => outcome,
                Ok(Err(_)) => Err(away("it does not answer")),
                Ok(Ok(Err(_))) | Err(_) => Err(closed()),
            }
        })
    }
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        drop(self.at_work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let Some(runtime) = self.runtime.take() else { return };
        let ended = std::mem::replace(self.ended.get_mut(), mpsc::channel(1).1);
        // On a thread of its own: inside a runtime one must neither block on another nor drop it.
        let end = thread::Builder::new().name("tenon-mongo-end".to_owned()).spawn(move || {
            let mut ended = ended;
            while ended.blocking_recv().is_some() {}
            runtime.shutdown_background();
        });
        if let Ok(end) = end {
            let _ = end.join();
        }
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("database", &self.link.database).finish_non_exhaustive()
    }
}
