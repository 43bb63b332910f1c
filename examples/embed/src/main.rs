//! An application of one's own with the host inside: its own routes, two of them behind the host's guards, and the
//! modules' routes beside them, all on one listener.
//!
//! ```text
//! embed PLUGINS DATA [ADDRESS]
//! ```

use std::{env, error::Error, net::SocketAddr, sync::Arc};

use axum::{Extension, Json, Router, routing::get};
use serde_json::{Value, json};
use tenon_host::{
    app::Host,
    config::Config,
    layers::{ModuleGuard, RequireFeature},
    tenancy::TenantSnapshot,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (plugins, data) = arguments.next().zip(arguments.next()).ok_or("usage: embed PLUGINS DATA [ADDRESS]")?;
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;

    // The host has listeners of its own as well; on port 0 they are in nobody's way.
    let host = Host::builder()
        .config(Config {
            plugins: plugins.into(),
            data: data.into(),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        })
        .start()
        .await?;

    let guard = ModuleGuard::new(host.tenants(), "hr-core".parse()?);
    let feature = RequireFeature::new(host.tenants(), "reports");
    let application = Router::new()
        .route("/own/people", get(people).layer(guard))
        .route("/own/reports", get(reports).layer(feature))
        // What no route of one's own answers goes to the modules.
        .fallback_service(host.service());

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("tenants: http://{}", listener.local_addr()?);
    println!("operators: http://{} (token: {})", host.admin_address(), host.admin_token_path().display());
    axum::serve(listener, application).with_graceful_shutdown(interrupted()).await?;
    host.shutdown().await;
    Ok(())
}

/// Only for tenants that have module `hr-core`: the guard has left their snapshot.
async fn people(Extension(tenant): Extension<Arc<TenantSnapshot>>) -> Json<Value> {
    Json(json!({ "tenant": tenant.id().as_str(), "modules": tenant.table.modules().len() }))
}

/// Only for tenants that have feature `reports` on.
async fn reports() -> Json<Value> {
    Json(json!({ "reports": [] }))
}

async fn interrupted() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            eprintln!("no signals: {error}");
            return;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
