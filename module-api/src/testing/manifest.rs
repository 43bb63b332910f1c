//! `module.toml` as far as a test needs it: names, features, models and routes, read strictly. Prices, settings
//! schemas and the fine print of names are judged by the host and by `tenon check`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// What a test host knows of a module.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) name: String,
    /// Who may depend on it; `None`: everyone.
    pub(super) provides_to: Option<Vec<String>>,
    /// Whether a module is an optional dependency, by name.
    pub(super) dependencies: BTreeMap<String, bool>,
    /// The events it may publish.
    pub(super) publishes: Vec<String>,
    /// The events it wants, as `MODULE:EVENT`.
    pub(super) subscribes: Vec<String>,
    /// The hosts that it may call, as `HOST:PORT`.
    pub(super) outbound: Vec<String>,
    /// The boolean ones of `[features]`; all others are off.
    pub(super) features: BTreeMap<String, bool>,
    /// By name, with all searchable fields.
    pub(super) models: BTreeMap<String, Fields>,
    pub(super) base: String,
    pub(super) endpoints: Vec<Endpoint>,
    /// From a full path to those endpoints that have it.
    pub(super) router: matchit::Router<Vec<usize>>,
}

/// The declared fields of a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    pub(super) unique: Vec<String>,
    pub(super) index: Vec<String>,
}

impl Fields {
    /// All that can be searched, sorted, each once.
    pub(super) fn searchable(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.unique.iter().chain(&self.index).map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// One `[[routes.endpoints]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) path: String,
    pub(super) method: String,
    #[serde(default = "yes")]
    pub(super) auth: bool,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) feature: Option<String>,
}

fn yes() -> bool {
    true
}

/// The text of the `module.toml` of the crate that is being tested.
///
/// # Errors
///
/// Where it was looked for, and why it can't be read.
pub(super) fn text_of_this_crate() -> Result<String, String> {
    // Cargo sets the variable for the tests it runs, and starts them in the same folder.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let file = folder.join("module.toml");
    std::fs::read_to_string(&file).map_err(|error| format!("`{}` can't be read: {error}", file.display()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "some keys are named only so that they are known, and of the right type")]
struct Text {
    name: String,
    display_name: Option<String>,
    category: Option<String>,
    version: Option<String>,
    description: Option<String>,
    authors: Option<Vec<String>>,
    license: Option<String>,
    host_api: Option<String>,
    provides_to: Option<Vec<String>>,
    #[serde(default)]
    publishes: Vec<String>,
    #[serde(default)]
    subscribes: Vec<String>,
    #[serde(default)]
    outbound: Vec<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
    pricing: Option<toml::Table>,
    #[serde(default)]
    features: BTreeMap<String, toml::Value>,
    #[serde(default)]
    models: Models,
    settings: Option<toml::Table>,
    routes: Option<Routes>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Dependency {
    Range(String),
    Table(DependencyTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyTable {
    version: String,
    #[serde(default)]
    optional: bool,
}

impl Dependency {
    fn range(&self) -> &str {
        match self {
            Self::Range(range) => range,
            Self::Table(table) => &table.version,
        }
    }

    fn is_optional(&self) -> bool {
        matches!(self, Self::Table(table) if table.optional)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Models {
    Names(Vec<String>),
    Tables(BTreeMap<String, Fields>),
}

impl Default for Models {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Routes {
    base: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; where it is not of the right shape, the first place where it isn't.
    pub(super) fn read(text: &str) -> Result<Self, Vec<String>> {
        let text: Text = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut problems = Vec::new();
        check_head(&text, &mut problems);
        let models = match text.models {
            Models::Names(names) => names.into_iter().map(|name| (name, Fields::default())).collect(),
            Models::Tables(tables) => tables,
        };
        let routes = text.routes.unwrap_or_else(|| Routes { base: String::new(), endpoints: Vec::new() });
        check_endpoints(&routes, &text.features, &mut problems);
        let router = router(&routes, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            name: text.name,
            provides_to: text.provides_to,
            publishes: text.publishes,
            subscribes: text.subscribes,
            outbound: text.outbound,
            dependencies: text.dependencies.into_iter().map(|(name, it)| (name, it.is_optional())).collect(),
            features: text.features.into_iter().map(|(name, value)| (name, value.as_bool() == Some(true))).collect(),
            models,
            base: routes.base,
            endpoints: routes.endpoints,
            router,
        })
    }
}

fn check_head(text: &Text, problems: &mut Vec<String>) {
    let bytes = text.name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if !((1..=63).contains(&bytes.len()) && bytes[0].is_ascii_lowercase() && bytes.iter().all(plain)) {
        problems.push(format!(
            "`name` is `{}`: a module's name is 1 to 63 lower-case letters, digits and `-`, a letter first",
            text.name
        ));
    }
    if let Some(range) = &text.host_api {
        match (semver::VersionReq::parse(range), semver::Version::parse(crate::VERSION)) {
            (Err(error), _) => problems.push(format!("`host-api` is `{range}`: {error}")),
            (Ok(wanted), Ok(ours)) if !wanted.matches(&ours) => {
                problems.push(format!("`host-api` is `{range}`, this module-api is {ours}"));
            }
            _ => {}
        }
    }
    for (name, dependency) in &text.dependencies {
        let range = dependency.range();
        if let Err(error) = semver::VersionReq::parse(range) {
            problems.push(format!("`dependencies.{name}` is `{range}`: {error}"));
        }
    }
    for (index, subscription) in text.subscribes.iter().enumerate() {
        match subscription.split_once(':') {
            Some((module, _)) if text.dependencies.contains_key(module) => {}
            Some((module, _)) => {
                problems.push(format!("`subscribes[{index}]` names module `{module}`, which is not in [dependencies]"));
            }
            None => problems.push(format!("`subscribes[{index}]` is `{subscription}`: must be `MODULE:EVENT`")),
        }
    }
}

fn check_endpoints(routes: &Routes, features: &BTreeMap<String, toml::Value>, problems: &mut Vec<String>) {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    for (index, endpoint) in routes.endpoints.iter().enumerate() {
        let Endpoint { path, method, auth, roles, feature } = endpoint;
        let mut wrong = |text: String| problems.push(format!("`routes.endpoints[{index}]` {method} {path}: {text}"));
        if !METHODS.contains(&method.as_str()) {
            wrong(format!("the method must be one of {}", METHODS.join(", ")));
        }
        if !path.starts_with('/') || (path.len() > 1 && path.ends_with('/')) {
            wrong("a path begins with `/` and does not end with it".to_owned());
        }
        if !auth && !roles.is_empty() {
            wrong("roles can't be asked for where `auth = false`".to_owned());
        }
        if let Some(feature) = feature.as_ref().filter(|feature| !features.contains_key(*feature)) {
            wrong(format!("feature `{feature}` is not declared in [features]"));
        }
        if routes.endpoints[..index].iter().any(|other| other.method == *method && other.path == *path) {
            wrong("is listed twice".to_owned());
        }
    }
}

fn router(routes: &Routes, problems: &mut Vec<String>) -> matchit::Router<Vec<usize>> {
    let mut by_path: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, endpoint) in routes.endpoints.iter().enumerate() {
        match by_path.iter_mut().find(|(path, _)| *path == endpoint.path) {
            Some((_, indexes)) => indexes.push(index),
            None => by_path.push((&endpoint.path, vec![index])),
        }
    }
    let mut router = matchit::Router::new();
    for (path, indexes) in by_path {
        let full = if path == "/" { routes.base.clone() } else { format!("{}{path}", routes.base) };
        if let Err(error) = router.insert(full, indexes) {
            problems.push(format!("path `{path}` can't be routed: {error}"));
        }
    }
    router
}
