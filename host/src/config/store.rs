//! `[store]`: where tenants and documents are kept.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    section::{Refusal, Section},
    settings::Config,
    value::{choice, duration, path, text},
};

/// Where tenants and documents are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// A SQLite file in the data folder.
    #[default]
    Sqlite,
    /// A MongoDB database.
    Mongodb(ServerUri),
}

/// What names a server: `mongodb://localhost:27017/tenon`, with a database there, or `redis://localhost:6379`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerUri {
    /// As it stands in `tenon.toml`; has no password.
    Text(String),
    /// The content of a file. Not opened yet.
    File(PathBuf),
}

/// The cache that the hosts of one store share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Where it is, behind the Redis protocol; `None`: there is none.
    pub uri: Option<ServerUri>,
    /// How long an entry holds.
    pub lifetime: Duration,
    /// What its keys and channels begin with.
    pub prefix: String,
}

impl Default for Cache {
    fn default() -> Self {
        Self { uri: None, lifetime: Duration::from_secs(300), prefix: "tenon:".to_owned() }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Mongodb,
}

pub(super) fn read_store(config: &mut Config, section: &mut Section<'_, '_>, folder: &Path) {
    let store = &mut config.store;
    section.set("compare-every", &mut config.compare_every, duration(Duration::ZERO, HOUR));
    let kind = section.get("kind", choice(&[("sqlite", Kind::Sqlite), ("mongodb", Kind::Mongodb)]));
    let sources = usize::from(section.has("uri")) + usize::from(section.has("uri-file"));
    let uri = section.get("uri", mongo_uri).map(ServerUri::Text);
    let file = section.get("uri-file", path(folder)).map(ServerUri::File);
    match (kind, sources) {
        (Some(Kind::Mongodb), 1) => {
            if let Some(uri) = uri.or(file) {
                *store = StoreKind::Mongodb(uri);
            }
        }
        (Some(Kind::Mongodb), _) => {
            section.refuse("`store` of kind \"mongodb\" needs one of `uri` and `uri-file`, and only one".into(), None);
        }
        (Some(Kind::Sqlite), 0) => *store = StoreKind::Sqlite,
        (None, 0) => {}
        // A kind that was refused is told of already.
        (None, _) if section.has("kind") => {}
        (Some(Kind::Sqlite) | None, _) => section.refuse(
            "`store.uri` and `store.uri-file` are of a store of kind \"mongodb\"".into(),
            Some("add `kind = \"mongodb\"`, or leave them out".into()),
        ),
    }
}

pub(super) fn read_cache(cache: &mut Cache, section: &mut Section<'_, '_>, folder: &Path) {
    section.set("lifetime", &mut cache.lifetime, duration(SECOND, 24 * HOUR));
    section.set("prefix", &mut cache.prefix, text);
    if section.has("uri") && section.has("uri-file") {
        section.refuse("`cache` needs one of `uri` and `uri-file`, and only one".into(), None);
    }
    let uri = section.get("uri", redis_uri).map(ServerUri::Text);
    let file = section.get("uri-file", path(folder)).map(ServerUri::File);
    cache.uri = uri.or(file);
}

/// As [`mongo_uri`].
fn redis_uri(value: &toml::de::DeValue<'_>) -> Result<String, Refusal> {
    let uri = text(value)?;
    match uri.strip_prefix("redis://") {
        None => Err("must begin with `redis://`".into()),
        Some(rest) if rest.contains('@') => {
            Err("must have no password in it; put the whole URI into a file and name that as `uri-file`".into())
        }
        Some(_) => Ok(uri),
    }
}

/// The URI of a database. `tenon.toml` is read by many, so a password does not belong there. What is wrong with one is
/// told without repeating it.
fn mongo_uri(value: &toml::de::DeValue<'_>) -> Result<String, Refusal> {
    let uri = text(value)?;
    let rest = uri.strip_prefix("mongodb://").or_else(|| uri.strip_prefix("mongodb+srv://"));
    let rest = rest.ok_or("must begin with `mongodb://` or `mongodb+srv://`")?;
    // A password may have any character, a slash by mistake too: whatever stands before an `@` is looked at.
    if rest.rsplit_once('@').is_some_and(|(credentials, _)| credentials.contains(':')) {
        return Err("must have no password in it; put the whole URI into a file and name that as `uri-file`".into());
    }
    let authority_and_path = rest.split('?').next().unwrap_or_default();
    let database = authority_and_path.split_once('/').map_or("", |(_, database)| database);
    if database.is_empty() {
        return Err("must name a database, as in \"mongodb://localhost:27017/tenon\"".into());
    }
    Ok(uri)
}
