//! What operators may change about a tenant, as edits of its document. Pure: nothing here runs or stores
//! anything.

use std::sync::Arc;

use jiff::Timestamp;
use semver::VersionReq;
use serde_json::{Map, Value};

use super::{desire::desire, error::TenancyError, marks::Judge};
use crate::{
    catalog::{Candidate, Catalog, text},
    flags::{Definitions, FlagChange, apply_changes},
    names::ModuleName,
    settings,
    stores::{ApiKey, Cors, EnabledModule, Isolation, TenantDocument, TenantStatus},
};

/// A change of a tenant's document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Enables a module, or changes how an enabled one is wanted.
    Enable {
        /// Which.
        module: ModuleName,
        /// Which versions will do; what the document has, else any, where missing.
        version: Option<VersionReq>,
        /// Whether it shares its library; what the document has, else shared, where missing.
        isolation: Option<Isolation>,
        /// Whether missing required modules are enabled too.
        dependencies: Dependencies,
    },
    /// Disables a module. Its documents stay.
    Disable {
        /// Which.
        module: ModuleName,
        /// Whether modules that need it are disabled too.
        dependents: Dependents,
    },
    /// Suspends or resumes the tenant.
    SetStatus(TenantStatus),
    /// Gives the tenant another name.
    Rename(String),
    /// Changes the tenant's own flag values; all of them, or none where one is refused.
    SetFlags(Vec<FlagChange>),
    /// Changes the tenant's settings for a module; the result must fit the module's schema.
    SetSettings {
        /// Which; it need not be enabled yet.
        module: ModuleName,
        /// How.
        change: SettingsChange,
    },
    /// Says which pages of other origins may read the tenant's answers; `None`: the host says nothing about origins.
    SetCors(Option<Box<Cors>>),
    /// Adds a key by which programs prove the tenant.
    AddKey(Box<ApiKey>),
    /// Takes the key with this id away.
    RevokeKey(String),
    /// Nothing but a proof that each enabled module runs.
    Load,
}

/// The most API keys of one tenant. A guess, far above one for each program; each request by key looks through them.
pub const MAX_API_KEYS: usize = 100;

/// How settings change.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingsChange {
    /// They are these now.
    Replace(Map<String, Value>),
    /// These are merged into what is there; null takes a field away.
    Merge(Map<String, Value>),
    /// There are none any more.
    Remove,
}

/// What enabling does about required modules that are not enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependencies {
    /// Refuses.
    Require,
    /// Enables them as well.
    EnableToo,
}

/// What disabling does about enabled modules that need the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependents {
    /// Refuses.
    Refuse,
    /// Disables them as well.
    DisableToo,
}

/// A document with a change made.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) document: TenantDocument,
    /// Modules that must be proved before the change counts.
    pub(super) prove: Vec<ModuleName>,
    /// Enabled by this change, in the order in which they were added.
    pub(super) enabled: Vec<ModuleName>,
    /// Disabled by this change, dependents first.
    pub(super) disabled: Vec<ModuleName>,
    /// Whether the document differs.
    pub(super) differs: bool,
}

/// Makes a change in a copy of a document.
///
/// # Errors
///
/// What the catalog or the other enabled modules have against it.
pub(super) fn edit(
    before: &TenantDocument,
    change: &Change,
    catalog: &Catalog,
    judge: &dyn Judge,
    definitions: &Definitions,
    actor: &str,
    now: Timestamp,
) -> Result<Edited, TenancyError> {
    let mut edit = Edited {
        document: before.clone(),
        prove: Vec::new(),
        enabled: Vec::new(),
        disabled: Vec::new(),
        differs: false,
    };
    match change {
        Change::Enable { module, version, isolation, dependencies } => {
            if catalog.get(module.as_str()).is_empty() {
                return Err(TenancyError::ModuleNotFound(module.clone()));
            }
            refuse_cycle(catalog, module)?;
            let found = edit.document.enabled_modules.iter_mut().find(|enabled| enabled.module == *module);
            if let Some(enabled) = found {
                enabled.version = version.clone().unwrap_or_else(|| enabled.version.clone());
                enabled.isolation = isolation.unwrap_or(enabled.isolation);
            } else {
                let version = version.clone().unwrap_or(VersionReq::STAR);
                let isolation = isolation.unwrap_or_default();
                edit.document.enabled_modules.push(entry(module, version, isolation, actor, now));
                edit.enabled.push(module.clone());
            }
            require(&mut edit, module, *dependencies, catalog, actor, now)?;
            edit.prove = edit.enabled.clone();
            if !edit.prove.contains(module) {
                edit.prove.push(module.clone());
            }
        }
        Change::Disable { module, dependents } => {
            if !edit.document.enabled_modules.iter().any(|enabled| enabled.module == *module) {
                return Err(TenancyError::ModuleNotEnabled(module.clone()));
            }
            let mut leaving = vec![module.clone()];
            loop {
                let more = dependents_of(&edit.document, catalog, &leaving);
                if more.is_empty() {
                    break;
                }
                if *dependents == Dependents::Refuse {
                    return Err(TenancyError::HasDependents { module: module.clone(), dependents: more });
                }
                leaving.extend(more);
            }
            edit.document.enabled_modules.retain(|enabled| !leaving.contains(&enabled.module));
            leaving.reverse();
            edit.disabled = leaving;
        }
        Change::SetStatus(status) => edit.document.status = *status,
        Change::Rename(name) => edit.document.name.clone_from(name),
        Change::SetFlags(changes) => {
            let unset = changes.iter().find_map(|change| match change {
                FlagChange::Unset(flag) if !before.feature_flags.contains_key(flag.as_str()) => Some(flag),
                _ => None,
            });
            if let Some(flag) = unset {
                return Err(TenancyError::FlagNotFound(flag.as_str().to_owned()));
            }
            let declared = desire(before, catalog, judge).declared();
            let check = |flag: &_, value: &_| declared.check(flag, value).and_then(|()| definitions.check(flag, value));
            apply_changes(&mut edit.document.feature_flags, changes, check)
                .map_err(|errors| TenancyError::FlagInvalid(errors.iter().map(ToString::to_string).collect()))?;
        }
        Change::SetSettings { module, change } => set_settings(&mut edit.document, module, change, catalog, judge)?,
        Change::SetCors(cors) => {
            // What a foreign program put beside the rules outlives them as long as there are some.
            let unknown = edit.document.cors.take().map(|before| before.unknown).unwrap_or_default();
            edit.document.cors.clone_from(cors);
            if let Some(cors) = &mut edit.document.cors {
                cors.unknown = unknown;
            }
        }
        Change::AddKey(key) => {
            if before.api_keys.len() >= MAX_API_KEYS {
                return Err(TenancyError::TooManyApiKeys);
            }
            edit.document.api_keys.push((**key).clone());
        }
        Change::RevokeKey(id) => {
            edit.document.api_keys.retain(|key| key.id != *id);
            if edit.document.api_keys.len() == before.api_keys.len() {
                return Err(TenancyError::ApiKeyNotFound(id.clone()));
            }
        }
        Change::Load => {
            if edit.document.status == TenantStatus::Suspended {
                return Err(TenancyError::TenantSuspended(before.id.clone()));
            }
            edit.prove = edit.document.enabled_modules.iter().map(|enabled| enabled.module.clone()).collect();
        }
    }
    edit.differs = edit.document != *before;
    if edit.differs {
        edit.document.updated_at = Some(now);
    }
    Ok(edit)
}

fn set_settings(
    document: &mut TenantDocument,
    module: &ModuleName,
    change: &SettingsChange,
    catalog: &Catalog,
    judge: &dyn Judge,
) -> Result<(), TenancyError> {
    let is_enabled = document.enabled_modules.iter().any(|enabled| enabled.module == *module);
    if catalog.get(module.as_str()).is_empty() && !is_enabled {
        return Err(TenancyError::ModuleNotFound(module.clone()));
    }
    let before = document.settings.get(module.as_str()).and_then(Value::as_object);
    let after = match change {
        SettingsChange::Remove => {
            document.settings.remove(module.as_str());
            return Ok(());
        }
        SettingsChange::Replace(settings) => settings.clone(),
        SettingsChange::Merge(patch) => {
            let mut settings = before.cloned().unwrap_or_default();
            settings::merge(&mut settings, patch);
            settings
        }
    };
    // The version that runs; without one the newest that the tenant's range allows, without that the newest there is.
    let runs = desire(document, catalog, judge).modules.into_iter().map(|(candidate, _)| candidate);
    let candidate = runs
        .chain(newest(document, catalog, module).cloned())
        .chain(catalog.get(module.as_str()).first().cloned())
        .find(|candidate| candidate.name == *module);
    let schema = candidate.as_ref().and_then(|candidate| candidate.manifest.settings.as_deref());
    settings::check(schema, &after)
        .map_err(|problems| TenancyError::SettingsInvalid { module: module.clone(), problems })?;
    document.settings.insert(module.to_string(), Value::Object(after));
    Ok(())
}

fn entry(module: &ModuleName, version: VersionReq, isolation: Isolation, actor: &str, now: Timestamp) -> EnabledModule {
    EnabledModule {
        module: module.clone(),
        version,
        isolation,
        enabled_at: Some(now),
        enabled_by: Some(actor.to_owned()),
        unknown: Map::new(),
    }
}

/// The newest candidate that a document's entry allows.
fn newest<'a>(document: &TenantDocument, catalog: &'a Catalog, module: &ModuleName) -> Option<&'a Arc<Candidate>> {
    let range = document.enabled_modules.iter().find(|enabled| enabled.module == *module).map(|found| &found.version);
    let fits = |candidate: &&'a Arc<Candidate>| range.is_none_or(|range| range.matches(&candidate.version));
    catalog.get(module.as_str()).iter().find(fits)
}

fn refuse_cycle(catalog: &Catalog, module: &ModuleName) -> Result<(), TenancyError> {
    match catalog.graph().detect_circular_dependencies(module) {
        Some(path) => {
            let found = text::circular(&path);
            Err(TenancyError::NotSelectable { code: found.code, text: found.text })
        }
        None => Ok(()),
    }
}

/// Sees to it that what a module requires is enabled, or says what is missing.
fn require(
    edit: &mut Edited,
    module: &ModuleName,
    dependencies: Dependencies,
    catalog: &Catalog,
    actor: &str,
    now: Timestamp,
) -> Result<(), TenancyError> {
    let mut to_look_at = vec![module.clone()];
    while let Some(next) = to_look_at.pop() {
        let Some(candidate) = newest(&edit.document, catalog, &next) else { continue };
        let is_enabled =
            |name: &ModuleName| edit.document.enabled_modules.iter().any(|enabled| enabled.module == *name);
        let mut missing: Vec<ModuleName> =
            candidate.manifest.required().map(|(name, _)| name.clone()).filter(|name| !is_enabled(name)).collect();
        missing.sort();
        if missing.is_empty() {
            continue;
        }
        if dependencies == Dependencies::Require {
            return Err(TenancyError::DependencyMissing { module: next, missing });
        }
        for name in missing {
            if catalog.get(name.as_str()).is_empty() {
                return Err(TenancyError::ModuleNotFound(name));
            }
            // Before what needs it: the order of the document is the order of enabling.
            edit.document.enabled_modules.insert(0, entry(&name, VersionReq::STAR, Isolation::Shared, actor, now));
            edit.enabled.insert(0, name.clone());
            to_look_at.push(name);
        }
    }
    Ok(())
}

/// Enabled modules, beyond those leaving, that require one of those leaving; sorted.
fn dependents_of(document: &TenantDocument, catalog: &Catalog, leaving: &[ModuleName]) -> Vec<ModuleName> {
    let mut dependents: Vec<ModuleName> = document
        .enabled_modules
        .iter()
        .map(|enabled| &enabled.module)
        .filter(|name| !leaving.contains(name))
        .filter(|name| {
            newest(document, catalog, name)
                .is_some_and(|candidate| candidate.manifest.required().any(|(needed, _)| leaving.contains(needed)))
        })
        .cloned()
        .collect();
    dependents.sort();
    dependents
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

    use semver::Version;
    use serde_json::json;

    use super::*;
    use crate::{
        catalog::Unjudged,
        manifest::{Manifest, sample},
    };

    fn candidate(manifest: &str) -> Arc<Candidate> {
        let manifest = Manifest::parse(manifest.as_bytes(), &sample::stamp_fields(), &Version::new(1, 0, 0)).unwrap();
        Arc::new(Candidate::sample(PathBuf::from(format!("{}-{}.so", manifest.name, manifest.version)), manifest))
    }

    /// tasks needs hr-core; clinic needs hr-core, optionally mail; a and b need each other.
    fn catalog() -> Catalog {
        let manifests = [
            "name = 'hr-core'\nversion = '1.2.0'\n[features]\nfast = true",
            "name = 'tasks'\nversion = '1.0.0'\n[dependencies]\nhr-core = '^1.0'",
            "name = 'clinic'\nversion = '1.0.0'\n[dependencies]\nhr-core = '^1'\nmail = { version = '1', optional = true }",
            "name = 'portal'\nversion = '1.0.0'\n[dependencies]\ntasks = '^1'",
            "name = 'a'\nversion = '1.0.0'\n[dependencies]\nb = '1'",
            "name = 'b'\nversion = '1.0.0'\n[dependencies]\na = '1'",
        ];
        Catalog::of(manifests.map(candidate), &|_| false)
    }

    fn tenant(enabled: &[&str]) -> TenantDocument {
        let now = Timestamp::UNIX_EPOCH;
        let entries =
            enabled.iter().map(|name| entry(&name.parse().unwrap(), VersionReq::STAR, Isolation::Shared, "test", now));
        TenantDocument {
            id: "acme".parse().unwrap(),
            name: "Acme".to_owned(),
            status: TenantStatus::Active,
            enabled_modules: entries.collect(),
            feature_flags: BTreeMap::from([("theme".to_owned(), json!("dark"))]),
            settings: BTreeMap::new(),
            cors: None,
            api_keys: Vec::new(),
            revision: 3,
            updated_at: None,
            unknown: Map::new(),
        }
    }

    fn edited(enabled: &[&str], change: &Change) -> Result<Edited, TenancyError> {
        let definitions = r#"{ "flags": { "size": { "state": "ENABLED", "variants": { "small": 1, "large": 2 } } } }"#;
        let definitions = Definitions::parse(definitions.as_bytes()).unwrap();
        edit(&tenant(enabled), change, &catalog(), &Unjudged, &definitions, "operator", Timestamp::UNIX_EPOCH)
    }

    fn enable(module: &str, dependencies: Dependencies) -> Change {
        Change::Enable { module: module.parse().unwrap(), version: None, isolation: None, dependencies }
    }

    fn disable(module: &str, dependents: Dependents) -> Change {
        Change::Disable { module: module.parse().unwrap(), dependents }
    }

    fn names(names: &[&str]) -> Vec<ModuleName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn enabled_of(edit: &Edited) -> Vec<&str> {
        edit.document.enabled_modules.iter().map(|enabled| enabled.module.as_str()).collect()
    }

    #[test]
    fn enabling_wants_what_the_module_requires() {
        let refused = edited(&[], &enable("tasks", Dependencies::Require)).unwrap_err();
        assert_eq!(
            refused,
            TenancyError::DependencyMissing { module: "tasks".parse().unwrap(), missing: names(&["hr-core"]) }
        );
        let edit = edited(&["hr-core"], &enable("tasks", Dependencies::Require)).unwrap();
        assert_eq!(enabled_of(&edit), ["hr-core", "tasks"]);
        assert_eq!((edit.prove, edit.differs), (names(&["tasks"]), true));
    }

    #[test]
    fn enabling_with_dependencies_brings_all_of_them_first() {
        let edit = edited(&[], &enable("portal", Dependencies::EnableToo)).unwrap();
        assert_eq!(enabled_of(&edit), ["hr-core", "tasks", "portal"]);
        assert_eq!(edit.enabled, names(&["hr-core", "tasks", "portal"]));
        // An optional one is not brought along.
        assert_eq!(
            enabled_of(&edited(&[], &enable("clinic", Dependencies::EnableToo)).unwrap()),
            ["hr-core", "clinic"]
        );
    }

    #[test]
    fn unknown_modules_and_circles_are_refused() {
        let unknown = edited(&[], &enable("nothing", Dependencies::Require)).unwrap_err();
        assert_eq!(unknown.code(), "MODULE_NOT_FOUND");
        let circle = edited(&[], &enable("a", Dependencies::EnableToo)).unwrap_err();
        assert_eq!(
            circle,
            TenancyError::NotSelectable {
                code: "MODULE_CIRCULAR_DEPENDENCY",
                text: "Circular dependency detected: a -> b -> a".to_owned()
            }
        );
    }

    #[test]
    fn enabling_again_changes_the_range_and_keeps_the_rest() {
        let change = Change::Enable {
            module: "hr-core".parse().unwrap(),
            version: Some("^1.2".parse().unwrap()),
            isolation: None,
            dependencies: Dependencies::Require,
        };
        let edit = edited(&["hr-core"], &change).unwrap();
        assert_eq!(edit.document.enabled_modules[0].version.to_string(), "^1.2");
        assert_eq!((edit.enabled.len(), edit.differs), (0, true));
        assert!(!edited(&["hr-core"], &enable("hr-core", Dependencies::Require)).unwrap().differs);
    }

    #[test]
    fn disabling_is_refused_while_others_need_the_module_unless_they_go_too() {
        let refused = edited(&["hr-core", "tasks", "clinic"], &disable("hr-core", Dependents::Refuse)).unwrap_err();
        assert_eq!(
            refused,
            TenancyError::HasDependents { module: "hr-core".parse().unwrap(), dependents: names(&["clinic", "tasks"]) }
        );
        let edit = edited(&["hr-core", "tasks", "portal"], &disable("hr-core", Dependents::DisableToo)).unwrap();
        assert_eq!(edit.disabled, names(&["portal", "tasks", "hr-core"]));
        assert!(edit.document.enabled_modules.is_empty());
        let absent = edited(&[], &disable("tasks", Dependents::Refuse)).unwrap_err();
        assert_eq!(absent.code(), "MODULE_NOT_ENABLED");
    }

    #[test]
    fn flags_change_together_or_not_at_all() {
        let set = |name: &str, value| FlagChange::Set(name.parse().unwrap(), value);
        let good = Change::SetFlags(vec![set("fast", json!(false)), FlagChange::Unset("theme".parse().unwrap())]);
        let edit = edited(&["hr-core"], &good).unwrap();
        assert_eq!(edit.document.feature_flags, BTreeMap::from([("fast".to_owned(), json!(false))]));
        let bad = Change::SetFlags(vec![set("other", json!(1)), set("fast", json!("yes"))]);
        assert_eq!(edited(&["hr-core"], &bad).unwrap_err().code(), "FLAG_INVALID");
        let other = Change::SetFlags(vec![set("size", json!("large"))]);
        let why = edited(&[], &other).unwrap_err();
        assert_eq!(why.code(), "FLAG_INVALID");
        let TenancyError::FlagInvalid(problems) = why else { panic!("{why}") };
        assert_eq!(problems, ["`size` must be a number, as it is defined for all tenants, and not a string"]);
        assert!(edited(&[], &Change::SetFlags(vec![set("size", json!(7))])).unwrap().differs);
        let unknown = Change::SetFlags(vec![FlagChange::Unset("nothing".parse().unwrap())]);
        assert_eq!(edited(&[], &unknown).unwrap_err().code(), "FLAG_NOT_FOUND");
    }
}
