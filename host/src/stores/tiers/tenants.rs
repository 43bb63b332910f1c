//! Tenants as they are found in the truth and before it, and what is made of each that was found.

use std::sync::Arc;

use super::{Away, Inner, News, shared_cache::Entry};
use crate::{
    names::TenantId,
    stores::{StoreChange, StoreError, TenantDocument},
};

impl Inner {
    /// A tenant in the truth.
    pub(super) async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
        let found = self.ask(self.truth.tenant(id)).await?;
        match &found {
            Some(document) => self.saw(document, News::Read),
            None => {
                self.forget_kept(id).await;
                self.bury(id).await;
            }
        }
        Ok(found)
    }

    /// A tenant in the cache, the truth, or on the disk. What is not the truth's is compared with it a moment later.
    pub(super) async fn tenant_nearby(&self, id: &TenantId) -> Result<Option<Arc<TenantDocument>>, StoreError> {
        let mut is_deleted = false;
        if let Some(shared) = &self.shared {
            match shared.get(id).await {
                Entry::Document(document) => {
                    self.counters.shared.hit();
                    self.unproven.add(&document);
                    return Ok(Some(document));
                }
                Entry::Deleted => is_deleted = true,
                Entry::Nothing => {}
            }
            self.counters.shared.miss();
        }
        let read = self.ask(self.truth.tenant(id)).await;
        match read {
            Ok(found) => {
                self.counters.truth.hit();
                match &found {
                    Some(document) => self.saw(document, News::Read),
                    None => self.forget_kept(id).await,
                }
                Ok(found)
            }
            Err(StoreError::Unavailable(reason)) => {
                self.counters.truth.miss();
                let known = match &self.last_good {
                    // What is on the disk of one that was deleted is older than that.
                    Some(last_good) if !is_deleted => last_good.tenant(id).await?,
                    _ => None,
                };
                match known {
                    Some(document) => {
                        self.counters.last_good.hit();
                        self.unproven.add(&document);
                        Ok(Some(document))
                    }
                    // It may be one that was made elsewhere, a moment ago.
                    None => {
                        self.counters.last_good.miss();
                        Err(StoreError::Unavailable(reason))
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// A document of the truth's, as it is there now. Nobody waits for what is made of it.
    pub(super) fn saw(&self, document: &Arc<TenantDocument>, news: News) {
        if let Some(last_good) = &self.last_good {
            last_good.keep(Arc::clone(document));
        }
        if let Some(shared) = self.shared.clone() {
            let document = Arc::clone(document);
            self.runtime.spawn(async move { shared.set(&document, news).await });
        }
    }

    /// A tenant was deleted; this is what its deletion left. Waits until the cache has it, if that can be reached.
    pub(super) async fn saw_deletion(&self, id: &TenantId, revision: u64) {
        if let Some(last_good) = &self.last_good {
            last_good.note(StoreChange::Tenant { id: id.clone(), revision });
        }
        if let Some(shared) = self.shared.clone() {
            let id = id.clone();
            // A task, which ends although nobody waits for it any more.
            let _ = self.runtime.spawn(async move { shared.delete(&id, revision).await }).await;
        }
    }

    /// A write has failed. Where it may be carried out all the same, nothing that was before is to be found nearby.
    pub(super) fn saw_failure(&self, id: &TenantId, error: &StoreError) {
        let StoreError::Unavailable(reason) = error else { return };
        if reason.is::<Away>() {
            return;
        }
        if let Some(last_good) = &self.last_good {
            last_good.note(StoreChange::Tenant { id: id.clone(), revision: 0 });
        }
        if let Some(shared) = self.shared.clone() {
            let id = id.clone();
            self.runtime.spawn(async move { shared.forget(&id).await });
        }
    }

    /// The truth has no such tenant: nor is the disk to have it.
    async fn forget_kept(&self, id: &TenantId) {
        if let Some(last_good) = &self.last_good
            && matches!(last_good.tenant(id).await, Ok(Some(_)))
        {
            last_good.note(StoreChange::Tenant { id: id.clone(), revision: 0 });
        }
    }

    /// The truth has no such tenant: what the cache still has of it goes, and nothing that came since.
    pub(super) async fn bury(&self, id: &TenantId) {
        let Some(shared) = &self.shared else { return };
        if let Entry::Document(left) = shared.get(id).await
            // Asked again: what the cache has now may have been made after the first answer.
            && let Ok(None) = self.ask(self.truth.tenant(id)).await
        {
            shared.bury(id, left.revision).await;
        }
    }
}
