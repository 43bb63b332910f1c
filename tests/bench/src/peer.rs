//! The peer: axum with the same handler compiled in, the same look-up of tenants, and nothing else. What a
//! program would be that serves these tenants without modules.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;

use crate::{
    item::Item,
    tenants::{BASE, TENANTS, tenant_name},
};

/// What the peer knows of a tenant.
struct Tenant {
    active: bool,
}

type Tenants = papaya::HashMap<String, Arc<Tenant>>;

async fn show(State(tenants): State<Arc<Tenants>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let named = headers.get("x-tenant-id").and_then(|value| value.to_str().ok());
    let Some(named) = named else { return StatusCode::BAD_REQUEST.into_response() };
    let tenant = tenants.pin().get(named).cloned();
    match tenant {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(tenant) if !tenant.active => StatusCode::FORBIDDEN.into_response(),
        Some(_) => match Item::of(&id) {
            Some(item) => Json(item).into_response(),
            None => StatusCode::BAD_REQUEST.into_response(),
        },
    }
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let tenants: Tenants = papaya::HashMap::new();
    for index in 0..TENANTS {
        tenants.pin().insert(tenant_name(index), Arc::new(Tenant { active: true }));
    }
    let router = Router::new().route(&format!("{BASE}/items/{{id}}"), get(show)).with_state(Arc::new(tenants));
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}
