//! The routes, and what every request passes before and after them.

use std::{sync::Arc, time::Instant};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    cors, dead_letters, definitions, doors, enabling, flags, health, keys, marks, modules, moving, openapi, order,
    queries::{self, Queries},
    reload, settings,
    state::{Admin, AdminState, Shared},
    stats, status, tenants, tiers,
};

/// The most bytes of a request's body: far above what any request here needs.
pub(super) const BODY_BYTES: usize = 1 << 20;

/// Answers operators. From the outside in: the request's id and the form of every refusal, the `Host` under
/// `--dev`, the token, the limit of bodies, the names in the query, the routes.
pub fn router(state: AdminState) -> Router {
    let admin: Shared = Arc::new(Admin { state, started: Instant::now() });
    let (routes, document) = documented().split_for_parts();
    let queries = middleware::from_fn_with_state(Queries::of(&document), queries::pass);
    let routes = routes.route_layer(queries).layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(Arc::clone(&admin));
    // A layer of the routes themselves would not see the `Allow` that axum adds to a 405 outside of them.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(admin, doors::pass))
}

/// All routes, each with its part of the OpenAPI document: there is no other list of them.
pub(super) fn documented() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(modules::list))
        .routes(routes!(modules::show))
        .routes(routes!(order::tree))
        .routes(routes!(order::order))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::show, tenants::rename, tenants::delete))
        .routes(routes!(tenants::load))
        .routes(routes!(tiers::invalidate_all))
        .routes(routes!(tiers::invalidate))
        .routes(routes!(tenants::suspend))
        .routes(routes!(tenants::resume))
        .routes(routes!(cors::show, cors::set, cors::delete))
        .routes(routes!(enabling::enable, enabling::disable))
        .routes(routes!(flags::list, flags::change))
        .routes(routes!(flags::show))
        .routes(routes!(definitions::show, definitions::replace, definitions::delete))
        .routes(routes!(
            definitions::show_flag,
            definitions::replace_flag,
            definitions::switch,
            definitions::delete_flag
        ))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(settings::show, settings::replace, settings::merge, settings::delete))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::retry))
        .routes(routes!(dead_letters::discard))
        .routes(routes!(marks::list))
        .routes(routes!(marks::roll_back))
        .routes(routes!(marks::release))
        .routes(routes!(reload::reload))
        .routes(routes!(reload::reload_module))
        .routes(routes!(moving::export))
        .routes(routes!(moving::import))
        .routes(routes!(stats::stats))
        .routes(routes!(status::status))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(openapi::document))
}
