//! The store that is configured, with what lies before it where others share it.

use std::{fs, io, sync::Arc};

use tokio::runtime::{Builder, Handle, Runtime};

use super::builder::StartError;
use crate::{
    config::{Config, ServerUri, StoreKind},
    stores::{
        MongoSettings, MongoStore, SqliteStore, Store,
        tiers::{LastGood, SharedCache, SharedCacheSettings, Tiered},
    },
};

/// The store as the host has it, and what has to be closed at its end.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) keep: Keep,
    /// Whether nobody else writes to it.
    pub(super) is_own: bool,
}

/// What is closed at the end, once nobody uses the store any more.
#[derive(Default)]
pub(super) struct Keep {
    sqlite: Option<Arc<SqliteStore>>,
    tiered: Option<Arc<Tiered>>,
    mongo: Option<Arc<MongoStore>>,
    /// Where the tiers' connections live; none of it runs module code.
    runtime: Option<Runtime>,
}

/// Opens the configured store, or takes the one that is given.
pub(super) fn open(config: &Config, given: Option<Arc<dyn Store>>) -> Result<Opened, StartError> {
    if let Some(store) = given {
        return Ok(Opened { store, keep: Keep::default(), is_own: false });
    }
    match &config.store {
        StoreKind::Mongodb(url) => {
            let mongo = Arc::new(MongoStore::open(&address(url, "store")?, MongoSettings::default())?);
            let opened = with_tiers(config, Arc::clone(&mongo) as Arc<dyn Store>)?;
            Ok(Opened { keep: Keep { mongo: Some(mongo), ..opened.keep }, ..opened })
        }
        StoreKind::Sqlite => {
            let sqlite = Arc::new(SqliteStore::open(&config.data)?);
            let store = Arc::clone(&sqlite) as Arc<dyn Store>;
            Ok(Opened { store, keep: Keep { sqlite: Some(sqlite), ..Keep::default() }, is_own: true })
        }
    }
}

/// Puts the tiers before a store that hosts share.
fn with_tiers(config: &Config, truth: Arc<dyn Store>) -> Result<Opened, StartError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("tenon-store").enable_all().build();
    let runtime = runtime.map_err(StartError::io("the thread for the store"))?;
    let cache = config.cache.uri.as_ref().map(|url| cache_settings(config, url)).transpose()?;
    let shared = cache.map(|settings| SharedCache::new(settings, runtime.handle())).transpose()?;
    let last_good = LastGood::open(&config.data.join("last-good"))?;
    let tiered = Arc::new(Tiered::start(truth, shared, Some(last_good), runtime.handle()));
    // Whether the store is there decides what the first tenants are read from.
    runtime.block_on(tiered.look());
    let store = Arc::clone(&tiered) as Arc<dyn Store>;
    let keep = Keep { tiered: Some(tiered), runtime: Some(runtime), ..Keep::default() };
    Ok(Opened { store, keep, is_own: false })
}

/// What is wrong with the addresses of store and cache, of which each may lie in a file. Nobody is connected to.
pub(super) fn check(config: &Config) -> Vec<StartError> {
    let store = match &config.store {
        StoreKind::Mongodb(url) => address(url, "store").and_then(|url| Ok(MongoStore::check(&url)?)),
        StoreKind::Sqlite => Ok(()),
    };
    let cache = config.cache.uri.as_ref().map_or(Ok(()), |url| {
        let settings = cache_settings(config, url)?;
        Ok(SharedCache::check(&settings.url)?)
    });
    [store, cache].into_iter().filter_map(Result::err).collect()
}

fn cache_settings(config: &Config, url: &ServerUri) -> Result<SharedCacheSettings, StartError> {
    let url = address(url, "cache")?;
    if !url.starts_with("redis://") {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "it must begin with redis://");
        return Err(StartError::Io { what: "the address of the cache".to_owned(), source: why });
    }
    Ok(SharedCacheSettings { url, prefix: config.cache.prefix.clone(), lifetime: config.cache.lifetime })
}

/// The address itself; a file holds it alone.
fn address(url: &ServerUri, whose: &str) -> Result<String, StartError> {
    match url {
        ServerUri::Text(text) => Ok(text.clone()),
        ServerUri::File(file) => {
            let read = fs::read_to_string(file).map(|text| text.trim().to_owned());
            read.map_err(StartError::io(format!("the file with the address of the {whose} `{}`", file.display())))
        }
    }
}

impl Keep {
    /// Closes the store; `handle` is of a runtime that this thread is not in.
    pub(super) fn close(self, handle: &Handle) {
        let Keep { sqlite, tiered, mongo, runtime } = self;
        handle.block_on(async {
            if let Some(sqlite) = sqlite {
                sqlite.close().await;
            }
            if let Some(tiered) = tiered {
                tiered.close().await;
            }
            if let Some(mongo) = mongo {
                mongo.close().await;
            }
        });
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}
