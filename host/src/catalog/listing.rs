//! The catalog itself: an immutable list of candidates by name and version, and of what was kept out and why.

use std::{collections::BTreeMap, sync::Arc};

use semver::Version;

use super::{
    candidate::{Candidate, Rejected},
    finding::text,
    graph::DependencyGraph,
    scan::{ScannedFile, Seen},
};
use crate::names::ModuleName;

/// All modules that could run. Immutable; a scan makes a new one. Several versions of a name are usual.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    files: Arc<[ScannedFile]>,
    modules: BTreeMap<ModuleName, Vec<Arc<Candidate>>>,
    rejected: Vec<Arc<Rejected>>,
    /// Among `modules` too.
    removed: Vec<Arc<Candidate>>,
}

/// What differs between two catalogs.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Names and versions that are new.
    pub added: Vec<Arc<Candidate>>,
    /// Names and versions that are gone, as they were.
    pub removed: Vec<Arc<Candidate>>,
    /// Names and versions whose file is another one now: before and after.
    pub replaced: Vec<(Arc<Candidate>, Arc<Candidate>)>,
    /// Files that are rejected now, and were not or for other reasons.
    pub rejected: Vec<Arc<Rejected>>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.replaced.is_empty() && self.rejected.is_empty()
    }
}

impl Catalog {
    /// A catalog of candidates from anywhere; see [`super::scan`] for `running` and for who stays.
    pub fn of(candidates: impl IntoIterator<Item = Arc<Candidate>>, running: &dyn Fn(&Candidate) -> bool) -> Self {
        let file = |it: Arc<Candidate>| ScannedFile { path: it.path.clone(), seen: Seen::Unknown, outcome: Ok(it) };
        Self::of_files(candidates.into_iter().map(file).collect(), running)
    }

    pub(super) fn of_files(mut files: Vec<ScannedFile>, running: &dyn Fn(&Candidate) -> bool) -> Self {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let mut rejected: Vec<_> = files.iter().filter_map(|file| file.outcome.as_ref().err()).cloned().collect();
        let readable = files.iter().filter_map(|file| file.outcome.as_ref().ok());
        let (first, later): (Vec<_>, Vec<_>) = readable.partition(|candidate| running(candidate));
        let mut modules: BTreeMap<ModuleName, Vec<Arc<Candidate>>> = BTreeMap::new();
        let mut bases = Bases::default();
        for candidate in first.into_iter().chain(later) {
            let versions = modules.get(&candidate.name).map(Vec::as_slice).unwrap_or_default();
            let same = versions.iter().find(|other| other.version == candidate.version);
            let finding = match same {
                Some(other) => Some(text::duplicate(&candidate.name, &candidate.version, &other.path)),
                None => bases.conflict(candidate).map(|(base, other, other_base)| {
                    text::route_conflict(base, (&other.name, &other.version, other_base), &other.path)
                }),
            };
            match finding {
                Some(finding) => rejected.push(Arc::new(Rejected::kept_out(candidate, finding))),
                None => {
                    bases.claim(candidate);
                    modules.entry(candidate.name.clone()).or_default().push(candidate.clone());
                }
            }
        }
        for versions in modules.values_mut() {
            versions.sort_by(|one, other| other.version.cmp(&one.version));
        }
        rejected.sort_by(|one, other| one.path.cmp(&other.path));
        modules.values_mut().for_each(Vec::shrink_to_fit);
        Self { files: files.into(), modules, rejected, removed: Vec::new() }
    }

    pub(super) fn files(&self) -> &[ScannedFile] {
        &self.files
    }

    /// The versions of a module, newest first; empty where there is none.
    pub fn get(&self, name: &str) -> &[Arc<Candidate>] {
        self.modules.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// One version of a module.
    pub fn find(&self, name: &str, version: &Version) -> Option<&Arc<Candidate>> {
        self.get(name).iter().find(|candidate| candidate.version == *version)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &ModuleName> {
        self.modules.keys()
    }

    /// All candidates by name, of each the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Candidate>> {
        self.modules.values().flatten()
    }

    /// The files that are no candidates, by path.
    pub fn rejected(&self) -> &[Arc<Rejected>] {
        &self.rejected
    }

    /// Who depends on whom, by the newest version of each name.
    pub fn graph(&self) -> DependencyGraph {
        let mut graph = DependencyGraph::default();
        for newest in self.modules.values().filter_map(|versions| versions.first()) {
            let required = newest.manifest.required().map(|(name, _)| name.clone());
            let optional = newest.manifest.optional().map(|(name, _)| name.clone());
            graph.insert(newest.name.clone(), required, optional);
        }
        graph
    }

    /// What differs from an earlier catalog, each list by name and version. A file that was only renamed does
    /// not count as replaced.
    pub fn changes_since(&self, old: &Self) -> Changes {
        let mut changes = Changes::default();
        for candidate in self.all() {
            match old.find(candidate.name.as_str(), &candidate.version) {
                None => changes.added.push(candidate.clone()),
                // Read again on somebody's word, or another file.
                Some(before)
                    if before.identity != candidate.identity
                        || (before.path == candidate.path && !Arc::ptr_eq(before, candidate)) =>
                {
                    changes.replaced.push((before.clone(), candidate.clone()));
                }
                Some(_) => {}
            }
        }
        let gone = |candidate: &&Arc<Candidate>| {
            !old.is_removed(candidate) && self.find(candidate.name.as_str(), &candidate.version).is_none()
        };
        changes.removed = old.all().filter(gone).cloned().collect();
        let before: std::collections::HashMap<_, _> = old.rejected.iter().map(|it| (&it.path, it)).collect();
        let new = |it: &&Arc<Rejected>| before.get(&it.path) != Some(it);
        changes.rejected = self.rejected.iter().filter(new).cloned().collect();
        changes
    }
}

/// The bases that are taken. Those of one module may overlap, in one version or several; those of two never do.
#[derive(Default)]
struct Bases {
    taken: BTreeMap<String, Arc<Candidate>>,
}

impl Bases {
    /// Whoever has a base that overlaps with this candidate's: both bases and the other one.
    fn conflict<'a>(&'a self, candidate: &'a Candidate) -> Option<(&'a str, &'a Arc<Candidate>, &'a str)> {
        let base = candidate.manifest.routes.as_ref()?.base.as_str();
        let ends = base.match_indices('/').map(|(at, _)| at).skip(1).chain([base.len()]);
        let above = ends.filter_map(|end| self.taken.get_key_value(&base[..end]));
        let inside = format!("{base}/");
        // `0` is the character after `/`: what lies between is all that begins with the base and a slash.
        let below = self.taken.range(inside..format!("{base}0"));
        let mut overlapping = above.chain(below).filter(|(_, other)| other.name != candidate.name);
        overlapping.next().map(|(other_base, other)| (base, other, other_base.as_str()))
    }

    fn claim(&mut self, candidate: &Arc<Candidate>) {
        if let Some(routes) = &candidate.manifest.routes {
            self.taken.entry(routes.base.as_str().to_owned()).or_insert_with(|| candidate.clone());
        }
    }
}

/// Candidates whose files are gone while somebody still runs them.
impl Catalog {
    /// This catalog with candidates whose files are gone but whose code is still in use. Where the folder has no other
    /// version of a module they can be chosen like any other, until they are no longer handed in here.
    #[must_use]
    pub fn with_removed(&self, removed: impl IntoIterator<Item = Arc<Candidate>>) -> Self {
        let mut with = self.clone();
        with.modules = self
            .modules
            .iter()
            .map(|(name, versions)| {
                (name.clone(), versions.iter().filter(|it| !self.is_removed(it)).cloned().collect())
            })
            .collect();
        with.removed.clear();
        for candidate in removed {
            if with.removed.iter().any(|known| Arc::ptr_eq(known, &candidate)) {
                continue;
            }
            // What a path offers now takes the place of what it offered before, even where that had a higher version.
            let versions = with.modules.entry(candidate.name.clone()).or_default();
            if versions.iter().all(|other| with.removed.iter().any(|removed| Arc::ptr_eq(removed, other))) {
                versions.push(Arc::clone(&candidate));
                versions.sort_by(|one, other| other.version.cmp(&one.version));
            }
            with.removed.push(candidate);
        }
        with.modules.retain(|_, versions| !versions.is_empty());
        with
    }

    /// Candidates whose files are gone and that are still in use.
    pub fn removed(&self) -> &[Arc<Candidate>] {
        &self.removed
    }

    /// Whether a candidate's file is gone.
    pub fn is_removed(&self, candidate: &Candidate) -> bool {
        self.removed.iter().any(|removed| std::ptr::eq(&**removed, candidate))
    }

    /// Whether a candidate is one of this catalog's, file and all.
    pub fn has_file_of(&self, candidate: &Candidate) -> bool {
        self.get(candidate.name.as_str()).iter().any(|it| std::ptr::eq(&**it, candidate)) && !self.is_removed(candidate)
    }
}
