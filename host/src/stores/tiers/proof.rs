//! A tenant that was found before the truth is compared with the truth a moment later, once: whoever wrote it last may
//! have been unable to tell the cache, and nobody else would notice.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::Inner;
use crate::{
    names::TenantId,
    stores::{StoreChange, StoreError, TenantDocument},
};

/// How many tenants are compared with one question.
const AT_ONCE: usize = 500;

/// How long others may come to be compared with the first.
const GATHER: Duration = Duration::from_millis(20);

/// How long a comparison that did not come about waits for the next try.
const RETRY: Duration = Duration::from_secs(1);

/// What was answered from elsewhere than the truth.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    answered: Mutex<BTreeMap<TenantId, Answered>>,
    news: Notify,
}

/// The revisions that were given for an answer since the last comparison.
#[derive(Debug, Clone, Copy)]
struct Answered {
    least: u64,
    most: u64,
}

impl Unproven {
    /// This was answered.
    pub(super) fn add(&self, document: &TenantDocument) {
        let revision = document.revision;
        self.put(document.id.clone(), Answered { least: revision, most: revision });
        self.news.notify_one();
    }

    fn put(&self, id: TenantId, answered: Answered) {
        let mut all = self.answered();
        let known = all.entry(id).or_insert(answered);
        *known = Answered { least: known.least.min(answered.least), most: known.most.max(answered.most) };
    }

    fn take(&self) -> Vec<(TenantId, Answered)> {
        let mut all = self.answered();
        std::iter::from_fn(|| all.pop_first()).take(AT_ONCE).collect()
    }

    fn answered(&self) -> MutexGuard<'_, BTreeMap<TenantId, Answered>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn run(inner: std::sync::Arc<Inner>) {
    loop {
        inner.unproven.news.notified().await;
        tokio::time::sleep(GATHER).await;
        loop {
            let some = inner.unproven.take();
            if some.is_empty() {
                break;
            }
            if let Err(error) = compare(&inner, &some).await {
                tracing::debug!(error = error.with_causes(), "tenants were not compared with the store");
                some.into_iter().for_each(|(id, answered)| inner.unproven.put(id, answered));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Tells of those that the truth has otherwise, as the truth itself would have.
async fn compare(inner: &Inner, some: &[(TenantId, Answered)]) -> Result<(), StoreError> {
    let ids: Vec<TenantId> = some.iter().map(|(id, _)| id.clone()).collect();
    let found = inner.ask(inner.truth.tenant_revisions(&ids)).await?;
    for ((id, answered), found) in some.iter().zip(found) {
        let revision = match found {
            Some(found) if found <= answered.least => continue,
            Some(found) => found,
            None => {
                inner.bury(id).await;
                // That of its deletion, or above it.
                answered.most + 1
            }
        };
        inner.heard(StoreChange::Tenant { id: id.clone(), revision });
    }
    Ok(())
}
