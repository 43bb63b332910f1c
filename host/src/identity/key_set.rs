//! An issuer's published keys: a JSON Web Key Set (RFC 7517). Verifying reads a snapshot without a lock; somebody from
//! above brings new content in and is told when a token names a key that is not there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::sync::Notify;

use super::{keys::Key, public_keys::WebKey};
use crate::config::{AuthJwks, JwksSource};

/// The most keys that are taken from one set. A choice: issuers publish two to five.
const MAX_KEYS: usize = 100;

/// The keys of one issuer for one audience.
#[derive(Debug)]
pub struct KeySet {
    rules: AuthJwks,
    keys: ArcSwap<Vec<Arc<Key>>>,
    /// Whether there ever were any.
    is_known: AtomicBool,
    /// A token named a key that is not there.
    missed: Notify,
}

/// What new content changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySetChange {
    /// Ids of keys that are new.
    pub added: Vec<String>,
    /// Ids of keys that are gone: what they signed is refused from now on.
    pub removed: Vec<String>,
    /// Which entries are not used, and why.
    pub unused: Vec<String>,
}

/// Content that is no key set; the keys stay as they were.
#[derive(Debug, thiserror::Error)]
#[error("is no set of keys: {0}")]
pub struct KeySetError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Content {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    pub(super) fn new(rules: AuthJwks) -> Self {
        Self { rules, keys: ArcSwap::default(), is_known: AtomicBool::new(false), missed: Notify::new() }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// Where the keys come from, and how often they are looked for.
    pub fn rules(&self) -> &AuthJwks {
        &self.rules
    }

    /// Completes once a token of the issuer has named a key that is not there, since the last time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Takes new content. A key that is no longer in it is out of use when this returns, also for tokens that were
    /// verified before. To be called by one at a time.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] where the whole is no set. An entry that won't do is left out, with its reason.
    pub fn replace(&self, content: &[u8]) -> Result<KeySetChange, KeySetError> {
        let content: Content = serde_json::from_slice(content)?;
        let before = self.keys.load_full();
        let (mut now, mut change) = (Vec::new(), KeySetChange::default());
        for entry in content.keys.into_iter().take(MAX_KEYS) {
            match self.read(entry) {
                // The same key again: tokens that it has verified stay remembered.
                Ok(key) => now.push(before.iter().find(|old| old.is_same(&key)).cloned().unwrap_or_else(|| {
                    change.added.push(key.id.clone());
                    Arc::new(key)
                })),
                Err(reason) => change.unused.push(reason),
            }
        }
        let gone: Vec<Arc<Key>> =
            before.iter().filter(|old| !now.iter().any(|key| Arc::ptr_eq(key, old))).cloned().collect();
        // First out of the snapshot, then out of force: in the other order a verification in between could remember
        // a token by a key that was retired and is found again.
        self.keys.store(Arc::new(now));
        self.is_known.store(true, Ordering::Release);
        for key in gone {
            key.retire();
            change.removed.push(key.id.clone());
        }
        Ok(change)
    }

    fn read(&self, entry: serde_json::Value) -> Result<Key, String> {
        let entry: WebKey = serde_json::from_value(entry).map_err(|error| format!("an entry is no key: {error}"))?;
        let label = entry.label();
        let key = entry.into_key().map_err(|why| format!("key {label} {why}"))?;
        if !self.rules.algorithms.contains(&key.algorithm) {
            return Err(format!("key {label} is for {}, which `algorithms` does not list", key.algorithm.as_str()));
        }
        let AuthJwks { issuer, audience, tenant, .. } = &self.rules;
        let mut read = Key::new(key.id, key.algorithm, (issuer, audience, tenant.as_ref()), key.decoding);
        read.material = key.material;
        Ok(read)
    }

    pub(super) fn keys(&self) -> Arc<Vec<Arc<Key>>> {
        self.keys.load_full()
    }

    /// Whether no content has come yet.
    pub(super) fn is_awaited(&self) -> bool {
        !self.is_known.load(Ordering::Acquire)
    }

    /// A token names a key that is not there.
    pub(super) fn miss(&self) {
        self.missed.notify_one();
    }

    /// The file, where the keys come from one.
    pub(super) fn file(&self) -> Option<&std::path::Path> {
        match &self.rules.source {
            JwksSource::File(file) => Some(file),
            JwksSource::Url(_) => None,
        }
    }
}
