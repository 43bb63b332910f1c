//! One loaded copy of a module. Whoever holds a [`Generation`] keeps it mapped; the last one to let go may be
//! anywhere, because unloading happens on the reaper's thread.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use abi_stable::std_types::RResult;
use module_api::abi::{Initialized, RootRef};

use super::{
    error::Route,
    fence::Gate,
    hosting::HostHandle,
    instance::Instance,
    library::Mapped,
    origin::Origin,
    reaper::{Retired, Shared},
    reply::polled,
    report::GenerationInfo,
    services::{Failure, HostServices},
    staging::Staged,
};

/// A loaded copy of a module's file: name, version, content hash, number. Instances are made from it.
pub struct Generation {
    info: GenerationInfo,
    root: RootRef,
    routes: Vec<Route>,
    gate: Arc<Gate>,
    /// Handed to the reaper when the last holder lets go.
    held: Option<(Mapped, Staged)>,
    unload_note: Option<String>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Generation {
    pub(super) fn new(
        info: GenerationInfo,
        root: RootRef,
        routes: Vec<Route>,
        held: (Mapped, Staged),
        unload_note: Option<String>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { info, root, routes, gate: Arc::default(), held: Some(held), unload_note, shared }
    }

    /// What it is.
    pub fn info(&self) -> &GenerationInfo {
        &self.info
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The module's version.
    pub fn version(&self) -> &str {
        &self.info.version
    }

    /// The routes of the code; an index into them is [`super::CallRequest::route`].
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Which handler answers a method and a path as written in the manifest.
    pub fn route_index(&self, method: &str, path: &str) -> Option<u32> {
        let at = self.routes.iter().position(|route| route.method == method && route.path == path)?;
        u32::try_from(at).ok()
    }

    /// Makes an instance, by running the module's `initialize` with these services. The services are dropped
    /// when the module has dropped its handle, usually with the instance.
    ///
    /// # Errors
    ///
    /// What the module failed with; [`super::FailureKind::Panicked`] where it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the module's, at its last await.
    pub fn initialize(
        self: &Arc<Self>,
        services: Arc<dyn HostServices>,
    ) -> impl Future<Output = Result<Instance, Failure>> + Send + 'static {
        Initialize {
            making: None,
            origin: Origin::new(self.shared.roll(), services.tenant_id(), &self.info.name),
            services: Some(services),
            generation: Arc::clone(self),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if let Some((mapped, staged)) = self.held.take() {
            self.shared.retire(Retired {
                info: self.info.clone(),
                attached: Some(self.root),
                gate: Arc::clone(&self.gate),
                mapped,
                staged,
                unload_note: self.unload_note.take(),
            });
        }
    }
}

// Fields are dropped in this order: the module's future before the library it runs in.
struct Initialize {
    making: Option<Initialized>,
    origin: Origin,
    services: Option<Arc<dyn HostServices>>,
    generation: Arc<Generation>,
}

impl Drop for Initialize {
    fn drop(&mut self) {
        let making = self.making.take();
        self.origin.within(None, || drop(making));
    }
}

impl Future for Initialize {
    type Output = Result<Instance, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (making, services, generation) = (&mut this.making, &mut this.services, &this.generation);
        let polled = this.origin.within(None, || {
            if let Some(services) = services.take() {
                let host = HostHandle::lend(services, this.origin.clone(), generation, &generation.gate);
                *making = Some((generation.root.initialize())(host));
            }
            polled(making, cx)
        });
        let outcome = std::task::ready!(polled);
        Poll::Ready(match outcome {
            Ok(RResult::ROk(object)) => Ok(Instance::new(object, this.origin.clone(), Arc::clone(&this.generation))),
            Ok(RResult::RErr(raw)) => Err(Failure::from_raw(raw)),
            Err(failure) => Err(failure),
        })
    }
}
