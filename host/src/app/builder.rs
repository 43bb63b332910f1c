//! Builds a host from its configuration, bottom-up.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    containment::Containment,
    definitions::{DefinitionsKeeper, FirstLook},
    host::{Host, Parts},
    ofrep::ofrep_settings,
    rescan::Rescanner,
    stores::{self, Opened},
    threads::Background,
};
use crate::{
    admin::{AdminListener, AdminState, DefinitionsFile, Liveness, Readiness, router},
    catalog::{self, Archive, Catalog, ScanError},
    config::{self, Config},
    flags::DefinitionErrors,
    gateway::{Door, DoorSettings, Gateway, GatewaySettings, Listener, RuntimeMode, TenantNaming, TrustedProxies},
    identity::{AdminToken, AdminTokenError, KeyErrors, Verifier},
    loader::{LoadError, Loader, LoaderSettings},
    names::ModuleName,
    outbound::{HttpClient, HttpClientError, KeyKeeper, KeyKeeperError, KeyTimes, Outside, OutsideSettings},
    settings::Secrets,
    stores::{Store, StoreError, tiers::SharedCacheError},
    tenancy::{DeliverySettings, ModuleLimits, ReloadSettings, RetireTimes, Tenancy, TenancySettings},
    watch::{Watch, WatchMode, WatchSettings},
};

/// Why a host did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder, the listeners or a thread could not be had.
    #[error("{what}")]
    Io {
        /// What was tried, with the path or address.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store did not open.
    #[error("the store can't be opened")]
    Store(#[from] StoreError),
    /// The staging folder could not be prepared.
    #[error("the loader can't start")]
    Loader(#[from] LoadError),
    /// A key file is missing or unfit.
    #[error("the keys can't be read")]
    Keys(#[from] KeyErrors),
    /// The admin token can't be read or made.
    #[error("the admin token can't be had")]
    AdminToken(#[from] AdminTokenError),
    /// The key that signs tickets for change streams can't be read or made.
    #[error("the key for tickets can't be had")]
    TicketKey(#[source] AdminTokenError),
    /// TLS or the HTTP client for calls outside can't be had.
    #[error("calls outside can't be made")]
    Outbound(#[from] HttpClientError),
    /// The thread that keeps issuers' keys can't be made.
    #[error("issuers' keys can't be kept")]
    KeyKeeper(#[from] KeyKeeperError),
    /// The file of flag definitions is missing or wrong.
    #[error("the flag definitions in `{file}` can't be used")]
    Definitions {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong with it.
        #[source]
        source: DefinitionErrors,
    },
    /// The address of the shared cache is none.
    #[error(transparent)]
    Cache(#[from] SharedCacheError),
    /// The plugins folder can't be read.
    #[error("the plugins folder can't be read")]
    Plugins(#[from] ScanError),
}

impl StartError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Collects what a host is to be made of.
#[derive(Default)]
pub struct HostBuilder {
    config: Config,
    store: Option<Arc<dyn Store>>,
    sweep_every: Option<Duration>,
    safe: bool,
    listeners: Listeners,
}

/// Sockets that listen already and that somebody else keeps open when this process ends: under socket activation no
/// connection is refused over a restart.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For tenants' requests, in the place of `listen`.
    pub tenants: Option<TcpListener>,
    /// For operators' requests, in the place of `admin-listen`.
    pub operators: Option<TcpListener>,
}

impl Listeners {
    /// The dev mode believes everybody who reaches it.
    fn check(&self, dev: bool) -> io::Result<()> {
        for socket in self.tenants.iter().chain(&self.operators) {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            if dev && !address.ip().is_loopback() {
                let why = format!("{address} is no loopback address, and dev mode believes every header");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl HostBuilder {
    /// With this configuration instead of the defaults.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// With this store instead of the configured one.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// With another interval at which idleness is looked at; one second where this isn't called.
    #[must_use]
    pub fn sweep_every(mut self, interval: Duration) -> Self {
        self.sweep_every = Some(interval);
        self
    }

    /// With every module off until somebody releases it, for all or for a tenant: for a host that a module brings down.
    #[must_use]
    pub fn safe(mut self, safe: bool) -> Self {
        self.safe = safe;
        self
    }

    /// On these sockets where they are given.
    #[must_use]
    pub fn listeners(mut self, listeners: Listeners) -> Self {
        self.listeners = listeners;
        self
    }

    /// Starts the host: when this returns, both listeners answer. May be called inside any runtime; the host
    /// has threads of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running.
    pub async fn start(self) -> Result<Host, StartError> {
        // Opening files and binding sockets blocks, and runtimes must not be made or dropped inside one.
        let (reply, started) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("tenon-start".to_owned())
            .spawn(move || {
                let _ = reply.send(self.build());
            })
            .map_err(StartError::io("a thread can't be made"))?;
        started.await.unwrap_or_else(|_| {
            Err(StartError::Io { what: "the host did not start".to_owned(), source: io::ErrorKind::Other.into() })
        })
    }

    fn build(self) -> Result<Host, StartError> {
        let config = self.config;
        self.listeners.check(config.dev).map_err(StartError::io("a socket that was passed in"))?;
        let first_look = of_definitions(&config)?;
        make_private(&config.data).map_err(StartError::io(format!("data folder `{}`", config.data.display())))?;
        let Opened { store, keep, is_own } = stores::open(&config, self.store)?;
        let verifier = Arc::new(Verifier::new(&config.auth)?);
        let token_path = config.data.join("admin.token");
        let token = AdminToken::load_or_create(&token_path)?;
        let http = HttpClient::with_system_roots()?;
        let outside = Outside::new(outside_settings(&config.outbound), &http)?;
        let key_keeper = KeyKeeper::start(verifier.key_sets().to_vec(), &http, KeyTimes::default())?;
        let loader = Loader::start(LoaderSettings {
            max_generations: config.tenancy.max_generations,
            log_lines_per_second: u32::try_from(config.containment.log_lines_per_second).unwrap_or(u32::MAX),
            ..LoaderSettings::below(&config.data)
        })?;
        let versions = config.data.join("versions");
        let archive = Archive::open(&versions, config.reload.keep_versions)
            .map_err(StartError::io(format!("folder of kept versions `{}`", versions.display())))?;
        let workers = config.runtime.workers.map_or_else(available_workers, usize::from);
        let background = Background::start(workers).map_err(StartError::io("the background threads"))?;
        let catalog = read_folder(&config.plugins)?;
        let limits = config.limits.clone();
        let tenancy = Tenancy::start(
            tenancy_settings(&config, archive, is_own, self.sweep_every, self.safe),
            Arc::clone(&store),
            loader.clone(),
            catalog,
            background.handle(),
            Box::new(move |name| limits_of(&limits, name)),
        )
        .map_err(StartError::io("the supervisor's thread"))?;
        tenancy.fetches_through(Arc::new(outside));
        let liveness = Arc::<Liveness>::default();
        let containment =
            Containment::new(tenancy.clone(), Arc::clone(&liveness), background.threads(), config.containment);
        containment.listen_to(&loader);
        // Before the first tenant is read.
        let start = |first| DefinitionsKeeper::start(first, tenancy.clone());
        let definitions =
            first_look.map(start).transpose().map_err(StartError::io("the thread for flag definitions"))?;
        let admin = (token, liveness, definitions.as_ref().map(DefinitionsKeeper::news));
        let listeners = self.listeners;
        let drivers =
            start_drivers(&config, workers, listeners, &tenancy, &store, &loader, verifier, admin, &background);
        let Drivers { door, gateway, admin, watch, rescanner, readiness } = match drivers {
            Ok(drivers) => drivers,
            Err(error) => {
                // It would run on without anybody to end it, and keep the store open.
                background.handle().block_on(tenancy.shutdown());
                keep.close(&background.handle());
                return Err(error);
            }
        };
        containment.serve_with(Arc::clone(gateway.crew()));
        match self.safe {
            true => {
                tracing::warn!("safe mode: no module runs until `tenon quarantine release` names it");
                readiness.safe();
            }
            false => readiness.ready(),
        }
        Ok(Host::new(Parts {
            config,
            tenancy,
            loader,
            door,
            gateway,
            admin,
            watch,
            rescanner,
            readiness,
            key_keeper,
            definitions,
            background,
            containment,
            keep,
            token_path,
        }))
    }
}

/// The file of flag definitions, where there is one.
pub(super) fn of_definitions(config: &Config) -> Result<Option<FirstLook>, StartError> {
    let Some(file) = &config.flags.definitions else { return Ok(None) };
    let wrong = |source| StartError::Definitions { file: file.clone(), source };
    FirstLook::at(file).map(Some).map_err(wrong)
}

/// What brings requests, orders and events in.
struct Drivers {
    door: Arc<Door>,
    gateway: Gateway,
    admin: AdminListener,
    watch: Watch,
    rescanner: Arc<Rescanner>,
    readiness: Arc<Readiness>,
}

#[expect(clippy::too_many_arguments, reason = "the parts made so far, each used by one of the drivers")]
fn start_drivers(
    config: &Config,
    workers: usize,
    listeners: Listeners,
    tenancy: &Tenancy,
    store: &Arc<dyn Store>,
    loader: &Loader,
    verifier: Arc<Verifier>,
    (token, liveness, definitions): (AdminToken, Arc<Liveness>, Option<Arc<DefinitionsFile>>),
    background: &Background,
) -> Result<Drivers, StartError> {
    let door = Arc::new(Door::new(
        tenancy.clone(),
        verifier,
        DoorSettings {
            ofrep: ofrep_settings(config)?,
            dev: config.dev,
            naming: naming(&config.tenant_source),
            proxies: TrustedProxies::new(config.proxies.trusted.clone()),
        },
    ));
    let listener = listeners.tenants.map_or(Listener::Bind(config.listen), Listener::Given);
    let gateway = Gateway::start(&gateway_settings(config, workers), listener, Arc::clone(&door))
        .map_err(StartError::io(format!("tenant listener on {}", config.listen)))?;
    super::threads::register_sweepers(loader, gateway.crew(), background);
    let rescanner = Arc::new(Rescanner::new(config.plugins.clone(), tenancy.clone()));
    let readiness = Arc::new(Readiness::default());
    let admin = AdminListener::start(
        config.admin_listen,
        listeners.operators,
        router(AdminState {
            tenancy: tenancy.clone(),
            store: Arc::clone(store),
            loader: loader.clone(),
            token,
            readiness: Arc::clone(&readiness),
            liveness,
            definitions,
            folder: Arc::clone(&rescanner) as _,
            dev: config.dev,
        }),
    )
    .map_err(StartError::io(format!("admin listener on {}", config.admin_listen)))?;
    let on_change = Arc::clone(&rescanner);
    let watch = Watch::start(watch_settings(config), move || drop(on_change.rescan_blocking(None)))
        .map_err(StartError::io("the watch's thread"))?;
    Ok(Drivers { door, gateway, admin, watch, rescanner, readiness })
}

fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn available_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the plugins folder holds. One that does not exist yet is an empty one.
fn read_folder(folder: &Path) -> Result<Arc<Catalog>, StartError> {
    let catalog = match catalog::scan(folder, &|_| false) {
        Ok(catalog) => catalog,
        Err(ScanError::Folder { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), "there is no plugins folder yet");
            Catalog::default()
        }
        Err(error) => return Err(error.into()),
    };
    for rejected in catalog.rejected() {
        tracing::warn!(path = %rejected.path.display(), code = rejected.code, "{}", rejected.problems.join("; "));
    }
    Ok(Arc::new(catalog))
}

fn tenancy_settings(
    config: &Config,
    archive: Archive,
    is_own_store: bool,
    sweep_every: Option<Duration>,
    safe: bool,
) -> TenancySettings {
    let Config { tenancy, deliveries, containment, reload, .. } = config;
    let share = |percent: usize| percent as f64 / 100.0;
    TenancySettings {
        initialize: tenancy.initialize_deadline,
        retire: RetireTimes {
            drain: tenancy.drain_deadline,
            // A guess: handlers that wait are gone in microseconds once they are cut.
            cut: Duration::from_secs(5),
            cleanup: tenancy.initialize_deadline,
        },
        idle: tenancy.idle_release,
        linger: tenancy.linger,
        sweep_every: sweep_every.unwrap_or(Duration::from_secs(1)),
        // Nobody else writes to a store of one's own.
        compare_every: if is_own_store { Duration::ZERO } else { config.compare_every },
        memory_budget: tenancy.memory_budget,
        definitions_in_store: config.flags.definitions.is_none(),
        retry_after: Duration::from_secs(1),
        start_concurrency: tenancy.start_concurrency,
        deliveries: DeliverySettings {
            claim: deliveries.claim,
            look_every: deliveries.look_every,
            retry_base: deliveries.retry_base,
            retry_limit: deliveries.retry_limit,
            attempts: u32::try_from(deliveries.attempts).unwrap_or(u32::MAX),
            concurrency: deliveries.concurrency,
            per_tenant: deliveries.per_tenant,
            most_waiting: containment.events_waiting as u64,
        },
        reload: ReloadSettings {
            probation: reload.probation,
            min_requests: reload.min_requests as u64,
            failure_margin: share(reload.failure_margin_percent),
            failed_share: share(reload.failed_share_percent),
            panic_limit: reload.panic_limit,
            panic_window: reload.panic_window,
        },
        archive: Arc::new(archive),
        safe,
        secrets: Secrets::below(secrets_folder(config)),
    }
}

fn outside_settings(outbound: &config::Outbound) -> OutsideSettings {
    OutsideSettings { allow: outbound.allow.clone(), timeout: outbound.timeout, answer_bytes: outbound.answer_bytes }
}

fn secrets_folder(config: &Config) -> PathBuf {
    config.secrets.folder.clone().unwrap_or_else(|| config.data.join("secrets"))
}

fn limits_of(limits: &config::Limits, module: &str) -> ModuleLimits {
    let found = module.parse::<ModuleName>().map_or(limits.general, |name| limits.of(&name));
    ModuleLimits {
        concurrency: u32::try_from(found.concurrency).unwrap_or(u32::MAX),
        body_bytes: found.body_bytes,
        deadline: found.deadline,
    }
}

fn naming(source: &config::TenantSource) -> TenantNaming {
    TenantNaming {
        header: source.header.clone(),
        host_suffix: source.host_suffix.clone(),
        path_prefix: source.path_prefix.clone(),
    }
}

fn gateway_settings(config: &Config, workers: usize) -> GatewaySettings {
    GatewaySettings {
        mode: match config.runtime.mode {
            config::RuntimeMode::PerCore => RuntimeMode::PerCore,
            config::RuntimeMode::WorkStealing => RuntimeMode::WorkStealing,
        },
        workers,
        header_timeout: config.limits.header_timeout,
        header_bytes: config.limits.header_bytes,
        header_count: config.limits.header_count,
        connections: config.limits.connections,
        write_timeout: config.limits.write_timeout,
    }
}

fn watch_settings(config: &Config) -> WatchSettings {
    WatchSettings {
        folder: config.plugins.clone(),
        mode: match config.watch.mode {
            config::WatchMode::Events => WatchMode::Events,
            config::WatchMode::Poll => WatchMode::Poll,
        },
        settle: config.watch.settle,
        look_every: config.watch.poll_interval,
    }
}
