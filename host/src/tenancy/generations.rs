//! The open libraries: one generation for each candidate that some tenant runs, one more for each tenant that
//! wants a copy of its own. Opened once however many ask, closed when nobody has used it for a while.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::OnceCell};

use super::error::{TenancyError, chain};
use crate::{
    catalog::{Archive, Candidate},
    loader::{Generation, LoadError, Loader, OpenRequest, Route},
    names::{ModuleName, TenantId},
    stores::Isolation,
};

/// The candidate's address, which the entry keeps alive, and the tenant of a copy of its own.
type Key = (usize, Option<TenantId>);

struct Entry {
    candidate: Arc<Candidate>,
    cell: Arc<OnceCell<Arc<Generation>>>,
    /// When a sweep first saw that only this table holds it.
    idle_since: Option<Instant>,
}

impl Entry {
    /// Others can get at the generation only through the cell, and at the cell only under the table's lock.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.cell) > 1 || self.cell.get().is_some_and(|generation| Arc::strong_count(generation) > 1)
    }
}

/// All open generations.
pub(super) struct Generations {
    loader: Loader,
    /// Where what was opened is kept for later.
    archive: Arc<Archive>,
    /// Whose blocking threads open files.
    jobs: Handle,
    entries: Mutex<HashMap<Key, Entry>>,
}

impl Generations {
    pub(super) fn new(loader: Loader, archive: Arc<Archive>, jobs: Handle) -> Self {
        Self { loader, archive, jobs, entries: Mutex::default() }
    }

    /// The generation of a candidate, opened where it is not. One open for all who ask at the same time; a
    /// failed one is tried again by the next who asks.
    pub(super) async fn get(
        &self,
        candidate: &Arc<Candidate>,
        isolation: Isolation,
        tenant: &TenantId,
    ) -> Result<Arc<Generation>, TenancyError> {
        let owner = (isolation == Isolation::Library).then(|| tenant.clone());
        let key = (Arc::as_ptr(candidate) as usize, owner);
        // Held until the generation is cloned, so that a sweep in between sees that it is wanted.
        let cell = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.entry(key).or_insert_with(|| Entry {
                candidate: Arc::clone(candidate),
                cell: Arc::default(),
                idle_since: None,
            });
            Arc::clone(&entry.cell)
        };
        let generation = cell
            .get_or_try_init(|| async {
                let (loader, archive, opening) =
                    (self.loader.clone(), Arc::clone(&self.archive), Arc::clone(candidate));
                let opened = self.jobs.spawn_blocking(move || open(&loader, &archive, &opening)).await;
                opened.unwrap_or_else(|error| {
                    Err(TenancyError::NotNow { module: candidate.name.clone(), reason: error.to_string() })
                })
            })
            .await?;
        Ok(Arc::clone(generation))
    }

    /// Lets go of generations that nobody has used for as long as their candidate may linger; the reaper unloads
    /// them.
    pub(super) fn sweep(&self, now: Instant, linger_of: &dyn Fn(&Candidate) -> Duration) {
        let mut released = Vec::new();
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.retain(|_, entry| {
                if entry.is_wanted() {
                    entry.idle_since = None;
                    return true;
                }
                let since = *entry.idle_since.get_or_insert(now);
                if entry.cell.get().is_some() && now.duration_since(since) < linger_of(&entry.candidate) {
                    return true;
                }
                released.push(Arc::clone(&entry.cell));
                false
            });
        }
        drop(released);
    }

    /// Lets go of everything: the host goes down.
    pub(super) fn release_all(&self) {
        let entries = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        drop(entries);
    }

    /// The open candidates of a module.
    pub(super) fn open_of(&self, module: &ModuleName) -> Vec<Arc<Candidate>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let open = entries.values().filter(|entry| entry.candidate.name == *module && entry.cell.get().is_some());
        let mut found: Vec<Arc<Candidate>> = Vec::new();
        for entry in open {
            if !found.iter().any(|known| Arc::ptr_eq(known, &entry.candidate)) {
                found.push(Arc::clone(&entry.candidate));
            }
        }
        found
    }

    /// Whether a candidate is open.
    pub(super) fn is_open(&self, candidate: &Candidate) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().any(|entry| std::ptr::eq(&*entry.candidate, candidate) && entry.cell.get().is_some())
    }
}

/// Opens a candidate's file, or the copy that is kept where that is another one by now, and keeps a copy. Blocks.
fn open(loader: &Loader, archive: &Archive, candidate: &Candidate) -> Result<Arc<Generation>, TenancyError> {
    let kept = candidate.known_hash().and_then(|hash| archive.path_of(hash)).filter(|path| **path != *candidate.path);
    let opened = match (open_at(loader, candidate, &candidate.path), kept) {
        (Err(_), Some(kept)) => open_at(loader, candidate, &kept),
        (opened, _) => opened,
    }?;
    let info = opened.info();
    candidate.learn_hash(&info.hash);
    if let Err(error) = archive.keep(candidate, &info.hash, &info.staged) {
        tracing::warn!(module = %candidate.name, %error, "no copy was kept to go back to");
    }
    Ok(opened)
}

fn open_at(loader: &Loader, candidate: &Candidate, path: &Path) -> Result<Arc<Generation>, TenancyError> {
    let endpoints = candidate.manifest.routes.as_ref().map(|routes| &*routes.endpoints).unwrap_or_default();
    let expected_routes: Vec<Route> = endpoints
        .iter()
        .map(|endpoint| Route { method: endpoint.method().to_string(), path: endpoint.path.as_str().to_owned() })
        .collect();
    let version = candidate.version.to_string();
    let opened = loader.open(&OpenRequest {
        path,
        name: candidate.name.as_str(),
        version: &version,
        expected_routes: &expected_routes,
        verify: &|staged, hash| is_same(candidate, staged, hash),
        unload_note: candidate.unload_note.as_deref().map(str::to_owned),
    });
    opened.map_err(|error| {
        let (module, reason) = (candidate.name.clone(), chain(&error));
        match error {
            LoadError::Changed { .. } => TenancyError::FileChanged { module, reason },
            LoadError::TooMany { .. } | LoadError::Copy { .. } | LoadError::Staging { .. } => {
                TenancyError::NotNow { module, reason }
            }
            _ if error.code() == "MODULE_INCOMPATIBLE" => TenancyError::Incompatible { module, reason },
            _ => TenancyError::LoadFailed { module, reason },
        }
    })
}

/// Whether the staged copy says what the candidate says: the file may have changed since it was read.
fn is_same(candidate: &Candidate, staged: &Path, hash: &str) -> Result<(), String> {
    if candidate.known_hash().is_some_and(|known| known != hash) {
        return Err("its content is another one now".to_owned());
    }
    let copy = Candidate::read(staged).map_err(|error| error.problems().join("; "))?;
    if copy.manifest != candidate.manifest || copy.build != candidate.build {
        return Err(format!("it is {} {} now, or says other things", copy.name, copy.version));
    }
    Ok(())
}
