//! The documents of modules, and which of their fields are kept for searching.

use crate::names::{ModuleName, TenantId};

/// Which collection: a model of a module for a tenant. No operation reaches beyond one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CollectionKey {
    /// Whose documents.
    pub tenant: TenantId,
    /// Which module's.
    pub module: ModuleName,
    /// Which of the models its manifest declares.
    pub model: String,
}

/// The fields of a model that its manifest declares, each sorted and without repeats. Only top-level fields;
/// a unique field can be searched too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFields {
    /// At most one document of the tenant has a given value. Documents without the field, or with null
    /// there, don't count.
    pub unique: Vec<String>,
    /// Can be searched and ordered by.
    pub index: Vec<String>,
}

/// A document as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// At most 256 bytes, not empty.
    pub id: String,
    /// From 1.
    pub revision: u64,
    /// A JSON object, as the module wrote it.
    pub body: Vec<u8>,
}

/// One page of documents.
#[derive(Debug, Clone, Default)]
pub struct DocumentPage {
    /// In the order asked for.
    pub documents: Vec<StoredDocument>,
    /// Where the next page begins; opaque; `None` on the last.
    pub next: Option<String>,
}
