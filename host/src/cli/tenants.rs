//! `tenon tenants`: who may use what.

use http::Method;
use serde_json::{Value, json};

use super::{
    answers::{Change, Invalidated, Tenant, TenantCors, TenantItem},
    args::Tenants,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Tenants) -> Result<Output, Failure> {
    let path = |id: &str| format!("/admin/v1/tenants/{}", segment(id));
    match what {
        Tenants::List => {
            let (tenants, unreadable) = all(host)?;
            if json {
                return Ok(Output::json(&json!({ "tenants": tenants, "unreadable": unreadable })));
            }
            let output = list(&host.view::<Vec<TenantItem>>(&Value::Array(tenants))?);
            let lines = unreadable.iter().filter_map(Value::as_str).map(|line| format!("warning: {line}"));
            Ok(lines.fold(output, Output::remark))
        }
        Tenants::Create { tenant, name } => {
            let mut body = json!({ "id": tenant.id });
            if let Some(name) = name {
                body["name"] = name.into();
            }
            let answer = host.send(Method::POST, "/admin/v1/tenants", Some(body))?;
            if json {
                return Ok(Output::json(&answer));
            }
            let made: Tenant = host.view(&answer)?;
            Ok(Output::text(format_args!("Tenant {} created (revision {})\n", made.tenant_id, made.revision)))
        }
        Tenants::Show(tenant) => {
            let answer = host.get(&path(&tenant.id))?;
            if json { Ok(Output::json(&answer)) } else { Ok(Output::text(show(&host.view(&answer)?))) }
        }
        Tenants::Load(tenant) => {
            let answer = host.send(Method::POST, &format!("{}/load", path(&tenant.id)), None)?;
            if json {
                return Ok(Output::json(&answer));
            }
            let change: Change = host.view(&answer)?;
            let output = Output::text(change.modules.iter().map(|name| format!("{name}\n")).collect::<String>());
            let nothing = format!("no module runs for tenant {}", change.tenant_id);
            Ok(if change.modules.is_empty() { output.remark(nothing) } else { output })
        }
        Tenants::Suspend(tenant) => {
            let answer = host.send(Method::POST, &format!("{}/suspend", path(&tenant.id)), None)?;
            told(host, json, &answer, "suspended")
        }
        Tenants::Resume(tenant) => {
            let answer = host.send(Method::POST, &format!("{}/resume", path(&tenant.id)), None)?;
            told(host, json, &answer, "active")
        }
        Tenants::Cors { tenant, clear: true, .. } => {
            told_cors(host, json, &host.send(Method::DELETE, &format!("{}/cors", path(&tenant.id)), None)?)
        }
        Tenants::Cors { tenant, origins, .. } if origins.is_empty() => {
            let answer = host.get(&format!("{}/cors", path(&tenant.id)))?;
            if json { Ok(Output::json(&answer)) } else { Ok(cors(&host.view(&answer)?)) }
        }
        Tenants::Cors { tenant, origins, max_age, credentials, clear: false } => {
            let mut body = json!({ "origins": origins, "credentials": credentials });
            if let Some(seconds) = max_age {
                body["maxAgeSeconds"] = seconds.into();
            }
            told_cors(host, json, &host.send(Method::PUT, &format!("{}/cors", path(&tenant.id)), Some(body))?)
        }
        Tenants::Delete { tenant, purge } => {
            let query = if purge { "?purge=true" } else { "" };
            let answer = host.send(Method::DELETE, &format!("{}{query}", path(&tenant.id)), None)?;
            if json {
                return Ok(Output::json(&answer));
            }
            Ok(Output::text(format_args!("Tenant {} deleted\n", tenant.id)))
        }
    }
}

fn told(host: &Client, json: bool, answer: &Value, state: &str) -> Result<Output, Failure> {
    if json {
        return Ok(Output::json(answer));
    }
    let Change { tenant_id, revision, changed, .. } = host.view(answer)?;
    let was = if changed { "is now" } else { "was already" };
    Ok(Output::text(format_args!("Tenant {tenant_id} {was} {state} (revision {revision})\n")))
}

fn told_cors(host: &Client, json: bool, answer: &Value) -> Result<Output, Failure> {
    if json {
        return Ok(Output::json(answer));
    }
    let Change { tenant_id, revision, changed, .. } = host.view(answer)?;
    let what = if changed { "changed" } else { "was so already" };
    Ok(Output::text(format_args!("CORS of {tenant_id} {what} (revision {revision})\n")))
}

pub(super) fn cors(of: &TenantCors) -> Output {
    let Some(cors) = &of.cors else {
        return Output::default().remark(format!("tenant {} has no rules for pages of other origins", of.tenant_id));
    };
    let mut facts = Table::new(&[]);
    for origin in &cors.origins {
        facts.row(["origin".to_owned(), origin.clone()]);
    }
    if let Some(seconds) = cors.max_age_seconds {
        facts.row(["max age".to_owned(), format!("{seconds} s")]);
    }
    facts.row(["credentials".to_owned(), cors.credentials.to_string()]);
    Output::text(facts)
}

/// All pages.
fn all(host: &Client) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let (mut tenants, mut unreadable) = (Vec::new(), Vec::new());
    let mut path = "/admin/v1/tenants?limit=200".to_owned();
    loop {
        let mut page = host.get(&path)?;
        for (member, into) in [("tenants", &mut tenants), ("unreadable", &mut unreadable)] {
            if let Some(items) = page.get_mut(member).and_then(Value::as_array_mut) {
                into.append(items);
            }
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else { return Ok((tenants, unreadable)) };
        path = format!("/admin/v1/tenants?limit=200&cursor={}", segment(next));
    }
}

pub(super) fn list(tenants: &[TenantItem]) -> Output {
    let mut table = Table::new(&["TENANT", "NAME", "STATUS", "REVISION", "MODULES"]);
    for tenant in tenants {
        table.row([
            tenant.tenant_id.clone(),
            tenant.name.clone(),
            tenant.status.clone(),
            tenant.revision.to_string(),
            tenant.modules.join(", "),
        ]);
    }
    if table.is_empty() { Output::default().remark("there are no tenants") } else { Output::text(table) }
}

pub(super) fn show(tenant: &Tenant) -> String {
    let mut facts = Table::new(&[]);
    facts.row(["tenant".to_owned(), tenant.tenant_id.clone()]);
    facts.row(["name".to_owned(), tenant.name.clone()]);
    facts.row(["status".to_owned(), tenant.status.clone()]);
    facts.row(["revision".to_owned(), tenant.revision.to_string()]);
    facts.row(["updated".to_owned(), tenant.updated_at.clone().unwrap_or_default()]);
    let mut text = facts.to_string();
    if !tenant.enabled_modules.is_empty() {
        let mut modules = Table::new(&["MODULE", "WANTED", "RUNS", "ISOLATION", "STATE", "REASON"]);
        for enabled in &tenant.enabled_modules {
            let state = &enabled.state;
            let reason = match (&state.code, &state.reason) {
                (Some(code), Some(reason)) => format!("{code}: {reason}"),
                (code, reason) => code.clone().or_else(|| reason.clone()).unwrap_or_default(),
            };
            modules.row([
                enabled.module_id.clone(),
                enabled.version.clone(),
                state.version.clone().unwrap_or_default(),
                enabled.isolation.clone(),
                state.is.clone(),
                reason,
            ]);
        }
        text = format!("{text}\n{modules}");
    }
    if !tenant.feature_flags.is_empty() {
        let mut flags = Table::new(&["FLAG", "VALUE"]);
        for (name, value) in &tenant.feature_flags {
            flags.row([name.clone(), value.to_string()]);
        }
        text = format!("{text}\n{flags}");
    }
    text
}

/// Has a tenant, or all, read again.
pub(super) fn invalidate(host: &Client, json: bool, tenant: Option<&str>) -> Result<Output, Failure> {
    let path = tenant.map_or("/admin/v1/invalidate".to_owned(), |tenant| {
        format!("/admin/v1/tenants/{}/invalidate", segment(tenant))
    });
    let answer = host.send(Method::POST, &path, None)?;
    if json {
        return Ok(Output::json(&answer));
    }
    let Invalidated { tenants } = host.view(&answer)?;
    Ok(Output::text(format_args!("In memory, and read again: {tenants}\n")))
}
