//! A guard of one's own before the modules: each tenant has a number of requests, and no more. It stands in front of the
//! host's service as any layer does, and uses what the host knows of the tenant.
//!
//! ```text
//! own-guard PLUGINS DATA REQUESTS
//! ```

use std::{
    collections::HashMap,
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tenon_host::{app::Host, config::Config, names::TenantId, tenancy::Tenancy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [plugins, data, requests] = &arguments[..] else {
        return Err("usage: own-guard PLUGINS DATA REQUESTS".into());
    };
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
    let quota = Arc::new(Quota { tenancy: host.tenants().clone(), each: requests.parse()?, left: Mutex::default() });
    let application =
        Router::new().fallback_service(host.service()).layer(middleware::from_fn_with_state(quota, within_quota));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("tenants: http://{}", listener.local_addr()?);
    println!("operators: http://{} (token: {})", host.admin_address(), host.admin_token_path().display());
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let ended = async move {
        end.recv().await;
    };
    axum::serve(listener, application).with_graceful_shutdown(ended).await?;
    host.shutdown().await;
    Ok(())
}

/// What is left to each tenant.
struct Quota {
    tenancy: Tenancy,
    each: u32,
    left: Mutex<HashMap<TenantId, u32>>,
}

async fn within_quota(State(quota): State<Arc<Quota>>, request: Request, next: Next) -> Response {
    let named = request.headers().get("x-tenant-id").and_then(|value| value.to_str().ok());
    let tenant = named.and_then(|name| name.parse::<TenantId>().ok());
    // Whom the host does not know it refuses itself: made-up names don't fill the map.
    let known = match &tenant {
        Some(tenant) => quota.tenancy.load(tenant).await.ok(),
        None => None,
    };
    if let Some(snapshot) = known {
        let mut left = quota.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left.entry(snapshot.id().clone()).or_insert(quota.each);
        let Some(rest) = left.checked_sub(1) else {
            let mut refusal = (StatusCode::TOO_MANY_REQUESTS, "the tenant has used its requests\n").into_response();
            refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
            return refusal;
        };
        *left = rest;
    }
    next.run(request).await
}
