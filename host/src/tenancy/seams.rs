//! What tenancy needs from rooms above and beside: who carries out calls between modules, and requests to hosts
//! outside. Declared here, handed in by the composition root.

use std::sync::{Arc, OnceLock, Weak};

use crate::{
    loader::{Answer, Failure, FailureKind, Fetch, ModuleCall, ServiceFuture},
    manifest::Outbound,
    names::{ModuleName, TenantId},
};

/// The module that asks, and for whom.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Whose instance it is.
    pub tenant: TenantId,
    /// Which module.
    pub module: ModuleName,
}

/// Carries out calls between modules: routes them, looks at the other module's guards, waits for the answer.
pub trait CallModules: Send + Sync + 'static {
    /// The other module is a dependency of the asker's, and runs for the tenant.
    fn call(&self, from: Asker, to: ModuleName, call: ModuleCall) -> ServiceFuture<Result<Answer, Failure>>;
}

/// Carries out requests to hosts outside.
pub trait FetchOutside: Send + Sync + 'static {
    /// `allowed` is what the asker's manifest names.
    fn fetch(&self, from: Asker, allowed: Arc<[Outbound]>, fetch: Fetch) -> ServiceFuture<Result<Answer, Failure>>;
}

/// The implementations, as far as there are any yet.
#[derive(Default)]
pub(super) struct Seams {
    /// Weak: whoever carries out calls holds the tenancy.
    pub(super) calls: OnceLock<Weak<dyn CallModules>>,
    pub(super) outside: OnceLock<Arc<dyn FetchOutside>>,
}

impl Seams {
    pub(super) fn call(&self, from: Asker, to: ModuleName, call: ModuleCall) -> ServiceFuture<Result<Answer, Failure>> {
        match self.calls.get().and_then(Weak::upgrade) {
            Some(calls) => calls.call(from, to, call),
            None => failed(FailureKind::Stopping, "the host takes no calls"),
        }
    }

    pub(super) fn fetch(
        &self,
        from: Asker,
        allowed: Arc<[Outbound]>,
        fetch: Fetch,
    ) -> ServiceFuture<Result<Answer, Failure>> {
        match self.outside.get() {
            Some(outside) => outside.fetch(from, allowed, fetch),
            None => failed(FailureKind::Refused, "this host lets no module call outside"),
        }
    }
}

/// A service's refusal, at once.
pub(super) fn failed<T: Send + 'static>(
    kind: FailureKind,
    text: impl Into<String>,
) -> ServiceFuture<Result<T, Failure>> {
    Box::pin(std::future::ready(Err(Failure::new(kind, text))))
}
