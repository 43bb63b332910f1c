//! Dev mode: whoever reaches this machine's loopback is who they say they are.

use std::net::IpAddr;

use http::HeaderMap;

use super::caller::{Caller, TenantProof, outside_roles};

/// The caller of a request in dev mode: `X-Dev-User`, with the roles in `X-Dev-Roles`, separated by commas.
/// `None` where no user is named; roles alone make nobody.
pub fn dev_caller(headers: &HeaderMap) -> Option<Caller> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let user = text("x-dev-user").filter(|user| !user.is_empty())?;
    Some(Caller {
        subject: Some(user.into()),
        tenant: TenantProof::Any,
        roles: outside_roles(text("x-dev-roles").unwrap_or_default().split(',')),
        expires: None,
    })
}

/// Whether a request's `Host` is this machine: `localhost` or a loopback address, with or without a port. Dev
/// mode refuses all others, or a web page could reach it under a name of its own that it lets resolve to
/// 127.0.0.1.
pub fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, _)) if is_port(&host[name.len()..]) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(port) => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => text.is_empty(),
    }
}
