//! The store that a host opens for itself, and closes at its end: the one that is configured.

use std::{fs, sync::Arc};

use super::builder::StartError;
use crate::{
    config::{Config, MongoUri, StoreKind},
    stores::{MongoSettings, MongoStore, SqliteStore, Store},
};

/// The configured store.
#[derive(Debug, Clone)]
pub(super) enum OwnStore {
    /// The embedded one.
    Sqlite(Arc<SqliteStore>),
    /// One that several hosts may share.
    Mongo(Arc<MongoStore>),
}

impl OwnStore {
    /// Opens the file, or makes what will find the server. Where that is away the host starts all the same, and answers
    /// STORE_UNAVAILABLE until it is there.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let uri = match &config.store {
            StoreKind::Sqlite => return Ok(Self::Sqlite(Arc::new(SqliteStore::open(&config.data)?))),
            StoreKind::Mongodb(MongoUri::Text(uri)) => uri.clone(),
            StoreKind::Mongodb(MongoUri::File(file)) => {
                let what = || format!("the file with the store's URI, `{}`", file.display());
                fs::read_to_string(file).map_err(StartError::io(what()))?
            }
        };
        Ok(Self::Mongo(Arc::new(MongoStore::open(uri.trim(), MongoSettings::default())?)))
    }

    /// As everybody else gets to see it.
    pub(super) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Mongo(store) => Arc::clone(store) as _,
        }
    }

    /// Finishes what was handed over.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Mongo(store) => store.close().await,
        }
    }
}
