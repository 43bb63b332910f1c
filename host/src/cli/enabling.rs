//! `tenon enable` and `tenon disable`.

use std::fmt::Write;

use clap::ValueEnum;
use http::Method;
use serde_json::{Value, json};

use super::{
    answers::Change,
    args::{Disable, Enable, TenantAndModule},
    client::{Client, segment},
    failure::Failure,
    output::Output,
};

fn path(of: &TenantAndModule) -> String {
    format!("/admin/v1/tenants/{}/modules/{}", segment(&of.tenant), segment(&of.module))
}

/// Enables a module.
pub(super) fn enable(host: &Client, json: bool, asked: &Enable) -> Result<Output, Failure> {
    let mut body = json!({ "withDependencies": asked.with_dependencies, "dryRun": asked.dry_run });
    if let Some(range) = &asked.version {
        body["version"] = range.as_str().into();
    }
    if let Some(isolation) = asked.isolation.and_then(|isolation| isolation.to_possible_value()) {
        body["isolation"] = isolation.get_name().into();
    }
    let answer = host.send(Method::PUT, &path(&asked.of), Some(body))?;
    shown(host, json, &answer, &asked.of.module)
}

/// Disables a module.
pub(super) fn disable(host: &Client, json: bool, asked: &Disable) -> Result<Output, Failure> {
    let query = format!("?cascade={}&dryRun={}", asked.cascade, asked.dry_run);
    let answer = host.send(Method::DELETE, &format!("{}{query}", path(&asked.of)), None)?;
    shown(host, json, &answer, &asked.of.module)
}

fn shown(host: &Client, json: bool, answer: &Value, module: &str) -> Result<Output, Failure> {
    if json { Ok(Output::json(answer)) } else { Ok(Output::text(told(&host.view(answer)?, module))) }
}

/// What came of a change, or would.
pub(super) fn told(change: &Change, module: &str) -> String {
    let mut text = String::new();
    let tenant = &change.tenant_id;
    let lines = [("Enabled", "Would be enabled", &change.enabled), ("Disabled", "Would be disabled", &change.disabled)];
    for (done, planned, names) in lines {
        if !names.is_empty() {
            let what = if change.dry_run { planned } else { done };
            let _ = writeln!(text, "{what} for {tenant}: {}", names.join(", "));
        }
    }
    if change.enabled.is_empty() && change.disabled.is_empty() {
        let _ = match (change.changed, change.dry_run) {
            (true, false) => writeln!(text, "Changed for {tenant}: {module}"),
            (true, true) => writeln!(text, "Would be changed for {tenant}: {module}"),
            (false, _) => writeln!(text, "Already enabled for {tenant}: {module}"),
        };
    }
    if change.dry_run {
        let plan = &change.plan;
        for (what, names) in
            [("start", &plan.start), ("keep", &plan.keep), ("offer", &plan.offer), ("drain", &plan.drain)]
        {
            if !names.is_empty() {
                let _ = writeln!(text, "  {what:5}  {}", names.join(", "));
            }
        }
    }
    let _ = writeln!(text, "Revision: {}", change.revision);
    text
}
