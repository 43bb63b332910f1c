//! `tenon rollback` and `tenon quarantine`: versions that are left, modules that are stopped, and the way out.

use http::Method;
use serde_json::json;

use super::{
    answers::{LetGo, MarkItem, MarkList, Released, RolledBack},
    args::{Quarantine, Rollback},
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};

/// Goes back to the version before.
pub(super) fn roll_back(host: &Client, json: bool, what: &Rollback) -> Result<Output, Failure> {
    let path = format!("/admin/v1/modules/{}/rollback", segment(&what.module));
    let answer = host.send(Method::POST, &path, Some(json!({ "tenantId": what.tenant })))?;
    if json {
        return Ok(Output::json(&answer));
    }
    let RolledBack { module, from, to } = host.view(&answer)?;
    let whom = what.tenant.as_deref().map_or("all tenants".to_owned(), |tenant| format!("tenant {tenant}"));
    Ok(Output::default().remark(format!("{module} {from} is left for {to} for {whom}")))
}

/// Lists what is held against contents, or takes it away.
pub(super) fn run(host: &Client, json: bool, what: Quarantine) -> Result<Output, Failure> {
    match what {
        Quarantine::List => {
            let answer = host.get("/admin/v1/marks")?;
            if json {
                return Ok(Output::json(&answer));
            }
            let list: MarkList = host.view(&answer)?;
            let output = Output::text(table(&list.marks));
            Ok(match list.safe_mode {
                None => output,
                Some(released) => output.remark(safe_mode(&released)),
            })
        }
        Quarantine::Release { module, tenant } => {
            let path = format!("/admin/v1/modules/{}/release", segment(&module));
            let answer = host.send(Method::POST, &path, Some(json!({ "tenantId": tenant })))?;
            if json {
                return Ok(Output::json(&answer));
            }
            let Released { module, released, was_off } = host.view(&answer)?;
            Ok(Output::default().remark(match released {
                0 if was_off => format!("{module} may run on this host, which is in safe mode"),
                0 => format!("nothing is held against {module}"),
                1 => format!("{module} is released: 1 mark is gone"),
                more => format!("{module} is released: {more} marks are gone"),
            }))
        }
    }
}

/// What safe mode keeps off, in a line.
fn safe_mode(released: &[LetGo]) -> String {
    let released: Vec<_> = released
        .iter()
        .map(|LetGo { module, tenant_id }| match tenant_id {
            Some(tenant) => format!("{module} for {tenant}"),
            None => module.clone(),
        })
        .collect();
    let but = if released.is_empty() { String::new() } else { format!(" but {}", released.join(", ")) };
    format!("this host is in safe mode: all modules{but} are off")
}

/// Marks as a table.
pub(super) fn table(marks: &[MarkItem]) -> Table {
    let mut table = Table::new(&["MODULE", "VERSION", "CONTENT", "TENANT", "KIND", "SINCE", "REASON"]);
    for mark in marks {
        table.row([
            mark.module.clone(),
            mark.version.clone(),
            mark.hash.chars().take(12).collect(),
            mark.tenant_id.clone().unwrap_or_else(|| "all".to_owned()),
            mark.kind.clone(),
            mark.marked_at.clone(),
            mark.reason.clone(),
        ]);
    }
    table
}
