//! Looks whether the truth is there: now and then, and at once where somebody could not reach it. While it is away,
//! nobody else waits for it.

use std::{sync::Arc, time::Duration};

use super::{Inner, LastGood};
use crate::stores::StoreChange;

/// How often it is looked at while all is well, and while it is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_AWAY: Duration = Duration::from_millis(250);

/// After so long without an answer it is away. Below a second, so that whoever asks is answered within one.
const PATIENCE: Duration = Duration::from_millis(800);

pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let every = if inner.reach.is_reached() { LOOK_EVERY } else { LOOK_EVERY_AWAY };
        let _ = tokio::time::timeout(every, inner.doubt.notified()).await;
        look(&inner).await;
    }
}

pub(super) async fn look(inner: &Arc<Inner>) {
    let answer = tokio::time::timeout(PATIENCE, inner.truth.ping()).await;
    let problem = match answer {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    };
    match problem {
        None => {
            if let Some(last_good) = &inner.last_good {
                last_good.seen();
            }
            if inner.reach.found() {
                tracing::info!("the store is back");
                inner.heard(StoreChange::Everything);
            }
        }
        Some(problem) => {
            if inner.reach.lost(inner.last_good.as_ref().and_then(LastGood::seen_at)) {
                tracing::warn!(problem, "the store is away: what is known of tenants is served, writes are refused");
            }
        }
    }
}
