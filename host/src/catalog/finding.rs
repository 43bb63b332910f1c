//! What the catalog finds wrong, as a stable code and a text for people, each text written once.

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable and documented, such as `MODULE_DEPENDENCY_MISSING`.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

/// The texts and codes of findings.
pub mod text {
    use std::{fmt::Display, path::Path};

    use semver::{Version, VersionReq};

    use super::Finding;

    /// The items, separated by `separator`.
    pub(in crate::catalog) fn joined<T: Display>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
        items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
    }

    fn finding(code: &'static str, text: String) -> Finding {
        Finding { code, text }
    }

    /// No candidate has this name.
    pub fn not_found(name: impl Display) -> Finding {
        finding("MODULE_NOT_FOUND", format!("Module not found in registry: {name}"))
    }

    /// Dependencies without which a module can't run are absent or can't run themselves.
    pub fn dependency_missing<T: Display>(name: impl Display, missing: impl IntoIterator<Item = T>) -> Finding {
        let missing = joined(missing, ", ");
        let text = format!("Cannot enable {name}: missing required dependencies: {missing}");
        finding("MODULE_DEPENDENCY_MISSING", text)
    }

    /// Modules depend on each other in a circle; the path begins and ends with the same one.
    pub fn circular<T: Display>(path: impl IntoIterator<Item = T>) -> Finding {
        let text = format!("Circular dependency detected: {}", joined(path, " -> "));
        finding("MODULE_CIRCULAR_DEPENDENCY", text)
    }

    /// Others that are enabled need this one.
    pub fn has_dependents<T: Display>(name: impl Display, dependents: impl IntoIterator<Item = T>) -> Finding {
        let text = format!("Cannot disable {name}: required by: {}", joined(dependents, ", "));
        finding("MODULE_HAS_DEPENDENTS", text)
    }

    /// A dependency is there, but in no version that will do.
    pub fn version_unsatisfiable(text: String) -> Finding {
        finding("MODULE_VERSION_UNSATISFIABLE", text)
    }

    /// What a module needs and what there is.
    pub(in crate::catalog) fn needs<'v>(
        (name, version): (impl Display, &Version),
        (dependency, range): (impl Display, &VersionReq),
        present: impl IntoIterator<Item = &'v Version>,
    ) -> Finding {
        let present = joined(present, ", ");
        version_unsatisfiable(format!("{name} {version} needs {dependency} {range}; present: {present}"))
    }

    /// A dependency does not list the module in its `provides-to`.
    pub fn not_offered<T: Display>(
        (dependency, version): (impl Display, &Version),
        dependent: impl Display,
        offered: impl IntoIterator<Item = T>,
    ) -> Finding {
        let offered = joined(offered, ", ");
        let offered = if offered.is_empty() { "no module" } else { &offered };
        let text = format!("{dependency} {version} is not offered to {dependent}: it provides to {offered} only");
        finding("DEPENDENCY_NOT_OFFERED", text)
    }

    /// Another file has this name and version, and stays.
    pub(in crate::catalog) fn duplicate(name: impl Display, version: &Version, stays: &Path) -> Finding {
        let text = format!("{name} {version} is provided by `{}` already, which stays", stays.display());
        finding("MODULE_DUPLICATE", text)
    }

    /// Another module's base is equal or nested, and stays.
    pub(in crate::catalog) fn route_conflict(
        base: impl Display,
        (other, version, other_base): (impl Display, &Version, impl Display),
        stays: &Path,
    ) -> Finding {
        let stays = stays.display();
        let text = format!("base `{base}` overlaps with `{other_base}` of {other} {version} in `{stays}`, which stays");
        finding("ROUTE_CONFLICT", text)
    }
}
