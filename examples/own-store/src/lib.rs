//! A store of one's own: the embedded one, with a journal of all changes of tenants beside it. A line is on the disk
//! before the change is acknowledged. What a store must do beyond that is tested by the host's own list of tests.

mod delegate;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tenon_host::{
    names::TenantId,
    stores::{
        CollectionKey, DocumentPage, Find, ModelFields, SqliteStore, Store, StoreError, StoreFuture, StoredDocument,
        TenantData, TenantDocument, TenantPage,
    },
};

/// The embedded store with a journal.
#[derive(Debug)]
pub struct JournaledStore {
    inner: SqliteStore,
    journal: Arc<Mutex<File>>,
}

impl JournaledStore {
    /// Opens or makes the store in a folder, and the journal `tenants.jsonl` in it.
    ///
    /// # Errors
    ///
    /// Where either can't be opened.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let inner = SqliteStore::open(folder)?;
        let journal = OpenOptions::new().create(true).append(true).open(folder.join("tenants.jsonl"));
        Ok(Self { inner, journal: Arc::new(Mutex::new(journal.map_err(away)?)) })
    }

    /// Writes a line and waits until the disk has it, on a thread that may wait.
    async fn note(&self, what: &str, tenant: &TenantId, revision: u64) -> Result<(), StoreError> {
        let mut line = json!({ "what": what, "tenant": tenant.as_str(), "revision": revision }).to_string();
        line.push('\n');
        let journal = Arc::clone(&self.journal);
        let writing = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.write_all(line.as_bytes())?;
            journal.sync_data()
        });
        writing.await.map_err(|error| StoreError::Unavailable(Box::new(error)))?.map_err(away)
    }
}

fn away(error: io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// The lines of a journal.
///
/// # Errors
///
/// Where it can't be read.
pub fn read_journal(folder: &Path) -> io::Result<Vec<Value>> {
    let text = std::fs::read_to_string(folder.join("tenants.jsonl"))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
}

impl Store for JournaledStore {
    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        Box::pin(async move {
            let created = self.inner.create_tenant(document).await?;
            self.note("created", &created.id, created.revision).await?;
            Ok(created)
        })
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        Box::pin(async move {
            let replaced = self.inner.replace_tenant(document).await?;
            self.note("changed", &replaced.id, replaced.revision).await?;
            Ok(replaced)
        })
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.inner.delete_tenant(id, revision, data).await?;
            self.note("deleted", id, revision + 1).await
        })
    }

    // All else is the embedded store's.

    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        self.inner.tenant(id)
    }

    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage> {
        self.inner.tenants(after, limit)
    }

    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>> {
        self.inner.get(at, id)
    }

    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64> {
        self.inner.insert(at, fields, id, body)
    }

    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64> {
        self.inner.put(at, fields, id, body, expected)
    }

    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()> {
        self.inner.delete(at, id, expected)
    }

    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage> {
        self.inner.find(at, fields, find)
    }

    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()> {
        self.inner.reindex(at, fields)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.inner.ping()
    }
}
