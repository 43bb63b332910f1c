//! Why a module's file could not be opened. Knows codes, not HTTP.

use std::{fmt, io, path::PathBuf};

use super::services::Failure;

/// One route, as in the manifest or as the code offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Upper case, such as `GET`.
    pub method: String,
    /// Under the module's base, such as `/items/{id}`.
    pub path: String,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Why a file could not be staged or opened. Texts are one line each; what the dynamic linker or the layout
/// check wrote in full is in the log at debug level.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder for staged copies could not be made, emptied or protected.
    #[error("the staging folder `{}` can't be used", path.display())]
    Staging {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be copied.
    #[error("`{}` can't be copied to be opened", path.display())]
    Copy {
        /// The file as named in the request.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The copy is not the file that was asked for: it changed after it was read.
    #[error("the file of {name} {version} is no longer what was read from it: {reason}")]
    Changed {
        /// The module.
        name: String,
        /// Its version.
        version: String,
        /// What differs.
        reason: String,
    },
    /// As many libraries are mapped as may be.
    #[error("{mapped} libraries are mapped and the limit is {limit}; those of {resident} can't be unloaded")]
    TooMany {
        /// Live, closing and resident ones.
        mapped: usize,
        /// The configured limit.
        limit: usize,
        /// How many of them stay until the host ends.
        resident: usize,
    },
    /// The dynamic linker refused the file.
    #[error("the dynamic linker refused {name} {version}: {reason}")]
    Link {
        /// The module.
        name: String,
        /// Its version.
        version: String,
        /// The first line of what it said, without the staged copy's path.
        reason: String,
    },
    /// The library lacks the entry, or its interface is not one that this host speaks.
    #[error("{name} {version} was built against an interface that this host does not speak: {reason}")]
    Interface {
        /// The module.
        name: String,
        /// Its version.
        version: String,
        /// What differs.
        reason: String,
    },
    /// The routes of the code are not those of the manifest.
    #[error(
        "the routes of {name} {version} differ: only in the manifest: {}; only in the code: {}",
        list(manifest, code),
        list(code, manifest)
    )]
    RoutesDiffer {
        /// The module.
        name: String,
        /// Its version.
        version: String,
        /// All routes of the manifest, sorted.
        manifest: Vec<Route>,
        /// All routes of the code, sorted; one that stands there twice is offered twice.
        code: Vec<Route>,
    },
    /// The module failed while it named its routes.
    #[error("{name} {version} could not name its routes: {failure}{}", at_place(failure))]
    RoutesFailed {
        /// The module.
        name: String,
        /// Its version.
        version: String,
        /// What it failed with.
        failure: Failure,
    },
}

impl LoadError {
    /// The stable code: `MODULE_INCOMPATIBLE` where another build of the module would be accepted,
    /// `MODULE_LOAD_FAILED` otherwise.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Interface { .. } => "MODULE_INCOMPATIBLE",
            _ => "MODULE_LOAD_FAILED",
        }
    }
}

/// What `one` has more often than `other`, or `none`.
fn list(one: &[Route], other: &[Route]) -> String {
    let mut rest = other.to_vec();
    let mut only = Vec::new();
    for route in one {
        match rest.iter().position(|candidate| candidate == route) {
            Some(at) => drop(rest.swap_remove(at)),
            None => only.push(route.to_string()),
        }
    }
    if only.is_empty() { "none".to_owned() } else { only.join(", ") }
}

fn at_place(failure: &Failure) -> String {
    match &failure.kind {
        super::services::FailureKind::Panicked { place } if !place.is_empty() => format!(" (panicked at {place})"),
        _ => String::new(),
    }
}
