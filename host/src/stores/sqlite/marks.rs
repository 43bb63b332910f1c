//! Marks as rows. A mark for all has an empty tenant, which no tenant's id is.

use rusqlite::{Connection, Row, params};

use super::StoreError;
use crate::{
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind},
};

const BAD: i64 = 1;
const QUARANTINED: i64 = 2;

pub(super) fn marks(connection: &Connection) -> Result<Vec<Mark>, StoreError> {
    let sql = "SELECT module, hash, tenant, kind, version, reason, marked_at FROM marks
               ORDER BY module, hash, tenant, kind";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(super) fn set(connection: &Connection, mark: &Mark) -> Result<(), StoreError> {
    let sql = "INSERT INTO marks (module, hash, tenant, kind, version, reason, marked_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT DO UPDATE SET version = excluded.version, reason = excluded.reason,
                   marked_at = excluded.marked_at";
    let kind = match mark.kind {
        MarkKind::Bad => BAD,
        MarkKind::Quarantined => QUARANTINED,
    };
    connection.prepare_cached(sql)?.execute(params![
        mark.module.as_str(),
        mark.hash,
        mark.tenant.as_ref().map_or("", TenantId::as_str),
        kind,
        mark.version,
        mark.reason,
        mark.marked_at,
    ])?;
    Ok(())
}

pub(super) fn clear(
    connection: &Connection,
    module: &ModuleName,
    tenant: Option<&TenantId>,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM marks WHERE module = ?1 AND (?2 IS NULL OR tenant = ?2)";
    let gone = connection.prepare_cached(sql)?.execute(params![module.as_str(), tenant.map(TenantId::as_str)])?;
    Ok(gone as u64)
}

fn read(row: &Row<'_>) -> Result<Mark, StoreError> {
    let unfit = |problem: String| StoreError::Unavailable(format!("a mark can't be read: {problem}").into());
    let (module, tenant): (String, String) = (row.get("module")?, row.get("tenant")?);
    let kind = match row.get("kind")? {
        BAD => MarkKind::Bad,
        QUARANTINED => MarkKind::Quarantined,
        other => return Err(unfit(format!("kind {other}"))),
    };
    let of_one = (!tenant.is_empty()).then(|| tenant.parse());
    Ok(Mark {
        module: module.parse().map_err(|error| unfit(format!("{error}")))?,
        hash: row.get("hash")?,
        tenant: of_one.transpose().map_err(|error| unfit(format!("{error}")))?,
        kind,
        version: row.get("version")?,
        reason: row.get("reason")?,
        marked_at: row.get("marked_at")?,
    })
}
