//! One file of the folder: a candidate whose manifest was read, or a rejected file with its reasons.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use module_api::stamp::StampFields;
use semver::Version;

use super::{content::Content, finding::Finding};
use crate::{
    manifest::{FileIdentity, Manifest, ModuleFile, ModuleFileError},
    names::ModuleName,
};

/// A module file that could be opened. None of its code has run.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// From the manifest, whatever the file is called.
    pub name: ModuleName,
    /// From the manifest, or from the stamp where that leaves it out.
    pub version: Version,
    /// Where the file is.
    pub path: PathBuf,
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// How it was built.
    pub stamp: Arc<StampFields>,
    /// Which file it is, with size and time of change, to tell a replaced file from an unchanged one.
    pub identity: FileIdentity,
    /// Why it would stay mapped once opened; `None` where the file says nothing against unloading.
    pub unload_note: Option<String>,
    /// Its hash, once it is known.
    pub(super) content: Content,
}

impl Candidate {
    /// Reads a module file; see [`ModuleFile::read`].
    ///
    /// # Errors
    ///
    /// Why the file is no module for this host.
    pub fn read(path: &Path) -> Result<Self, ModuleFileError> {
        let file = ModuleFile::read(path)?;
        Ok(Self {
            name: file.manifest.name.clone(),
            version: file.manifest.version.clone(),
            path: path.to_owned(),
            manifest: file.manifest,
            stamp: file.stamp,
            identity: file.identity,
            unload_note: file.unload.note(),
            content: Content::default(),
        })
    }
}

#[cfg(test)]
impl Candidate {
    /// A candidate that no file stands behind.
    pub(crate) fn sample(path: PathBuf, manifest: Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            path,
            manifest: Arc::new(manifest),
            stamp: Arc::new(crate::manifest::sample::stamp_fields()),
            identity: FileIdentity { dev: 1, ino: 1, size: 1, modified: std::time::SystemTime::UNIX_EPOCH },
            unload_note: None,
            content: Content::default(),
        }
    }
}

/// A file that is no candidate. It stays listed with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where the file is.
    pub path: PathBuf,
    /// `MANIFEST_INVALID`, `MODULE_INCOMPATIBLE`, `MODULE_DUPLICATE` or `ROUTE_CONFLICT`.
    pub code: &'static str,
    /// Every reason, at least one.
    pub problems: Vec<String>,
    /// Its name and version, where the file is a module.
    pub module: Option<(ModuleName, Version)>,
}

impl Rejected {
    /// A file that could not be read as a module.
    pub(super) fn unreadable(path: &Path, error: &ModuleFileError) -> Self {
        Self { path: path.to_owned(), code: error.code(), problems: error.problems(), module: None }
    }

    /// A module that another one keeps out.
    pub(super) fn kept_out(candidate: &Candidate, finding: Finding) -> Self {
        Self {
            path: candidate.path.clone(),
            code: finding.code,
            problems: vec![finding.text],
            module: Some((candidate.name.clone(), candidate.version.clone())),
        }
    }
}
