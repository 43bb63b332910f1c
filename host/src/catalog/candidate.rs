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
    pub path: Arc<Path>,
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// How it was built.
    pub build: Build,
    /// Which file it is, with size and time of change, to tell a replaced file from an unchanged one.
    pub identity: FileIdentity,
    /// Why it would stay mapped once opened; `None` where the file says nothing against unloading.
    pub unload_note: Option<Box<str>>,
    /// Its hash, once it is known.
    pub(super) content: Content,
}

/// With what a module was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The version of module-api, as semver text.
    pub api_version: Box<str>,
    /// What `rustc --version` printed.
    pub rustc: Box<str>,
    /// The target triple.
    pub target: Box<str>,
}

impl Build {
    /// What the stamp says of it.
    pub fn of(stamp: &StampFields) -> Self {
        let StampFields { api_version, rustc, target, .. } = stamp;
        Self { api_version: (**api_version).into(), rustc: (**rustc).into(), target: (**target).into() }
    }
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
            path: path.into(),
            manifest: file.manifest,
            build: Build::of(&file.stamp),
            identity: file.identity,
            unload_note: file.unload.note().map(Box::from),
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
            path: path.into(),
            manifest: Arc::new(manifest),
            build: Build::of(&crate::manifest::sample::stamp_fields()),
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
            path: candidate.path.to_path_buf(),
            code: finding.code,
            problems: vec![finding.text],
            module: Some((candidate.name.clone(), candidate.version.clone())),
        }
    }
}
