//! The embedded store: one SQLite file, one thread that writes, a few that read. Refuses to share its file with
//! another host.

mod definitions;
mod deliveries;
mod documents;
mod find;
mod marks;
mod mirror;
mod moving;
mod open;
mod readers;
mod schema;
mod tenants;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

pub use open::OpenError;

use self::{
    open::Opened,
    readers::Readers,
    writer::{Estate, Writer},
};
use super::{
    Backlog, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage, DocumentWrite, Find,
    FlagSets, Imported, Mark, Marks, ModelFields, MovedDelivery, Moving, NewEvent, Record, Setback, Store, StoreError,
    StoreFuture, StoredDefinitions, StoredDocument, TenantData, TenantDocument, TenantPage, entries::entries_of_new,
    is_document_id, question::Question,
};
use crate::names::{ModuleName, TenantId};

/// The embedded store.
///
/// Acknowledged means that the disk has it: each commit syncs the log. Whoever needs to look inside can open
/// `tenon.db` with any SQLite tool; the tables are described in its schema.
pub struct SqliteStore {
    /// Taken only by the drop, whose thread would else wait for itself.
    writer: Option<Writer>,
    readers: Readers,
    /// Ends once the writer is gone; joined by the drop.
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens `<folder>/tenon.db`, or makes it, readable by its owner only; so is the folder where it is missing.
    /// Blocks the calling thread while tables are brought up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with an [`OpenError`] as its source.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        // Two at least, so that a long page doesn't hold up all else; more than eight never helped a disk.
        let readers = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        Self::start(folder.as_ref(), readers).map_err(|problem| StoreError::Unavailable(Box::new(problem)))
    }

    fn start(folder: &Path, count: usize) -> Result<Self, OpenError> {
        let Opened { writer: connection, readers: connections, lock } = open::open(folder, count)?;
        let failed = |source: io::Error| OpenError::Io { path: folder.to_owned(), source };
        let readers = Readers::default();
        let started = readers.start(connections).and_then(|reader_threads| {
            Writer::start(Estate { readers: readers.clone(), reader_threads, connection, lock })
        });
        let (writer, thread) = started.inspect_err(|_| readers.close()).map_err(failed)?;
        Ok(Self { writer: Some(writer), readers, thread: Some(thread) })
    }

    /// Finishes what was handed over, folds the log into the file and unlocks it. Later operations fail with
    /// [`StoreError::Unavailable`]. Dropping the store does the same, and blocks meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the close goes on without its caller.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }

    async fn write<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(run).await,
            None => Err(closed()),
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        let id = id.clone();
        Box::pin(self.readers.read(move |connection| tenants::tenant(connection, &id)))
    }

    fn moving(&self) -> Option<&dyn Moving> {
        Some(self)
    }

    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        let ids = ids.to_vec();
        Box::pin(self.readers.read(move |connection| tenants::revisions(connection, &ids)))
    }

    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage> {
        let after = after.cloned();
        Box::pin(self.readers.read(move |connection| tenants::tenants(connection, after.as_ref(), limit)))
    }

    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        Box::pin(self.write(move |connection| tenants::create(connection, document)))
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        Box::pin(self.write(move |connection| tenants::replace(connection, document)))
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        let id = id.clone();
        Box::pin(self.write(move |connection| tenants::delete(connection, &id, revision, data)))
    }

    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>> {
        Box::pin(async move {
            if !is_document_id(id) {
                return Ok(None);
            }
            let (at, id) = (at.clone(), id.to_owned());
            self.readers.read(move |connection| documents::get(connection, &at, &id)).await
        })
    }

    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            if !is_document_id(id) {
                return Err(StoreError::DocumentId);
            }
            // Here and not on the thread that writes: all writes share that one.
            let entries = entries_of_new(&body, fields)?;
            let (at, fields, id) = (at.clone(), fields.clone(), id.to_owned());
            self.write(move |connection| documents::insert(connection, &at, &fields, &id, &body, entries)).await
        })
    }

    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            if !is_document_id(id) {
                return Err(StoreError::Missing(id.to_owned()));
            }
            let entries = entries_of_new(&body, fields)?;
            let (at, fields, id) = (at.clone(), fields.clone(), id.to_owned());
            self.write(move |connection| documents::put(connection, &at, &fields, &id, &body, entries, expected)).await
        })
    }

    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            if !is_document_id(id) {
                return Err(StoreError::Missing(id.to_owned()));
            }
            let (at, id) = (at.clone(), id.to_owned());
            self.write(move |connection| documents::delete(connection, &at, &id, expected)).await
        })
    }

    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage> {
        Box::pin(async move {
            let question = Question::check(at, fields, find)?;
            let at = at.clone();
            self.readers.read(move |connection| find::find(connection, &at, &question)).await
        })
    }

    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            // Most often there is nothing to do, and then nobody should wait for other people's writes.
            let (key, wanted) = (at.clone(), fields.clone());
            if self.readers.read(move |connection| documents::is_indexed(connection, &key, &wanted)).await? {
                return Ok(());
            }
            let (at, fields) = (at.clone(), fields.clone());
            self.write(move |connection| documents::reindex(connection, &at, &fields)).await
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            if !self.writer.as_ref().is_some_and(Writer::is_open) {
                return Err(closed());
            }
            let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let query = move |connection: &rusqlite::Connection| {
                connection.prepare_cached("SELECT count(*) FROM sqlite_schema")?.query_row([], read)?;
                Ok(())
            };
            self.readers.read(query).await
        })
    }
}

impl Deliveries for SqliteStore {
    fn publish(&self, event: NewEvent, claim: Option<Claim>) -> StoreFuture<'_, ()> {
        Box::pin(self.write(move |connection| deliveries::publish(connection, &event, claim)))
    }

    fn set_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        at: i64,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        let (tenant, module, key) = (tenant.clone(), module.clone(), key.to_owned());
        Box::pin(self.write(move |connection| deliveries::set_wake(connection, &tenant, &module, &key, at, claim)))
    }

    fn cancel_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        let (tenant, module, key) = (tenant.clone(), module.clone(), key.to_owned());
        Box::pin(self.write(move |connection| deliveries::cancel_wake(connection, &tenant, &module, &key, claim)))
    }

    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        Box::pin(self.write(move |connection| deliveries::claim_due(connection, request)))
    }

    fn next_due(&self) -> StoreFuture<'_, Option<i64>> {
        Box::pin(self.readers.read(deliveries::next_due))
    }

    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()> {
        Box::pin(self.write(move |connection| deliveries::renew(connection, claim, until)))
    }

    fn finish(&self, claim: Claim) -> StoreFuture<'_, ()> {
        Box::pin(self.write(move |connection| deliveries::finish(connection, claim)))
    }

    fn set_back<'a>(&'a self, claim: Claim, setback: Setback, error: &'a str) -> StoreFuture<'a, ()> {
        let error = error.to_owned();
        Box::pin(self.write(move |connection| deliveries::set_back(connection, claim, setback, &error)))
    }

    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let (id, entries) = match &write {
                DocumentWrite::Insert { id, body } | DocumentWrite::Put { id, body, .. } => {
                    (id, entries_of_new(body, fields)?)
                }
                DocumentWrite::Delete { id, .. } => (id, Vec::new()),
            };
            if !is_document_id(id) {
                let is_new = matches!(write, DocumentWrite::Insert { .. });
                return Err(if is_new { StoreError::DocumentId } else { StoreError::Missing(id.clone()) });
            }
            let (at, fields) = (at.clone(), fields.clone());
            let run = move |connection: &rusqlite::Connection| {
                deliveries::write_under(connection, claim, &at, &fields, &write, entries)
            };
            self.write(run).await
        })
    }

    fn dead_letters(&self, after: Option<i64>, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(self.readers.read(move |connection| deliveries::dead_letters(connection, after, limit)))
    }

    fn retry_dead(&self, id: i64, now: i64) -> StoreFuture<'_, bool> {
        Box::pin(self.write(move |connection| deliveries::retry_dead(connection, id, now)))
    }

    fn discard_dead(&self, id: i64) -> StoreFuture<'_, bool> {
        Box::pin(self.write(move |connection| deliveries::discard_dead(connection, id)))
    }

    fn backlog(&self) -> StoreFuture<'_, Backlog> {
        Box::pin(self.readers.read(deliveries::backlog))
    }
}

impl FlagSets for SqliteStore {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        Box::pin(self.readers.read(definitions::definitions))
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        Box::pin(self.write(move |connection| definitions::put(connection, text.as_deref(), expected)))
    }
}

impl Marks for SqliteStore {
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>> {
        Box::pin(self.readers.read(marks::marks))
    }

    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()> {
        Box::pin(self.write(move |connection| marks::set(connection, &mark)))
    }

    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64> {
        let (module, tenant) = (module.clone(), tenant.cloned());
        Box::pin(self.write(move |connection| marks::clear(connection, &module, tenant.as_ref())))
    }
}

impl Moving for SqliteStore {
    fn collections<'a>(
        &'a self,
        after: Option<&'a CollectionKey>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(CollectionKey, ModelFields)>> {
        let after = after.cloned();
        Box::pin(self.readers.read(move |connection| moving::collections(connection, after.as_ref(), limit)))
    }

    fn documents<'a>(
        &'a self,
        at: &'a CollectionKey,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<StoredDocument>> {
        let (at, after) = (at.clone(), after.map(str::to_owned));
        Box::pin(self.readers.read(move |connection| moving::page(connection, &at, after.as_deref(), limit)))
    }

    fn deliveries(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<(i64, MovedDelivery)>> {
        Box::pin(self.readers.read(move |connection| moving::waiting(connection, after, limit)))
    }

    fn prepare<'a>(&'a self, tenant: &'a TenantId) -> StoreFuture<'a, bool> {
        let tenant = tenant.clone();
        Box::pin(self.write(move |connection| moving::prepare(connection, &tenant)))
    }

    fn import(&self, record: Record) -> StoreFuture<'_, Imported> {
        Box::pin(self.write(move |connection| moving::import(connection, record)))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(problem: rusqlite::Error) -> Self {
        Self::Unavailable(Box::new(problem))
    }
}

/// The store was closed, or what was asked of it made its thread fail.
fn closed() -> StoreError {
    StoreError::Unavailable("the embedded store is closed".into())
}

/// SQLite's integers have a sign. No revision grows beyond them, so one that doesn't fit is that of nothing.
fn revision_to(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(-1)
}

fn revision_from(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}
