//! Looks whether the truth is there: now and then, and at once where somebody could not reach it. While it is away,
//! nobody else waits for it.

use std::{sync::Arc, time::Duration};

use super::{Inner, LastGood};
use crate::stores::StoreChange;

/// How often it is looked at while all is well, and while it is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_AWAY: Duration = Duration::from_millis(250);

/// After so long without an answer, twice, it is away. Whoever asks meanwhile has the store's own time-out.
const PATIENCE: Duration = Duration::from_millis(800);

pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let every = if inner.reach.is_reached() { LOOK_EVERY } else { LOOK_EVERY_AWAY };
        let _ = tokio::time::timeout(every, inner.doubt.notified()).await;
        look(&inner).await;
    }
}

pub(super) async fn look(inner: &Arc<Inner>) {
    let mut problem = problem(inner).await;
    if problem.is_some() && inner.reach.is_reached() {
        // One answer that is late is no outage.
        problem = self::problem(inner).await;
    }
    match problem {
        None => {
            if inner.reach.found() {
                tracing::info!("the store is back");
                inner.heard(StoreChange::Everything);
            }
            // Afterwards: what was missed is not on the disk yet.
            if let Some(last_good) = &inner.last_good {
                last_good.seen();
            }
        }
        Some(problem) => {
            if inner.reach.lost(inner.last_good.as_ref().map(LastGood::seen_at)) {
                inner.lost.notify_waiters();
                tracing::warn!(problem, "the store is away: what is known of tenants is served, writes are refused");
            }
        }
    }
}

/// Why it does not answer, with all causes.
async fn problem(inner: &Inner) -> Option<String> {
    match tokio::time::timeout(PATIENCE, inner.truth.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.with_causes()),
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    }
}
