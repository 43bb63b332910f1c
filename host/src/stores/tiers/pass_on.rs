//! Everything that the store alone knows: passed on to it, unless it is known to be away.

use std::sync::Arc;

use super::{Away, LastGood, News, TierFigures, Tiered};
use crate::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, ChangeListener, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage,
        DocumentWrite, Find, FlagSets, Mark, Marks, ModelFields, Moving, NewEvent, Reach, Setback, Store, StoreError,
        StoreFuture, StoredDefinitions, StoredDocument, TenantData, TenantDocument, TenantPage,
    },
};

impl Tiered {
    fn pass<'a, T: Send + 'a>(&'a self, asking: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(self.inner.ask(asking))
    }

    fn written(
        &self,
        id: &TenantId,
        outcome: Result<Arc<TenantDocument>, StoreError>,
    ) -> Result<Arc<TenantDocument>, StoreError> {
        match &outcome {
            Ok(document) => self.inner.saw(document, News::Written),
            Err(error) => self.inner.saw_failure(id, error),
        }
        outcome
    }
}

impl Store for Tiered {
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        Box::pin(self.inner.tenant(id))
    }

    fn tenant_nearby<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        Box::pin(self.inner.tenant_nearby(id))
    }

    fn forget_nearby<'a>(&'a self, tenant: Option<&'a TenantId>) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            // One that can't be reached is not read from either.
            let Some(shared) = self.inner.shared.as_ref().filter(|shared| shared.is_reached()) else { return Ok(()) };
            let is_forgotten = match tenant {
                Some(id) => shared.forget(id).await,
                None => shared.forget_all().await,
            };
            let away = || StoreError::Unavailable("the shared cache did not answer".into());
            is_forgotten.then_some(()).ok_or_else(away)
        })
    }

    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        self.pass(self.inner.truth.tenant_revisions(ids))
    }

    fn moving(&self) -> Option<&dyn Moving> {
        self.inner.truth.moving()
    }

    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage> {
        Box::pin(async move {
            match (self.inner.ask(self.inner.truth.tenants(after, limit)).await, &self.inner.last_good) {
                (Err(StoreError::Unavailable(reason)), Some(last_good)) => {
                    last_good.tenants(after, limit).await?.ok_or(StoreError::Unavailable(reason))
                }
                (page, _) => page,
            }
        })
    }

    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        let id = document.id.clone();
        Box::pin(async move { self.written(&id, self.inner.ask(self.inner.truth.create_tenant(document)).await) })
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        let id = document.id.clone();
        Box::pin(async move { self.written(&id, self.inner.ask(self.inner.truth.replace_tenant(document)).await) })
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let deleted = self.inner.ask(self.inner.truth.delete_tenant(id, revision, data)).await;
            match &deleted {
                Ok(()) => self.inner.saw_deletion(id, revision + 1).await,
                Err(error) => self.inner.saw_failure(id, error),
            }
            deleted
        })
    }

    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>> {
        self.pass(self.inner.truth.get(at, id))
    }

    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64> {
        self.pass(self.inner.truth.insert(at, fields, id, body))
    }

    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64> {
        self.pass(self.inner.truth.put(at, fields, id, body, expected))
    }

    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()> {
        self.pass(self.inner.truth.delete(at, id, expected))
    }

    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage> {
        self.pass(self.inner.truth.find(at, fields, find))
    }

    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()> {
        self.pass(self.inner.truth.reindex(at, fields))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        if !self.inner.reach.is_reached() {
            return Box::pin(async { Err(StoreError::Unavailable(Box::new(Away))) });
        }
        self.inner.truth.ping()
    }

    fn listen(&self, listener: ChangeListener) {
        *self.inner.listener.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(listener);
    }

    fn reach(&self) -> Option<Arc<Reach>> {
        Some(Arc::clone(&self.inner.reach))
    }

    fn tiers(&self) -> Option<TierFigures> {
        Some(self.inner.figures())
    }
}

impl FlagSets for Tiered {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        Box::pin(async move {
            let last_good = self.inner.last_good.as_ref();
            let reading = last_good.map(LastGood::begin_reading);
            let found = self.inner.ask(self.inner.truth.definitions()).await?;
            if let Some((last_good, reading)) = last_good.zip(reading) {
                last_good.keep_definitions(&found, reading);
            }
            Ok(found)
        })
    }

    fn definitions_nearby(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        Box::pin(async move {
            match (self.definitions().await, &self.inner.last_good) {
                (Err(StoreError::Unavailable(reason)), Some(last_good)) => {
                    last_good.definitions().await?.ok_or(StoreError::Unavailable(reason))
                }
                (read, _) => read,
            }
        })
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        self.pass(self.inner.truth.put_definitions(text, expected))
    }
}

impl Marks for Tiered {
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>> {
        Box::pin(async move {
            let marks = self.inner.ask(self.inner.truth.marks()).await?;
            if let Some(last_good) = &self.inner.last_good {
                last_good.keep_marks(&marks);
            }
            Ok(marks)
        })
    }

    fn marks_nearby(&self) -> StoreFuture<'_, Vec<Mark>> {
        Box::pin(async move {
            match (self.marks().await, &self.inner.last_good) {
                (Err(StoreError::Unavailable(_)), Some(last_good)) => last_good.marks().await,
                (read, _) => read,
            }
        })
    }

    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.inner.ask(self.inner.truth.set_mark(mark.clone())).await?;
            if let Some(last_good) = &self.inner.last_good {
                last_good.change_marks(|marks| {
                    let key = |it: &Mark| (it.module.clone(), it.hash.clone(), it.tenant.clone(), it.kind);
                    marks.retain(|it| key(it) != key(&mark));
                    marks.push(mark);
                    marks.sort_by_key(key);
                });
            }
            Ok(())
        })
    }

    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let cleared = self.inner.ask(self.inner.truth.clear_marks(module, tenant)).await?;
            if let Some(last_good) = &self.inner.last_good {
                let is_meant =
                    |it: &Mark| it.module == *module && tenant.is_none_or(|tenant| it.tenant.as_ref() == Some(tenant));
                last_good.change_marks(|marks| marks.retain(|it| !is_meant(it)));
            }
            Ok(cleared)
        })
    }
}

impl Deliveries for Tiered {
    fn publish(&self, event: NewEvent, claim: Option<Claim>) -> StoreFuture<'_, ()> {
        self.pass(self.inner.truth.publish(event, claim))
    }

    fn set_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        at: i64,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        self.pass(self.inner.truth.set_wake(tenant, module, key, at, claim))
    }

    fn cancel_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        self.pass(self.inner.truth.cancel_wake(tenant, module, key, claim))
    }

    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        self.pass(self.inner.truth.claim_due(request))
    }

    fn next_due(&self) -> StoreFuture<'_, Option<i64>> {
        self.pass(self.inner.truth.next_due())
    }

    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()> {
        self.pass(self.inner.truth.renew(claim, until))
    }

    fn finish(&self, claim: Claim) -> StoreFuture<'_, ()> {
        self.pass(self.inner.truth.finish(claim))
    }

    fn set_back<'a>(&'a self, claim: Claim, setback: Setback, error: &'a str) -> StoreFuture<'a, ()> {
        self.pass(self.inner.truth.set_back(claim, setback, error))
    }

    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        self.pass(self.inner.truth.write_under(claim, at, fields, write))
    }

    fn dead_letters(&self, after: Option<i64>, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.pass(self.inner.truth.dead_letters(after, limit))
    }

    fn retry_dead(&self, id: i64, now: i64) -> StoreFuture<'_, bool> {
        self.pass(self.inner.truth.retry_dead(id, now))
    }

    fn discard_dead(&self, id: i64) -> StoreFuture<'_, bool> {
        self.pass(self.inner.truth.discard_dead(id))
    }

    fn backlog(&self) -> StoreFuture<'_, Backlog> {
        self.pass(self.inner.truth.backlog())
    }
}
