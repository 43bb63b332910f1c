//! The store's traits, each operation handed to the file that knows it.

use std::sync::Arc;

use super::{
    MongoStore, definitions,
    deliveries::{self, End},
    documents::{self, Draft, WriteSort},
    events, find, key, marks, moving, reindex,
    server::Server,
    tenants,
    wakes::{self, Wake},
};
use crate::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, ChangeListener, Claim, ClaimRequest, CollectionKey, DeadLetter, Deliveries, Delivery, DocumentPage,
        DocumentWrite, Find, FlagSets, Imported, Mark, Marks, ModelFields, MovedDelivery, Moving, NewEvent, Record,
        Setback, Store, StoreError, StoreFuture, StoredDefinitions, StoredDocument, TenantData, TenantDocument,
        TenantPage,
        entries::{entries_of_new, normal},
        is_document_id,
        question::Question,
    },
};

/// An answer that needs no server.
fn at_once<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Store for MongoStore {
    fn tenant<'a>(&'a self, id: &'a TenantId) -> StoreFuture<'a, Option<Arc<TenantDocument>>> {
        self.adopt(id)
    }

    fn moving(&self) -> Option<&dyn Moving> {
        Some(self)
    }

    fn tenants<'a>(&'a self, after: Option<&'a TenantId>, limit: usize) -> StoreFuture<'a, TenantPage> {
        let after = after.cloned();
        // Long where a whole database has to be given its first revisions.
        self.write_long(move |server: Server| async move { tenants::tenants(&server, after.as_ref(), limit).await })
    }

    fn tenant_revisions<'a>(&'a self, ids: &'a [TenantId]) -> StoreFuture<'a, Vec<Option<u64>>> {
        let ids = ids.to_vec();
        self.read(move |server: Server| async move { tenants::revisions(&server, &ids).await })
    }

    fn listen(&self, listener: ChangeListener) {
        match self.watch(listener) {
            Ok(watching) => {
                *self.watching.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(watching);
            }
            // Nobody needs to be told of what nobody can change.
            Err(problem) => tracing::debug!(%problem, "changes are not told of"),
        }
    }

    fn create_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.write(move |server: Server| async move { tenants::create(&server, document).await })
    }

    fn replace_tenant(&self, document: TenantDocument) -> StoreFuture<'_, Arc<TenantDocument>> {
        self.write(move |server: Server| async move { tenants::replace(&server, document).await })
    }

    fn delete_tenant<'a>(&'a self, id: &'a TenantId, revision: u64, data: TenantData) -> StoreFuture<'a, ()> {
        let id = id.clone();
        self.write_long(move |server: Server| async move { tenants::delete(&server, &id, revision, data).await })
    }

    fn get<'a>(&'a self, at: &'a CollectionKey, id: &'a str) -> StoreFuture<'a, Option<StoredDocument>> {
        if !is_document_id(id) {
            return at_once(Ok(None));
        }
        let (at, id) = (at.clone(), id.to_owned());
        self.read(move |server: Server| async move { documents::get(&server, &at, &id).await })
    }

    fn insert<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
    ) -> StoreFuture<'a, u64> {
        if !is_document_id(id) {
            return at_once(Err(StoreError::DocumentId));
        }
        let draft = match checked(at, fields, id, body) {
            Ok(draft) => draft,
            Err(problem) => return at_once(Err(problem)),
        };
        self.write(move |server: Server| async move { documents::insert(&server, &draft).await })
    }

    fn put<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        id: &'a str,
        body: Vec<u8>,
        expected: u64,
    ) -> StoreFuture<'a, u64> {
        if !is_document_id(id) {
            return at_once(Err(StoreError::Missing(id.to_owned())));
        }
        let draft = match checked(at, fields, id, body) {
            Ok(draft) => draft,
            Err(problem) => return at_once(Err(problem)),
        };
        self.write(move |server: Server| async move { documents::put(&server, &draft, expected).await })
    }

    fn delete<'a>(&'a self, at: &'a CollectionKey, id: &'a str, expected: u64) -> StoreFuture<'a, ()> {
        if !is_document_id(id) {
            return at_once(Err(StoreError::Missing(id.to_owned())));
        }
        let (collection, id) = (key::of_collection(at), id.to_owned());
        self.write(
            move |server: Server| async move { documents::delete(&server, None, &collection, &id, expected).await },
        )
    }

    fn find<'a>(
        &'a self,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        find: &'a Find,
    ) -> StoreFuture<'a, DocumentPage> {
        let question = match Question::check(at, fields, find) {
            Ok(question) => question,
            Err(problem) => return at_once(Err(problem.into())),
        };
        let at = at.clone();
        self.read(move |server: Server| async move { find::find(&server, &at, &question).await })
    }

    fn reindex<'a>(&'a self, at: &'a CollectionKey, fields: &'a ModelFields) -> StoreFuture<'a, ()> {
        let (collection, fields) = (key::of_collection(at), normal(fields));
        self.write_long(move |server: Server| async move { reindex::reindex(&server, &collection, &fields).await })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.read(move |server: Server| async move { server.ping().await })
    }
}

/// A draft whose body is an object, not too large, with values that can be searched for.
fn checked(at: &CollectionKey, fields: &ModelFields, id: &str, body: Vec<u8>) -> Result<Draft, StoreError> {
    entries_of_new(&body, fields)?;
    Ok(Draft::new(at, fields, id, body))
}

impl Deliveries for MongoStore {
    fn publish(&self, event: NewEvent, claim: Option<Claim>) -> StoreFuture<'_, ()> {
        self.write(move |server: Server| async move { events::publish(&server, &event, claim).await })
    }

    fn set_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        at: i64,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        let wake = Wake { tenant: tenant.clone(), module: module.clone(), key: key.to_owned() };
        self.write(move |server: Server| async move { wakes::set(&server, &wake, at, claim).await })
    }

    fn cancel_wake<'a>(
        &'a self,
        tenant: &'a TenantId,
        module: &'a ModuleName,
        key: &'a str,
        claim: Option<Claim>,
    ) -> StoreFuture<'a, ()> {
        let wake = Wake { tenant: tenant.clone(), module: module.clone(), key: key.to_owned() };
        self.write(move |server: Server| async move { wakes::cancel(&server, &wake, claim).await })
    }

    fn claim_due(&self, request: ClaimRequest) -> StoreFuture<'_, Vec<Delivery>> {
        self.write(move |server: Server| async move { deliveries::claim_due(&server, request).await })
    }

    fn next_due(&self) -> StoreFuture<'_, Option<i64>> {
        self.read(move |server: Server| async move { deliveries::next_due(&server).await })
    }

    fn renew(&self, claim: Claim, until: i64) -> StoreFuture<'_, ()> {
        self.write(move |server: Server| async move { deliveries::renew(&server, claim, until).await })
    }

    fn finish(&self, claim: Claim) -> StoreFuture<'_, ()> {
        self.write(move |server: Server| async move { deliveries::end(&server, claim, End::Handled, "").await })
    }

    fn set_back<'a>(&'a self, claim: Claim, setback: Setback, error: &'a str) -> StoreFuture<'a, ()> {
        let error = error.to_owned();
        self.write(
            move |server: Server| async move { deliveries::end(&server, claim, End::SetBack(setback), &error).await },
        )
    }

    fn write_under<'a>(
        &'a self,
        claim: Claim,
        at: &'a CollectionKey,
        fields: &'a ModelFields,
        write: DocumentWrite,
    ) -> StoreFuture<'a, u64> {
        let (id, body) = match &write {
            DocumentWrite::Insert { id, body } | DocumentWrite::Put { id, body, .. } => (id, Some(body)),
            DocumentWrite::Delete { id, .. } => (id, None),
        };
        let is_new = matches!(write, DocumentWrite::Insert { .. });
        if !is_document_id(id) {
            return at_once(Err(if is_new { StoreError::DocumentId } else { StoreError::Missing(id.clone()) }));
        }
        if let Some(Err(problem)) = body.map(|body| entries_of_new(body, fields)) {
            return at_once(Err(problem));
        }
        let (at, fields) = (at.clone(), fields.clone());
        self.write(move |server: Server| async move { write_under(&server, claim, &at, &fields, write).await })
    }

    fn dead_letters(&self, after: Option<i64>, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.read(move |server: Server| async move { wakes::dead_letters(&server, after, limit).await })
    }

    fn retry_dead(&self, id: i64, now: i64) -> StoreFuture<'_, bool> {
        self.write(move |server: Server| async move { wakes::retry_dead(&server, id, now).await })
    }

    fn discard_dead(&self, id: i64) -> StoreFuture<'_, bool> {
        self.write(move |server: Server| async move { wakes::discard_dead(&server, id).await })
    }

    fn backlog(&self) -> StoreFuture<'_, Backlog> {
        self.read(move |server: Server| async move { wakes::backlog(&server).await })
    }
}

/// A write and the claim it needs, in one commit.
async fn write_under(
    server: &Server,
    claim: Claim,
    at: &CollectionKey,
    fields: &ModelFields,
    write: DocumentWrite,
) -> Result<u64, StoreError> {
    let (draft, sort) = match write {
        DocumentWrite::Delete { id, expected } => {
            let collection = key::of_collection(at);
            let gone = server.together(|server, session| {
                let (collection, id) = (collection.clone(), id.clone());
                Box::pin(async move {
                    let mut session = session;
                    deliveries::guard(&server, session.as_deref_mut(), Some(claim)).await?;
                    documents::delete(&server, session, &collection, &id, expected).await
                })
            });
            return gone.await.map(|()| 0);
        }
        DocumentWrite::Insert { id, body } => (Draft::new(at, fields, &id, body), None),
        DocumentWrite::Put { id, body, expected } => (Draft::new(at, fields, &id, body), Some(expected)),
    };
    let draft = Arc::new(draft);
    loop {
        let written = server.together(|server, session| {
            let draft = Arc::clone(&draft);
            Box::pin(async move {
                let mut session = session;
                deliveries::guard(&server, session.as_deref_mut(), Some(claim)).await?;
                match sort {
                    None => documents::insert_in(&server, session, &draft).await,
                    Some(expected) => documents::put_in(&server, session, &draft, expected).await,
                }
            })
        });
        match written.await {
            Ok(written) => return Ok(documents::settle(server, &draft, written).await),
            Err(problem) => {
                let sort = if sort.is_none() { WriteSort::Insert } else { WriteSort::Put };
                documents::explain(server, &draft, problem, sort).await?;
            }
        }
    }
}

impl FlagSets for MongoStore {
    fn definitions(&self) -> StoreFuture<'_, Option<StoredDefinitions>> {
        self.read(move |server: Server| async move { definitions::definitions(&server).await })
    }

    fn put_definitions(&self, text: Option<String>, expected: u64) -> StoreFuture<'_, u64> {
        self.write(move |server: Server| async move { definitions::put(&server, text.as_deref(), expected).await })
    }
}

impl Marks for MongoStore {
    fn marks(&self) -> StoreFuture<'_, Vec<Mark>> {
        self.read(move |server: Server| async move { marks::marks(&server).await })
    }

    fn set_mark(&self, mark: Mark) -> StoreFuture<'_, ()> {
        self.write(move |server: Server| async move { marks::set(&server, &mark).await })
    }

    fn clear_marks<'a>(&'a self, module: &'a ModuleName, tenant: Option<&'a TenantId>) -> StoreFuture<'a, u64> {
        let (module, tenant) = (module.clone(), tenant.cloned());
        self.write(move |server: Server| async move { marks::clear(&server, &module, tenant.as_ref()).await })
    }
}

impl Moving for MongoStore {
    fn collections<'a>(
        &'a self,
        after: Option<&'a CollectionKey>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(CollectionKey, ModelFields)>> {
        let after = after.cloned();
        self.write_long(move |server: Server| async move { moving::collections(&server, after.as_ref(), limit).await })
    }

    fn documents<'a>(
        &'a self,
        at: &'a CollectionKey,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<StoredDocument>> {
        let (at, after) = (at.clone(), after.map(str::to_owned));
        self.write_long(move |server: Server| async move { moving::page(&server, &at, after.as_deref(), limit).await })
    }

    fn deliveries(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<(i64, MovedDelivery)>> {
        self.write_long(move |server: Server| async move { moving::waiting(&server, after, limit).await })
    }

    fn prepare<'a>(&'a self, tenant: &'a TenantId) -> StoreFuture<'a, bool> {
        let tenant = tenant.clone();
        self.write_long(move |server: Server| async move { moving::prepare(&server, &tenant).await })
    }

    fn import(&self, record: Record) -> StoreFuture<'_, Imported> {
        self.write_long(move |server: Server| async move { moving::import(&server, record).await })
    }
}
