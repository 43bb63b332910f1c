//! The tenants of the benchmarks, and requests for them.

use std::{fs, path::Path};

use semver::VersionReq;
use tenon_host::{
    app::Host,
    config::{Config, Runtime, RuntimeMode},
    names::{ModuleName, TenantId},
    stores::{EnabledModule, Isolation, SqliteStore, Store, TenantDocument, TenantStatus},
};

use crate::{
    failure::{Doing, Failure, Result},
    flag_file,
};

/// How many tenants requests are spread over.
pub(crate) const TENANTS: usize = 1000;

/// Where the measured module has its routes, in the host and in the peer.
pub(crate) const BASE: &str = "/bench/echo";

/// The name of one of the tenants.
pub(crate) fn tenant_name(index: usize) -> String {
    format!("tenant-{index:04}")
}

/// The path of the request for one of the tenants.
pub(crate) fn item_path(index: usize) -> String {
    format!("{BASE}/items/{}", 10_000 + index)
}

/// Makes a plugins folder with the measured module, and a data folder with tenants that have enabled it.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    let plugins = folder.join("plugins");
    let data = folder.join("data");
    for made in [&plugins, &data] {
        fs::create_dir_all(made).doing(format_args!("make folder `{}`", made.display()))?;
    }
    let library = built_beside("examples/libecho.so")?;
    fs::copy(&library, plugins.join("echo.so")).doing(format_args!("copy `{}`", library.display()))?;
    store(&data, "echo", TENANTS)
}

/// Stores so many tenants that have enabled a module.
pub(crate) fn store(data: &Path, module: &str, tenants: usize) -> Result<()> {
    let modules = [module.parse::<ModuleName>().doing("name the module")?];
    let documents = (0..tenants).map(|index| document(&tenant_name(index), &modules)).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("make a runtime")?.block_on(store_documents(data, documents))
}

/// The path of something that was built in the same profile as this program.
pub(crate) fn built_beside(name: &str) -> Result<std::path::PathBuf> {
    let program = std::env::current_exe().doing("find this program's own file")?;
    let path = program.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Failure::new(format!("there is no `{}`\nhint: `cargo xtask bench` builds it", path.display())))
    }
}

/// A tenant's document with these modules enabled, and nothing else.
pub(crate) fn document(name: &str, modules: &[ModuleName]) -> Result<TenantDocument> {
    let id: TenantId = name.parse().doing("name a tenant")?;
    let enabled = modules.iter().map(|module| EnabledModule {
        module: module.clone(),
        version: VersionReq::STAR,
        isolation: Isolation::Shared,
        enabled_at: None,
        enabled_by: None,
        unknown: serde_json::Map::new(),
    });
    Ok(TenantDocument {
        id,
        name: name.to_owned(),
        status: TenantStatus::Active,
        enabled_modules: enabled.collect(),
        feature_flags: std::collections::BTreeMap::new(),
        settings: std::collections::BTreeMap::new(),
        cors: None,
        api_keys: Vec::new(),
        revision: 0,
        updated_at: None,
        unknown: serde_json::Map::new(),
    })
}

/// Stores documents in a folder, which is made where it is missing.
pub(crate) async fn store_documents(data: &Path, documents: impl IntoIterator<Item = TenantDocument>) -> Result<()> {
    let store = SqliteStore::open(data).doing("open a store")?;
    // All at once: the store commits in groups.
    let created = documents.into_iter().map(|document| store.create_tenant(document));
    for stored in futures_util::future::join_all(created).await {
        stored.doing("store a tenant")?;
    }
    store.close().await;
    Ok(())
}

/// The configuration of a host on a prepared folder, on ports that the kernel chooses.
pub(crate) fn config(folder: &Path, mode: RuntimeMode, workers: usize) -> Config {
    let mut config = Config {
        plugins: folder.join("plugins"),
        data: folder.join("data"),
        runtime: Runtime { workers: std::num::NonZeroUsize::new(workers), mode },
        ..Config::default()
    };
    let flags = folder.join(flag_file::FILE);
    config.flags.definitions = flags.is_file().then_some(flags);
    // Longer than a benchmark, as each ticket makes another answer.
    config.ofrep.ticket_life = std::time::Duration::from_secs(24 * 3600);
    config.listen.set_port(0);
    config.admin_listen.set_port(0);
    config
}

/// Starts a host.
pub(crate) async fn start_host(config: Config) -> Result<Host> {
    Host::builder().config(config).start().await.doing("start the host")
}
