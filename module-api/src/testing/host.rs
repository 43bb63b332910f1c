//! The host of a test: one module, one tenant, and a client's view of both.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use serde::Serialize;
use serde_json::Value;

use crate::{Module, abi::STORE_INSERT};

use super::{
    executor::lock,
    instance::{Instance, remember_panics},
    manifest::{Manifest, text_of_this_crate},
    request::Asked,
    response::shown,
    world::World,
};

/// A host in memory that runs module `M` for one tenant: what `module.toml` declares is routed, guarded and stored
/// as a real host would, through the same interface.
///
/// The instance is made at the first request. The methods that take and return the host say how the test begins;
/// those that only borrow it change what is running.
///
/// Time: the clock stands at 2026-01-01T00:00:00Z and moves when [`TestHost::advance`] says so, and by itself to the
/// next timer where a request waits for nothing else. Ids are the same in each run. Requests are answered one after
/// the other, except those of [`TestHost::together`].
pub struct TestHost<M: Module> {
    pub(super) world: Arc<World>,
    pub(super) caller: Asked,
    pub(super) current: Mutex<Option<Arc<Instance>>>,
    pub(super) failures: Mutex<Vec<String>>,
    /// Held while futures run, so that two threads of a test don't run one instance's tasks at once.
    pub(super) driving: Mutex<()>,
    of: PhantomData<fn() -> M>,
}

impl<M: Module> fmt::Debug for TestHost<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestHost({})", self.world.manifest.name)
    }
}

impl<M: Module> Default for TestHost<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// How the test begins.
impl<M: Module> TestHost<M> {
    /// A host for the module of the crate that is being tested, as its `module.toml` declares it.
    ///
    /// # Panics
    ///
    /// Where `module.toml` can't be read; what is wrong with it is listed.
    #[track_caller]
    pub fn new() -> Self {
        let text = text_of_this_crate().unwrap_or_else(|why| panic!("no manifest: {why}"));
        Self::with_manifest(&text)
    }

    /// A host for a module that another text declares.
    ///
    /// # Panics
    ///
    /// As [`TestHost::new`].
    #[track_caller]
    pub fn with_manifest(text: &str) -> Self {
        let manifest = Manifest::read(text)
            .unwrap_or_else(|problems| panic!("the manifest has problems:\n{}", problems.join("\n")));
        remember_panics();
        Self {
            world: Arc::new(World::new(manifest)),
            caller: Asked::default(),
            current: Mutex::default(),
            failures: Mutex::default(),
            driving: Mutex::default(),
            of: PhantomData,
        }
    }

    /// For this tenant instead of `test-tenant`.
    #[must_use]
    pub fn tenant(self, id: &str) -> Self {
        id.clone_into(&mut lock(&self.world.view).tenant);
        self
    }

    /// Requests come from this user, unless they say otherwise; without, from nobody.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.caller.user = Some(user.to_owned());
        self
    }

    /// With a role more for the user.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.caller.roles.push(role.to_owned());
        self
    }

    /// With a flag that the tenant has set.
    #[must_use]
    pub fn flag(self, name: &str, is_on: bool) -> Self {
        self.set_flag(name, is_on);
        self
    }

    /// With settings of the tenant for the module, as the module sees them: what is a reference to a secret on a host
    /// is the secret here. They are not held against the JSON Schema in `module.toml`, which only a host can read;
    /// `tenon settings` refuses what does not fit.
    ///
    /// # Panics
    ///
    /// Where they are no JSON object.
    #[must_use]
    #[track_caller]
    pub fn settings(self, settings: impl Serialize) -> Self {
        self.replace_settings(settings);
        self
    }

    /// With the clock at this time.
    #[must_use]
    pub fn time(self, now: SystemTime) -> Self {
        self.set_time(now);
        self
    }
}

/// What is running, and what is stored.
impl<M: Module> TestHost<M> {
    /// Sets a flag of the tenant; the next question for it sees the new value.
    pub fn set_flag(&self, name: &str, is_on: bool) {
        lock(&self.world.view).flags.insert(name.to_owned(), is_on);
    }

    /// Replaces the tenant's settings for the module; an instance that lives is told by `settings_changed`, where they
    /// are others than before. The settings stay whatever comes of that.
    ///
    /// # Errors
    ///
    /// What `settings_changed` failed of; a host writes it to its log.
    ///
    /// # Panics
    ///
    /// Where they are no JSON object.
    #[track_caller]
    pub fn set_settings(&self, settings: impl Serialize) -> Result<(), String> {
        let is_other = self.replace_settings(settings);
        let current = lock(&self.current).clone();
        let Some(instance) = current.filter(|_| is_other) else { return Ok(()) };
        let told = self.driving(|| self.run_hook(&instance, |object| object.settings_changed()));
        told.map_err(|failure| format!("`settings_changed` failed: {}", shown(&failure)))
    }

    /// Says whether they are others now.
    #[track_caller]
    fn replace_settings(&self, settings: impl Serialize) -> bool {
        let value = serde_json::to_value(settings).unwrap_or_else(|error| panic!("no settings: {error}"));
        assert!(value.is_object(), "settings are a JSON object, not {value}");
        let text = value.to_string();
        let before = std::mem::replace(&mut lock(&self.world.view).settings, text.clone());
        before != text
    }

    /// Sets the clock. Timers that are due then end.
    pub fn set_time(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.world.executor.clock.set(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    }

    /// Whether the store answers. While it does not, every question to it is STORE_UNAVAILABLE.
    pub fn set_store_available(&self, is_there: bool) {
        lock(&self.world.store).is_away = !is_there;
    }

    /// The documents of a model as they are stored, in the order of their ids: id, revision, value.
    pub fn stored(&self, model: &str) -> Vec<(String, u64, Value)> {
        lock(&self.world.store).all(model)
    }

    /// Stores a document beside the module, such as one that an older version of it wrote.
    ///
    /// # Panics
    ///
    /// Where the store refuses it.
    #[track_caller]
    pub fn store(&self, model: &str, id: &str, value: &impl Serialize) {
        let body = serde_json::to_vec(value).unwrap_or_else(|error| panic!("the document can't be written: {error}"));
        let op = crate::abi::RawStoreOp {
            kind: STORE_INSERT,
            model: model.into(),
            id: id.into(),
            revision: 0,
            body: body.into(),
        };
        if let Err(failure) = lock(&self.world.store).act(&self.world.manifest, op) {
            panic!("document `{id}` can't be stored: {}", shown(&failure));
        }
    }

    /// What spawned tasks have failed of so far: each panicked, and its instance was replaced.
    pub fn task_failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Makes the instance now instead of at the first request.
    ///
    /// # Errors
    ///
    /// Why it can't be made: what `initialize` or `health` failed of, or how the routes of code and manifest differ.
    pub fn start(&self) -> Result<(), String> {
        self.driving(|| self.instance().map(drop))
    }

    /// Takes the instance out of service as a host does: its tasks are dropped, then it cleans up, then it is
    /// dropped. What is stored stays; the next request makes a new instance.
    ///
    /// # Errors
    ///
    /// What `cleanup` or the drop failed of: a panic, or that it did not end within 30 seconds of the test's clock.
    pub fn stop(&self) -> Result<(), String> {
        self.driving(|| {
            let current = lock(&self.current).take();
            current.map_or(Ok(()), |instance| self.retire(instance))
        })
    }

    pub(super) fn endpoints(&self) -> Vec<(String, String)> {
        self.world.manifest.endpoints.iter().map(|it| (it.method.clone(), it.path.clone())).collect()
    }

    pub(super) fn features(&self) -> Vec<String> {
        self.world.manifest.features.keys().cloned().collect()
    }

    /// The modules that it can't run without.
    pub(super) fn required(&self) -> Vec<String> {
        let all = self.world.manifest.dependencies.iter();
        all.filter(|(_, is_optional)| !**is_optional).map(|(name, _)| name.clone()).collect()
    }

    /// All roles that some endpoint asks for.
    pub(super) fn roles(&self) -> Vec<String> {
        self.world.manifest.endpoints.iter().flat_map(|endpoint| endpoint.roles.clone()).collect()
    }
}
