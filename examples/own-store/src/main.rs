//! A host on a store of one's own.
//!
//! ```text
//! own-store PLUGINS DATA
//! ```

use std::{env, error::Error, sync::Arc};

use own_store::JournaledStore;
use tenon_host::{app::Host, config::Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (plugins, data) = arguments.next().zip(arguments.next()).ok_or("usage: own-store PLUGINS DATA")?;
    let config = Config {
        plugins: plugins.into(),
        data: data.into(),
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    };
    let store = Arc::new(JournaledStore::open(&config.data)?);
    let host = Host::builder().config(config).store(store).start().await?;
    println!("tenants: http://{}", host.address());
    println!("operators: http://{} (token: {})", host.admin_address(), host.admin_token_path().display());
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?.recv().await;
    host.shutdown().await;
    Ok(())
}
