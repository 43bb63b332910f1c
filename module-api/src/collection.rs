//! Collections of documents: what a module stores.

use std::{fmt, marker::PhantomData, sync::Arc};

use abi_stable::std_types::{RString, RVec};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    abi::{HostBox, RawDocuments, RawLater, RawStoreOp, STORE_DELETE, STORE_FIND, STORE_GET, STORE_INSERT, STORE_PUT},
    error::StoreError,
};

/// The documents of one model, for one tenant. Cheap to clone.
///
/// Every write is durable when it returns. There are no transactions over several documents: what must be
/// atomic is one document, or a unique field.
///
/// # Cancel safety
///
/// Dropping the future of a write drops the answer; the write may still happen.
pub struct Collection<T> {
    host: Arc<HostBox>,
    model: RString,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { host: Arc::clone(&self.host), model: self.model.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collection({})", self.model)
    }
}

/// A document with its id and revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document<T> {
    /// 1 to 256 bytes.
    pub id: String,
    /// From 1; grows by one with each write.
    pub revision: u64,
    /// What is stored.
    pub value: T,
}

/// One page of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// In the order asked for.
    pub documents: Vec<Document<T>>,
    /// Where the next page begins; opaque; `None` on the last.
    pub next: Option<String>,
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    pub(crate) fn new(host: Arc<HostBox>, model: &str) -> Self {
        Self { host, model: RString::from(model), of: PhantomData }
    }

    /// A document, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; [`StoreError::Other`] where what is stored is no `T`.
    pub async fn get(&self, id: &str) -> Result<Option<Document<T>>, StoreError> {
        let mut found = self.ask(STORE_GET, id, 0, Vec::new()).await?;
        found.documents.pop().map(read).transpose()
    }

    /// Stores a new document and returns its revision, 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::NotUnique`], [`StoreError::Unavailable`].
    pub async fn insert(&self, id: &str, value: &T) -> Result<u64, StoreError> {
        let body = write(value)?;
        self.ask(STORE_INSERT, id, 0, body).await.map(revision_of)
    }

    /// Replaces a document that has revision `expected`, and returns the next one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Revision`] where somebody wrote it in between, [`StoreError::Missing`],
    /// [`StoreError::NotUnique`], [`StoreError::Unavailable`].
    pub async fn put(&self, id: &str, value: &T, expected: u64) -> Result<u64, StoreError> {
        let body = write(value)?;
        self.ask(STORE_PUT, id, expected, body).await.map(revision_of)
    }

    /// Deletes a document that has revision `expected`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Revision`], [`StoreError::Missing`], [`StoreError::Unavailable`].
    pub async fn delete(&self, id: &str, expected: u64) -> Result<(), StoreError> {
        self.ask(STORE_DELETE, id, expected, Vec::new()).await.map(drop)
    }

    /// Documents by field.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misuse`] where a field is not declared or the cursor is another query's;
    /// [`StoreError::Unavailable`].
    pub async fn find(&self, query: &Query) -> Result<Page<T>, StoreError> {
        let body = write(query)?;
        let found = self.ask(STORE_FIND, "", 0, body).await?;
        let documents = found.documents.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Page { documents, next: found.next.into_option().map(RString::into_string) })
    }

    /// All documents in the order of their ids, page by page. `limit` is 1 to 200.
    ///
    /// # Errors
    ///
    /// As [`Collection::find`].
    pub async fn list(&self, limit: usize, after: Option<&str>) -> Result<Page<T>, StoreError> {
        let mut query = Query::new().limit(limit);
        query.after = after.map(str::to_owned);
        self.find(&query).await
    }

    async fn ask(&self, kind: u32, id: &str, revision: u64, body: Vec<u8>) -> Result<RawDocuments, StoreError> {
        let op =
            RawStoreOp { kind, model: self.model.clone(), id: RString::from(id), revision, body: RVec::from(body) };
        let answer = match self.host.store(op) {
            RawLater::Ready(answer) => answer,
            RawLater::Pending(later) => later.await,
        };
        answer.into_result().map_err(StoreError::from)
    }
}

fn write(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Other(format!("the document can't be written as JSON: {error}")))
}

fn read<T: DeserializeOwned>(raw: crate::abi::RawDocument) -> Result<Document<T>, StoreError> {
    let value = serde_json::from_slice(&raw.body)
        .map_err(|error| StoreError::Other(format!("document `{}` is not of the expected shape: {error}", raw.id)))?;
    Ok(Document { id: raw.id.into_string(), revision: raw.revision, value })
}

fn revision_of(written: RawDocuments) -> u64 {
    written.documents.first().map_or(0, |document| document.revision)
}

/// A question to a collection: equalities, at most one range or prefix, an order.
///
/// ```
/// # use module_api::Query;
/// let query = Query::new().equal("status", "open").from("due", "2026-01-01").order_by("due").limit(20);
/// ```
#[derive(Debug, Clone, Default, Serialize)]
pub struct Query {
    equal: Vec<(String, Value)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<Range>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_by: Option<String>,
    descending: bool,
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Range {
    field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

impl Query {
    /// Everything, in the order of ids, 50 to a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only documents whose indexed field has this value.
    #[must_use]
    pub fn equal(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.equal.push((field.to_owned(), value.into()));
        self
    }

    fn range_of(&mut self, field: &str) -> &mut Range {
        let range = self.range.get_or_insert_with(Range::default);
        field.clone_into(&mut range.field);
        range
    }

    /// Only documents whose indexed field is this value or above. Strings compare bytewise.
    #[must_use]
    pub fn from(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.range_of(field).from = Some(value.into());
        self
    }

    /// Only documents whose indexed field is below this value.
    #[must_use]
    pub fn below(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.range_of(field).to = Some(value.into());
        self
    }

    /// Only documents whose indexed field is a string that begins so.
    #[must_use]
    pub fn prefix(mut self, field: &str, prefix: impl Into<String>) -> Self {
        self.range_of(field).prefix = Some(prefix.into());
        self
    }

    /// In the order of an indexed field, ties by id; must be the range's field where both are given.
    #[must_use]
    pub fn order_by(mut self, field: &str) -> Self {
        self.order_by = Some(field.to_owned());
        self
    }

    /// From the highest down.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// How many documents a page has: 1 to 200.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, 200);
        self
    }

    /// The page that begins at a page's `next`.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.after = Some(cursor.into());
        self
    }
}

/// A value that can be searched for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A number without a fraction.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
