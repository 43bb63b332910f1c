//! The guards that a host sets before a handler, in their order: route, authentication, roles, feature, limits.
//! Token and tenant are settled by the test, which says who asks.

use percent_encoding::percent_decode_str;

use super::{instance::Instance, lend::Incoming, request::Asked, response::Problem, world::World};

/// A host's own limit, where its operator sets no other.
const MOST_BODY_BYTES: usize = 2 * 1024 * 1024;

/// Lets a request through, or says why not.
pub(super) fn admit(
    world: &World,
    instance: &Instance,
    asked: Asked,
    id: &str,
    deadline_millis: i64,
) -> Result<Incoming, Problem> {
    let manifest = &world.manifest;
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let no_route = || Problem::new(404, "ROUTE_NOT_FOUND", "No such route", "No route matches this path");
    let found = manifest.router.at(path).map_err(|_| no_route())?;
    let offers = |method: &str| {
        let of_path = found.value.iter().map(|index| &manifest.endpoints[*index]);
        of_path.clone().find(|endpoint| endpoint.method == method).ok_or(of_path)
    };
    let endpoint = match offers(&asked.method) {
        Ok(endpoint) => endpoint,
        // A HEAD without an endpoint of its own is answered as the GET would be, without the body.
        Err(_) if asked.method == "HEAD" && offers("GET").is_ok() => offers("GET").map_err(|_| no_route())?,
        Err(of_path) => {
            let allowed = of_path.map(|endpoint| endpoint.method.as_str()).collect::<Vec<_>>().join(", ");
            let text = format!("This route answers only to {allowed}");
            let problem = Problem::new(405, "METHOD_NOT_ALLOWED", "The route has no such method", text);
            return Err(problem.with_header("allow", allowed));
        }
    };
    if endpoint.auth && asked.user.is_none() && asked.module.is_none() {
        let problem = Problem::new(401, "UNAUTHENTICATED", "A valid token is needed", "A token is required");
        return Err(problem.with_header("www-authenticate", "Bearer"));
    }
    // Roles without a user are nobody's, and only a module has a module's.
    let mut roles = if asked.user.is_some() { asked.roles } else { Vec::new() };
    roles.retain(|role| !role.starts_with("module:"));
    roles.extend(asked.module.map(|module| format!("module:{module}")));
    if !endpoint.roles.is_empty() && !endpoint.roles.iter().any(|role| roles.contains(role)) {
        let text = format!("One of these roles is required: {}", endpoint.roles.join(", "));
        return Err(Problem::new(403, "FORBIDDEN", "Not permitted", text));
    }
    if let Some(feature) = endpoint.feature.as_ref().filter(|feature| world.flag(feature) != Some(true)) {
        let text = format!("Feature {feature} is not enabled");
        return Err(Problem::new(403, "FEATURE_NOT_ENABLED", "The feature is switched off for this tenant", text));
    }
    if asked.body.len() > MOST_BODY_BYTES {
        let text = format!("The request body is larger than {MOST_BODY_BYTES} bytes");
        return Err(Problem::new(413, "BODY_TOO_LARGE", "The request body is too large", text));
    }
    let mut params = Vec::new();
    for (name, value) in found.params.iter() {
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Problem::invalid(format!("`{name}` in the path is not UTF-8")))?;
        params.push((name.to_owned(), value.into_owned()));
    }
    let is_this = |(method, path): &(String, String)| *method == endpoint.method && *path == endpoint.path;
    let route = instance.routes.iter().position(is_this).and_then(|index| u32::try_from(index).ok());
    Ok(Incoming {
        route: route.ok_or_else(no_route)?,
        path: path.to_owned(),
        query: query.to_owned(),
        method: asked.method,
        headers: asked.headers,
        body: asked.body,
        id: id.to_owned(),
        user: asked.user,
        roles,
        params,
        deadline_millis,
        instance: instance.number,
    })
}
