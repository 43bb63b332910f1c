//! Modules as JSON. Inner types are put into these by hand: nothing is sent that was not meant to be.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::census::{Census, Usage};
use crate::{
    catalog::{Candidate, CandidateProblem, Catalog, Finding, Rejected},
    manifest::Dependency,
    names::ModuleName,
};

/// Something that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ProblemItem {
    /// Stable, such as `MODULE_DEPENDENCY_MISSING`.
    pub(super) code: String,
    /// For people.
    pub(super) text: String,
}

/// What a version is doing on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum VersionState {
    /// It can be enabled; no instance is in service.
    Available,
    /// At least one instance is in service.
    Running,
    /// No tenant could run it: `problems` says why.
    Blocked,
    /// Its file is gone; it runs for those that have it until it is no longer used.
    Leaving,
}

/// One version of a module.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionItem {
    pub(super) version: String,
    /// The file that it comes from.
    pub(super) path: String,
    pub(super) state: VersionState,
    /// Tenants in memory for which it was chosen.
    pub(super) tenants: u64,
    /// Instances in service.
    pub(super) instances: u64,
    /// Why no tenant could run it; empty: nothing speaks against it.
    pub(super) problems: Vec<ProblemItem>,
    /// Why it would stay mapped once it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unload_note: Option<String>,
}

/// A module: all versions of one name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModuleItem {
    pub(super) name: String,
    /// Of the newest version, as the description and the category.
    pub(super) display_name: String,
    pub(super) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<String>,
    /// Newest first.
    pub(super) versions: Vec<VersionItem>,
}

/// A file that is no candidate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RejectedItem {
    pub(super) path: String,
    /// `MANIFEST_INVALID`, `MODULE_INCOMPATIBLE`, `MODULE_DUPLICATE` or `ROUTE_CONFLICT`.
    pub(super) code: String,
    /// Every reason.
    pub(super) problems: Vec<String>,
    /// Where the file is a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// A file that is open or used and no longer in the plugins folder.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeavingItem {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) path: String,
    pub(super) tenants: u64,
    pub(super) instances: u64,
}

/// All that could run, and what was kept out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Registry {
    /// By name.
    pub(super) modules: Vec<ModuleItem>,
    /// Files that are no candidates, by path.
    pub(super) rejected: Vec<RejectedItem>,
    /// Files that are open or used and no longer in the folder, by name and version.
    pub(super) leaving: Vec<LeavingItem>,
}

/// A module with what its manifests declare.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModuleDetail {
    pub(super) name: String,
    /// Newest first.
    pub(super) versions: Vec<VersionDetail>,
}

/// One version with what its manifest declares and how it was built.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionDetail {
    #[serde(flatten)]
    pub(super) item: VersionItem,
    /// The manifest with all its defaults, in the keys of `module.toml`; prices are strings.
    pub(super) manifest: serde_json::Value,
    pub(super) build: BuildItem,
}

/// A module that this one uses.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DependencyItem {
    pub(super) name: String,
    /// Which versions will do.
    pub(super) range: String,
    /// Whether it runs without.
    pub(super) optional: bool,
}

/// How the file was built.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildItem {
    /// The version of `module-api`.
    pub(super) api_version: String,
    pub(super) rustc: String,
    pub(super) target: String,
}

impl From<&Finding> for ProblemItem {
    fn from(finding: &Finding) -> Self {
        Self { code: finding.code.to_owned(), text: finding.text.clone() }
    }
}

impl VersionItem {
    pub(super) fn new(
        candidate: &Arc<Candidate>,
        catalog: &Catalog,
        census: &Census,
        problems: &[CandidateProblem],
    ) -> Self {
        let usage = census.of(candidate);
        let own = problems.iter().filter(|problem| Arc::ptr_eq(&problem.candidate, candidate));
        let problems: Vec<ProblemItem> = own.map(|problem| (&problem.finding).into()).collect();
        let state = match (usage.instances, problems.is_empty()) {
            _ if catalog.is_removed(candidate) => VersionState::Leaving,
            (1.., _) => VersionState::Running,
            (0, true) => VersionState::Available,
            (0, false) => VersionState::Blocked,
        };
        Self {
            version: candidate.version.to_string(),
            path: candidate.path.display().to_string(),
            state,
            tenants: usage.tenants,
            instances: usage.instances,
            problems,
            unload_note: candidate.unload_note.as_deref().map(str::to_owned),
        }
    }
}

impl RejectedItem {
    pub(super) fn new(rejected: &Rejected) -> Self {
        let (module, version) = rejected.module.as_ref().map(|(name, version)| (name, version)).unzip();
        Self {
            path: rejected.path.display().to_string(),
            code: rejected.code.to_owned(),
            problems: rejected.problems.clone(),
            module: module.map(ToString::to_string),
            version: version.map(ToString::to_string),
        }
    }
}

impl LeavingItem {
    pub(super) fn all(census: &Census, catalog: &Catalog) -> Vec<Self> {
        let item = |(candidate, usage): (Arc<Candidate>, Usage)| Self {
            module: candidate.name.to_string(),
            version: candidate.version.to_string(),
            path: candidate.path.display().to_string(),
            tenants: usage.tenants,
            instances: usage.instances,
        };
        census.leaving(catalog).into_iter().map(item).collect()
    }
}

impl VersionDetail {
    pub(super) fn new(candidate: &Candidate, item: VersionItem) -> Self {
        let build = BuildItem {
            api_version: candidate.build.api_version.to_string(),
            rustc: candidate.build.rustc.to_string(),
            target: candidate.build.target.to_string(),
        };
        Self { item, manifest: candidate.manifest.to_json(), build }
    }
}

impl DependencyItem {
    /// Those of a module, by name.
    pub(super) fn all(candidate: &Candidate) -> Vec<Self> {
        let item = |(name, dependency): (&ModuleName, &Dependency)| Self {
            name: name.to_string(),
            range: dependency.range.to_string(),
            optional: dependency.optional,
        };
        candidate.manifest.dependencies.iter().map(item).collect()
    }
}
