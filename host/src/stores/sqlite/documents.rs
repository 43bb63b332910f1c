//! Reading and writing documents, and keeping their entries what the declared fields say.

use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params};

use super::{StoreError, revision_from, revision_to};
use crate::stores::{
    CollectionKey, ModelFields, StoredDocument,
    entries::{self, Entry, normal},
};

/// One document.
pub(super) fn get(connection: &Connection, at: &CollectionKey, id: &str) -> Result<Option<StoredDocument>, StoreError> {
    let sql = "SELECT revision, body FROM documents WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id = ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let document = statement.query_row(params![at.tenant.as_str(), at.module.as_str(), at.model, id], |row| {
        Ok(StoredDocument { id: id.to_owned(), revision: revision_from(row.get(0)?), body: row.get(1)? })
    });
    Ok(document.optional()?)
}

/// A new document; `entries` are those of `fields`.
pub(super) fn insert(
    connection: &Connection,
    at: &CollectionKey,
    fields: &ModelFields,
    id: &str,
    body: &[u8],
    entries: Vec<Entry>,
) -> Result<u64, StoreError> {
    let sql = "INSERT INTO documents (tenant, module, model, id, revision, body) VALUES (?1, ?2, ?3, ?4, 1, ?5)
               ON CONFLICT DO NOTHING";
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, id, body];
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        return Err(StoreError::Exists(id.to_owned()));
    }
    for entry in agree(connection, at, fields, body, entries)? {
        add_entry(connection, at, id, &entry)?;
    }
    Ok(1)
}

/// A document of revision `expected`, replaced; `entries` are those of `fields`.
pub(super) fn put(
    connection: &Connection,
    at: &CollectionKey,
    fields: &ModelFields,
    id: &str,
    body: &[u8],
    entries: Vec<Entry>,
    expected: u64,
) -> Result<u64, StoreError> {
    let sql = "UPDATE documents SET revision = revision + 1, body = ?5
               WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id = ?4 AND revision = ?6";
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, id, body, revision_to(expected)];
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        return Err(mismatch(connection, at, id, expected)?);
    }
    // Most writes leave most searchable fields alone; what is equal is not touched.
    let wanted = agree(connection, at, fields, body, entries)?;
    let present = entries_of(connection, at, id)?;
    for old in present.iter().filter(|old| !wanted.contains(old)) {
        let sql = "DELETE FROM entries
                   WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND document = ?4 AND field = ?5";
        let row = params![at.tenant.as_str(), at.module.as_str(), at.model, id, old.field];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    for new in wanted.iter().filter(|new| !present.contains(new)) {
        add_entry(connection, at, id, new)?;
    }
    Ok(expected + 1)
}

/// A document of revision `expected`, deleted; its entries go with it.
pub(super) fn delete(connection: &Connection, at: &CollectionKey, id: &str, expected: u64) -> Result<(), StoreError> {
    let sql = "DELETE FROM documents WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id = ?4 AND revision = ?5";
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, id, revision_to(expected)];
    match connection.prepare_cached(sql)?.execute(row)? {
        0 => Err(mismatch(connection, at, id, expected)?),
        _ => Ok(()),
    }
}

/// Whether the collection has exactly the entries of `fields`.
pub(super) fn is_indexed(
    connection: &Connection,
    at: &CollectionKey,
    fields: &ModelFields,
) -> Result<bool, StoreError> {
    // Without a row there has never been a document, and so there is no entry that could be wrong.
    Ok(indexed(connection, at)?.is_none_or(|found| !found.is_mixed && found.fields == normal(fields)))
}

/// Makes all entries of a collection anew, one document at a time.
pub(super) fn reindex(connection: &Connection, at: &CollectionKey, fields: &ModelFields) -> Result<(), StoreError> {
    if is_indexed(connection, at, fields)? {
        return Ok(());
    }
    let key = params![at.tenant.as_str(), at.module.as_str(), at.model];
    let sql = "DELETE FROM entries WHERE tenant = ?1 AND module = ?2 AND model = ?3";
    connection.prepare_cached(sql)?.execute(key)?;
    let sql = "SELECT id, body FROM documents WHERE tenant = ?1 AND module = ?2 AND model = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        for entry in entries::entries(body, fields)? {
            add_entry(connection, at, &id, &entry)?;
        }
    }
    remember(connection, at, &Indexed { fields: normal(fields), is_mixed: false })
}

/// What the entries of a collection were made from.
pub(super) struct Indexed {
    /// Every document has the entries of these.
    pub(super) fields: ModelFields,
    /// Some documents have entries of other fields besides.
    pub(super) is_mixed: bool,
}

/// What a collection was indexed by; `None` where it never had a document.
pub(super) fn indexed(connection: &Connection, at: &CollectionKey) -> Result<Option<Indexed>, StoreError> {
    let sql = "SELECT fields, mixed FROM collections WHERE tenant = ?1 AND module = ?2 AND model = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let row: Option<(String, bool)> = statement
        .query_row(params![at.tenant.as_str(), at.module.as_str(), at.model], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((fields, is_mixed)) = row else { return Ok(None) };
    let (unique, index) =
        serde_json::from_str(&fields).map_err(|problem| StoreError::Unavailable(Box::new(problem)))?;
    Ok(Some(Indexed { fields: ModelFields { unique, index }, is_mixed }))
}

pub(super) fn remember(connection: &Connection, at: &CollectionKey, indexed: &Indexed) -> Result<(), StoreError> {
    let sql = "INSERT INTO collections (tenant, module, model, fields, mixed) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET fields = excluded.fields, mixed = excluded.mixed";
    let fields = serde_json::json!([indexed.fields.unique, indexed.fields.index]).to_string();
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, fields, indexed.is_mixed];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// The entries to write. While one version of a module takes over from another, both write, each with its own fields:
/// a document then gets the entries of those fields and of the ones that the collection is indexed by, so that neither
/// version misses it, and the collection is marked for the next [`reindex`].
fn agree(
    connection: &Connection,
    at: &CollectionKey,
    fields: &ModelFields,
    body: &[u8],
    own: Vec<Entry>,
) -> Result<Vec<Entry>, StoreError> {
    let fields = normal(fields);
    let Some(mut indexed) = indexed(connection, at)? else {
        remember(connection, at, &Indexed { fields, is_mixed: false })?;
        return Ok(own);
    };
    if indexed.fields == fields {
        return Ok(own);
    }
    if !indexed.is_mixed {
        indexed.is_mixed = true;
        remember(connection, at, &indexed)?;
    }
    let mut both = indexed.fields;
    both.unique.extend(fields.unique);
    both.index.extend(fields.index);
    entries::entries(body, &both)
}

fn entries_of(connection: &Connection, at: &CollectionKey, id: &str) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT field, value, is_unique FROM entries
               WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND document = ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![at.tenant.as_str(), at.module.as_str(), at.model, id], |row| {
        Ok(Entry { field: row.get(0)?, value: row.get(1)?, unique: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn add_entry(connection: &Connection, at: &CollectionKey, id: &str, entry: &Entry) -> Result<(), StoreError> {
    let sql = "INSERT INTO entries (tenant, module, model, document, field, value, is_unique)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Entry { field, value, unique } = entry;
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, id, field, value, unique];
    match connection.prepare_cached(sql)?.execute(row) {
        Ok(_) => Ok(()),
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::ConstraintViolation && error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Err(StoreError::NotUnique { field: field.clone() })
        }
        Err(other) => Err(other.into()),
    }
}

/// Why no document of the expected revision was there.
fn mismatch(connection: &Connection, at: &CollectionKey, id: &str, expected: u64) -> Result<StoreError, StoreError> {
    let sql = "SELECT revision FROM documents WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id = ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let key = params![at.tenant.as_str(), at.module.as_str(), at.model, id];
    Ok(match statement.query_row(key, |row| row.get(0)).optional()? {
        Some(found) => StoreError::Revision { expected, found: revision_from(found) },
        None => StoreError::Missing(id.to_owned()),
    })
}
