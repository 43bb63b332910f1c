//! A truth that answers, refuses or is silent, as a test wants it to.

use std::{
    future::pending,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, ChangeListener, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage,
        DocumentWrite, Find, FlagSets, Mark, Marks, ModelFields, NewEvent, Setback, SqliteStore, Store, StoreChange,
        StoreError, StoreFuture, StoredDefinitions, StoredDocument, TenantData, TenantDocument, TenantPage,
    },
};

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Answers,
    Refuses,
    /// Does what it is asked, and says that it can't.
    DoesAndRefuses,
    /// Never says anything.
    IsSilent,
}

pub(crate) struct Faulty {
    pub(crate) store: SqliteStore,
    manner: Mutex<Manner>,
    pings: Mutex<Manner>,
    /// So many pings fail, whatever is said of the others.
    pub(crate) late_pings: AtomicUsize,
    pub(crate) has_bad_marks: AtomicBool,
    /// How many calls have begun that are no pings.
    pub(crate) begun: AtomicUsize,
    /// How many pages of tenants were asked for.
    pub(crate) pages: AtomicUsize,
    listener: Mutex<Option<ChangeListener>>,
}

impl Faulty {
    pub(crate) fn open(folder: &Path) -> Arc<Self> {
        Arc::new(Self {
            store: SqliteStore::open(folder.join("truth")).unwrap(),
            manner: Mutex::new(Manner::Answers),
            pings: Mutex::new(Manner::Answers),
            late_pings: AtomicUsize::new(0),
            has_bad_marks: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            listener: Mutex::default(),
        })
    }

    /// Calls end like this from now on.
    pub(crate) fn calls(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Pings end like this from now on.
    pub(crate) fn pings(&self, manner: Manner) {
        *self.pings.lock().unwrap() = manner;
    }

    /// As its stream of changes would.
    pub(crate) fn tell(&self, change: StoreChange) {
        let listener = self.listener.lock().unwrap().clone();
        listener.unwrap()(change);
    }

    fn pass<'a, T: Send + 'a>(&'a self, call: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let manner = *self.manner.lock().unwrap();
        as_it_is(manner, call)
    }
}

fn as_it_is<'a, T: Send + 'a>(manner: Manner, call: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
    match manner {
        Manner::Answers => call,
        Manner::Refuses => refuse(),
        Manner::IsSilent => Box::pin(pending()),
        Manner::DoesAndRefuses => Box::pin(async move {
            call.await?;
            refuse().await
        }),
    }
}

fn refuse<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    let why = io::Error::new(io::ErrorKind::ConnectionRefused, "the port is closed");
    Box::pin(async { Err(StoreError::Unavailable(Box::new(why))) })
}

impl Store for Faulty {
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        self.pass(self.store.tenant(id))
    }

    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        self.pass(self.store.tenant_revisions(ids))
    }

    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.pass(self.store.tenants(after, limit))
    }

    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.pass(self.store.create_tenant(document))
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.pass(self.store.replace_tenant(document))
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        self.pass(self.store.delete_tenant(id, revision, data))
    }

    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>> {
        self.pass(self.store.get(at, id))
    }

    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64> {
        self.pass(self.store.insert(at, fields, id, body))
    }

    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64> {
        self.pass(self.store.put(at, fields, id, body, expected))
    }

    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()> {
        self.pass(self.store.delete(at, id, expected))
    }

    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage> {
        self.pass(self.store.find(at, fields, find))
    }

    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()> {
        self.pass(self.store.reindex(at, fields))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        let late = self.late_pings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |late| late.checked_sub(1));
        match late {
            Ok(_) => refuse(),
            Err(_) => as_it_is(*self.pings.lock().unwrap(), self.store.ping()),
        }
    }

    fn listen(&self, listener: ChangeListener) {
        *self.listener.lock().unwrap() = Some(listener);
    }
}

impl FlagSets for Faulty {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        self.pass(self.store.definitions())
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        self.pass(self.store.put_definitions(text, expected))
    }
}

impl Marks for Faulty {
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>> {
        if self.has_bad_marks.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Unavailable("a mark can't be read".into())) });
        }
        self.pass(self.store.marks())
    }

    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()> {
        self.pass(self.store.set_mark(mark))
    }

    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64> {
        self.pass(self.store.clear_marks(module, tenant))
    }
}

/// None of this is asked for here.
impl Deliveries for Faulty {
    fn publish(&self, _: NewEvent, _: Option<Claim>) -> StoreFuture<'_, ()> {
        refuse()
    }

    fn set_wake<'a>(
        &'a self,
        _: &'a TenantId,
        _: &'a ModuleName,
        _: &'a str,
        _: i64,
        _: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        refuse()
    }

    fn cancel_wake<'a>(
        &'a self,
        _: &'a TenantId,
        _: &'a ModuleName,
        _: &'a str,
        _: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        refuse()
    }

    fn claim_due(&self, _: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        refuse()
    }

    fn next_due(&self) -> StoreFuture<'_, Option<i64>> {
        refuse()
    }

    fn renew(&self, _: Claim, _: i64) -> StoreFuture<'_, ()> {
        refuse()
    }

    fn finish(&self, _: Claim) -> StoreFuture<'_, ()> {
        refuse()
    }

    fn set_back<'a>(&'a self, _: Claim, _: Setback, _: &'a str) -> StoreFuture<'a, ()> {
        refuse()
    }

    fn write_under<'a>(
        &'a self,
        _: Claim,
        _: &'a CollectionKey,
        _: &'a ModelFields,
        _: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        refuse()
    }

    fn dead_letters(&self, _: Option<i64>, _: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        refuse()
    }

    fn retry_dead(&self, _: i64, _: i64) -> StoreFuture<'_, bool> {
        refuse()
    }

    fn discard_dead(&self, _: i64) -> StoreFuture<'_, bool> {
        refuse()
    }

    fn backlog(&self) -> StoreFuture<'_, Backlog> {
        refuse()
    }
}
