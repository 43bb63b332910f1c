//! The embedded store, with a count of how often tenants are read from it, and a gate before those reads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tenon_host::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage, DocumentWrite,
        Find, FlagSets, Mark, Marks, ModelFields, NewEvent, Setback, SqliteStore, Store, StoreFuture,
        StoredDefinitions, StoredDocument, TenantData, TenantDocument, TenantPage,
    },
};
use tokio::sync::watch;

/// The store.
#[derive(Debug)]
pub(crate) struct CountingStore {
    inner: SqliteStore,
    reads: AtomicU64,
    is_held: watch::Sender<bool>,
}

impl CountingStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self { inner, reads: AtomicU64::new(0), is_held: watch::Sender::new(false) }
    }

    /// How often a tenant was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Lets reads of tenants wait.
    pub(crate) fn hold(&self) {
        self.is_held.send_replace(true);
    }

    /// Lets them go on.
    pub(crate) fn release(&self) {
        self.is_held.send_replace(false);
    }
}

impl Store for CountingStore {
    // `tenant_nearby` leads here too.
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            // Fails where the sender is gone, which is this store's own.
            let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
            self.inner.tenant(id).await
        })
    }

    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        self.inner.tenant_revisions(ids)
    }

    // All else is the embedded store's.

    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.inner.create_tenant(document)
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.inner.replace_tenant(document)
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        self.inner.delete_tenant(id, revision, data)
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

impl Deliveries for CountingStore {
    fn publish(&self, event: NewEvent, claim: Option<Claim>) -> StoreFuture<'_, ()> {
        self.inner.publish(event, claim)
    }

    fn set_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        at: i64,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        self.inner.set_wake(tenant, module, key, at, claim)
    }

    fn cancel_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        self.inner.cancel_wake(tenant, module, key, claim)
    }

    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        self.inner.claim_due(request)
    }

    fn next_due(&self) -> StoreFuture<'_, Option<i64>> {
        self.inner.next_due()
    }

    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()> {
        self.inner.renew(claim, until)
    }

    fn finish(&self, claim: Claim) -> StoreFuture<'_, ()> {
        self.inner.finish(claim)
    }

    fn set_back<'a>(&'a self, claim: Claim, setback: Setback, error: &'a str) -> StoreFuture<'a, ()> {
        self.inner.set_back(claim, setback, error)
    }

    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        self.inner.write_under(claim, at, fields, write)
    }

    fn dead_letters(&self, after: Option<i64>, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.inner.dead_letters(after, limit)
    }

    fn retry_dead(&self, id: i64, now: i64) -> StoreFuture<'_, bool> {
        self.inner.retry_dead(id, now)
    }

    fn discard_dead(&self, id: i64) -> StoreFuture<'_, bool> {
        self.inner.discard_dead(id)
    }

    fn backlog(&self) -> StoreFuture<'_, Backlog> {
        self.inner.backlog()
    }
}

impl FlagSets for CountingStore {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        self.inner.definitions()
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        self.inner.put_definitions(text, expected)
    }
}

impl Marks for CountingStore {
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>> {
        self.inner.marks()
    }

    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()> {
        self.inner.set_mark(mark)
    }

    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64> {
        self.inner.clear_marks(module, tenant)
    }
}
