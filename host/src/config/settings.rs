//! What can be configured, with its defaults. Plain data: values here have been checked already.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    auth::Auth,
    ofrep::Ofrep,
    store::{Cache, StoreKind},
};
use crate::names::ModuleName;

/// The whole configuration. `Config::default()` is what a host without a file, environment and flags gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from; `None` where there was none.
    pub source: Option<PathBuf>,
    /// The folder that modules are dropped into.
    pub plugins: PathBuf,
    /// The folder of the store, the staged copies and the admin token.
    pub data: PathBuf,
    /// Where tenants' requests come in.
    pub listen: SocketAddr,
    /// Where operators' requests come in.
    pub admin_listen: SocketAddr,
    /// Whether users and roles are taken from request headers. Only with both listeners on loopback.
    pub dev: bool,
    /// `[store]`.
    pub store: StoreKind,
    /// `compare-every` of `[store]`: how often the tenants in memory are compared with a store that others write too;
    /// zero: only after a time in which changes may have been missed. The embedded store is this host's alone.
    pub compare_every: Duration,
    /// `[cache]`.
    pub cache: Cache,
    /// `[limits]`.
    pub limits: Limits,
    /// `[auth]`.
    pub auth: Auth,
    /// `[tenant-source]`.
    pub tenant_source: TenantSource,
    /// `[proxies]`.
    pub proxies: Proxies,
    /// `[tenancy]`.
    pub tenancy: Tenancy,
    /// `[deliveries]`.
    pub deliveries: Deliveries,
    /// `[reload]`.
    pub reload: Reload,
    /// `[outbound]`.
    pub outbound: Outbound,
    /// `[secrets]`.
    pub secrets: Secrets,
    /// `[flags]`.
    pub flags: FeatureFlags,
    /// `[ofrep]`.
    pub ofrep: Ofrep,
    /// `[containment]`.
    pub containment: Containment,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[watch]`.
    pub watch: Watch,
    /// `[log]`.
    pub log: Log,
}

/// What a request, a connection and a tenant's module may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What holds for a module that has no entry of its own.
    pub general: ModuleLimits,
    /// `[limits.modules.NAME]`.
    pub modules: BTreeMap<ModuleName, ModuleOverride>,
    /// The most bytes of a request's head; at least 8 KiB.
    pub header_bytes: usize,
    /// The most header lines of a request.
    pub header_count: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How many connections of tenants' clients there may be at once.
    pub connections: usize,
    /// How long a client may take nothing of its answer before the connection is closed.
    pub write_timeout: Duration,
}

/// What one request, and one tenant's share of one module, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleLimits {
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// From the request's head to the end of the handler.
    pub deadline: Duration,
    /// Requests at once for one tenant in one module.
    pub concurrency: usize,
}

/// What differs for one module; `None` is as in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModuleOverride {
    /// Instead of [`ModuleLimits::body_bytes`].
    pub body_bytes: Option<usize>,
    /// Instead of [`ModuleLimits::deadline`].
    pub deadline: Option<Duration>,
    /// Instead of [`ModuleLimits::concurrency`].
    pub concurrency: Option<usize>,
}

/// By what a request may name its tenant. What is named is only a wish: a token proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSource {
    /// The header that holds a tenant id, in lower case; `None` switches this way off.
    pub header: Option<String>,
    /// `example.com` makes `acme.example.com` name tenant `acme`.
    pub host_suffix: Option<String>,
    /// `/t` makes `/t/acme/api/v1/tasks` name tenant `acme` and path `/api/v1/tasks`.
    pub path_prefix: Option<String>,
}

/// Who stands between clients and the tenants' listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// From where `X-Forwarded-For`, `-Host` and `-Proto` are believed; empty believes nobody.
    pub trusted: Vec<IpNet>,
}

/// When tenants' instances and modules' generations come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    /// How long running requests may hold up a move, a disable or the shutdown.
    pub drain_deadline: Duration,
    /// After how long without a request an instance is dropped.
    pub idle_release: Duration,
    /// How long a generation that nobody uses stays loaded; zero unloads it at once.
    pub linger: Duration,
    /// The most libraries mapped at once; at most 700, as the C library has 1,024 thread keys in all.
    pub max_generations: usize,
    /// How long `initialize` of one instance may take.
    pub initialize_deadline: Duration,
    /// How many instances may be in `initialize` at once.
    pub start_concurrency: usize,
    /// About how many bytes of memory tenants may take beside what runs for them; those that are least in use make room.
    pub memory_budget: usize,
}

/// How events and wake-ups reach modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliveries {
    /// After how long without a word of its host another host takes a delivery over.
    pub claim: Duration,
    /// How often the store is asked for what other hosts have put there.
    pub look_every: Duration,
    /// After how long a delivery that failed is tried again; doubled each time.
    pub retry_base: Duration,
    /// The longest time between two tries.
    pub retry_limit: Duration,
    /// After how many failures a delivery is given up.
    pub attempts: usize,
    /// How many this host handles at once.
    pub concurrency: usize,
    /// How many of one tenant are handled at once.
    pub per_tenant: usize,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            claim: Duration::from_secs(60),
            look_every: Duration::from_secs(1),
            retry_base: Duration::from_secs(1),
            retry_limit: Duration::from_secs(300),
            attempts: 10,
            // Guesses: enough to keep all cores busy, few enough that one tenant can't take all.
            concurrency: 64,
            per_tenant: 8,
        }
    }
}

/// How new code proves itself, and what is kept to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// How long new code is watched after a tenant has moved to it; zero watches nothing.
    pub probation: Duration,
    /// Before so many requests its share of failures is not compared.
    pub min_requests: usize,
    /// By how many percentage points its share of failures may be above that of what ran before.
    pub failure_margin_percent: usize,
    /// When more than this share of a module's tenants can't use it, all leave it.
    pub failed_share_percent: usize,
    /// How many versions that proved themselves are kept of each module.
    pub keep_versions: usize,
    /// After so many panics within the window a module is quarantined for its tenant; 0 never.
    pub panic_limit: usize,
    /// See `panic_limit`.
    pub panic_window: Duration,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            probation: Duration::from_secs(60),
            min_requests: 200,
            failure_margin_percent: 5,
            failed_share_percent: 50,
            keep_versions: 3,
            panic_limit: 10,
            panic_window: Duration::from_secs(60),
        }
    }
}

/// What modules may do outside, at the hosts that their manifests name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Ranges that are not public and permitted all the same.
    pub allow: Vec<IpNet>,
    /// The longest time for a request, its redirects and its answer together.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub answer_bytes: usize,
}

impl Default for Outbound {
    fn default() -> Self {
        // Sizes are a choice: enough for a page of documents, little enough for memory.
        Self { allow: Vec::new(), timeout: Duration::from_secs(30), answer_bytes: 8 << 20 }
    }
}

/// Where the secrets are that settings refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// What `file:` references are below; `secrets` in the data folder where `None`.
    pub folder: Option<PathBuf>,
}

/// Flags that are defined for all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureFlags {
    /// The file that defines them, in flagd's format; none is where `None`.
    pub definitions: Option<PathBuf>,
}

/// What is done about modules that do harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Containment {
    /// After so many times within the window a module that keeps its thread is put into quarantine for the tenant.
    pub stuck_limit: usize,
    /// See `stuck_limit`.
    pub stuck_window: Duration,
    /// How many lines a second a module may write to the log for one tenant; what is more is dropped.
    pub log_lines_per_second: usize,
    /// How many deliveries of one module's events may wait for one tenant; no more are taken then.
    pub events_waiting: usize,
}

impl Default for Containment {
    fn default() -> Self {
        Self {
            stuck_limit: 3,
            stuck_window: Duration::from_secs(600),
            log_lines_per_second: 1_000,
            events_waiting: 100_000,
        }
    }
}

/// The threads that serve tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runtime {
    /// `None`: one for each core.
    pub workers: Option<NonZeroUsize>,
    /// How work is shared among them.
    pub mode: RuntimeMode,
}

/// How requests are spread over worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeMode {
    /// A single-threaded runtime for each worker; a connection stays where it was accepted.
    #[default]
    PerCore,
    /// One runtime whose workers take work from each other.
    WorkStealing,
}

/// How the plugins folder is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// By what changes are noticed.
    pub mode: WatchMode,
    /// How long a file must be unchanged before it is read, where no event says that it was closed.
    pub settle: Duration,
    /// Between two looks at the folder, in mode `poll`.
    pub poll_interval: Duration,
}

/// By what a change of the plugins folder is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// The kernel's events.
    #[default]
    Events,
    /// Looking again and again, for file systems without events.
    Poll,
}

/// The host's log, on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// Directives as `tracing-subscriber` has them: `info,tenon_host=debug`. Checked.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Limits {
    /// What holds for one module.
    pub fn of(&self, module: &ModuleName) -> ModuleLimits {
        let own = self.modules.get(module).copied().unwrap_or_default();
        ModuleLimits {
            body_bytes: own.body_bytes.unwrap_or(self.general.body_bytes),
            deadline: own.deadline.unwrap_or(self.general.deadline),
            concurrency: own.concurrency.unwrap_or(self.general.concurrency),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: None,
            plugins: "./plugins".into(),
            data: "./data".into(),
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            dev: false,
            store: StoreKind::default(),
            compare_every: Duration::from_secs(2),
            cache: Cache::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            tenant_source: TenantSource::default(),
            proxies: Proxies::default(),
            tenancy: Tenancy::default(),
            deliveries: Deliveries::default(),
            reload: Reload::default(),
            outbound: Outbound::default(),
            secrets: Secrets::default(),
            flags: FeatureFlags::default(),
            ofrep: Ofrep::default(),
            containment: Containment::default(),
            runtime: Runtime::default(),
            watch: Watch::default(),
            log: Log::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            general: ModuleLimits { body_bytes: 2 << 20, deadline: Duration::from_secs(30), concurrency: 256 },
            modules: BTreeMap::new(),
            header_bytes: 32 << 10,
            header_count: 100,
            header_timeout: Duration::from_secs(10),
            connections: 10_000,
            // A guess: longer than a phone is without a network, in a train say.
            write_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for TenantSource {
    fn default() -> Self {
        Self { header: Some("x-tenant-id".into()), host_suffix: None, path_prefix: None }
    }
}

impl Default for Tenancy {
    fn default() -> Self {
        Self {
            drain_deadline: Duration::from_secs(30),
            idle_release: Duration::from_secs(600),
            linger: Duration::from_secs(60),
            max_generations: 256,
            initialize_deadline: Duration::from_secs(10),
            start_concurrency: 8,
            // A guess: a few hundred thousand tenants.
            memory_budget: 256 << 20,
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self { mode: WatchMode::default(), settle: Duration::from_millis(50), poll_interval: Duration::from_secs(2) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".into() }
    }
}
