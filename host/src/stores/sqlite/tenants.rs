//! Reading and writing tenants. A deleted one leaves its row behind, without a document.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::{StoreError, revision_from, revision_to};
use crate::{
    names::TenantId,
    stores::{FieldProblem, TenantData, TenantDocument, TenantDocumentError, TenantPage},
};

/// One tenant.
pub(super) fn tenant(connection: &Connection, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT revision, document FROM tenants WHERE id = ?1 AND document IS NOT NULL")?;
    let row: Option<(i64, String)> =
        statement.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((revision, document)) = row else { return Ok(None) };
    Ok(Some(read(id.as_str(), revision, &document)?))
}

/// The revisions of tenants.
pub(super) fn revisions(connection: &Connection, ids: &[TenantId]) -> Result<Vec<Option<u64>>, StoreError> {
    let found = |id| Ok(revision(connection, id)?.and_then(|(revision, is_there)| is_there.then_some(revision)));
    ids.iter().map(found).collect()
}

/// A page of tenants.
pub(super) fn tenants(
    connection: &Connection,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<TenantPage, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, revision, document FROM tenants WHERE document IS NOT NULL AND id > ?1 ORDER BY id",
    )?;
    // No id is empty, so all are above the empty text.
    let mut rows = statement.query([after.map_or("", TenantId::as_str)])?;
    let mut page = TenantPage::default();
    while let Some(row) = rows.next()? {
        let (id, document) = (
            row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
            row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?,
        );
        match read(id, row.get(1)?, document) {
            Ok(_) if page.tenants.len() == limit => {
                page.more = true;
                break;
            }
            Ok(tenant) => page.tenants.push(tenant),
            Err(problem) => page.unreadable.push(problem),
        }
    }
    Ok(page)
}

/// Stores a new tenant, over the tombstone of an older one where there is one. What lies under its id goes: a handler that
/// ended after a deletion has left it, or an import that was cut off.
pub(super) fn create(connection: &Connection, mut document: TenantDocument) -> Result<Arc<TenantDocument>, StoreError> {
    let found = revision(connection, &document.id)?;
    if let Some((_, true)) = found {
        return Err(StoreError::Exists(document.id.to_string()));
    }
    document.revision = found.map_or(0, |(revision, _)| revision) + 1;
    clear(connection, &document.id)?;
    write(connection, &document)?;
    Ok(Arc::new(document))
}

/// Replaces a tenant of the document's revision.
pub(super) fn replace(
    connection: &Connection,
    mut document: TenantDocument,
) -> Result<Arc<TenantDocument>, StoreError> {
    expect(connection, &document.id, document.revision)?;
    document.revision += 1;
    write(connection, &document)?;
    Ok(Arc::new(document))
}

/// Deletes a tenant, with its documents or not at all where it has some.
pub(super) fn delete(
    connection: &Connection,
    id: &TenantId,
    revision: u64,
    data: TenantData,
) -> Result<(), StoreError> {
    expect(connection, id, revision)?;
    let tenant = [id.as_str()];
    if data == TenantData::Refuse {
        let count = "SELECT count(*) FROM documents WHERE tenant = ?1";
        let documents: i64 = connection.prepare_cached(count)?.query_row(tenant, |row| row.get(0))?;
        if documents > 0 {
            return Err(StoreError::HasData { documents: documents.unsigned_abs() });
        }
    }
    clear(connection, id)?;
    let sql = "UPDATE tenants SET revision = revision + 1, document = NULL WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(tenant)?;
    Ok(())
}

/// Removes all that a tenant has besides its document.
pub(super) fn clear(connection: &Connection, id: &TenantId) -> Result<(), StoreError> {
    // The entries first: otherwise each document would look for its own.
    for sql in [
        "DELETE FROM entries WHERE tenant = ?1",
        "DELETE FROM documents WHERE tenant = ?1",
        "DELETE FROM collections WHERE tenant = ?1",
        "DELETE FROM deliveries WHERE tenant = ?1",
        "DELETE FROM marks WHERE tenant = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([id.as_str()])?;
    }
    Ok(())
}

/// Takes documents of another store over, with their revisions, unless what is here is newer; `gone` are no more there.
pub(super) fn adopt(
    connection: &Connection,
    documents: &[Arc<TenantDocument>],
    gone: &[TenantId],
) -> Result<(), StoreError> {
    for document in documents {
        if revision(connection, &document.id)?.is_none_or(|(known, _)| known <= document.revision) {
            write(connection, document)?;
        }
    }
    for id in gone {
        forget(connection, id)?;
    }
    Ok(())
}

/// Takes over all there is above `after` and up to `until`, so what is here beside it goes; what is `unreadable` there
/// stays as it is.
pub(super) fn adopt_page(
    connection: &Connection,
    (after, until): (Option<&TenantId>, Option<&TenantId>),
    documents: &[Arc<TenantDocument>],
    unreadable: &[TenantId],
) -> Result<(), StoreError> {
    let sql = "SELECT id FROM tenants WHERE document IS NOT NULL AND id > ?1 AND (?2 IS NULL OR id <= ?2)";
    let known: Vec<String> = connection
        .prepare_cached(sql)?
        .query_map(params![after.map_or("", TenantId::as_str), until.map(TenantId::as_str)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let is_there = |id: &str| {
        documents.binary_search_by(|it| it.id.as_str().cmp(id)).is_ok() || unreadable.iter().any(|it| it.as_str() == id)
    };
    let gone: Vec<TenantId> = known.iter().filter(|id| !is_there(id)).filter_map(|id| id.parse().ok()).collect();
    adopt(connection, documents, &gone)
}

/// Leaves nothing behind: what comes later has the revision that the other store gives it.
fn forget(connection: &Connection, id: &TenantId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM tenants WHERE id = ?1")?.execute([id.as_str()])?;
    Ok(())
}

fn expect(connection: &Connection, id: &TenantId, expected: u64) -> Result<(), StoreError> {
    match revision(connection, id)? {
        Some((found, true)) if found == expected => Ok(()),
        Some((found, true)) => Err(StoreError::Revision { expected, found }),
        _ => Err(StoreError::Missing(id.to_string())),
    }
}

/// A tenant's revision, and whether it is there, as opposed to deleted.
pub(super) fn revision(connection: &Connection, id: &TenantId) -> Result<Option<(u64, bool)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT revision, document IS NOT NULL FROM tenants WHERE id = ?1")?;
    let row = statement.query_row([id.as_str()], |row| Ok((revision_from(row.get(0)?), row.get(1)?)));
    Ok(row.optional()?)
}

pub(super) fn write(connection: &Connection, document: &TenantDocument) -> Result<(), StoreError> {
    let sql = "INSERT INTO tenants (id, revision, document) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, document = excluded.document";
    let text = Value::Object(document.to_json()).to_string();
    connection.prepare_cached(sql)?.execute(params![document.id.as_str(), revision_to(document.revision), text])?;
    Ok(())
}

/// The row's id and revision count, whatever somebody wrote into the text by hand.
fn read(id: &str, revision: i64, document: &str) -> Result<Arc<TenantDocument>, TenantDocumentError> {
    let whole = |problem: serde_json::Error| TenantDocumentError {
        tenant: Some(id.to_owned()),
        problems: vec![FieldProblem { field: "document".to_owned(), problem: problem.to_string() }],
    };
    let mut json: Map<String, Value> = serde_json::from_str(document).map_err(whole)?;
    json.insert("tenantId".to_owned(), id.into());
    json.insert("revision".to_owned(), revision.into());
    TenantDocument::from_json(json).map(Arc::new)
}
