//! The handle through which a module asks the host for anything.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use abi_stable::{
    erased_types::TD_Opaque,
    std_types::{ROption, RResult, RStr},
};
use async_ffi::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    abi::{HostBox, RawFailure, RawJob, RawJob_TO},
    collection::Collection,
    error::{Error, Result, ServiceError, internal},
    guard::{Guarded, guard},
    outgoing::{Fetch, ModuleCall},
    request::Request,
};

/// The tenant an instance was made for, and the services of the host for it. Cheap to clone; works for this
/// tenant and module only.
#[derive(Clone)]
pub struct Tenant {
    host: Arc<HostBox>,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.id())
    }
}

impl Tenant {
    pub(crate) fn new(host: HostBox) -> Self {
        Self { host: Arc::new(host) }
    }

    /// The tenant's id.
    pub fn id(&self) -> &str {
        self.host.tenant_id().as_str()
    }

    /// The tenant's settings for this module, as they are now; an empty object where none were set.
    ///
    /// # Errors
    ///
    /// Where they can't be read as a `T`.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.host.settings())?)
    }

    /// Whether a feature is on for the tenant, as it is now: the tenant's own value, else the default in
    /// `module.toml`; `false` where it has neither or is no boolean.
    pub fn flag(&self, name: &str) -> bool {
        self.host.flag(RStr::from_str(name)) == 1
    }

    /// A collection of documents; `model` must be declared in `module.toml`.
    ///
    /// # Errors
    ///
    /// Where the name is empty. Whether it is declared is found at the first use.
    pub fn collection<T: Serialize + DeserializeOwned>(&self, model: &str) -> Result<Collection<T>> {
        if model.is_empty() {
            return Err(Error::internal("a collection needs the name of a model"));
        }
        Ok(Collection::new(Arc::clone(&self.host), model))
    }

    /// The host's clock.
    pub fn now(&self) -> SystemTime {
        let millis = self.now_millis();
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// The host's clock, in milliseconds since the Unix epoch.
    pub fn now_millis(&self) -> i64 {
        self.host.now_millis()
    }

    /// A new id: a UUID version 7, whose text grows with time.
    pub fn random_id(&self) -> String {
        self.host.random_id().into_string()
    }

    /// Runs a closure on a thread where it may block: for synchronous libraries and heavy computation.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Panicked`] where the closure panicked; [`ServiceError::Stopping`] where the instance
    /// is being stopped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the closure; its result is dropped.
    pub async fn blocking<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let job = Job { work: Some(work), result: Some(Arc::clone(&result)) };
        self.host.blocking(RawJob_TO::from_value(job, TD_Opaque)).await.into_result()?;
        let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.ok_or_else(|| ServiceError::Other("the closure did not run".to_owned()))
    }

    /// A request to a module that this one depends on, in the name of whoever sent `request`: with their user, roles,
    /// deadline and request id.
    pub fn call<'a>(&self, request: &'a Request, module: &str) -> ModuleCall<'a> {
        ModuleCall::new(Arc::clone(&self.host), module, Some(request))
    }

    /// A request to a module that this one depends on, in the name of this module: it carries no user. Endpoints with
    /// `roles` refuse it unless these list `module:NAME`.
    pub fn call_as_module(&self, module: &str) -> ModuleCall<'static> {
        ModuleCall::new(Arc::clone(&self.host), module, None)
    }

    /// A request to a host outside that `module.toml` names under `outbound`. `url` is whole, such as
    /// `https://api.example.com/v1/rates`.
    pub fn fetch(&self, method: &str, url: &str) -> Fetch {
        Fetch::new(Arc::clone(&self.host), method, url)
    }

    /// Publishes an event that `module.toml` lists under `publishes`. When this returns, it is stored for each module
    /// of the tenant that subscribes to it, and is delivered to each at least once, even if the host is killed.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Misuse`] where the event is not listed or can't be written as JSON,
    /// [`ServiceError::StoreUnavailable`], [`ServiceError::ClaimLost`]; then nothing was stored.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether the event was stored.
    pub async fn publish(&self, event: &str, payload: &(impl Serialize + Sync)) -> Result<(), ServiceError> {
        let body = serde_json::to_vec(payload)
            .map_err(|error| ServiceError::Misuse(format!("event `{event}` can't be written as JSON: {error}")))?;
        Ok(self.host.publish(RStr::from_str(event), body.into()).await.into_result()?)
    }

    /// Sees to it that [`Module::on_wake`](crate::Module::on_wake) is called with `key` at a time or soon after, even
    /// if no request comes and the host is killed meanwhile. A key has one time: setting it again moves it. Set from
    /// inside its own handler, it is called again.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Misuse`] for a key that is empty or longer than 256 bytes, and as [`Tenant::publish`].
    pub async fn wake_at(&self, key: &str, at: SystemTime) -> Result<(), ServiceError> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Ok(self.host.wake(RStr::from_str(key), ROption::RSome(millis)).await.into_result()?)
    }

    /// Takes a wake-up back; one that was not set, or that is being handled, is left alone.
    ///
    /// # Errors
    ///
    /// As [`Tenant::wake_at`].
    pub async fn cancel_wake(&self, key: &str) -> Result<(), ServiceError> {
        Ok(self.host.wake(RStr::from_str(key), ROption::RNone).await.into_result()?)
    }

    /// Waits on the host's timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the wait.
    pub async fn sleep(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.host.sleep(millis).await;
    }

    /// Runs a future beside the requests. It lives as long as the instance, at most: it is dropped when the
    /// tenant no longer uses the module. The instance is not idle while it runs.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Stopping`] where the instance is being stopped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), ServiceError> {
        let guarded = Guarded::new(Box::pin(task)).into_ffi();
        Ok(self.spawn_raw(guarded).into_result()?)
    }

    #[cfg(not(feature = "__fixture-older"))]
    fn spawn_raw(&self, task: async_ffi::FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        self.host.spawn(task)
    }

    #[cfg(feature = "__fixture-older")]
    fn spawn_raw(&self, task: async_ffi::FfiFuture<RResult<(), RawFailure>>) -> RResult<(), RawFailure> {
        drop(task);
        RResult::RErr(crate::abi::unsupported("spawn", "1.0"))
    }

    /// A service of a later host, for this repository's tests of growth.
    #[cfg(feature = "__fixture-newer")]
    #[doc(hidden)]
    pub fn beyond(&self) -> Result<String, ServiceError> {
        Ok(self.host.beyond().into_result()?.into_string())
    }
}

struct Job<T, F> {
    work: Option<F>,
    result: Option<Arc<Mutex<Option<T>>>>,
}

impl<T: Send + 'static, F: FnOnce() -> T + Send + 'static> RawJob for Job<T, F> {
    fn run(&mut self) -> RResult<(), RawFailure> {
        let Some(work) = self.work.take() else {
            return RResult::RErr(internal("a closure was run twice"));
        };
        let done = guard(|| {
            let value = work();
            if let Some(result) = &self.result {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            }
        });
        RResult::from(done)
    }
}

impl<T, F> Drop for Job<T, F> {
    fn drop(&mut self) {
        // A closure that never ran, with what it captured, and a result that nobody waits for any more.
        let work = self.work.take();
        let _ = guard(|| drop(work));
        let result = self.result.take();
        let _ = guard(|| drop(result));
    }
}
