//! The collections and their indexes. All indexes are fixed: whatever modules declare, none is made for them.

use bson::{Document, doc};
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

/// Makes what is missing; nothing happens where all is there.
pub(super) async fn make_indexes(server: &Server) -> Result<(), StoreError> {
    let plain = |keys: Document| IndexModel::builder().keys(keys).build();
    let unique = |field: &str| {
        // Documents without the field don't count.
        let filter = doc! { field: { "$exists": true } };
        let options = IndexOptions::builder().unique(true).partial_filter_expression(filter).build();
        IndexModel::builder().keys(doc! { field: 1 }).options(options).build()
    };
    let all = [
        (TENANTS, vec![unique("tenantId")]),
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
        server.collection(collection).create_indexes(indexes).await?;
    }
    // A transaction of an older server can't make a collection.
    for collection in [REVISIONS, COLLECTIONS, DEFINITIONS, COUNTERS] {
        match server.database.create_collection(collection.as_str()).await {
            Err(problem) if !is_there(&problem) => return Err(problem.into()),
            _ => {}
        }
    }
    Ok(())
}

fn is_there(problem: &mongodb::error::Error) -> bool {
    const NAMESPACE_EXISTS: i32 = 48;
    matches!(&*problem.kind, mongodb::error::ErrorKind::Command(error) if error.code == NAMESPACE_EXISTS)
}
