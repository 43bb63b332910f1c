//! `tenon keys`: API keys of a tenant.

use http::Method;
use serde_json::json;

use super::{
    answers::{Change, KeyList, MadeKey},
    args::Keys,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Keys) -> Result<Output, Failure> {
    let path = |tenant: &str| format!("/admin/v1/tenants/{}/keys", segment(tenant));
    match what {
        Keys::List { tenant } => {
            let answer = host.get(&path(&tenant))?;
            if json { Ok(Output::json(&answer)) } else { Ok(list(&host.view(&answer)?)) }
        }
        Keys::Create { tenant, name, scopes, expires } => {
            let mut body = json!({ "name": name, "scopes": scopes });
            if let Some(expires) = expires {
                body["expiresAt"] = expires.into();
            }
            let answer = host.send(Method::POST, &path(&tenant), Some(body))?;
            if json {
                return Ok(Output::json(&answer));
            }
            let MadeKey { tenant_id, id, key } = host.view(&answer)?;
            // The key alone is data, so that it can go straight into a file.
            let remark = format!("key {id} of {tenant_id}: it is shown this once, keep it where secrets are kept");
            Ok(Output::text(format_args!("{key}\n")).remark(remark))
        }
        Keys::Revoke { tenant, key } => {
            let answer = host.send(Method::DELETE, &format!("{}/{}", path(&tenant), segment(&key)), None)?;
            if json {
                return Ok(Output::json(&answer));
            }
            let Change { tenant_id, revision, .. } = host.view(&answer)?;
            Ok(Output::text(format_args!("Key {key} of {tenant_id} revoked (revision {revision})\n")))
        }
    }
}

fn list(list: &KeyList) -> Output {
    let mut table = Table::new(&["KEY", "NAME", "SCOPES", "CREATED", "EXPIRES"]);
    for key in &list.keys {
        let expires = key.expires_at.clone().unwrap_or_default();
        table.row([
            key.id.clone(),
            key.name.clone(),
            key.scopes.join(", "),
            key.created_at.clone().unwrap_or_default(),
            if key.expired { format!("{expires} (expired)") } else { expires },
        ]);
    }
    if table.is_empty() { Output::default().remark("the tenant has no keys") } else { Output::text(table) }
}
