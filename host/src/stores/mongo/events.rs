//! Events. Those of one publisher for one subscriber form a queue, of which the first alone is due: it has field `head`,
//! under a unique index, so a queue can't have two.
//!
//! Who publishes, and who frees the head's place, makes the first of the queue its head. A host that is killed in
//! between leaves a queue without one; [`mend`] finds it.

use std::time::{Duration, Instant};

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use mongodb::action::Action;

use super::{
    StoreError,
    deliveries::{guard, new_numbers},
    failure::{is_duplicate, unfit},
    schema::DELIVERIES,
    server::Server,
};
use crate::{
    names::ModuleName,
    stores::{Claim, NewEvent},
};

/// How often this host looks for queues without a head.
const MEND_EVERY: Duration = Duration::from_secs(30);

pub(super) fn queue(tenant: &str, module: &str, publisher: &str) -> String {
    format!("{tenant}/{module}/{publisher}")
}

pub(super) fn waits(tenant: &str, publisher: &str) -> String {
    format!("{tenant}/{publisher}")
}

pub(super) async fn publish(server: &Server, event: &NewEvent, claim: Option<Claim>) -> Result<(), StoreError> {
    if event.subscribers.is_empty() {
        return guard(server, None, claim).await;
    }
    let waits = waits(event.tenant.as_str(), event.publisher.as_str());
    check_room(server, event, &waits).await?;
    let first = new_numbers(server, event.subscribers.len()).await?;
    let queue_of =
        |subscriber: &ModuleName| queue(event.tenant.as_str(), subscriber.as_str(), event.publisher.as_str());
    let documents: Vec<Document> = event
        .subscribers
        .iter()
        .zip(first..)
        .map(|(subscriber, number)| {
            let body = Binary { subtype: BinarySubtype::Generic, bytes: event.body.clone() };
            doc! {
                "_id": number, "tenant": event.tenant.as_str(), "module": subscriber.as_str(),
                "publisher": event.publisher.as_str(), "name": &event.name, "eventId": &event.event_id, "body": body,
                "publishedAt": event.published_at, "queue": queue_of(subscriber), "waits": &waits, "failures": 0_i64,
                "fence": 0_i64,
            }
        })
        .collect();
    if documents.len() == 1 && claim.is_none() {
        server.collection(DELIVERIES).insert_many(documents).await?;
    } else {
        let all = server.together(|server, session| {
            let documents = documents.clone();
            Box::pin(async move {
                let mut session = session;
                guard(&server, session.as_deref_mut(), claim).await?;
                let write = server.collection(DELIVERIES).insert_many(documents);
                write.optional(session, |w, s| w.session(s)).await?;
                Ok(())
            })
        });
        all.await?;
    }
    for subscriber in &event.subscribers {
        promote_or_later(server, &queue_of(subscriber)).await;
    }
    Ok(())
}

/// Refuses where too many would wait. Counting stops where it has seen enough.
async fn check_room(server: &Server, event: &NewEvent, waits: &str) -> Result<(), StoreError> {
    let most = event.most_waiting;
    let enough = most.saturating_add(1).min(i64::MAX.unsigned_abs());
    let waiting = server.collection(DELIVERIES).count_documents(doc! { "waits": waits }).limit(enough).await?;
    if waiting.saturating_add(event.subscribers.len() as u64) > most {
        return Err(StoreError::TooManyWaiting { waiting, most });
    }
    Ok(())
}

/// Makes the first of a queue its head, where it has none.
pub(super) async fn promote(server: &Server, queue: &str) -> Result<(), StoreError> {
    let collection = server.collection(DELIVERIES);
    loop {
        let fields = doc! { "head": 1, "publishedAt": 1 };
        let first = collection.find_one(doc! { "queue": queue }).sort(doc! { "_id": 1 }).projection(fields).await?;
        let Some(first) = first.filter(|first| !first.contains_key("head")) else { return Ok(()) };
        let id = first.get_i64("_id").map_err(unfit)?;
        let filter = doc! { "_id": id, "queue": queue, "head": { "$exists": false } };
        let change = doc! { "$set": { "head": queue, "due": first.get_i64("publishedAt").map_err(unfit)? } };
        match collection.update_one(filter, change).await.map_err(StoreError::from) {
            // Another one is at its head; whoever takes it away comes here.
            Err(problem) if is_duplicate(&problem) => return Ok(()),
            Ok(write) if write.matched_count == 0 => {}
            outcome => return outcome.map(drop),
        }
    }
}

/// As [`promote`], behind a write that has been made and must not be told to have failed.
pub(super) async fn promote_or_later(server: &Server, queue: &str) {
    if let Err(problem) = promote(server, queue).await {
        server.mended.forget();
        tracing::warn!(queue, error = &problem as &dyn std::error::Error, "a queue has to wait for its next event");
    }
}

/// When queues without a head were looked for.
#[derive(Default)]
pub(super) struct Mended(std::sync::Mutex<Option<Instant>>);

impl Mended {
    fn is_time(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_time = last.is_none_or(|last| last.elapsed() >= MEND_EVERY);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

/// Gives queues a head that have none; now and then.
pub(super) async fn mend(server: &Server) -> Result<(), StoreError> {
    if !server.mended.is_time() {
        return Ok(());
    }
    let behind = doc! { "queue": { "$exists": true }, "head": { "$exists": false } };
    let queues = server.collection(DELIVERIES).distinct("queue", behind).await;
    let queues = queues.inspect_err(|_| server.mended.forget())?;
    for queue in queues.iter().filter_map(Bson::as_str) {
        promote(server, queue).await?;
    }
    Ok(())
}
