//! The collections and their indexes. All indexes are fixed: whatever modules declare, none is made for them.

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{IndexModel, options::IndexOptions};

use super::{StoreError, server::Server};

/// A collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(pub(super) usize);

impl Name {
    pub(super) fn as_str(self) -> &'static str {
        NAMES[self.0]
    }
}

/// What the constants below are called in the database.
pub(super) const NAMES: [&str; 8] = [
    "tenants",
    "tenantRevisions",
    "moduleDocuments",
    "moduleCollections",
    "moduleDeliveries",
    "moduleState",
    "flagDefinitions",
    "counters",
];

/// Tenant documents, as the platform's other programs know them.
pub(super) const TENANTS: Name = Name(0);
/// The highest revision that each tenant has had; for documents that come back without one.
pub(super) const REVISIONS: Name = Name(1);
/// Documents of modules, with their entries.
pub(super) const DOCUMENTS: Name = Name(2);
/// By which fields each collection of a module is indexed.
pub(super) const COLLECTIONS: Name = Name(3);
/// Events, wake-ups and dead letters.
pub(super) const DELIVERIES: Name = Name(4);
/// What is held against contents of modules.
pub(super) const MARKS: Name = Name(5);
/// Flag definitions for all tenants; one document.
pub(super) const DEFINITIONS: Name = Name(6);
/// Numbers that grow.
pub(super) const COUNTERS: Name = Name(7);

/// What Tenon's own unique index on tenants' ids is called where somebody else's index has its place.
const BESIDE: &str = "tenon_tenantId";

/// An index can't be made.
#[derive(Debug, thiserror::Error)]
#[error("index `{index}` of collection `{collection}` can't be made")]
struct IndexProblem {
    index: String,
    collection: &'static str,
    #[source]
    source: mongodb::error::Error,
}

/// Makes what is missing; nothing happens where all is there.
pub(super) async fn make_indexes(server: &Server) -> Result<(), StoreError> {
    let all = [
        (TENANTS, tenant_index(server).await?.into_iter().collect()),
        (DOCUMENTS, vec![plain(doc! { "entries": 1, "_id": 1 }), unique("unique"), plain(doc! { "by": 1 })]),
        (
            DELIVERIES,
            vec![
                unique("head"),
                unique("wake"),
                plain(doc! { "due": 1, "_id": 1 }),
                plain(doc! { "queue": 1, "_id": 1 }),
                plain(doc! { "waits": 1 }),
                plain(doc! { "claimedUntil": 1, "tenant": 1 }),
                plain(doc! { "tenant": 1 }),
                plain(doc! { "diedAt": 1, "_id": 1 }),
            ],
        ),
        (MARKS, vec![plain(doc! { "tenant": 1 })]),
    ];
    for (collection, indexes) in all {
        // One after the other, so that it is known which one is refused.
        for index in indexes {
            let name = name_of(&index);
            server.collection(collection).create_index(index).await.map_err(|source| {
                let problem = IndexProblem { index: name, collection: collection.as_str(), source };
                StoreError::Unavailable(Box::new(problem))
            })?;
        }
    }
    // A transaction of an older server can't make a collection.
    for collection in [REVISIONS, COLLECTIONS, DEFINITIONS, COUNTERS] {
        match server.database.create_collection(collection.as_str()).await {
            Err(problem) if code(&problem) != Some(NAMESPACE_EXISTS) => return Err(problem.into()),
            _ => {}
        }
    }
    Ok(())
}

fn plain(keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).build()
}

/// Documents without the field don't count.
fn unique(field: &str) -> IndexModel {
    let filter = doc! { field: { "$exists": true } };
    let options = IndexOptions::builder().unique(true).partial_filter_expression(filter).build();
    IndexModel::builder().keys(doc! { field: 1 }).options(options).build()
}

/// The index that is missing on tenants' ids; none where the database has one that does, as one has that another program
/// keeps tenants in. One that doesn't do stays, and has the place and the name that ours would have.
async fn tenant_index(server: &Server) -> Result<Option<IndexModel>, StoreError> {
    let mut others = false;
    match server.collection(TENANTS).list_indexes().await {
        Ok(mut found) => {
            while let Some(index) = found.try_next().await? {
                let mut keys = index.keys.iter();
                let is_of_ids = keys.next().is_some_and(|(key, _)| key == "tenantId") && keys.next().is_none();
                if is_of_ids && keeps_apart(&index) {
                    return Ok(None);
                }
                others |= is_of_ids || name_of(&index) == "tenantId_1";
            }
        }
        Err(problem) if code(&problem) == Some(NAMESPACE_NOT_FOUND) => {}
        Err(problem) => return Err(problem.into()),
    }
    let mut index = unique("tenantId");
    if others {
        // Backwards, as an older server has no two indexes of the same keys.
        index.keys = doc! { "tenantId": -1 };
        index.options.get_or_insert_default().name = Some(BESIDE.to_owned());
    }
    Ok(Some(index))
}

/// Whether an index refuses a second document with the same id, whatever else they say, and finds by id.
fn keeps_apart(index: &IndexModel) -> bool {
    let Some(options) = &index.options else { return false };
    let of_all = options.partial_filter_expression.as_ref().is_none_or(|filter| {
        let is_there = |wanted: &Document| wanted.len() == 1 && wanted.get_bool("$exists").unwrap_or(false);
        filter.len() == 1 && filter.get_document("tenantId").is_ok_and(is_there)
    });
    options.unique == Some(true) && options.collation.is_none() && options.hidden != Some(true) && of_all
}

/// As the driver names an index that has no name.
fn name_of(index: &IndexModel) -> String {
    let named = index.options.as_ref().and_then(|options| options.name.clone());
    let parts = || index.keys.iter().map(|(key, value)| format!("{key}_{value}"));
    named.unwrap_or_else(|| parts().collect::<Vec<_>>().join("_"))
}

const NAMESPACE_NOT_FOUND: i32 = 26;
const NAMESPACE_EXISTS: i32 = 48;

fn code(problem: &mongodb::error::Error) -> Option<i32> {
    match &*problem.kind {
        mongodb::error::ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}
