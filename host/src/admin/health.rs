//! The probes: whether the process lives, whether tenants should be sent here.

use std::fmt::Write;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{InQuery, switch},
    refusal::{Exempt, Refusal},
    state::Shared,
    status::{self, Status},
};

/// Whether everything that was looked at is to be listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wordy {
    /// Lists what was looked at; needs the token.
    #[serde(deserialize_with = "switch")]
    verbose: bool,
}

/// What was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether tenants should be sent here. Only `host` decides: a bad module or an absent store is no reason to
    /// send known tenants away.
    pub(super) ready: bool,
    pub(super) checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    /// In words.
    pub(super) detail: String,
}

/// Says whether the process lives.
///
/// It does not where modules keep every thread that runs module code, spare ones included: then only a restart helps.
#[utoipa::path(get, path = "/livez", tag = "host", operation_id = "livez", security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not, and why", body = String, content_type = "text/plain")))]
pub(super) async fn livez(State(admin): State<Shared>) -> Response {
    match admin.liveness.lost() {
        None => "ok\n".into_response(),
        Some(reason) => {
            let mut response = (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response();
            response.extensions_mut().insert(Exempt);
            response
        }
    }
}

/// Says whether tenants should be sent here.
///
/// Not while the host is in safe mode: then each module is off until it is released.
///
/// With `?verbose` what was looked at is listed, as text, or as JSON where `Accept` asks for it.
#[utoipa::path(get, path = "/readyz", tag = "host", operation_id = "readyz", security((), ("token" = [])),
    params(("verbose" = Option<bool>, Query, description = "Lists what was looked at; needs the token")),
    responses((status = 200, description = "They should", content(
            (String = "text/plain"), (Readiness = "application/json"))),
        (status = 503, description = "Not yet, no more, or not in safe mode", content(
            (String = "text/plain"), (Readiness = "application/json")))))]
pub(super) async fn readyz(
    State(admin): State<Shared>,
    InQuery(asked): InQuery<Wordy>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let ready = admin.readiness.is_ready();
    let word = admin.readiness.word();
    let mut response = if !asked.verbose {
        format!("{word}\n").into_response()
    } else {
        let readiness = Readiness { ready, checks: checks(word, ready, &status::look(&admin).await) };
        if wants_json(&headers) { Json(readiness).into_response() } else { as_text(&readiness).into_response() }
    };
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.extensions_mut().insert(Exempt);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

fn checks(word: &str, ready: bool, status: &Status) -> Vec<Check> {
    let listed = |what: &str, items: Vec<String>| match items.len() {
        0 => format!("no {what}"),
        count => format!("{count} {what}: {}", items.join("; ")),
    };
    let check = |name, ok, detail| Check { name, ok, detail };
    let rejected = status.rejected.iter().map(|item| format!("{} ({})", item.path, item.code)).collect();
    let blocked = status.blocked.iter().map(|item| format!("{} {} ({})", item.module, item.version, item.code));
    let failing = status.failing.iter().map(|item| format!("{} of {} ({})", item.module, item.tenant_id, item.code));
    let stuck = status.stuck.iter().map(|item| format!("{} in {} of {}", item.thread, item.module, item.tenant_id));
    let resident = status.resident.iter().map(|item| format!("{} {} ({})", item.module, item.version, item.reason));
    let unloading = if status.can_unload { "libraries can be unloaded" } else { "libraries can't be unloaded here" };
    let definitions = status.flag_definitions.as_ref().map(|it| match it.problems.is_empty() {
        true => check("flags", true, format!("{} flags of {} (revision {})", it.flags, it.origin(), it.revision)),
        false => check("flags", false, format!("{} stays as it was: {}", it.origin(), it.problems.join("; "))),
    });
    let mut checks = vec![
        check("host", ready, word.to_owned()),
        check("store", status.store.available && status.store.behind_seconds.is_none(), status.store.told()),
        check("plugins", status.rejected.is_empty(), listed("rejected files", rejected)),
        check("modules", status.blocked.is_empty(), listed("blocked versions", blocked.collect())),
        check("tenants", status.failing_total == 0, listed("failing modules", failing.collect())),
        check("threads", status.stuck.is_empty(), listed("stuck threads", stuck.collect())),
        check("libraries", status.resident.is_empty(), listed("resident libraries", resident.collect())),
        check("unloading", status.can_unload, unloading.to_owned()),
    ];
    // Beside the store. That it is away is slower, and no more.
    let shared = status.store.tiers.as_ref().and_then(|tiers| tiers.shared.as_ref());
    let cache = shared.map(|it| check("cache", it.available, it.told().to_owned()));
    checks.splice(2..2, cache);
    checks.extend(definitions);
    checks
}

fn as_text(readiness: &Readiness) -> String {
    let mut text = String::new();
    for check in &readiness.checks {
        let sign = if check.ok { '+' } else { '-' };
        let _ = writeln!(text, "[{sign}] {}: {}", check.name, check.detail);
    }
    text.push_str(if readiness.ready { "ready\n" } else { "not ready\n" });
    text
}
