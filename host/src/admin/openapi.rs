//! The OpenAPI document: what the routes say about themselves, and what holds for all of them.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{Method, header};
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{refusal::ProblemBody, router};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenon, operators' interface",
        version = "1.0.0",
        description = "Registry, tenants, modules of tenants, flags, figures. Every request but those of the \
            probes and of this document needs the token that the host keeps in `admin.token` in its data folder.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "modules", description = "What could run"),
        (name = "tenants", description = "Who may use what"),
        (name = "flags", description = "Features of a tenant"),
        (name = "settings", description = "What a tenant has set for a module"),
        (name = "host", description = "How it is going")
    )
)]
struct Frame;

/// The document without routes.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// The whole document.
pub(super) fn whole() -> utoipa::openapi::OpenApi {
    let mut document = router::documented().into_openapi();
    for item in document.paths.paths.values_mut() {
        for operation in operations_mut(item) {
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let refused = ResponseBuilder::new()
                .description("Refused, with a code that docs/troubleshooting.md explains")
                .content("application/problem+json", problem)
                .build();
            operation.responses.responses.insert("default".to_owned(), refused.into());
        }
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    document
}

/// The operations of a path, with their methods.
pub(super) fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

// Made once: it is the same for the life of the process.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| serde_json::to_string_pretty(&whole()).unwrap_or_default());

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "host", operation_id = "openapi", security(()),
    responses((status = 200, description = "The OpenAPI 3.1 document", content_type = "application/json")))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
