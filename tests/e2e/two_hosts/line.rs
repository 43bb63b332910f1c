//! A host's line to a store that it shares with others: it can be cut, which looks to the others as if the host had been
//! killed, and it counts what comes through.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tenon_host::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage, DocumentWrite,
        Find, FlagSets, Mark, Marks, ModelFields, NewEvent, Setback, SqliteStore, Store, StoreError, StoreFuture,
        StoredDefinitions, StoredDocument, TenantData, TenantDocument, TenantPage,
    },
};

/// One host's way to the store.
pub(super) struct Line {
    store: Arc<SqliteStore>,
    /// Nothing comes through.
    cut: AtomicBool,
    /// No renewal comes through, so the host can't know that it has lost a claim until it writes.
    mute: AtomicBool,
    /// Deliveries that were claimed through it.
    claimed: AtomicUsize,
    /// Writes of handlers that were refused, as somebody else had the delivery.
    fenced_off: AtomicUsize,
}

impl Line {
    pub(super) fn to(store: &Arc<SqliteStore>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            cut: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            claimed: AtomicUsize::new(0),
            fenced_off: AtomicUsize::new(0),
        })
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    pub(super) fn mute_renewals(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    pub(super) fn claimed(&self) -> usize {
        self.claimed.load(Ordering::SeqCst)
    }

    pub(super) fn fenced_off(&self) -> usize {
        self.fenced_off.load(Ordering::SeqCst)
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// What was asked, unless the line is cut: then the host does not even get to know what came of it.
    fn pass<'a, T: Send + 'a>(&'a self, asked: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            if self.is_cut() {
                return Err(away());
            }
            let answer = asked.await;
            if self.is_cut() { Err(away()) } else { answer }
        })
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the line is cut".into())
}

/// Methods that are the store's as they are.
macro_rules! pass {
    ($($name:ident <$life:lifetime> ($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name <$life> (&$life self, $($arg: $kind),*) -> StoreFuture<$life, $answer> {
            self.pass(self.store.$name($($arg),*))
        })*
    };
}

impl Deliveries for Line {
    pass! {
        publish<'a>(event: NewEvent, claim: Option<Claim>) -> ();
        set_wake<'a>(tenant: &'a TenantId, module: &'a ModuleName, key: &'a str, at: i64, claim: Option<Claim>) -> ();
        cancel_wake<'a>(tenant: &'a TenantId, module: &'a ModuleName, key: &'a str, claim: Option<Claim>) -> ();
        next_due<'a>() -> Option<i64>;
        finish<'a>(claim: Claim) -> ();
        set_back<'a>(claim: Claim, setback: Setback, error: &'a str) -> ();
        dead_letters<'a>(after: Option<i64>, limit: usize) -> Vec<DeadLetter>;
        retry_dead<'a>(id: i64, now: i64) -> bool;
        discard_dead<'a>(id: i64) -> bool;
        backlog<'a>() -> Backlog;
    }

    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            if self.is_cut() {
                return Err(away());
            }
            let claimed = self.store.claim_due(request).await?;
            self.claimed.fetch_add(claimed.len(), Ordering::SeqCst);
            Ok(claimed)
        })
    }

    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()> {
        if self.mute.load(Ordering::SeqCst) {
            return Box::pin(async { Err(away()) });
        }
        self.pass(self.store.renew(claim, until))
    }

    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let written = self.pass(self.store.write_under(claim, at, fields, write)).await;
            if matches!(written, Err(StoreError::ClaimLost)) {
                self.fenced_off.fetch_add(1, Ordering::SeqCst);
            }
            written
        })
    }
}

impl FlagSets for Line {
    pass! {
        definitions<'a>() -> Option<StoredDefinitions>;
        put_definitions<'a>(text: Option<String>, expected: u64) -> u64;
    }
}

impl Marks for Line {
    pass! {
        marks<'a>() -> Vec<Mark>;
        set_mark<'a>(mark: Mark) -> ();
        clear_marks<'a>(module: &'a ModuleName, tenant: Option<&'a TenantId>) -> u64;
    }
}

impl Store for Line {
    pass! {
        tenant<'a>(id: &'a TenantId) -> Option<Arc<TenantDocument>>;
        tenants<'a>(after: Option<&'a TenantId>, limit: usize) -> TenantPage;
        create_tenant<'a>(document: TenantDocument) -> Arc<TenantDocument>;
        replace_tenant<'a>(document: TenantDocument) -> Arc<TenantDocument>;
        delete_tenant<'a>(id: &'a TenantId, revision: u64, data: TenantData) -> ();
        get<'a>(at: &'a CollectionKey, id: &'a str) -> Option<StoredDocument>;
        insert<'a>(at: &'a CollectionKey, fields: &'a ModelFields, id: &'a str, body: Vec<u8>) -> u64;
        put<'a>(at: &'a CollectionKey, fields: &'a ModelFields, id: &'a str, body: Vec<u8>, expected: u64) -> u64;
        delete<'a>(at: &'a CollectionKey, id: &'a str, expected: u64) -> ();
        find<'a>(at: &'a CollectionKey, fields: &'a ModelFields, find: &'a Find) -> DocumentPage;
        reindex<'a>(at: &'a CollectionKey, fields: &'a ModelFields) -> ();
        ping<'a>() -> ();
    }
}
