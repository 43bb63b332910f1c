//! Flag definitions as the one row of their table. Taken away, they leave the row behind, without a text.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, revision_from, revision_to};
use crate::stores::{StoredDefinitions, definitions::next_revision};

pub(super) fn definitions(connection: &Connection) -> Result<Option<StoredDefinitions>, StoreError> {
    let sql = "SELECT revision, text, updated_at FROM definitions WHERE text IS NOT NULL";
    let row = connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(StoredDefinitions {
            revision: revision_from(row.get(0)?),
            text: row.get::<_, String>(1)?.into(),
            updated_at: Timestamp::from_millisecond(row.get(2)?).ok(),
        })
    });
    Ok(row.optional()?)
}

pub(super) fn put(connection: &Connection, text: Option<&str>, expected: u64) -> Result<u64, StoreError> {
    let found = "SELECT revision, text IS NOT NULL FROM definitions";
    let read = |row: &rusqlite::Row<'_>| Ok((revision_from(row.get(0)?), row.get(1)?));
    let found = connection.prepare_cached(found)?.query_row([], read).optional()?;
    let revision = next_revision(found, text, expected)?;
    let sql = "INSERT INTO definitions (only, revision, text, updated_at) VALUES (1, ?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET revision = excluded.revision, text = excluded.text,
                   updated_at = excluded.updated_at";
    let now = Timestamp::now().as_millisecond();
    connection.prepare_cached(sql)?.execute(params![revision_to(revision), text, now])?;
    Ok(revision)
}

/// Takes over what another store holds, with the revision that it has there.
pub(super) fn adopt(connection: &Connection, found: Option<&StoredDefinitions>) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM definitions")?.execute([])?;
    if let Some(StoredDefinitions { revision, text, updated_at }) = found {
        let sql = "INSERT INTO definitions (only, revision, text, updated_at) VALUES (1, ?1, ?2, ?3)";
        let at = updated_at.map_or(0, Timestamp::as_millisecond);
        connection.prepare_cached(sql)?.execute(params![revision_to(*revision), &**text, at])?;
    }
    Ok(())
}
