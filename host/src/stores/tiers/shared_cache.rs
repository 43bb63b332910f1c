//! The cache that hosts share, behind the Redis protocol: tenants as they were last written, for a while, and word of
//! each write. Nothing here is the truth: an entry that is missing is read from the store, a message that is lost is
//! made up for by comparing. Each call gives up after a fraction of a second, so that a cache that is away costs little.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, Script, ScriptInvocation, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{runtime::Handle, sync::Notify};

use super::News;
use crate::{
    names::TenantId,
    stores::{ChangeListener, StoreChange, TenantDocument},
};

/// After so long a call has failed. Beside the cache's own time-outs, which don't hold while it connects.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often a cache that is there is looked at, and one that is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_AWAY: Duration = Duration::from_millis(250);

/// Sets an entry unless a newer one is there, and tells the others where they are to be told. What it returns says
/// nothing.
const SET: &str = "
local known = redis.call('HGET', KEYS[1], 'revision')
if not known or tonumber(known) < tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'document', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
if ARGV[4] ~= '' then redis.call('PUBLISH', KEYS[2], ARGV[4]) end
return 1";

/// Leaves nothing to be read of an entry, unless it is another by now.
const BURY: &str = "
if redis.call('HGET', KEYS[1], 'revision') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'document', '')
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1";

/// How many keys are looked at with one question, where all are to go.
const SCANNED_AT_ONCE: usize = 1_000;

/// What is configured of it.
#[derive(Clone)]
pub struct SharedCacheSettings {
    /// `redis://…` or `rediss://…`; may hold a password.
    pub url: String,
    /// What all keys and channels begin with: hosts of different stores may share a server.
    pub prefix: String,
    /// How long an entry holds.
    pub lifetime: Duration,
}

impl fmt::Debug for SharedCacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: it may hold a password.
        f.debug_struct("SharedCacheSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Why there can't be a cache at an address.
#[derive(Debug, thiserror::Error)]
#[error("the address of the shared cache can't be used")]
pub struct SharedCacheError(#[from] RedisError);

/// The cache that hosts share.
#[derive(Clone)]
pub struct SharedCache {
    manager: ConnectionManager,
    settings: Arc<SharedCacheSettings>,
    state: Arc<State>,
}

struct State {
    set: Script,
    bury: Script,
    reached: AtomicBool,
    /// Somebody could not reach it.
    doubt: Notify,
    /// Set before the first message can come.
    listener: std::sync::OnceLock<ChangeListener>,
}

/// What there is of a tenant.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Document(Arc<TenantDocument>),
    /// It was deleted. It may have been made again since, which only the truth knows.
    Deleted,
    /// Nothing that can be read.
    Nothing,
}

impl SharedCache {
    /// Whether this is an address of a cache, without a connection.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn check(url: &str) -> Result<(), SharedCacheError> {
        Ok(Client::open(url).map(drop)?)
    }

    /// A cache at an address; it need not be there yet. Its connection lives on `runtime`.
    ///
    /// # Errors
    ///
    /// Where the address is none.
    pub fn new(settings: SharedCacheSettings, runtime: &Handle) -> Result<Self, SharedCacheError> {
        let info = settings.url.as_str().into_connection_info()?;
        // Messages need the newer protocol, whatever the address says.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(redis))?;
        let state = Arc::new(State {
            set: Script::new(SET),
            bury: Script::new(BURY),
            reached: AtomicBool::new(false),
            doubt: Notify::new(),
            listener: std::sync::OnceLock::new(),
        });
        let told = Arc::clone(&state);
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200))
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(move |push: PushInfo| {
                told.pushed(&push);
                Ok::<_, redis::aio::SendError>(())
            })
            .set_automatic_resubscription();
        let _entered = runtime.enter();
        let manager = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(Self { manager, settings: Arc::new(settings), state })
    }

    /// Whether the last try reached it.
    pub(super) fn is_reached(&self) -> bool {
        self.state.reached.load(Ordering::Relaxed)
    }

    /// What there is of a tenant; nothing where it can't be asked.
    pub(super) async fn get(&self, id: &TenantId) -> Entry {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(id)).arg("document");
        let Some(Some(text)) = self.ask::<Option<String>>(get).await else { return Entry::Nothing };
        if text.is_empty() {
            return Entry::Deleted;
        }
        let document = serde_json::from_str(&text).ok().and_then(|json| TenantDocument::from_json(json).ok());
        // Whoever can write there must not give one tenant the document of another.
        let document = document.filter(|document| document.id == *id);
        document.map_or(Entry::Nothing, |document| Entry::Document(Arc::new(document)))
    }

    /// Sets a tenant, unless there is a newer one.
    pub(super) async fn set(&self, document: &TenantDocument, news: News) {
        let text = serde_json::Value::Object(document.to_json()).to_string();
        let told = match news {
            News::Read => String::new(),
            News::Written => message(&document.id, document.revision),
        };
        self.run(&document.id, document.revision, text, told).await;
    }

    /// Leaves nothing to be read of a tenant that was deleted, and tells the others.
    pub(super) async fn delete(&self, id: &TenantId, revision: u64) {
        self.run(id, revision, String::new(), message(id, revision)).await;
    }

    async fn run(&self, id: &TenantId, revision: u64, document: String, told: String) {
        let mut call = self.state.set.key(self.key(id));
        call.key(self.channel()).arg(revision).arg(document).arg(self.lifetime_millis()).arg(told);
        self.invoke(&call).await;
    }

    /// Leaves nothing to be read of a tenant that is gone, where there is still the document of this revision.
    pub(super) async fn bury(&self, id: &TenantId, revision: u64) {
        let mut call = self.state.bury.key(self.key(id));
        call.arg(revision).arg(self.lifetime_millis());
        self.invoke(&call).await;
    }

    async fn invoke(&self, call: &ScriptInvocation<'_>) {
        if !self.is_reached() {
            return;
        }
        let mut manager = self.manager.clone();
        let done = tokio::time::timeout(PATIENCE * 2, call.invoke_async::<Value>(&mut manager)).await;
        if !matches!(done, Ok(Ok(_))) {
            self.state.doubt.notify_one();
        }
    }

    /// Takes away what there is of a tenant; whether it is gone.
    pub(super) async fn forget(&self, id: &TenantId) -> bool {
        let mut delete = redis::cmd("DEL");
        delete.arg(self.key(id));
        self.ask::<Value>(delete).await.is_some()
    }

    /// Takes away what there is of all tenants; whether all of it is gone. Takes the longer the more there are.
    pub(super) async fn forget_all(&self) -> bool {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(self.all_keys()).arg("COUNT").arg(SCANNED_AT_ONCE);
            let Some((next, keys)) = self.ask::<(String, Vec<String>)>(scan).await else { return false };
            if !keys.is_empty() {
                let mut delete = redis::cmd("DEL");
                delete.arg(&keys);
                if self.ask::<Value>(delete).await.is_none() {
                    return false;
                }
            }
            if next == "0" {
                return true;
            }
            cursor = next;
        }
    }

    /// What a command answers; `None` where it could not be asked.
    async fn ask<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Option<T> {
        if !self.is_reached() {
            return None;
        }
        let mut manager = self.manager.clone();
        let answer = tokio::time::timeout(PATIENCE, command.query_async::<T>(&mut manager)).await;
        match answer {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => {
                self.state.doubt.notify_one();
                None
            }
        }
    }

    fn key(&self, id: &TenantId) -> String {
        format!("{}tenant:{id}", self.settings.prefix)
    }

    /// Selects the keys of all tenants. What the prefix has of signs that stand for others stands for itself.
    fn all_keys(&self) -> String {
        let mut pattern = String::new();
        for sign in self.settings.prefix.chars() {
            if matches!(sign, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(sign);
        }
        pattern + "tenant:*"
    }

    fn lifetime_millis(&self) -> u64 {
        u64::try_from(self.settings.lifetime.as_millis()).unwrap_or(u64::MAX)
    }

    fn channel(&self) -> String {
        format!("{}changes", self.settings.prefix)
    }

    /// Passes word of writes on, for as long as it runs. After a time without the cache anything may have been missed.
    pub(super) fn follow(&self, listener: ChangeListener) -> impl Future<Output = ()> + Send + 'static {
        let cache = self.clone();
        async move {
            let _ = cache.state.listener.set(Arc::clone(&listener));
            // A connection that breaks is noticed elsewhere first, which tells nobody.
            let mut was_there = false;
            loop {
                let is_there = cache.look().await;
                let heard_all = cache.state.reached.swap(is_there, Ordering::AcqRel);
                if is_there && !heard_all {
                    listener(StoreChange::Everything);
                }
                if is_there && !was_there {
                    tracing::info!("the shared cache is there");
                } else if was_there && !is_there {
                    tracing::warn!(
                        "the shared cache is away: tenants are read from the store, and changes found there"
                    );
                }
                was_there = is_there;
                let every = if is_there { LOOK_EVERY } else { LOOK_EVERY_AWAY };
                let _ = tokio::time::timeout(every, cache.state.doubt.notified()).await;
            }
        }
    }

    /// Whether it answers; and hears its messages, if it did not before.
    async fn look(&self) -> bool {
        let mut manager = self.manager.clone();
        let looking = async {
            if self.is_reached() {
                redis::cmd("PING").query_async::<Value>(&mut manager).await.map(drop)
            } else {
                manager.subscribe(self.channel()).await
            }
        };
        matches!(tokio::time::timeout(PATIENCE * 2, looking).await, Ok(Ok(())))
    }
}

impl fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl State {
    fn pushed(&self, push: &PushInfo) {
        match push.kind {
            PushKind::Message => {
                let text = push.data.get(1).and_then(|data| redis::from_redis_value_ref::<String>(data).ok());
                let change = text.as_deref().and_then(read_message);
                if let (Some(change), Some(listener)) = (change, self.listener.get()) {
                    listener(change);
                }
            }
            PushKind::Disconnection => {
                // Messages are lost from now on.
                self.reached.store(false, Ordering::Release);
                self.doubt.notify_one();
            }
            _ => {}
        }
    }
}

/// Word of a write: a revision and whose.
fn message(id: &TenantId, revision: u64) -> String {
    format!("{revision} {id}")
}

fn read_message(text: &str) -> Option<StoreChange> {
    let (revision, id) = text.split_once(' ')?;
    Some(StoreChange::Tenant { id: id.parse().ok()?, revision: revision.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_and_nothing_else_is() {
        let id: TenantId = "acme.de".parse().unwrap();
        let change = StoreChange::Tenant { id: id.clone(), revision: 12 };
        assert_eq!(read_message(&message(&id, 12)), Some(change));
        for text in ["", "12", "x acme", "12 ", "12 a/b", "-1 acme"] {
            assert_eq!(read_message(text), None, "{text}");
        }
    }
}
