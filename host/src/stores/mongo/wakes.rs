//! Wake-ups, and deliveries that were given up. A wake-up that is to come has field `wake`, under a unique index.

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{ClientSession, action::Action};

use super::{
    StoreError, StoreFuture,
    deliveries::{Kept, TAKEN_BACK, guard, new_numbers, read},
    events,
    failure::{is_duplicate, unfit},
    schema::DELIVERIES,
    server::Server,
};
use crate::{
    names::{ModuleName, TenantId},
    stores::{Backlog, Claim, DeadLetter},
};

/// Which wake-up.
#[derive(Clone)]
pub(super) struct Wake {
    pub(super) tenant: TenantId,
    pub(super) module: ModuleName,
    pub(super) key: String,
}

impl Wake {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.module, self.key)
    }
}

pub(super) async fn set(server: &Server, wake: &Wake, at: i64, claim: Option<Claim>) -> Result<(), StoreError> {
    loop {
        let set = under(server, claim, |server, session| {
            let wake = wake.clone();
            Box::pin(async move { set_in(&server, session, &wake, at, claim).await })
        });
        match set.await {
            // Somebody else has set it first; now it is there.
            Err(problem) if is_duplicate(&problem) => {}
            outcome => return outcome,
        }
    }
}

async fn set_in(
    server: &Server,
    session: Option<&mut ClientSession>,
    wake: &Wake,
    at: i64,
    claim: Option<Claim>,
) -> Result<(), StoreError> {
    let (mut session, name, collection) = (session, wake.name(), server.collection(DELIVERIES));
    guard(server, session.as_deref_mut(), claim).await?;
    let free = doc! { "wake": &name, "claimedUntil": { "$exists": false } };
    let moved = doc! { "$set": { "due": at, "failures": 0_i64 }, "$unset": { "again": "" } };
    let handled = doc! { "wake": &name, "claimedUntil": { "$exists": true } };
    let later = doc! { "$set": { "again": at } };
    for (filter, change) in [(free, moved), (handled, later)] {
        let write = collection.update_one(filter, change).optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
        if write.matched_count > 0 {
            return Ok(());
        }
    }
    let number = new_numbers(server, 1).await?;
    let new = doc! {
        "_id": number, "tenant": wake.tenant.as_str(), "module": wake.module.as_str(), "key": &wake.key, "wake": name,
        "due": at, "failures": 0_i64, "fence": 0_i64,
    };
    collection.insert_one(new).optional(session, |w, s| w.session(s)).await?;
    Ok(())
}

pub(super) async fn cancel(server: &Server, wake: &Wake, claim: Option<Claim>) -> Result<(), StoreError> {
    let cancel = under(server, claim, |server, session| {
        let name = wake.name();
        Box::pin(async move { cancel_in(&server, session, &name, claim).await })
    });
    cancel.await
}

async fn cancel_in(
    server: &Server,
    session: Option<&mut ClientSession>,
    name: &str,
    claim: Option<Claim>,
) -> Result<(), StoreError> {
    let (mut session, collection) = (session, server.collection(DELIVERIES));
    guard(server, session.as_deref_mut(), claim).await?;
    let free = doc! { "wake": name, "claimedUntil": { "$exists": false } };
    let gone = collection.delete_one(free).optional(session.as_deref_mut(), |w, s| w.session(s)).await?;
    if gone.deleted_count == 0 {
        // It is being handled, or was by a host that is gone: it goes when that is over.
        let change = doc! { "$set": { "again": TAKEN_BACK } };
        collection.update_one(doc! { "wake": name }, change).optional(session, |w, s| w.session(s)).await?;
    }
    Ok(())
}

/// A transaction is needed only where a claim has to hold meanwhile.
async fn under<T>(
    server: &Server,
    claim: Option<Claim>,
    run: impl for<'s> Fn(Server, Option<&'s mut ClientSession>) -> StoreFuture<'s, T>,
) -> Result<T, StoreError> {
    if claim.is_some() { server.together(run).await } else { run(server.clone(), None).await }
}

pub(super) async fn dead_letters(
    server: &Server,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let filter = doc! { "diedAt": { "$exists": true }, "_id": { "$gt": after.unwrap_or(i64::MIN) } };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = server.collection(DELIVERIES).find(filter).sort(doc! { "_id": 1 }).limit(limit).await?;
    let found: Vec<Document> = found.try_collect().await?;
    let letter = |found: &Document| {
        let Kept { id, tenant, module, what, failures } = read(found)?;
        let died_at = found.get_i64("diedAt").map_err(unfit)?;
        let error = found.get_str("error").unwrap_or_default().to_owned();
        Ok(DeadLetter { id, tenant, module, what, failures, died_at, error })
    };
    found.iter().map(letter).collect()
}

pub(super) async fn retry_dead(server: &Server, id: i64, now: i64) -> Result<bool, StoreError> {
    let collection = server.collection(DELIVERIES);
    let dead = doc! { "_id": id, "diedAt": { "$exists": true } };
    let Some(found) = collection.find_one(dead.clone()).await? else { return Ok(false) };
    let text = |name: &str| found.get_str(name).map_err(unfit);
    let (tenant, module) = (text("tenant")?, text("module")?);
    let alive = doc! { "diedAt": "", "error": "" };
    if let Ok(key) = found.get_str("key") {
        let again = doc! { "due": now, "failures": 0_i64, "wake": format!("{tenant}/{module}/{key}") };
        let write = collection.update_one(dead.clone(), doc! { "$set": again, "$unset": alive }).await;
        return match write.map_err(StoreError::from) {
            // A wake-up that was set again since stands for the dead one too.
            Err(problem) if is_duplicate(&problem) => Ok(collection.delete_one(dead).await?.deleted_count > 0),
            outcome => Ok(outcome?.matched_count > 0),
        };
    }
    // Behind whatever of its queue is at work or due already; it is older, so it is the next.
    let publisher = text("publisher")?;
    let queue = events::queue(tenant, module, publisher);
    let again = doc! { "failures": 0_i64, "queue": &queue, "waits": events::waits(tenant, publisher) };
    let write = collection.update_one(dead, doc! { "$set": again, "$unset": alive }).await?;
    if write.matched_count == 0 {
        return Ok(false);
    }
    events::promote_or_later(server, &queue).await;
    Ok(true)
}

pub(super) async fn discard_dead(server: &Server, id: i64) -> Result<bool, StoreError> {
    let dead = doc! { "_id": id, "diedAt": { "$exists": true } };
    Ok(server.collection(DELIVERIES).delete_one(dead).await?.deleted_count > 0)
}

pub(super) async fn backlog(server: &Server) -> Result<Backlog, StoreError> {
    let count = async |exists: bool| {
        server.collection(DELIVERIES).count_documents(doc! { "diedAt": { "$exists": exists } }).await
    };
    Ok(Backlog { waiting: count(false).await?, dead: count(true).await? })
}
