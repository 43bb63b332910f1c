//! `[store]`: where tenants and documents are kept.

use std::path::{Path, PathBuf};

use super::{
    section::{Refusal, Section},
    value::{choice, path, text},
};

/// Where tenants and documents are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// A SQLite file in the data folder.
    #[default]
    Sqlite,
    /// A MongoDB database.
    Mongodb(MongoUri),
}

/// What names a MongoDB server and a database there: `mongodb://localhost:27017/tenon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MongoUri {
    /// As it stands in `tenon.toml`; has no password.
    Text(String),
    /// The content of a file. Not opened yet.
    File(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Mongodb,
}

pub(super) fn read_store(store: &mut StoreKind, section: &mut Section<'_, '_>, folder: &Path) {
    let kind = section.get("kind", choice(&[("sqlite", Kind::Sqlite), ("mongodb", Kind::Mongodb)]));
    let sources = usize::from(section.has("uri")) + usize::from(section.has("uri-file"));
    let uri = section.get("uri", mongo_uri).map(MongoUri::Text);
    let file = section.get("uri-file", path(folder)).map(MongoUri::File);
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
