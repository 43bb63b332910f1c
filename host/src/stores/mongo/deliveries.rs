//! What events and wake-ups have in common: they are claimed, come to an end, or are given up. One delivery is one
//! document, and each step one conditional write to it, so that of two hosts one wins.

use std::{collections::HashMap, time::Instant};

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{ClientSession, action::Action, options::ReturnDocument};

use super::{
    StoreError, events,
    failure::unfit,
    schema::{COUNTERS, DELIVERIES},
    server::Server,
    tenants::{from_whole, whole},
};
use crate::{
    names::{ModuleName, TenantId},
    stores::{Claim, ClaimRequest, Delivered, Delivery, Setback},
};

/// What `again` says of a wake-up that was taken back while it was handled.
pub(super) const TAKEN_BACK: i64 = -1;

/// Selects a delivery that is held under this claim.
pub(super) fn held(claim: Claim) -> Document {
    doc! {
        "_id": claim.delivery, "fence": whole(claim.fence), "claimedUntil": { "$exists": true },
        "diedAt": { "$exists": false },
    }
}

/// Refuses where a claim is not held. In a transaction it stays held until the commit: the delivery is written, so who
/// claims it at the same time gets in the way of one of both.
pub(super) async fn guard(
    server: &Server,
    session: Option<&mut ClientSession>,
    claim: Option<Claim>,
) -> Result<(), StoreError> {
    let Some(claim) = claim else { return Ok(()) };
    let write = server.collection(DELIVERIES).update_one(held(claim), doc! { "$inc": { "uses": 1_i64 } });
    let write = write.optional(session, |w, s| w.session(s)).await?;
    if write.matched_count > 0 { Ok(()) } else { Err(StoreError::ClaimLost) }
}

/// The first of so many new numbers.
pub(super) async fn new_numbers(server: &Server, count: usize) -> Result<i64, StoreError> {
    let step = doc! { "$inc": { "last": count as i64 } };
    let write = server.collection(COUNTERS).find_one_and_update(doc! { "_id": "deliveries" }, step).upsert(true);
    let after = write.return_document(ReturnDocument::After).await?;
    let last = after.as_ref().and_then(|after| after.get_i64("last").ok()).ok_or_else(|| unfit("counter"))?;
    Ok(last - count as i64 + 1)
}

pub(super) async fn claim_due(server: &Server, request: ClaimRequest) -> Result<Vec<Delivery>, StoreError> {
    if request.per_tenant == 0 {
        return Ok(Vec::new());
    }
    let begun = Instant::now();
    events::mend(server).await?;
    end_abandoned(server, request.now).await?;
    let mut working = working(server, request.now).await?;
    let mut claimed = Vec::new();
    // What a tenant has due that is at its limit may be much: the server leaves it out, for as long as it is.
    'without_the_full: loop {
        let full = working.iter().filter(|(_, count)| **count >= request.per_tenant).map(|(tenant, _)| tenant.as_str());
        let filter = doc! {
            "due": { "$lte": request.now },
            "$or": [{ "claimedUntil": { "$exists": false } }, { "claimedUntil": { "$lte": request.now } }],
            "tenant": { "$nin": full.collect::<Vec<_>>() },
        };
        let fields = doc! { "tenant": 1, "fence": 1, "claimedUntil": 1 };
        let due = server.collection(DELIVERIES).find(filter).sort(doc! { "due": 1, "_id": 1 }).projection(fields);
        let mut due = match due.await {
            // What was claimed already is better handled than left to run out.
            Err(_) if !claimed.is_empty() => break,
            due => due?,
        };
        while claimed.len() < request.limit && begun.elapsed() < server.claiming {
            let Some(candidate) = due.try_next().await? else { break };
            let of_tenant = working.entry(candidate.get_str("tenant").map_err(unfit)?.to_owned()).or_insert(0);
            if *of_tenant >= request.per_tenant {
                continue 'without_the_full;
            }
            match claim_one(server, &candidate, request).await {
                Ok(None) => {}
                Ok(Some(delivery)) => {
                    *of_tenant += 1;
                    claimed.push(delivery);
                }
                Err(_) if !claimed.is_empty() => break,
                Err(problem) => return Err(problem),
            }
        }
        break;
    }
    Ok(claimed)
}

/// `None` where somebody else was first.
async fn claim_one(
    server: &Server,
    candidate: &Document,
    request: ClaimRequest,
) -> Result<Option<Delivery>, StoreError> {
    let fence = candidate.get_i64("fence").map_err(unfit)?;
    let before = candidate.get_i64("claimedUntil").ok();
    let unchanged = before.map_or_else(|| doc! { "$exists": false }, |before| doc! { "$eq": before });
    let filter = doc! {
        "_id": candidate.get_i64("_id").map_err(unfit)?, "fence": fence, "claimedUntil": unchanged,
        "due": { "$lte": request.now },
    };
    // One that was claimed before and is due again was neither handled nor set back: that is a failure, too.
    let failed = i64::from(before.is_some());
    let change = doc! { "$set": { "claimedUntil": request.until }, "$inc": { "fence": 1_i64, "failures": failed } };
    let write = server.collection(DELIVERIES).find_one_and_update(filter, change);
    let Some(found) = write.return_document(ReturnDocument::After).await? else { return Ok(None) };
    let Kept { id, tenant, module, what, failures } = read(&found)?;
    let claim = Claim { delivery: id, fence: from_whole(fence + 1) };
    Ok(Some(Delivery { claim, tenant, module, what, failures }))
}

/// What was taken back, or set anew, while a host handled it that is gone: what was handled then is over.
async fn end_abandoned(server: &Server, now: i64) -> Result<(), StoreError> {
    let collection = server.collection(DELIVERIES);
    let filter = doc! { "claimedUntil": { "$lte": now }, "again": { "$exists": true } };
    let abandoned: Vec<Document> = collection.find(filter).await?.try_collect().await?;
    for found in abandoned {
        let again = found.get_i64("again").map_err(unfit)?;
        let id = found.get_i64("_id").map_err(unfit)?;
        let same = doc! { "_id": id, "again": again, "claimedUntil": { "$lte": now } };
        if again == TAKEN_BACK {
            collection.delete_one(same).await?;
        } else {
            collection.update_one(same, anew(again)).await?;
        }
    }
    Ok(())
}

/// How much of each tenant is at work: that counts for its share.
async fn working(server: &Server, now: i64) -> Result<HashMap<String, usize>, StoreError> {
    let stages = [
        doc! { "$match": { "claimedUntil": { "$gt": now } } },
        doc! { "$group": { "_id": "$tenant", "held": { "$sum": 1_i64 } } },
    ];
    let rows: Vec<Document> = server.collection(DELIVERIES).aggregate(stages).await?.try_collect().await?;
    let read = |row: Document| {
        // A sum may come as either sort of number.
        let held = row.get_i64("held").or_else(|_| row.get_i32("held").map(i64::from)).map_err(unfit)?;
        Ok((row.get_str("_id").map_err(unfit)?.to_owned(), usize::try_from(held).unwrap_or_default()))
    };
    rows.into_iter().map(read).collect()
}

pub(super) async fn next_due(server: &Server) -> Result<Option<i64>, StoreError> {
    let collection = server.collection(DELIVERIES);
    let free = doc! { "due": { "$exists": true }, "claimedUntil": { "$exists": false } };
    let free = collection.find_one(free).sort(doc! { "due": 1 }).projection(doc! { "due": 1 }).await?;
    let taken =
        collection.find_one(doc! { "claimedUntil": { "$exists": true } }).sort(doc! { "claimedUntil": 1 }).await?;
    let due = |found: &Document| found.get_i64("due").ok();
    let taken = taken.and_then(|found| due(&found).max(found.get_i64("claimedUntil").ok()));
    Ok(free.and_then(|found| due(&found)).into_iter().chain(taken).min())
}

pub(super) async fn renew(server: &Server, claim: Claim, until: i64) -> Result<(), StoreError> {
    let change = doc! { "$set": { "claimedUntil": until } };
    let write = server.collection(DELIVERIES).update_one(held(claim), change).await?;
    if write.matched_count > 0 { Ok(()) } else { Err(StoreError::ClaimLost) }
}

/// How the handling of a delivery came to an end.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Handled,
    SetBack(Setback),
}

enum Step {
    Gone,
    Change(Document),
}

/// Ends the handling of a delivery. A wake-up that was taken back meanwhile is over; one that was set again is a new one.
pub(super) async fn end(server: &Server, claim: Claim, end: End, error: &str) -> Result<(), StoreError> {
    let collection = server.collection(DELIVERIES);
    loop {
        let found = collection.find_one(held(claim)).await?.ok_or(StoreError::ClaimLost)?;
        let again = found.get_i64("again").ok();
        let step = match (again, end) {
            (Some(TAKEN_BACK), _) | (None, End::Handled) => Step::Gone,
            (again, End::SetBack(Setback::Postponed(at))) => Step::Change(doc! {
                "$set": { "due": again.unwrap_or(at), "error": error },
                "$unset": { "again": "", "claimedUntil": "" },
            }),
            (Some(again), _) => Step::Change(anew(again)),
            (None, End::SetBack(Setback::Failed(at))) => Step::Change(doc! {
                "$set": { "due": at, "error": error },
                "$inc": { "failures": 1_i64 },
                "$unset": { "claimedUntil": "" },
            }),
            (None, End::SetBack(Setback::Dead(now))) => Step::Change(doc! {
                "$set": { "diedAt": now, "error": error },
                "$inc": { "failures": 1_i64 },
                "$unset": { "due": "", "claimedUntil": "", "head": "", "queue": "", "waits": "", "wake": "" },
            }),
        };
        let mut same = held(claim);
        same.insert("again", again.map_or_else(|| doc! { "$exists": false }, |again| doc! { "$eq": again }));
        let is_done = match step {
            Step::Gone => collection.delete_one(same).await?.deleted_count > 0,
            Step::Change(change) => collection.update_one(same, change).await?.matched_count > 0,
        };
        if is_done {
            if let Ok(queue) = found.get_str("queue") {
                events::promote_or_later(server, queue).await;
            }
            return Ok(());
        }
    }
}

/// A wake-up that is due again at a time, as if it had never been handled.
fn anew(at: i64) -> Document {
    doc! {
        "$set": { "due": at, "failures": 0_i64 },
        "$unset": { "again": "", "error": "", "claimedUntil": "" },
    }
}

/// A delivery as it is kept.
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) tenant: TenantId,
    pub(super) module: ModuleName,
    pub(super) what: Delivered,
    pub(super) failures: u32,
}

pub(super) fn read(found: &Document) -> Result<Kept, StoreError> {
    let text = |name: &str| found.get_str(name).map_err(unfit);
    let what = match found.get_str("key") {
        Ok(key) => Delivered::Wake { key: key.to_owned() },
        Err(_) => Delivered::Event {
            publisher: text("publisher")?.parse().map_err(unfit)?,
            name: text("name")?.to_owned(),
            event_id: text("eventId")?.to_owned(),
            body: found.get_binary_generic("body").map_err(unfit)?.clone(),
            published_at: found.get_i64("publishedAt").map_err(unfit)?,
        },
    };
    Ok(Kept {
        id: found.get_i64("_id").map_err(unfit)?,
        tenant: text("tenant")?.parse().map_err(unfit)?,
        module: text("module")?.parse().map_err(unfit)?,
        what,
        failures: u32::try_from(found.get_i64("failures").map_err(unfit)?).unwrap_or(u32::MAX),
    })
}
