//! Events, wake-ups, marks and flag definitions are the embedded store's, all of them.

use tenon_host::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentWrite, FlagSets, Mark,
        Marks, ModelFields, NewEvent, Setback, StoreFuture, StoredDefinitions,
    },
};

use crate::JournaledStore;

impl Deliveries for JournaledStore {
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

impl FlagSets for JournaledStore {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        self.inner.definitions()
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        self.inner.put_definitions(text, expected)
    }
}

impl Marks for JournaledStore {
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
