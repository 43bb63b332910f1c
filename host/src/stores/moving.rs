//! What a store holds, read as a whole and written elsewhere as it is: how everything moves from one store to another.
//!
//! A tenant that is there already is never written to. One that is not stays invisible, and what is to be delivered for it
//! is held back, until its document comes, which is the last: what is cut off before is cleared away by the next import.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    CollectionKey, Delivered, MAX_VALUE_DEPTH, Mark, ModelFields, Store, StoreError, StoreFuture, StoredDefinitions,
    StoredDocument, TenantDocument, depth, is_document_id,
};
use crate::names::{ModuleName, TenantId};

/// How many records are read at a time.
const PAGE: usize = 100;

/// The most bytes that the bodies on a page have, but for its last one.
pub(super) const PAGE_BYTES: usize = 4 << 20;

/// Until when deliveries are held back, in place of a claim: the end of the year 9999, which stays a number that times can
/// be reckoned with.
pub(super) const HELD_UNTIL: i64 = 253_402_300_799_000;

/// Something to be delivered, or that was given up, without its number and claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedDelivery {
    /// Whose.
    pub tenant: TenantId,
    /// To which module.
    pub module: ModuleName,
    /// What.
    pub what: Delivered,
    /// How often it has failed.
    pub failures: u32,
    /// Whether it is still to be delivered.
    pub stands: Stands,
}

/// Whether something is still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// It is, at this time, in milliseconds since the Unix epoch; no time where another one of its queue goes first.
    Waiting(Option<i64>),
    /// It was given up.
    Dead {
        /// When, in milliseconds since the Unix epoch.
        at: i64,
        /// What the last try failed of.
        error: String,
    },
}

/// One thing that a store holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The flag definitions for all tenants.
    Definitions(StoredDefinitions),
    /// A mark.
    Mark(Mark),
    /// A collection, and by which fields its documents are indexed; comes before them.
    Collection(CollectionKey, ModelFields),
    /// A document.
    Document(CollectionKey, StoredDocument),
    /// An event for a module, a wake-up, or a dead letter.
    Delivery(MovedDelivery),
    /// A tenant.
    Tenant(Arc<TenantDocument>),
}

impl Record {
    /// Whose it is; definitions, and marks for all, are nobody's.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Definitions(_) => None,
            Self::Mark(mark) => mark.tenant.as_ref(),
            Self::Collection(at, _) | Self::Document(at, _) => Some(&at.tenant),
            Self::Delivery(delivery) => Some(&delivery.tenant),
            Self::Tenant(document) => Some(&document.id),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was written.
    Written,
    /// The same is there.
    There,
}

/// Reads and writes all that a store holds. A store of one's own need not be able to.
pub trait Moving: Send + Sync {
    /// Collections after one, in an order of their own, at most `limit`.
    fn collections<'a>(
        &'a self,
        after: Option<&'a CollectionKey>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(CollectionKey, ModelFields)>>;

    /// Documents of a collection after one, by id, at most `limit`, and no more once their bodies have 4 MiB.
    fn documents<'a>(
        &'a self,
        at: &'a CollectionKey,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<StoredDocument>>;

    /// All deliveries after one, with their numbers, by which they are ordered, at most `limit`, and so few that their
    /// bodies have a bound, as for documents. What was taken back
    /// while it was handled is left out.
    fn deliveries(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<(i64, MovedDelivery)>>;

    /// Makes ready for a tenant's records, and says whether the tenant is there. Where it is not, what lies under its id
    /// is removed, which an import that was cut off has left; where it is, what such a one still holds back is released.
    fn prepare<'a>(&'a self, tenant: &'a TenantId) -> StoreFuture<'a, bool>;

    /// Writes a record as it is, with its revision. Deliveries are held back until their tenant's document comes, and get
    /// new numbers. Over a tombstone a revision is at least the next one. Fails with [`StoreError::Exists`] where
    /// something else is there in its place, and as [`Store::insert`] does.
    fn import(&self, record: Record) -> StoreFuture<'_, Imported>;
}

/// Reads everything, page by page. What is written meanwhile is in it or not; each record is whole.
pub struct Exporter {
    store: Arc<dyn Store>,
    next: Option<Stage>,
    unreadable: Vec<String>,
}

enum Stage {
    Start,
    Collections(Option<CollectionKey>),
    /// The rest of a page of collections, the first of them being read.
    Documents(Vec<CollectionKey>, Option<String>),
    Deliveries(i64),
    Tenants(Option<TenantId>),
}

impl Exporter {
    /// Nothing is read yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, next: Some(Stage::Start), unreadable: Vec::new() }
    }

    /// Tenants that were met and can't be understood, and so were left out.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// The next records, perhaps none; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], also where the store can't be read as a whole.
    pub async fn page(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        let Some(stage) = self.next.take() else { return Ok(None) };
        let mut records = Vec::new();
        self.next = match stage {
            Stage::Start => {
                records.extend(self.store.definitions().await?.map(Record::Definitions));
                records.extend(self.store.marks().await?.into_iter().map(Record::Mark));
                Some(Stage::Collections(None))
            }
            Stage::Collections(after) => {
                let found = self.moving()?.collections(after.as_ref(), PAGE).await?;
                let keys: Vec<CollectionKey> = found.iter().map(|(at, _)| at.clone()).rev().collect();
                records.extend(found.into_iter().map(|(at, fields)| Record::Collection(at, fields)));
                Some(if keys.is_empty() { Stage::Deliveries(0) } else { Stage::Documents(keys, None) })
            }
            Stage::Documents(mut keys, after) => {
                let Some(at) = keys.last().cloned() else { return Ok(Some(records)) };
                let found = self.moving()?.documents(&at, after.as_deref(), PAGE).await?;
                let last = found.last().map(|document| document.id.clone());
                records.extend(found.into_iter().map(|document| Record::Document(at.clone(), document)));
                Some(match last {
                    Some(last) => Stage::Documents(keys, Some(last)),
                    None if keys.len() == 1 => Stage::Collections(Some(at)),
                    None => {
                        keys.pop();
                        Stage::Documents(keys, None)
                    }
                })
            }
            Stage::Deliveries(after) => {
                let found = self.moving()?.deliveries(after, PAGE).await?;
                let last = found.last().map(|(number, _)| *number);
                records.extend(found.into_iter().map(|(_, delivery)| Record::Delivery(delivery)));
                Some(last.map_or(Stage::Tenants(None), Stage::Deliveries))
            }
            Stage::Tenants(after) => {
                let page = self.store.tenants(after.as_ref(), PAGE).await?;
                self.unreadable.extend(page.unreadable.iter().map(ToString::to_string));
                let last = page.tenants.last().map(|tenant| tenant.id.clone());
                records.extend(page.tenants.into_iter().map(Record::Tenant));
                last.filter(|_| page.more).map(|last| Stage::Tenants(Some(last)))
            }
        };
        Ok(Some(records))
    }

    fn moving(&self) -> Result<&dyn Moving, StoreError> {
        self.store.moving().ok_or_else(immovable)
    }
}

/// The highest revision that is taken: the last whole number that every reader of JSON tells from the next.
const MAX_REVISION: u64 = 1 << 53;

/// Why a record can't be of an export: no store would have taken it from anybody else.
fn problem_of(record: &Record) -> Option<String> {
    let revision = |revision: u64, least: u64| {
        let is_one = (least..=MAX_REVISION).contains(&revision);
        (!is_one).then(|| format!("revision {revision} is not between {least} and {MAX_REVISION}"))
    };
    match record {
        Record::Document(_, document) if !is_document_id(&document.id) => Some(StoreError::DocumentId.to_string()),
        Record::Document(at, document) => {
            revision(document.revision, 1).map(|why| format!("document `{}` of {}: {why}", document.id, at.model))
        }
        Record::Definitions(found) => revision(found.revision, 1),
        Record::Tenant(document) => {
            let mut values = document.feature_flags.values().chain(document.settings.values());
            let is_deep = values.any(|value| depth(value) > MAX_VALUE_DEPTH);
            let deep = || format!("of a value more than {MAX_VALUE_DEPTH} arrays and objects are inside each other");
            revision(document.revision, 0).or_else(|| is_deep.then(deep))
        }
        Record::Mark(_) | Record::Collection(..) | Record::Delivery(_) => None,
    }
}

fn immovable() -> StoreError {
    StoreError::Unavailable("this store can't be read and written as a whole".into())
}

/// What an import has come to.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// How many records were written.
    pub written: u64,
    /// How many were there already.
    pub there: u64,
    /// The tenants that were not written, with the first reason.
    pub refused: BTreeMap<TenantId, String>,
    /// Why the definitions were not written.
    pub definitions_refused: Option<String>,
}

/// Held by the import that is at work. One at a time in a process, whatever it writes to: another of the same tenants would
/// clear away what this one has written.
static AT_WORK: Mutex<()> = Mutex::const_new(());

/// Writes records, in the order in which an [`Exporter`] reads them. What becomes visible with its record (tenants, marks,
/// definitions) is kept until [`Importer::finish`]. What an import has left that was cut off is cleared away first. Where
/// another one is at work in this process, the first record waits for its end.
pub struct Importer {
    store: Arc<dyn Store>,
    report: ImportReport,
    /// The tenants that were there before.
    present: BTreeSet<TenantId>,
    looked_for: BTreeSet<TenantId>,
    last: Vec<Record>,
    /// From the first record on.
    at_work: Option<MutexGuard<'static, ()>>,
}

impl Importer {
    /// Nothing is written yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let report = ImportReport::default();
        Self { store, report, present: BTreeSet::new(), looked_for: BTreeSet::new(), last: Vec::new(), at_work: None }
    }

    /// Takes a record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; what is wrong with a tenant is in the report.
    pub async fn take(&mut self, record: Record) -> Result<(), StoreError> {
        if let Some(problem) = problem_of(&record) {
            self.refuse(record.tenant().cloned(), problem);
            return Ok(());
        }
        if matches!(record, Record::Definitions(_) | Record::Mark(_) | Record::Tenant(_)) {
            self.last.push(record);
            return Ok(());
        }
        let Some(tenant) = record.tenant().cloned() else { return Ok(()) };
        if self.report.refused.contains_key(&tenant) {
            return Ok(());
        }
        if !self.is_present(&tenant).await? {
            return self.write(record).await;
        }
        // What it has now is compared and left as it is; what was to be delivered may have been since.
        if let Record::Document(at, document) = &record
            && self.store.get(at, &document.id).await?.as_ref() != Some(document)
        {
            let what = format!("it is there already, and document `{}` of {} differs", document.id, at.model);
            self.report.refused.insert(tenant, what);
            return Ok(());
        }
        self.report.there += 1;
        Ok(())
    }

    /// Shows what was kept, tenants last.
    ///
    /// # Errors
    ///
    /// As [`Importer::take`].
    pub async fn finish(mut self) -> Result<ImportReport, StoreError> {
        for record in std::mem::take(&mut self.last) {
            if let Some(tenant) = record.tenant().cloned() {
                if self.report.refused.contains_key(&tenant) {
                    continue;
                }
                self.is_present(&tenant).await?;
            }
            self.write(record).await?;
        }
        Ok(self.report)
    }

    async fn is_present(&mut self, tenant: &TenantId) -> Result<bool, StoreError> {
        if self.at_work.is_none() {
            self.at_work = Some(AT_WORK.lock().await);
        }
        if !self.looked_for.contains(tenant) {
            let moving = self.store.moving().ok_or_else(immovable)?;
            if moving.prepare(tenant).await? {
                self.present.insert(tenant.clone());
            }
            self.looked_for.insert(tenant.clone());
        }
        Ok(self.present.contains(tenant))
    }

    /// Lists a tenant as refused, or the definitions where it is none's, for the first reason that there is.
    fn refuse(&mut self, tenant: Option<TenantId>, why: String) {
        match tenant {
            Some(tenant) => drop(self.report.refused.entry(tenant).or_insert(why)),
            None => self.report.definitions_refused = Some(why),
        }
    }

    /// Leaves definitions out that somebody who can read them has refused.
    pub fn refuse_definitions(&mut self, why: String) {
        self.refuse(None, why);
    }

    async fn write(&mut self, record: Record) -> Result<(), StoreError> {
        let moving = self.store.moving().ok_or_else(immovable)?;
        let tenant = record.tenant().cloned();
        match moving.import(record).await {
            Ok(Imported::Written) => self.report.written += 1,
            Ok(Imported::There) => self.report.there += 1,
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            Err(error) => {
                let why = match &error {
                    StoreError::Exists(what) => format!("{what} is there already and differs"),
                    other => other.to_string(),
                };
                self.refuse(tenant, why);
            }
        }
        Ok(())
    }
}

/// How many bytes the body has that is to be delivered.
pub(super) fn body_bytes(what: &Delivered) -> usize {
    match what {
        Delivered::Event { body, .. } => body.len(),
        Delivered::Wake { .. } => 0,
    }
}

/// Whether two tenants' documents say the same, whenever they were written. Not every store keeps times finer than
/// milliseconds, so nothing finer counts.
pub(super) fn is_same(one: &TenantDocument, other: &TenantDocument) -> bool {
    let millis = |time: Timestamp| Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
    let content = |document: &TenantDocument| {
        let mut content = TenantDocument { revision: 0, updated_at: None, ..document.clone() };
        for enabled in &mut content.enabled_modules {
            enabled.enabled_at = enabled.enabled_at.map(millis);
        }
        content
    };
    content(one) == content(other)
}
