//! Events and wake-ups as rows. Of a queue only the first row has a time at which it is due: what waits behind it
//! costs a look for due work nothing.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, documents, revision_from, revision_to};
use crate::{
    names::{ModuleName, TenantId},
    stores::{
        Backlog, Claim, ClaimRequest, CollectionKey, DeadLetter, Delivered, Delivery, DocumentWrite, ModelFields,
        NewEvent, Setback, entries::Entry,
    },
};

pub(super) const EVENT: i64 = 1;
pub(super) const WAKE: i64 = 2;

/// Refuses where the claim is not the newest of a delivery that is there.
pub(super) fn check(connection: &Connection, claim: Claim) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM deliveries WHERE id = ?1 AND fence = ?2 AND dead_at IS NULL AND claimed_until IS NOT NULL";
    let held = connection.prepare_cached(sql)?.exists(params![claim.delivery, revision_to(claim.fence)])?;
    if held { Ok(()) } else { Err(StoreError::ClaimLost) }
}

fn check_if(connection: &Connection, claim: Option<Claim>) -> Result<(), StoreError> {
    claim.map_or(Ok(()), |claim| check(connection, claim))
}

pub(super) fn publish(connection: &Connection, event: &NewEvent, claim: Option<Claim>) -> Result<(), StoreError> {
    check_if(connection, claim)?;
    let waiting = waiting_of(connection, event)?;
    if !event.subscribers.is_empty() && waiting + event.subscribers.len() as u64 > event.most_waiting {
        return Err(StoreError::TooManyWaiting { waiting, most: event.most_waiting });
    }
    let sql = "INSERT INTO deliveries (tenant, module, kind, queue, name, event_id, body, published_at, due)
               SELECT ?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, iif(EXISTS (
                   SELECT 1 FROM deliveries
                   WHERE tenant = ?1 AND module = ?2 AND kind = 1 AND queue = ?3 AND dead_at IS NULL), NULL, ?7)";
    for subscriber in &event.subscribers {
        connection.prepare_cached(sql)?.execute(params![
            event.tenant.as_str(),
            subscriber.as_str(),
            event.publisher.as_str(),
            event.name,
            event.event_id,
            event.body,
            event.published_at,
        ])?;
    }
    Ok(())
}

/// How many deliveries of the publisher's events wait. Triggers count: looking would take longer the more there are.
fn waiting_of(connection: &Connection, event: &NewEvent) -> Result<u64, StoreError> {
    let sql = "SELECT events FROM waiting WHERE tenant = ?1 AND publisher = ?2";
    let of = params![event.tenant.as_str(), event.publisher.as_str()];
    let found: Option<i64> = connection.prepare_cached(sql)?.query_row(of, |row| row.get(0)).optional()?;
    Ok(found.map_or(0, revision_from))
}

pub(super) fn set_wake(
    connection: &Connection,
    tenant: &TenantId,
    module: &ModuleName,
    key: &str,
    at: i64,
    claim: Option<Claim>,
) -> Result<(), StoreError> {
    check_if(connection, claim)?;
    let sql = "INSERT INTO deliveries (tenant, module, kind, queue, name, event_id, body, published_at, due)
               VALUES (?1, ?2, 2, ?3, ?3, '', x'', 0, ?4)
               ON CONFLICT (tenant, module, queue) WHERE kind = 2 AND dead_at IS NULL DO UPDATE SET
                   again = iif(claimed_until IS NULL, NULL, excluded.due),
                   failures = iif(claimed_until IS NULL, 0, failures),
                   due = iif(claimed_until IS NULL, excluded.due, due)";
    connection.prepare_cached(sql)?.execute(params![tenant.as_str(), module.as_str(), key, at])?;
    Ok(())
}

pub(super) fn cancel_wake(
    connection: &Connection,
    tenant: &TenantId,
    module: &ModuleName,
    key: &str,
    claim: Option<Claim>,
) -> Result<(), StoreError> {
    check_if(connection, claim)?;
    let of = params![tenant.as_str(), module.as_str(), key];
    let sql = "DELETE FROM deliveries WHERE tenant = ?1 AND module = ?2 AND kind = 2 AND queue = ?3
               AND dead_at IS NULL AND claimed_until IS NULL";
    if connection.prepare_cached(sql)?.execute(of)? == 0 {
        // It is being handled, or was by a host that is gone: it goes when that is over.
        let sql = "UPDATE deliveries SET again = -1 WHERE tenant = ?1 AND module = ?2 AND kind = 2 AND queue = ?3
                   AND dead_at IS NULL";
        connection.prepare_cached(sql)?.execute(of)?;
    }
    Ok(())
}

pub(super) fn claim_due(connection: &Connection, request: ClaimRequest) -> Result<Vec<Delivery>, StoreError> {
    let sql = "DELETE FROM deliveries WHERE again = -1 AND claimed_until <= ?1 AND dead_at IS NULL";
    connection.prepare_cached(sql)?.execute([request.now])?;
    // Set anew while a host handled it that is gone: what was handled then is over.
    let sql = "UPDATE deliveries SET due = again, again = NULL, failures = 0, error = NULL, claimed_until = NULL
               WHERE again >= 0 AND claimed_until <= ?1 AND dead_at IS NULL";
    connection.prepare_cached(sql)?.execute([request.now])?;
    // What a tenant has at work already counts for it.
    let sql = "WITH free AS (
                   SELECT id, tenant, due, row_number() OVER (PARTITION BY tenant ORDER BY due, id) AS place
                   FROM deliveries
                   WHERE due <= ?1 AND dead_at IS NULL AND (claimed_until IS NULL OR claimed_until <= ?1)),
               working AS (
                   SELECT tenant, count(*) AS held FROM deliveries
                   WHERE claimed_until > ?1 AND dead_at IS NULL GROUP BY tenant)
               SELECT id FROM free LEFT JOIN working USING (tenant)
               WHERE place + ifnull(held, 0) <= ?3 ORDER BY due, id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![request.now, count(request.limit), count(request.per_tenant)], |row| row.get::<_, i64>(0))?;
    let ids = rows.collect::<Result<Vec<_>, _>>()?;
    // One that was claimed before and is due again was neither handled nor set back: that is a failure, too.
    let sql = "UPDATE deliveries SET fence = fence + 1, failures = failures + (claimed_until IS NOT NULL),
                   claimed_until = ?2 WHERE id = ?1
               RETURNING id, tenant, module, kind, queue, name, event_id, body, published_at, failures, fence";
    let mut statement = connection.prepare_cached(sql)?;
    ids.into_iter()
        .map(|id| {
            let (kept, fence) = statement
                .query_row(params![id, request.until], |row| Ok((read(row)?, revision_from(row.get("fence")?))))?;
            let Kept { id, tenant, module, what, failures } = kept?;
            Ok(Delivery { claim: Claim { delivery: id, fence }, tenant, module, what, failures })
        })
        .collect()
}

pub(super) fn next_due(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let sql =
        "SELECT min(max(due, ifnull(claimed_until, due))) FROM deliveries WHERE due IS NOT NULL AND dead_at IS NULL";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

pub(super) fn renew(connection: &Connection, claim: Claim, until: i64) -> Result<(), StoreError> {
    check(connection, claim)?;
    connection
        .prepare_cached("UPDATE deliveries SET claimed_until = ?2 WHERE id = ?1")?
        .execute(params![claim.delivery, until])?;
    Ok(())
}

pub(super) fn finish(connection: &Connection, claim: Claim) -> Result<(), StoreError> {
    check(connection, claim)?;
    if set_again(connection, claim)? {
        return Ok(());
    }
    let queue = queue_of(connection, claim.delivery)?;
    connection.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?.execute([claim.delivery])?;
    queue.map_or(Ok(()), |queue| promote(connection, &queue))
}

pub(super) fn set_back(connection: &Connection, claim: Claim, setback: Setback, error: &str) -> Result<(), StoreError> {
    check(connection, claim)?;
    let (failures, due) = match setback {
        Setback::Postponed(at) => (0, at),
        Setback::Failed(at) => (1, at),
        Setback::Dead(now) => {
            if set_again(connection, claim)? {
                return Ok(());
            }
            let sql = "UPDATE deliveries SET dead_at = ?2, error = ?3, failures = failures + 1, due = NULL,
                       claimed_until = NULL WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![claim.delivery, now, error])?;
            let queue = queue_of(connection, claim.delivery)?;
            return queue.map_or(Ok(()), |queue| promote(connection, &queue));
        }
    };
    let is_over = if failures == 1 { set_again(connection, claim)? } else { is_taken_back(connection, claim)? };
    if is_over {
        return Ok(());
    }
    let sql = "UPDATE deliveries SET failures = failures + ?2, due = ifnull(again, ?3), again = NULL, error = ?4,
               claimed_until = NULL WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![claim.delivery, failures, due, error])?;
    Ok(())
}

/// A wake-up that was taken back while it was handled is over; says whether it was.
fn is_taken_back(connection: &Connection, claim: Claim) -> Result<bool, StoreError> {
    let sql = "DELETE FROM deliveries WHERE id = ?1 AND again = -1";
    Ok(connection.prepare_cached(sql)?.execute([claim.delivery])? != 0)
}

/// A wake-up that was set again while it was handled is a new one, and one that was taken back is over; says whether
/// either is so.
fn set_again(connection: &Connection, claim: Claim) -> Result<bool, StoreError> {
    if is_taken_back(connection, claim)? {
        return Ok(true);
    }
    let sql = "UPDATE deliveries SET due = again, again = NULL, failures = 0, error = NULL, claimed_until = NULL
               WHERE id = ?1 AND again IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.execute([claim.delivery])? != 0)
}

/// Tenant, module and publisher.
type Queue = (String, String, String);

/// The queue of an event; wake-ups have none.
fn queue_of(connection: &Connection, id: i64) -> Result<Option<Queue>, StoreError> {
    let sql = "SELECT tenant, module, queue FROM deliveries WHERE id = ?1 AND kind = 1";
    let found = connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    Ok(found.optional()?)
}

/// Makes the first of a queue due, where none is.
fn promote(connection: &Connection, (tenant, module, queue): &Queue) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET due = published_at WHERE due IS NULL AND id = (
                   SELECT min(id) FROM deliveries
                   WHERE tenant = ?1 AND module = ?2 AND kind = 1 AND queue = ?3 AND dead_at IS NULL)";
    connection.prepare_cached(sql)?.execute(params![tenant, module, queue])?;
    Ok(())
}

pub(super) fn write_under(
    connection: &Connection,
    claim: Claim,
    at: &CollectionKey,
    fields: &ModelFields,
    write: &DocumentWrite,
    entries: Vec<Entry>,
) -> Result<u64, StoreError> {
    check(connection, claim)?;
    match write {
        DocumentWrite::Insert { id, body } => documents::insert(connection, at, fields, id, body, entries),
        DocumentWrite::Put { id, body, expected } => {
            documents::put(connection, at, fields, id, body, entries, *expected)
        }
        DocumentWrite::Delete { id, expected } => documents::delete(connection, at, id, *expected).map(|()| 0),
    }
}

pub(super) fn dead_letters(
    connection: &Connection,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = "SELECT id, tenant, module, kind, queue, name, event_id, body, published_at, failures, dead_at, error
               FROM deliveries WHERE dead_at IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after.unwrap_or(i64::MIN), count(limit)], |row| {
        Ok((read(row)?, row.get("dead_at")?, row.get::<_, Option<String>>("error")?))
    })?;
    rows.map(|row| {
        let (kept, died_at, error) = row?;
        let Kept { id, tenant, module, what, failures } = kept?;
        Ok(DeadLetter { id, tenant, module, what, failures, died_at, error: error.unwrap_or_default() })
    })
    .collect()
}

pub(super) fn retry_dead(connection: &Connection, id: i64, now: i64) -> Result<bool, StoreError> {
    // A wake-up that was set again since stands for the dead one too.
    let sql = "DELETE FROM deliveries AS dead WHERE id = ?1 AND dead_at IS NOT NULL AND kind = 2 AND EXISTS (
                   SELECT 1 FROM deliveries AS live WHERE live.tenant = dead.tenant AND live.module = dead.module
                   AND live.kind = 2 AND live.queue = dead.queue AND live.dead_at IS NULL)";
    if connection.prepare_cached(sql)?.execute([id])? != 0 {
        return Ok(true);
    }
    // Behind whatever of its queue is at work or due already; it is older, so it is the next.
    let sql = "UPDATE deliveries AS dead SET dead_at = NULL, error = NULL, failures = 0, due = iif(EXISTS (
                   SELECT 1 FROM deliveries AS live WHERE live.tenant = dead.tenant AND live.module = dead.module
                   AND live.kind = 1 AND dead.kind = 1 AND live.queue = dead.queue AND live.dead_at IS NULL
                   AND live.due IS NOT NULL), NULL, ?2)
               WHERE id = ?1 AND dead_at IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.execute(params![id, now])? != 0)
}

pub(super) fn discard_dead(connection: &Connection, id: i64) -> Result<bool, StoreError> {
    let sql = "DELETE FROM deliveries WHERE id = ?1 AND dead_at IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.execute([id])? != 0)
}

pub(super) fn backlog(connection: &Connection) -> Result<Backlog, StoreError> {
    let sql = "SELECT count(*) - count(dead_at), count(dead_at) FROM deliveries";
    let read = |row: &Row<'_>| Ok(Backlog { waiting: revision_from(row.get(0)?), dead: revision_from(row.get(1)?) });
    Ok(connection.prepare_cached(sql)?.query_row([], read)?)
}

pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) tenant: TenantId,
    pub(super) module: ModuleName,
    pub(super) what: Delivered,
    pub(super) failures: u32,
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Kept, StoreError>> {
    let texts = (row.get::<_, String>("tenant")?, row.get::<_, String>("module")?, row.get::<_, String>("queue")?);
    let (id, kind, failures) = (row.get("id")?, row.get::<_, i64>("kind")?, row.get("failures")?);
    let (name, event_id) = (row.get::<_, String>("name")?, row.get("event_id")?);
    let (body, published_at) = (row.get("body")?, row.get("published_at")?);
    let unfit = |problem: String| StoreError::Unavailable(format!("delivery {id} can't be read: {problem}").into());
    let built = || {
        let (tenant, module, queue) = texts;
        let what = match kind {
            EVENT => {
                let publisher = queue.parse().map_err(|error| unfit(format!("{error}")))?;
                Delivered::Event { publisher, name, event_id, body, published_at }
            }
            WAKE => Delivered::Wake { key: queue },
            other => return Err(unfit(format!("kind {other}"))),
        };
        let tenant = tenant.parse().map_err(|error| unfit(format!("{error}")))?;
        let module = module.parse().map_err(|error| unfit(format!("{error}")))?;
        Ok(Kept { id, tenant, module, what, failures })
    };
    Ok(built())
}

pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
