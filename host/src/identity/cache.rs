//! Remembers verified tokens until they end, so that a signature is checked once and not with each request.
//!
//! Look-ups take no lock. The key is the token itself, so no two tokens can be mistaken for one another; it is
//! hashed with a random key, so nobody can aim at a place in the table. Refused tokens are not remembered.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{caller::Caller, keys::Key};

/// Longer tokens are verified each time: the cache's memory is bounded by this times its entries.
const MAX_TOKEN_BYTES: usize = 4 << 10;

type Table = papaya::HashMap<Box<str>, Verified>;

/// A verified token.
#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    /// From this second on the token is refused; leeway is counted in.
    ends: u64,
    /// The key that proved it: once that is out of force, the token is forgotten.
    key: Arc<Key>,
}

impl Verified {
    fn holds(&self, now: u64) -> bool {
        now < self.ends && !self.key.is_retired()
    }
}

/// A young and an old table: a full young one becomes the old one, and the old one is forgotten. What was used
/// since the last turn is taken over, so the tokens in use stay, at the price of no order to maintain.
pub(super) struct TokenCache {
    tables: ArcSwap<Tables>,
    /// The most entries of one table.
    half: usize,
}

#[derive(Default)]
struct Tables {
    young: Arc<Table>,
    old: Arc<Table>,
}

impl TokenCache {
    /// Remembers at most `entries` tokens, give or take one for each thread; 0 remembers none.
    pub(super) fn new(entries: usize) -> Self {
        Self { tables: ArcSwap::default(), half: entries.div_ceil(2) }
    }

    /// The caller of a token that was verified before and has not ended at `now`, in seconds.
    pub(super) fn get(&self, token: &str, now: u64) -> Option<Arc<Caller>> {
        if self.half == 0 {
            return None;
        }
        let tables = self.tables.load();
        if let Some(verified) = tables.young.pin().get(token) {
            return verified.holds(now).then(|| verified.caller.clone());
        }
        let verified = tables.old.pin().get(token).filter(|verified| verified.holds(now))?.clone();
        let caller = verified.caller.clone();
        self.insert_verified(token, verified);
        Some(caller)
    }

    /// Remembers a token that was just verified.
    pub(super) fn insert(&self, token: &str, caller: Arc<Caller>, ends: u64, key: Arc<Key>) {
        if self.half > 0 && token.len() <= MAX_TOKEN_BYTES {
            self.insert_verified(token, Verified { caller, ends, key });
        }
    }

    fn insert_verified(&self, token: &str, verified: Verified) {
        let tables = self.tables.load();
        if tables.young.len() < self.half {
            tables.young.pin().insert(token.into(), verified);
            return;
        }
        let turned = Tables { young: Arc::default(), old: tables.young.clone() };
        turned.young.pin().insert(token.into(), verified);
        // Where another thread turned the tables first, its turn stands and this token is remembered next time.
        self.tables.compare_and_swap(&*tables, Arc::new(turned));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let tables = self.tables.load();
        tables.young.len() + tables.old.len()
    }
}
