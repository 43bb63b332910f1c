//! Reads the plugins folder again and tells the tenancy what it holds now.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use crate::{
    admin::ReadFolder,
    catalog::{self, Changes, ScanError},
    names::ModuleName,
    tenancy::Tenancy,
};

/// Reads one folder for one tenancy; one reading at a time.
#[derive(Debug)]
pub(super) struct Rescanner {
    folder: PathBuf,
    tenancy: Tenancy,
    /// Held while the folder is read; whether it could not be read the last time.
    failed: Mutex<bool>,
}

impl Rescanner {
    pub(super) fn new(folder: PathBuf, tenancy: Tenancy) -> Self {
        Self { folder, tenancy, failed: Mutex::new(false) }
    }

    /// Reads what changed since the catalog in force, and all files of the module `again`. Blocks; not for runtime
    /// threads. A folder that can't be read changes nothing: what was there stays in force, and it is logged once.
    pub(super) fn rescan_blocking(&self, again: Option<&ModuleName>) -> Result<Changes, ScanError> {
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.tenancy.catalog();
        let is_running = |candidate: &catalog::Candidate| self.tenancy.is_open(candidate);
        let is_known = |candidate: &catalog::Candidate| again != Some(&candidate.name);
        let fresh = match catalog::rescan(&before, &self.folder, &is_known, &is_running) {
            Ok(fresh) => fresh,
            Err(error) => {
                if !std::mem::replace(&mut *failed, true) {
                    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                    tracing::error!("the plugins folder can't be read, what was there stays: failed to {error}{cause}");
                }
                return Err(error);
            }
        };
        if std::mem::replace(&mut *failed, false) {
            tracing::info!(folder = %self.folder.display(), "the plugins folder can be read again");
        }
        let changes = fresh.changes_since(&before);
        for candidate in &changes.added {
            tracing::info!(module = %candidate.name, version = %candidate.version, "a module is available");
        }
        for candidate in &changes.removed {
            tracing::info!(module = %candidate.name, version = %candidate.version, "a module's file is gone");
        }
        for (_, candidate) in &changes.replaced {
            tracing::info!(module = %candidate.name, version = %candidate.version, "a module's file was replaced");
        }
        for rejected in &changes.rejected {
            tracing::warn!(path = %rejected.path.display(), code = rejected.code, "{}", rejected.problems.join("; "));
        }
        if !is_same(&before, &fresh) {
            self.tenancy.catalog_changed_blocking(Arc::new(fresh));
        }
        Ok(changes)
    }
}

impl ReadFolder for Rescanner {
    fn read(&self, again: Option<&ModuleName>) -> Result<Changes, ScanError> {
        self.rescan_blocking(again)
    }
}

/// Whether both have the very same candidates and refuse the same files: then no tenant need be looked at. Not the
/// same as no changes, as a renamed file is none.
fn is_same(before: &catalog::Catalog, fresh: &catalog::Catalog) -> bool {
    let kept = before.all().filter(|candidate| !before.is_removed(candidate));
    kept.map(Arc::as_ptr).eq(fresh.all().map(Arc::as_ptr)) && before.rejected() == fresh.rejected()
}
