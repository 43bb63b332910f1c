//! `tenon settings`: what a tenant has set for a module.

use std::{fs, path::Path};

use http::Method;
use serde_json::{Map, Value};

use super::{
    answers::Change,
    args::Settings,
    client::{Client, segment},
    failure::Failure,
    output::Output,
};

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Settings) -> Result<Output, Failure> {
    let path =
        |tenant: &str, module: &str| format!("/admin/v1/tenants/{}/settings/{}", segment(tenant), segment(module));
    match what {
        Settings::Get { of, key } => {
            let answer = host.get(&path(&of.tenant, &of.module))?;
            let settings = answer.get("settings").cloned().unwrap_or_default();
            match key {
                None if json => Ok(Output::json(&answer)),
                None => Ok(Output::text(format_args!("{settings:#}\n"))),
                Some(key) => {
                    let found = key.split('.').try_fold(&settings, |value, name| value.get(name));
                    let value = found.ok_or_else(|| Failure::Usage(format!("`{key}` is not set")))?;
                    Ok(if json { Output::json(value) } else { Output::text(format_args!("{value}\n")) })
                }
            }
        }
        Settings::Set { of, assignments, from_file } => {
            let (method, body) = match from_file {
                Some(file) => (Method::PUT, read(&file)?),
                None => (Method::PATCH, patch(&assignments)?),
            };
            told(host, json, &host.send(method, &path(&of.tenant, &of.module), Some(Value::Object(body)))?)
        }
        Settings::Unset { of, keys } if keys.is_empty() => {
            told(host, json, &host.send(Method::DELETE, &path(&of.tenant, &of.module), None)?)
        }
        Settings::Unset { of, keys } => {
            let mut body = Map::new();
            for key in &keys {
                place(&mut body, key, Value::Null)?;
            }
            told(host, json, &host.send(Method::PATCH, &path(&of.tenant, &of.module), Some(Value::Object(body)))?)
        }
    }
}

fn read(file: &Path) -> Result<Map<String, Value>, Failure> {
    let unfit = |why: String| Failure::Usage(format!("`{}`: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| unfit(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unfit(format!("no JSON object: {error}")))
}

/// What the assignments change, as a merge patch. A value that is not JSON is a text.
pub(super) fn patch(assignments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Failure::Usage(format!("`{assignment}` is no assignment, as in `server=mail.example.com`")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if value.is_null() {
            return Err(Failure::Usage(format!("`{key}` can't be null; `tenon settings unset` takes it away")));
        }
        place(&mut body, key, value)?;
    }
    Ok(body)
}

/// Puts a value where a key with dots says.
fn place(body: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), Failure> {
    let clash = || Failure::Usage(format!("`{key}` is no key, or contradicts another one"));
    if key.split('.').any(str::is_empty) {
        return Err(clash());
    }
    let mut into = body;
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            return if into.insert(name.to_owned(), value).is_none() { Ok(()) } else { Err(clash()) };
        }
        let inner = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
        into = inner.as_object_mut().ok_or_else(clash)?;
    }
    Err(clash())
}

fn told(host: &Client, json: bool, answer: &Value) -> Result<Output, Failure> {
    if json {
        return Ok(Output::json(answer));
    }
    let Change { tenant_id, revision, changed, .. } = host.view(answer)?;
    let what = if changed { "changed" } else { "were so already" };
    Ok(Output::text(format_args!("Settings of {tenant_id} {what} (revision {revision})\n")))
}
