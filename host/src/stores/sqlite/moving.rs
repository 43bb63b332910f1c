//! Everything as it is: read page by page, and written with the revisions that it had elsewhere.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    StoreError, definitions, deliveries,
    documents::{self, Indexed},
    marks, revision_from, revision_to, tenants,
};
use crate::names::TenantId;
use crate::stores::{
    CollectionKey, Delivered, ModelFields, StoredDefinitions, StoredDocument, TenantDocument,
    entries::{entries_of_new, normal},
    moving::{HELD_UNTIL, Imported, MovedDelivery, PAGE_BYTES, Record, Stands, body_bytes, is_same},
};

pub(super) fn collections(
    connection: &Connection,
    after: Option<&CollectionKey>,
    limit: usize,
) -> Result<Vec<(CollectionKey, ModelFields)>, StoreError> {
    let sql = "SELECT tenant, module, model FROM collections WHERE (tenant, module, model) > (?1, ?2, ?3)
               ORDER BY tenant, module, model LIMIT ?4";
    let (tenant, module, model) =
        after.map_or(("", "", ""), |at| (at.tenant.as_str(), at.module.as_str(), at.model.as_str()));
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![tenant, module, model, deliveries::count(limit)], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (tenant, module, model) = row?;
        let unfit = |why: String| StoreError::Unavailable(format!("collection {model} can't be read: {why}").into());
        let at = CollectionKey {
            tenant: tenant.parse().map_err(|error| unfit(format!("{error}")))?,
            module: module.parse().map_err(|error| unfit(format!("{error}")))?,
            model: model.clone(),
        };
        let fields = documents::indexed(connection, &at)?.map(|indexed| indexed.fields).unwrap_or_default();
        found.push((at, fields));
    }
    Ok(found)
}

pub(super) fn page(
    connection: &Connection,
    at: &CollectionKey,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StoredDocument>, StoreError> {
    let sql = "SELECT id, revision, body FROM documents WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id > ?4
               ORDER BY id LIMIT ?5";
    let mut statement = connection.prepare_cached(sql)?;
    let key =
        params![at.tenant.as_str(), at.module.as_str(), at.model, after.unwrap_or_default(), deliveries::count(limit)];
    let mut rows = statement.query(key)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let document = StoredDocument { id: row.get(0)?, revision: revision_from(row.get(1)?), body: row.get(2)? };
        bytes += document.body.len();
        found.push(document);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(found)
}

pub(super) fn waiting(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, MovedDelivery)>, StoreError> {
    let sql = "SELECT id, tenant, module, kind, queue, name, event_id, body, published_at, failures, due, again,
                   dead_at, error
               FROM deliveries WHERE id > ?1 AND (again IS NULL OR again >= 0) ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, deliveries::count(limit)], |row| {
        let times = (row.get::<_, Option<i64>>("due")?, row.get::<_, Option<i64>>("again")?);
        Ok((
            deliveries::read(row)?,
            times,
            row.get::<_, Option<i64>>("dead_at")?,
            row.get::<_, Option<String>>("error")?,
        ))
    })?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (kept, (due, again), dead_at, error) = row?;
        let deliveries::Kept { id, tenant, module, what, failures } = kept?;
        let stands = match dead_at {
            Some(at) => Stands::Dead { at, error: error.unwrap_or_default() },
            None => Stands::Waiting(again.or(due)),
        };
        // Set anew while it was handled: what was handled then is over.
        let failures = if again.is_some() { 0 } else { failures };
        bytes += body_bytes(&what);
        page.push((id, MovedDelivery { tenant, module, what, failures, stands }));
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

pub(super) fn import(connection: &Connection, record: Record) -> Result<Imported, StoreError> {
    match record {
        Record::Definitions(found) => define(connection, &found),
        Record::Mark(mark) => marks::set(connection, &mark).map(|()| Imported::Written),
        Record::Collection(at, fields) => collection(connection, &at, &fields),
        Record::Document(at, document) => put(connection, &at, &document),
        Record::Delivery(delivery) => deliver(connection, &delivery),
        Record::Tenant(document) => tenant(connection, &document),
    }
}

fn define(connection: &Connection, new: &StoredDefinitions) -> Result<Imported, StoreError> {
    if let Some(found) = definitions::definitions(connection)? {
        let is_same = found.text == new.text;
        return if is_same { Ok(Imported::There) } else { Err(StoreError::Exists("another set of flags".to_owned())) };
    }
    let tombstone = connection.prepare_cached("SELECT revision FROM definitions")?.query_row([], |row| row.get(0));
    let tombstone: Option<i64> = tombstone.optional()?;
    let revision = new.revision.max(tombstone.map_or(0, revision_from) + 1);
    definitions::adopt(connection, Some(&StoredDefinitions { revision, ..new.clone() }))?;
    Ok(Imported::Written)
}

fn collection(connection: &Connection, at: &CollectionKey, fields: &ModelFields) -> Result<Imported, StoreError> {
    match documents::indexed(connection, at)? {
        Some(found) if found.fields == normal(fields) => Ok(Imported::There),
        Some(_) => Err(StoreError::Exists(format!("collection {}", at.model))),
        None => {
            documents::remember(connection, at, &Indexed { fields: normal(fields), is_mixed: false })?;
            Ok(Imported::Written)
        }
    }
}

fn put(connection: &Connection, at: &CollectionKey, new: &StoredDocument) -> Result<Imported, StoreError> {
    if let Some(found) = documents::get(connection, at, &new.id)? {
        let what = || StoreError::Exists(format!("document `{}` of {}", new.id, at.model));
        return if found == *new { Ok(Imported::There) } else { Err(what()) };
    }
    let fields = documents::indexed(connection, at)?.map(|indexed| indexed.fields).unwrap_or_default();
    let entries = entries_of_new(&new.body, &fields)?;
    documents::insert(connection, at, &fields, &new.id, &new.body, entries)?;
    let sql = "UPDATE documents SET revision = ?5 WHERE tenant = ?1 AND module = ?2 AND model = ?3 AND id = ?4";
    let row = params![at.tenant.as_str(), at.module.as_str(), at.model, new.id, revision_to(new.revision)];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(Imported::Written)
}

fn deliver(connection: &Connection, new: &MovedDelivery) -> Result<Imported, StoreError> {
    let empty = Vec::new();
    let (kind, queue, name, event_id, body, published_at) = match &new.what {
        Delivered::Event { publisher, name, event_id, body, published_at } => {
            (deliveries::EVENT, publisher.as_str(), name.as_str(), event_id.as_str(), body, *published_at)
        }
        Delivered::Wake { key } => (deliveries::WAKE, key.as_str(), key.as_str(), "", &empty, 0),
    };
    let (due, dead_at, error) = match &new.stands {
        Stands::Waiting(due) => (*due, None, None),
        Stands::Dead { at, error } => (None, Some(*at), Some(error)),
    };
    let (tenant, module) = (new.tenant.as_str(), new.module.as_str());
    let sql =
        "SELECT 1 FROM deliveries WHERE tenant = ?1 AND module = ?2 AND kind = ?3 AND queue = ?4 AND event_id = ?5
               AND dead_at IS ?6";
    if connection.prepare_cached(sql)?.exists(params![tenant, module, kind, queue, event_id, dead_at])? {
        return Ok(Imported::There);
    }
    // Of a queue only the first has a time. Of what is dead nothing has to be held back.
    let sql =
        "INSERT INTO deliveries (tenant, module, kind, queue, name, event_id, body, published_at, failures, dead_at,
                   error, due, claimed_until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, iif(?10 IS NOT NULL OR (?3 = 1 AND EXISTS (
                   SELECT 1 FROM deliveries
                   WHERE tenant = ?1 AND module = ?2 AND kind = 1 AND queue = ?4 AND dead_at IS NULL)),
                   NULL, ifnull(?12, ?8)), iif(?10 IS NULL, ?13, NULL))";
    connection.prepare_cached(sql)?.execute(params![
        tenant,
        module,
        kind,
        queue,
        name,
        event_id,
        body,
        published_at,
        new.failures,
        dead_at,
        error,
        due,
        HELD_UNTIL,
    ])?;
    Ok(Imported::Written)
}

/// See [`Moving::prepare`](crate::stores::Moving::prepare).
pub(super) fn prepare(connection: &Connection, id: &TenantId) -> Result<bool, StoreError> {
    let is_there = tenants::revision(connection, id)?.is_some_and(|(_, is_there)| is_there);
    if is_there {
        release(connection, id)?;
    } else {
        tenants::clear(connection, id)?;
    }
    Ok(is_there)
}

fn tenant(connection: &Connection, new: &TenantDocument) -> Result<Imported, StoreError> {
    match tenants::tenant(connection, &new.id)? {
        Some(found) if is_same(&found, new) => Ok(Imported::There),
        Some(_) => Err(StoreError::Exists("the tenant".to_owned())),
        None => {
            let tombstone = tenants::revision(connection, &new.id)?.map_or(0, |(revision, _)| revision);
            let revision = new.revision.max(tombstone + 1);
            tenants::write(connection, &TenantDocument { revision, ..new.clone() })?;
            release(connection, &new.id)?;
            Ok(Imported::Written)
        }
    }
}

/// Lets be delivered what an import has held back.
fn release(connection: &Connection, id: &TenantId) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET claimed_until = NULL WHERE tenant = ?1 AND claimed_until = ?2";
    connection.prepare_cached(sql)?.execute(params![id.as_str(), HELD_UNTIL])?;
    Ok(())
}
