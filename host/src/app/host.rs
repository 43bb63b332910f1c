//! A running host, for embedding and for `tenon serve`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    builder::HostBuilder, containment::Containment, definitions::DefinitionsKeeper, flags::Flags, rescan::Rescanner,
    service::TenantService, stores::Keep, threads::Background,
};
use crate::{
    admin::{AdminListener, Readiness},
    catalog::{Catalog, Changes, ScanError},
    config::Config,
    gateway::{Door, Gateway},
    loader::{Loader, LoaderReport},
    names::ModuleName,
    outbound::KeyKeeper,
    tenancy::{Tenancy, TenancyStats},
    watch::Watch,
};

pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) tenancy: Tenancy,
    pub(super) loader: Loader,
    pub(super) door: Arc<Door>,
    pub(super) gateway: Gateway,
    pub(super) admin: AdminListener,
    pub(super) watch: Watch,
    pub(super) rescanner: Arc<Rescanner>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) key_keeper: KeyKeeper,
    pub(super) definitions: Option<DefinitionsKeeper>,
    pub(super) background: Background,
    pub(super) containment: Arc<Containment>,
    pub(super) keep: Keep,
    pub(super) token_path: PathBuf,
}

/// A host that runs. Stop it with [`Host::shutdown`]; one that is dropped instead is stopped in the
/// background, as far as the process lives on.
pub struct Host {
    /// `None` once it was stopped.
    parts: Option<Parts>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host on {}", self.address())
    }
}

impl Host {
    /// Begins to collect what a host is made of.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Some(parts) }
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("only shutdown and drop take the parts, and both end the host")
    }

    /// Where tenants' requests come in.
    pub fn address(&self) -> SocketAddr {
        self.parts().gateway.address()
    }

    /// Where operators' requests come in.
    pub fn admin_address(&self) -> SocketAddr {
        self.parts().admin.address()
    }

    /// The file with the token for the admin listener.
    pub fn admin_token_path(&self) -> &Path {
        &self.parts().token_path
    }

    /// All that could run.
    pub fn registry(&self) -> Arc<Catalog> {
        self.parts().tenancy.catalog()
    }

    /// Who runs what, and how to change it.
    pub fn tenants(&self) -> &Tenancy {
        &self.parts().tenancy
    }

    /// The flags of tenants, and changes of them.
    pub fn flags(&self) -> Flags {
        Flags::new(self.parts().tenancy.clone())
    }

    /// Tenants' requests as a tower service, for an application that has a listener of its own.
    pub fn service(&self) -> TenantService {
        let parts = self.parts();
        TenantService::new(Arc::clone(&parts.door), parts.background.handle())
    }

    /// The libraries that are open, were closed, and could not be closed.
    pub fn libraries(&self) -> LoaderReport {
        self.parts().loader.report()
    }

    /// Figures of the whole.
    pub fn stats(&self) -> TenancyStats {
        self.parts().tenancy.stats()
    }

    /// Reads the plugins folder now, without waiting for an event; says what differs from what was known. With `again`
    /// that module's files count as replaced whether or not they are, so that each tenant gets a new instance of it.
    ///
    /// # Errors
    ///
    /// Where the folder can't be read: then what was there stays in force.
    ///
    /// # Cancel safety
    ///
    /// The reading goes on when the future is dropped.
    pub fn rescan(&self, again: Option<ModuleName>) -> impl Future<Output = Result<Changes, ScanError>> + Send + use<> {
        let rescanner = Arc::clone(&self.parts().rescanner);
        async move {
            let reading = tokio::task::spawn_blocking(move || rescanner.rescan_blocking(again.as_ref()));
            reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }
    }

    /// Stops orderly: accepts no more, lets requests end within the drain deadline, cleans the instances up,
    /// unloads the libraries, closes the store.
    pub async fn shutdown(mut self) {
        let Some(parts) = self.parts.take() else { return };
        let (done, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            parts.stop();
            let _ = done.send(());
        });
        let _ = stopped.await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            std::thread::spawn(move || parts.stop());
        }
    }
}

/// What the parts of an orderly end take beyond the configured deadlines. A guess that is generous.
const SLACK: Duration = Duration::from_secs(15);

/// Waits for the end of all instances, on a timer that no module can hold up.
fn end_tenancy(tenancy: &Tenancy, limit: Duration) {
    let ended = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(async { tokio::time::timeout(limit, tenancy.shutdown()).await.is_ok() }),
        Err(error) => {
            tracing::error!(%error, "there is no timer for the shutdown; it is not waited for");
            false
        }
    };
    if !ended {
        tracing::error!(?limit, "instances or changes did not end in time");
    }
}

impl Parts {
    /// Top-down. Blocks until all is gone, or its deadline has passed.
    fn stop(self) {
        self.readiness.leaving();
        drop(self.watch);
        let drain = self.config.tenancy.drain_deadline;
        self.door.end_streams();
        drop(self.door);
        self.gateway.stop(drain);
        let handle = self.background.handle();
        drop((self.key_keeper, self.definitions));
        end_tenancy(&self.tenancy, drain + self.config.tenancy.initialize_deadline * 2 + SLACK);
        drop((self.rescanner, self.tenancy, self.containment));
        // A guess that is generous: the reaper needs a second at most for threads that don't answer.
        if !self.loader.wait_idle(Duration::from_secs(3)) {
            tracing::warn!("libraries were still mapped at the end");
        }
        self.admin.stop();
        self.keep.close(&handle);
        self.background.stop();
    }
}
