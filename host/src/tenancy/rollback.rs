//! What operators do about contents of modules: go back from one, and let one run again.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    command::{Command, Work},
    error::{TenancyError, chain},
    handle::Tenancy,
    job::mark_of,
};
use crate::{
    catalog::Candidate,
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind},
};

/// What a roll-back did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The version that was left.
    pub from: String,
    /// The version in its place; for all, the one that those whose range allows it get.
    pub to: String,
}

/// What a release took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// How many marks.
    pub marks: u64,
    /// Whether safe mode had kept the module off on this host.
    pub was_off: bool,
}

impl Tenancy {
    /// All that is held against contents, as far as this host knows, by module.
    pub fn marks(&self) -> Vec<Mark> {
        self.context.marks.load().all().cloned().collect()
    }

    /// Leaves the content of a module that runs for a tenant, or the newest one for all, for the one that ran before it.
    /// For one tenant it has happened with the answer; of all, each follows by itself. It is not tried again until the
    /// file changes or somebody releases it.
    ///
    /// # Errors
    ///
    /// [`TenancyError::NothingToGoBackTo`], and why the other version does not start: then nothing has changed.
    pub async fn roll_back(
        &self,
        module: &ModuleName,
        tenant: Option<&TenantId>,
        reason: &str,
    ) -> Result<RolledBack, TenancyError> {
        let Some(tenant) = tenant else { return self.roll_back_all(module, reason).await };
        let snapshot = self.load(tenant).await?;
        let candidate =
            snapshot.module(module.as_str()).ok_or_else(|| TenancyError::ModuleNotEnabled(module.clone()))?;
        let mark = self.marked(candidate, Some(tenant), reason).await?;
        let (from, document) = (mark.version.clone(), Arc::new(snapshot.document()));
        self.work(tenant, Work::GoBack { mark: mark.clone(), document }).await?;
        self.save(mark).await?;
        let now = self.load(tenant).await?;
        let to = now.module(module.as_str()).map(|candidate| candidate.version.to_string());
        Ok(RolledBack { from, to: to.unwrap_or_default() })
    }

    async fn roll_back_all(&self, module: &ModuleName, reason: &str) -> Result<RolledBack, TenancyError> {
        let catalog = self.catalog();
        let bad: Vec<String> = self
            .context
            .marks
            .load()
            .of_module(module)
            .iter()
            .filter(|mark| mark.tenant.is_none())
            .map(|mark| mark.hash.clone())
            .collect();
        let kept = self.context.kept(module, &catalog);
        let mut good = Vec::new();
        for candidate in catalog.get(module.as_str()).iter().chain(&kept) {
            let mark = self.marked(candidate, None, reason).await?;
            let is_known = bad.contains(&mark.hash) || good.iter().any(|known: &Mark| known.hash == mark.hash);
            if !is_known {
                good.push(mark);
            }
        }
        if catalog.get(module.as_str()).is_empty() {
            return Err(TenancyError::ModuleNotFound(module.clone()));
        }
        let (Some(first), Some(second)) = (good.first(), good.get(1)) else {
            return Err(TenancyError::NothingToGoBackTo(module.clone()));
        };
        self.save(first.clone()).await?;
        self.tell(Command::Mark { marks: vec![first.clone()] });
        Ok(RolledBack { from: first.version.clone(), to: second.version.clone() })
    }

    async fn marked(
        &self,
        candidate: &Arc<Candidate>,
        tenant: Option<&TenantId>,
        reason: &str,
    ) -> Result<Mark, TenancyError> {
        let (candidate, tenant, reason) = (Arc::clone(candidate), tenant.cloned(), reason.to_owned());
        let failed =
            |reason: &str| TenancyError::LoadFailed { module: candidate.name.clone(), reason: reason.to_owned() };
        let of = Arc::clone(&candidate);
        let read = self.context.jobs.spawn_blocking(move || mark_of(&of, tenant.as_ref(), MarkKind::Bad, reason)).await;
        read.ok().flatten().ok_or_else(|| failed("its file can't be read"))
    }

    async fn save(&self, mark: Mark) -> Result<(), TenancyError> {
        let saved = self.context.store.set_mark(mark).await;
        saved.map_err(|error| TenancyError::StoreUnavailable(chain(&error)))
    }

    /// In safe mode: the modules that were let go on this host, each for one tenant or for all.
    pub fn safe_mode(&self) -> Option<Vec<(ModuleName, Option<TenantId>)>> {
        self.context.marks.load().released().map(|released| released.iter().cloned().collect())
    }

    /// Takes away what is held against a module, for one tenant or for all, and lets it go where this host keeps it off
    /// in safe mode. Tenants follow by themselves.
    ///
    /// # Errors
    ///
    /// [`TenancyError::StoreUnavailable`].
    pub async fn release(&self, module: &ModuleName, tenant: Option<&TenantId>) -> Result<Released, TenancyError> {
        let away = |error| TenancyError::StoreUnavailable(chain(&error));
        let marks_gone = self.context.store.clear_marks(module, tenant).await.map_err(away)?;
        let mut marks = self.context.store.marks().await.map_err(away)?;
        marks.retain(|mark| mark.module == *module);
        self.tell(Command::MarksOf { module: module.clone(), marks });
        let (reply, told) = oneshot::channel();
        self.tell(Command::LetGo { module: module.clone(), tenant: tenant.cloned(), reply });
        Ok(Released { marks: marks_gone, was_off: told.await.unwrap_or(false) })
    }
}
