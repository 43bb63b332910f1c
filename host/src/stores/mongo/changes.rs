//! Telling of what anybody changes: by a change stream, or by looking again and again where a server has none.
//!
//! A stream begins where the last one ended, so a server that is away for a while hides nothing. Where it can't, because
//! the server has forgotten that place, or the database was dropped, [`StoreChange::Everything`] is told.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Client,
    change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken},
    error::ErrorKind,
};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    MongoStore, StoreError, definitions,
    failure::{away, closed},
    marks,
    schema::{self, COUNTERS, DEFINITIONS, DELIVERIES, MARKS, NAMES, Name, TENANTS},
    server::{Link, Server},
    tenants,
};
use crate::{
    names::TenantId,
    stores::{ChangeListener, Mark, StoreChange, said::Said},
};

/// How long the server may keep a question for changes before it says that there are none.
const QUIET: Duration = Duration::from_secs(1);
/// After so long without even that, the connection is taken for dead. A guess.
const DEAF: Duration = Duration::from_secs(10);
/// How long nothing is tried after a failure. A guess, short enough for whoever waits for a change.
const PAUSE: Duration = Duration::from_millis(200);

/// Changes are told of until this is dropped.
#[derive(Debug)]
pub struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl MongoStore {
    /// Tells a listener of everything that anybody changes in the store, its own writes included; first of
    /// [`StoreChange::Everything`], as what was read before may be old. A tenant that a foreign program wrote has been
    /// given a revision when it is told of. One call per process is enough: a stream has a connection of its own.
    ///
    /// A standalone server has no streams, and is looked at each [`super::MongoSettings::look_every`]: all of its tenants.
    /// New deliveries are told of there, moved ones are not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the store is closed. While the server is away, changes are told of later.
    pub fn watch(&self, listener: ChangeListener) -> Result<Watching, StoreError> {
        self.watch_by(listener, true)
    }

    /// As [`Self::watch`], by looking only, if so wished.
    pub(super) fn watch_by(&self, listener: ChangeListener, by_stream: bool) -> Result<Watching, StoreError> {
        let runtime = self.runtime.as_ref().ok_or_else(closed)?;
        let link = Arc::clone(&self.link);
        let task = runtime.spawn(async move {
            let mut place = None;
            let mut seen = None;
            let mut said = Said::default();
            loop {
                let began = Instant::now();
                let outcome = match link.server().await {
                    Ok(server) if server.has_transactions && by_stream => {
                        follow(&link, &server, &mut place, &listener).await
                    }
                    Ok(server) => look_on(&link, &server, &mut seen, &listener).await,
                    Err(problem) => Err(problem),
                };
                if began.elapsed() > DEAF {
                    // It went well for a while.
                    said = Said::default();
                }
                if let Err(problem) = outcome {
                    let error = problem.with_causes();
                    if said.is_new(&error) {
                        tracing::warn!(error, "changes can't be told of for now");
                    } else {
                        tracing::debug!(error, "changes can't be told of for now");
                    }
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Watching(task.abort_handle()))
    }
}

/// Tells of what a stream brings, until it ends. `place` is behind the last change that was told of.
async fn follow(
    link: &Link,
    server: &Server,
    place: &mut Option<ResumeToken>,
    listener: &ChangeListener,
) -> Result<(), StoreError> {
    // A client of its own: a stream that waits has a connection, which all else would lack.
    let mut options = link.options.clone();
    options.max_pool_size = Some(2);
    let client = Client::with_options(options)?;
    let watched: Vec<&str> = [TENANTS, DEFINITIONS, MARKS, DELIVERIES].map(Name::as_str).into();
    let wanted = doc! { "$match": { "$or": [
        { "ns.coll": { "$in": watched } },
        { "ns.coll": { "$in": NAMES.as_slice() }, "operationType": { "$in": ["drop", "rename"] } },
        { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
    ] } };
    let database = client.database(&link.database);
    let stream = database.watch().pipeline([wanted]).max_await_time(QUIET).resume_after(place.clone()).await;
    let mut stream = stream.map_err(|problem| forget_if_refused(problem, place))?;
    if place.is_none() {
        // A collection that was dropped comes back without an index, with whoever writes next.
        if let Err(problem) = schema::make_indexes(server).await {
            tracing::error!(error = &problem as &dyn std::error::Error, "the database may lack an index");
        }
        listener(StoreChange::Everything);
    }
    loop {
        let event = timeout(DEAF, stream.next_if_any()).await.map_err(|_| away("the stream of changes is silent"))?;
        if let Some(event) = event.map_err(|problem| forget_if_refused(problem, place))? {
            let Told::Known = tell(server, event, listener).await? else {
                *place = None;
                return Ok(());
            };
        }
        *place = stream.resume_token();
        if !stream.is_alive() {
            *place = None;
            return Ok(());
        }
    }
}

/// Where the server itself says that it can't go on from here (it has forgotten the place: 286; an event is fatal: 280),
/// the next stream begins anew. Where it is only away, it goes on.
fn forget_if_refused(problem: mongodb::error::Error, place: &mut Option<ResumeToken>) -> StoreError {
    let is_away = problem.contains_label("ResumableChangeStreamError")
        || !matches!(&*problem.kind, ErrorKind::Command(_) | ErrorKind::MissingResumeToken);
    if !is_away {
        *place = None;
    }
    problem.into()
}

enum Told {
    Known,
    /// The database is not the one it was.
    NotTheSame,
}

async fn tell(
    server: &Server,
    event: ChangeStreamEvent<Document>,
    listener: &ChangeListener,
) -> Result<Told, StoreError> {
    let written = match event.operation_type {
        OperationType::Insert | OperationType::Replace | OperationType::Update => true,
        OperationType::Delete => false,
        _ => return Ok(Told::NotTheSame),
    };
    let collection = event.ns.and_then(|place| place.coll).unwrap_or_default();
    if collection == DEFINITIONS.as_str() {
        listener(StoreChange::Definitions);
    } else if collection == MARKS.as_str() {
        listener(StoreChange::Marks);
    } else if collection == DELIVERIES.as_str() {
        listener(StoreChange::Deliveries);
    } else if collection == TENANTS.as_str() {
        if !written {
            // By a foreign program, as Tenon leaves a tombstone. Which tenant it was nobody says.
            listener(StoreChange::Everything);
            return Ok(Told::Known);
        }
        let found = match event.full_document {
            Some(document) => Some(document),
            None => match event.document_key.and_then(|mut key| key.remove("_id")) {
                Some(id) => server.collection(TENANTS).find_one(doc! { "_id": id }).await?,
                None => None,
            },
        };
        if let Some((id, (revision, _))) = told_of(server, found.as_ref()).await? {
            listener(StoreChange::Tenant { id, revision });
        }
    }
    Ok(Told::Known)
}

/// A revision, and whether its document can be understood.
type Stand = (u64, bool);

/// The tenant that a document is of, and its revision, which a foreign program's write is given now. `None` for what is
/// no tenant's document.
async fn told_of(server: &Server, document: Option<&Document>) -> Result<Option<(TenantId, Stand)>, StoreError> {
    let Some(document) = document else { return Ok(None) };
    let Some(id) = document.get_str("tenantId").ok().and_then(|id| id.parse::<TenantId>().ok()) else {
        return Ok(None);
    };
    if tenants::is_ours(document) {
        let revision = document.get_i64("revision").map_or(0, tenants::from_whole);
        return Ok(Some((id, (revision, true))));
    }
    match tenants::current(server, &id).await {
        Ok(current) => Ok(current.map(|current| (id, (current.revision, true)))),
        // It can't be understood, which whoever reads it is told. It is given a revision once it can be.
        Err(StoreError::Tenant(_)) => {
            let next = tenants::highest_revision(server, &id).await? + 1;
            Ok(Some((id, (next, false))))
        }
        Err(problem) => Err(problem),
    }
}

/// What a look at the store has found.
#[derive(Default)]
struct Seen {
    tenants: HashMap<TenantId, Stand>,
    definitions: Option<u64>,
    marks: Vec<Mark>,
    /// The last delivery's number.
    deliveries: i64,
}

/// Tells of what is different at each look.
async fn look_on(
    link: &Link,
    server: &Server,
    seen: &mut Option<Seen>,
    listener: &ChangeListener,
) -> Result<(), StoreError> {
    loop {
        let now = timeout(DEAF, look(server)).await.map_err(|_| away("a look at it takes too long"))??;
        match &*seen {
            Some(before) => compare(before, &now, listener),
            None => listener(StoreChange::Everything),
        }
        *seen = Some(now);
        sleep(link.settings.look_every).await;
    }
}

async fn look(server: &Server) -> Result<Seen, StoreError> {
    let mut now = Seen::default();
    let mut all = server.collection(TENANTS).find(doc! { "tenantId": { "$gt": "" } }).await?;
    while let Some(document) = all.try_next().await? {
        now.tenants.extend(told_of(server, Some(&document)).await?);
    }
    now.definitions = definitions::definitions(server).await?.map(|found| found.revision);
    now.marks = marks::marks(server).await?;
    let counter = server.collection(COUNTERS).find_one(doc! { "_id": "deliveries" }).await?;
    now.deliveries = counter.and_then(|counter| counter.get_i64("last").ok()).unwrap_or_default();
    Ok(now)
}

fn compare(before: &Seen, now: &Seen, listener: &ChangeListener) {
    for (id, stand) in &now.tenants {
        if before.tenants.get(id) != Some(stand) {
            listener(StoreChange::Tenant { id: id.clone(), revision: stand.0 });
        }
    }
    if before.tenants.keys().any(|id| !now.tenants.contains_key(id)) {
        listener(StoreChange::Everything);
    }
    if before.definitions != now.definitions {
        listener(StoreChange::Definitions);
    }
    if before.marks != now.marks {
        listener(StoreChange::Marks);
    }
    if before.deliveries != now.deliveries {
        listener(StoreChange::Deliveries);
    }
}
