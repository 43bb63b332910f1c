//! What is held against contents of modules, as far as this host knows, and what a tenant's choice of versions makes of
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{context::Context, supervisor::Supervisor};
use crate::{
    catalog::{Candidate, Catalog, Standing, Unjudged},
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind},
};

/// A module, for one tenant or for all.
pub(super) type Whose = (ModuleName, Option<TenantId>);

/// All marks, by module. Each job has a copy, so the marks themselves are shared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MarkBook {
    marks: BTreeMap<ModuleName, Vec<Arc<Mark>>>,
    /// In safe mode: the modules that were let go on this host; all others are off.
    released: Option<BTreeSet<Whose>>,
}

impl MarkBook {
    /// Nothing but what holds for this host alone.
    pub(super) fn at_start(safe: bool) -> Self {
        Self { marks: BTreeMap::new(), released: safe.then(BTreeSet::new) }
    }

    /// What the store says, which has one mark for each content, tenant and kind, with what holds for this host alone.
    pub(super) fn read(&self, marks: Vec<Mark>) -> Self {
        let mut book = Self { marks: BTreeMap::new(), released: self.released.clone() };
        for mark in marks {
            book.marks.entry(mark.module.clone()).or_default().push(Arc::new(mark));
        }
        book
    }

    /// Adds a mark, in the place of one for the same content, tenant and kind.
    pub(super) fn add(&mut self, mark: Mark) {
        let marks = self.marks.entry(mark.module.clone()).or_default();
        marks.retain(|known| (&known.hash, &known.tenant, known.kind) != (&mark.hash, &mark.tenant, mark.kind));
        marks.push(Arc::new(mark));
    }

    /// In safe mode: what was let go.
    pub(super) fn released(&self) -> Option<&BTreeSet<Whose>> {
        self.released.as_ref()
    }

    /// Lets a module go that is off as the host is in safe mode; says whether it was.
    pub(super) fn release(&mut self, whose: Whose) -> bool {
        self.released.as_mut().is_some_and(|released| released.insert(whose))
    }

    fn is_off(&self, module: &ModuleName, tenant: &TenantId) -> bool {
        self.released.as_ref().is_some_and(|released| {
            !released.iter().any(|(name, whose)| name == module && whose.as_ref().is_none_or(|it| it == tenant))
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Mark> {
        self.marks.values().flatten().map(Arc::as_ref)
    }

    /// These are the marks of a module, and no others.
    pub(super) fn replace(&mut self, module: &ModuleName, marks: Vec<Mark>) {
        self.marks.remove(module);
        for mark in marks {
            self.add(mark);
        }
    }

    /// The marks of one module.
    pub(super) fn of_module(&self, module: &ModuleName) -> &[Arc<Mark>] {
        self.marks.get(module).map(Vec::as_slice).unwrap_or_default()
    }

    /// The modules about which two books differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<ModuleName> {
        let names = self.marks.keys().chain(other.marks.keys());
        let mut differing: Vec<_> =
            names.filter(|name| self.of_module(name) != other.of_module(name)).cloned().collect();
        differing.sort();
        differing.dedup();
        differing
    }

    /// What is held against a candidate for a tenant. Reads the file where its hash must be known and is not.
    fn find(&self, kind: MarkKind, tenant: &TenantId, candidate: &Candidate) -> Option<&Mark> {
        let mut marks = self
            .of_module(&candidate.name)
            .iter()
            .filter(|mark| mark.kind == kind && mark.tenant.as_ref().is_none_or(|marked| marked == tenant));
        // Most modules have none, and then no file is read.
        let first = marks.next()?;
        let hash = candidate.hash().ok()?;
        std::iter::once(first).chain(marks).find(|mark| mark.hash == hash).map(Arc::as_ref)
    }
}

/// What decides about versions beyond the catalog.
pub(super) trait Judge: Standing {
    /// The reason why a version that is chosen does not run, and nothing in its place.
    fn quarantined(&self, candidate: &Candidate) -> Option<String>;
}

impl Judge for Unjudged {
    fn quarantined(&self, _: &Candidate) -> Option<String> {
        None
    }
}

/// The marks, read for one tenant.
pub(super) struct Judgement<'a> {
    pub(super) book: &'a MarkBook,
    pub(super) tenant: &'a TenantId,
    pub(super) context: &'a Context,
    pub(super) catalog: &'a Catalog,
}

impl Standing for Judgement<'_> {
    fn barred(&self, candidate: &Candidate) -> Option<String> {
        let mark = self.book.find(MarkKind::Bad, self.tenant, candidate)?;
        Some(format!("marked bad: {}", mark.reason))
    }

    fn kept(&self, module: &ModuleName) -> Vec<Arc<Candidate>> {
        self.context.kept(module, self.catalog)
    }
}

impl Judge for Judgement<'_> {
    fn quarantined(&self, candidate: &Candidate) -> Option<String> {
        if self.book.is_off(&candidate.name, self.tenant) {
            return Some("this host was started in safe mode, and nobody has released it".to_owned());
        }
        self.book.find(MarkKind::Quarantined, self.tenant, candidate).map(|mark| mark.reason.clone())
    }
}

impl Supervisor {
    /// Reads what is held against contents, before anything runs. While the store is away that is nothing; it is asked
    /// again with each sweep.
    pub(super) async fn read_marks(&self) {
        let read = tokio::time::timeout(self.context.settings.initialize, self.context.store.marks_nearby()).await;
        if let Ok(Ok(marks)) = read {
            let book = self.context.marks.load().read(marks);
            self.context.marks.store(Arc::new(book));
        }
    }
}

impl Context {
    /// Versions of a module that the folder has no more and that can still run: those that proved themselves last come
    /// first.
    pub(super) fn kept(&self, module: &ModuleName, catalog: &Catalog) -> Vec<Arc<Candidate>> {
        let open = self.generations.open_of(module);
        // What is open need not be opened again from its copy.
        let mut kept: Vec<_> = self.settings.archive.of(module.as_str());
        for copy in &mut kept {
            if let Some(same) = open.iter().find(|it| it.known_hash() == copy.known_hash()) {
                *copy = Arc::clone(same);
            }
        }
        let only_open = open.into_iter().filter(|it| !catalog.has_file_of(it));
        let more: Vec<_> =
            only_open.filter(|it| !kept.iter().any(|known| known.known_hash() == it.known_hash())).collect();
        kept.extend(more);
        kept
    }
}
