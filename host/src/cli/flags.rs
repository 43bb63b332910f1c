//! `tenon flags`: features of a tenant.

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    answers::{Change, Flag, FlagList},
    args::Flags,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};
use crate::flags::parse_assignment;

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Flags) -> Result<Output, Failure> {
    let path = |tenant: &str| format!("/admin/v1/tenants/{}/flags", segment(tenant));
    match what {
        Flags::List { tenant } => {
            let answer = host.get(&path(&tenant))?;
            if json { Ok(Output::json(&answer)) } else { Ok(list(&host.view(&answer)?)) }
        }
        Flags::Get { of } => {
            let answer = host.get(&format!("{}/{}", path(&of.tenant), segment(&of.flag)))?;
            if json {
                return Ok(Output::json(&answer));
            }
            let flag: Flag = host.view(&answer)?;
            let variant = flag.variant.as_ref().map(|variant| format!(", variant {variant}")).unwrap_or_default();
            let why = format!("from {}{variant} ({})", from(&flag), flag.reason);
            let output = Output::text(format_args!("{}\n", flag.value)).remark(why);
            Ok(match flag.cause {
                Some(cause) => output.remark(cause),
                None => output,
            })
        }
        Flags::Set { tenant, assignments } => {
            let changes = read(&assignments)?;
            let answer = host.send(Method::PATCH, &path(&tenant), Some(Value::Object(changes)))?;
            told(host, json, &answer)
        }
        Flags::Unset { of } => {
            let answer = host.send(Method::PATCH, &path(&of.tenant), Some(json!({ of.flag: null })))?;
            told(host, json, &answer)
        }
    }
}

/// Reads all assignments, or says all that is wrong with any.
pub(super) fn read(assignments: &[String]) -> Result<Map<String, Value>, Failure> {
    let (mut changes, mut errors) = (Map::new(), Vec::new());
    for assignment in assignments {
        match parse_assignment(assignment) {
            Ok((flag, value)) => drop(changes.insert(flag.as_str().to_owned(), value)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(changes) } else { Err(Failure::Flags(errors)) }
}

fn told(host: &Client, json: bool, answer: &Value) -> Result<Output, Failure> {
    if json {
        return Ok(Output::json(answer));
    }
    let Change { tenant_id, revision, changed, .. } = host.view(answer)?;
    let what = if changed { "changed" } else { "were so already" };
    Ok(Output::text(format_args!("Flags of {tenant_id} {what} (revision {revision})\n")))
}

pub(super) fn list(list: &FlagList) -> Output {
    let mut table = Table::new(&["FLAG", "VALUE", "FROM", "VARIANT", "REASON"]);
    for flag in &list.flags {
        let variant = flag.variant.clone().unwrap_or_else(|| "-".to_owned());
        table.row([flag.name.clone(), flag.value.to_string(), from(flag), variant, flag.reason.clone()]);
    }
    if table.is_empty() {
        return Output::default().remark("the tenant has no flags");
    }
    let mut output = Output::text(table);
    let causes = list.flags.iter().filter_map(|flag| flag.cause.clone());
    // A flag is there once for each module that declares it.
    output.remarks.extend(causes);
    output.remarks.dedup();
    output
}

fn from(flag: &Flag) -> String {
    flag.module.as_ref().map_or_else(|| flag.source.clone(), |module| format!("module {module}"))
}
