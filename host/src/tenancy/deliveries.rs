//! Brings events and wake-ups to the modules they are for: claims what is due, makes the instance if need be, runs the
//! handler while it keeps the claim, and tells the store what came of it. Any number of hosts may do so on one store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{
    error::TenancyError,
    handle::{Lent, Tenancy, Unlent},
    running::{AbortOnDrop, Lease},
    snapshot::TenantSnapshot,
};
use crate::{
    loader::{ClaimToken, ClaimedWork, Failure, FailureKind, Hook},
    stores::{Claim, ClaimRequest, Delivered, Delivery, Setback, StoreError},
};

/// How events and wake-ups are delivered.
#[derive(Debug, Clone, Copy)]
pub struct DeliverySettings {
    /// How long a claim lasts that is not renewed.
    pub claim: Duration,
    /// How often the store is looked at for what other hosts have put there.
    pub look_every: Duration,
    /// How long after the first failure a delivery is tried again; doubled with each further one.
    pub retry_base: Duration,
    /// The longest time between two tries.
    pub retry_limit: Duration,
    /// After so many failures a delivery is a dead letter.
    pub attempts: u32,
    /// How many are handled at once by this host.
    pub concurrency: usize,
    /// How many of one tenant are handled at once, by all hosts.
    pub per_tenant: usize,
    /// How many deliveries of one module's events may wait for one tenant.
    pub most_waiting: u64,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            claim: Duration::from_secs(60),
            look_every: Duration::from_secs(1),
            retry_base: Duration::from_secs(1),
            retry_limit: Duration::from_secs(300),
            attempts: 10,
            // Guesses: enough to keep two cores busy, few enough that one tenant can't take all.
            concurrency: 64,
            per_tenant: 8,
            most_waiting: 100_000,
        }
    }
}

/// What could not be tried now is looked at again after this time: a tenant that is suspended, a module that is off.
const POSTPONE: Duration = Duration::from_secs(30);

/// Tells the deliverer that something is due, or that it is to end.
#[derive(Debug, Default)]
pub(super) struct Bell {
    due: Notify,
    ending: AtomicBool,
}

impl Bell {
    /// Something new may be due.
    pub(super) fn ring(&self) {
        self.due.notify_one();
    }

    /// Nothing new is begun.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.due.notify_one();
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn after(time: Duration) -> i64 {
    now().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// Delivers until it is told to end.
pub(super) async fn run(tenancy: Tenancy) {
    let settings = tenancy.context.settings.deliveries;
    let host = Arc::clone(&tenancy.context.host);
    let bell = &host.bell;
    let places = Arc::new(Semaphore::new(settings.concurrency.max(1)));
    let mut was_read = true;
    while !bell.is_ending() {
        let claimed = claim(&tenancy, &places).await;
        let is_read = claimed.is_ok();
        if is_read && !was_read {
            tracing::info!("events and wake-ups can be read again");
        }
        let rest = match claimed {
            Ok(Some(rest)) => rest,
            // There may be more.
            Ok(None) => Duration::ZERO,
            Err(error) => {
                // Once for each time that the store is away.
                if was_read {
                    tracing::warn!(error = %super::error::chain(&error), "events and wake-ups can't be read");
                }
                settings.look_every
            }
        };
        was_read = is_read;
        if rest.is_zero() {
            continue;
        }
        let _ = tokio::time::timeout(rest, bell.due.notified()).await;
    }
}

/// Claims what is due and there are places for. Says how long there is nothing to do; `None` where that is not known.
async fn claim(tenancy: &Tenancy, places: &Arc<Semaphore>) -> Result<Option<Duration>, StoreError> {
    let (store, settings) = (&tenancy.context.store, tenancy.context.settings.deliveries);
    let next = store.next_due().await?;
    let wait = next.map_or(i64::MAX, |due| due.saturating_sub(now()));
    if wait > 0 {
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX));
        return Ok(Some(wait.min(settings.look_every)));
    }
    // A place is waited for before anything is claimed: what is claimed is begun.
    let Ok(first) = Arc::clone(places).acquire_owned().await else { return Ok(Some(settings.look_every)) };
    let limit = places.available_permits() + 1;
    let until = after(settings.claim);
    let request = ClaimRequest { now: now(), until, limit, per_tenant: settings.per_tenant };
    let claimed = store.claim_due(request).await?;
    if claimed.is_empty() {
        // Due, but its tenant has as much at work as it may.
        return Ok(Some(settings.look_every.min(Duration::from_millis(50))));
    }
    let mut first = Some(first);
    for delivery in claimed {
        let place = match first.take() {
            Some(place) => place,
            None => match Arc::clone(places).acquire_owned().await {
                Ok(place) => place,
                Err(_) => break,
            },
        };
        let tenancy = tenancy.clone();
        tokio::spawn(async move { deliver(&tenancy, delivery, place).await });
    }
    Ok(None)
}

/// What came of a try.
enum Tried {
    Handled,
    /// It was not tried, for a reason that is not the handler's; after this time again.
    Postponed(Duration, String),
    Failed(Failure),
    /// Somebody else has it.
    Lost,
    /// Its tenant is gone.
    Unwanted,
    /// It is not to be tried again by itself, for this reason.
    GivenUp(String),
}

async fn deliver(tenancy: &Tenancy, delivery: Delivery, place: OwnedSemaphorePermit) {
    let (context, claim) = (&tenancy.context, delivery.claim);
    let settings = context.settings.deliveries;
    let tried = attempt(tenancy, &delivery).await;
    let failures = delivery.failures + 1;
    let told = match tried {
        Tried::Lost => Ok(()),
        Tried::Handled | Tried::Unwanted => context.store.finish(claim).await,
        Tried::GivenUp(why) => {
            let (tenant, module, what) = (&delivery.tenant, &delivery.module, name_of(&delivery.what));
            tracing::error!(%tenant, %module, what, "a delivery was given up: {why}");
            context.store.set_back(claim, Setback::Dead(now()), &why).await
        }
        Tried::Postponed(time, why) => context.store.set_back(claim, Setback::Postponed(after(time)), &why).await,
        Tried::Failed(failure) => {
            let text = text_of(&failure);
            let (tenant, module, what) = (&delivery.tenant, &delivery.module, name_of(&delivery.what));
            let setback = if failures >= settings.attempts {
                tracing::error!(%tenant, %module, what, failures, error = text, "a delivery was given up");
                Setback::Dead(now())
            } else {
                tracing::warn!(%tenant, %module, what, failures, error = text, "a delivery failed");
                Setback::Failed(after(back_off(settings, failures)))
            };
            context.store.set_back(claim, setback, &text).await
        }
    };
    match told {
        // Whoever has it now tells what becomes of it.
        Ok(()) | Err(StoreError::ClaimLost) => {}
        Err(error) => tracing::warn!(error = %super::error::chain(&error), "what came of a delivery was not stored"),
    }
    drop(place);
    // The next of its queue may be due.
    context.host.bell.ring();
}

fn back_off(settings: DeliverySettings, failures: u32) -> Duration {
    let doubled = settings.retry_base.saturating_mul(1u32 << failures.saturating_sub(1).min(20));
    doubled.min(settings.retry_limit)
}

fn text_of(failure: &Failure) -> String {
    match &failure.kind {
        FailureKind::Panicked { place } => format!("panicked at {place}: {}", failure.message),
        FailureKind::Fault { code, .. } => format!("{code}: {}", failure.message),
        _ => failure.message.clone(),
    }
}

fn name_of(what: &Delivered) -> String {
    match what {
        Delivered::Event { publisher, name, .. } => format!("event {publisher}:{name}"),
        Delivered::Wake { key } => format!("wake-up {key}"),
    }
}

async fn attempt(tenancy: &Tenancy, delivery: &Delivery) -> Tried {
    let settings = tenancy.context.settings.deliveries;
    let begun = Instant::now();
    // Claims that ran out count: a handler that ends the process each time must not do so for ever.
    if delivery.failures >= settings.attempts {
        return Tried::GivenUp("the host ended, or was cut off, each time it was handled".to_owned());
    }
    // The tenant may change between the look and the lease.
    for _ in 0..4 {
        let snapshot = match tenancy.load(&delivery.tenant).await {
            Ok(snapshot) => snapshot,
            Err(TenancyError::TenantNotFound(_)) => return Tried::Unwanted,
            Err(error) => return Tried::Postponed(settings.retry_base, error.to_string()),
        };
        let position = snapshot.table.position(delivery.module.as_str());
        let (true, Some(slot)) = (snapshot.is_active(), position) else {
            return Tried::Postponed(
                settings.retry_limit.min(POSTPONE),
                "the module does not run for the tenant".to_owned(),
            );
        };
        if !is_wanted(&snapshot, slot, &delivery.what) {
            // It may be wanted again: another version may have been gone back from, or run on another host.
            let version = &snapshot.table.module(slot).version;
            return Tried::GivenUp(format!("version {version}, which runs for the tenant, does not subscribe to it"));
        }
        let limit = snapshot.table.limits(slot).deadline;
        match tenancy.lease(&snapshot, slot, begun + limit).await {
            Ok(Lent::Lease(lease)) => {
                // A start may have taken long.
                if begun.elapsed() > settings.claim / 3 {
                    match tenancy.context.store.renew(delivery.claim, after(settings.claim)).await {
                        Ok(()) => {}
                        Err(StoreError::ClaimLost) => return Tried::Lost,
                        Err(error) => return Tried::Postponed(settings.retry_base, error.to_string()),
                    }
                }
                let tried = run_leased(tenancy, delivery, &lease, limit).await;
                if let Tried::Failed(Failure { kind: FailureKind::Panicked { .. }, .. }) = &tried {
                    tenancy.broken(&snapshot, slot, lease.serial());
                }
                return tried;
            }
            Ok(Lent::Stale) => {}
            Err(Unlent::Full) => return Tried::Postponed(settings.retry_base, "the module is busy".to_owned()),
            Err(Unlent::Barred) => {
                return Tried::Postponed(settings.retry_base, "a thread is stuck in the module".to_owned());
            }
            Err(Unlent::Failed(error)) => {
                return Tried::Postponed(settings.retry_limit.min(POSTPONE), super::error::chain(&error));
            }
        }
    }
    Tried::Postponed(settings.retry_base, "the tenant keeps changing".to_owned())
}

/// Whether the version of the module that runs now still subscribes to the event.
fn is_wanted(snapshot: &TenantSnapshot, slot: usize, what: &Delivered) -> bool {
    let Delivered::Event { publisher, name, .. } = what else { return true };
    let subscribes = &snapshot.table.module(slot).manifest.subscribes;
    subscribes.iter().any(|wanted| wanted.module == *publisher && wanted.event.as_str() == name)
}

/// Runs the handler, and keeps the claim meanwhile.
async fn run_leased(tenancy: &Tenancy, delivery: &Delivery, lease: &Lease, limit: Duration) -> Tried {
    let (context, claim) = (&tenancy.context, delivery.claim);
    let settings = context.settings.deliveries;
    let hook = hook_of(delivery, limit);
    let cut = lease.cut_notice();
    // A task on the background runtime: module code that blocks holds up a worker there, not this one.
    let mut running = AbortOnDrop(context.background.spawn(lease.run(hook)));
    // Beside the rest: a store that hangs must not hold up the deadline or the drain.
    let until_lost = async {
        loop {
            tokio::time::sleep(settings.claim / 3).await;
            match context.store.renew(claim, after(settings.claim)).await {
                Err(StoreError::ClaimLost) => return,
                Err(error) => tracing::warn!(%error, "a claim was not renewed"),
                Ok(()) => {}
            }
        }
    };
    tokio::select! {
        biased;
        ended = &mut running.0 => match ended {
            Ok(Ok(())) => Tried::Handled,
            Ok(Err(failure)) if failure.kind == FailureKind::ClaimLost => Tried::Lost,
            Ok(Err(failure)) => Tried::Failed(failure),
            Err(error) => Tried::Postponed(settings.retry_base, error.to_string()),
        },
        () = cut => Tried::Postponed(Duration::ZERO, "the instance is leaving".to_owned()),
        () = tokio::time::sleep(limit) => {
            let text = format!("the handler did not end within {limit:?}");
            Tried::Failed(Failure::new(FailureKind::Timeout, text))
        }
        () = until_lost => Tried::Lost,
    }
}

fn hook_of(delivery: &Delivery, limit: Duration) -> Hook {
    let Claim { delivery: number, fence } = delivery.claim;
    let work = ClaimedWork {
        id: uuid::Uuid::now_v7().to_string().into(),
        claim: ClaimToken { delivery: number, fence },
        deadline_millis: after(limit),
    };
    match &delivery.what {
        Delivered::Event { publisher, name, event_id, body, published_at } => Hook::Event {
            work,
            event_id: event_id.clone(),
            publisher: publisher.to_string(),
            name: name.clone(),
            body: body.clone(),
            published_at: *published_at,
            attempt: delivery.failures + 1,
        },
        Delivered::Wake { key } => Hook::Wake { work, key: key.clone() },
    }
}
