//! `tenon definitions`: flags defined for all tenants, kept in the store.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use http::Method;
use serde_json::{Value, json};

use super::{
    answers::DefinitionsChange,
    args::{Definitions, IfRevision},
    client::{Client, segment},
    failure::Failure,
    output::Output,
};

const SET: &str = "/admin/v1/flag-definitions";

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Definitions) -> Result<Output, Failure> {
    let of = |flag: &str| format!("{SET}/{}", segment(flag));
    let (told, answer) = match what {
        Definitions::Show { flag } => {
            let (revision, text) = host.text(&flag.as_deref().map_or_else(|| SET.to_owned(), of))?;
            let end = if text.ends_with('\n') { "" } else { "\n" };
            return Ok(Output::text(format_args!("{text}{end}")).remark(format!("revision {revision}")));
        }
        Definitions::Set { file, based } => {
            ("Flags are defined", host.write(Method::PUT, SET, based.revision, Some(read(&file)?))?)
        }
        Definitions::SetFlag { flag, file, based } => {
            ("The flag is defined", host.write(Method::PUT, &of(&flag), based.revision, Some(read(&file)?))?)
        }
        Definitions::Enable { flag, based } => ("The flag is enabled", state(host, &of(&flag), &based, "ENABLED")?),
        Definitions::Disable { flag, based } => ("The flag is disabled", state(host, &of(&flag), &based, "DISABLED")?),
        Definitions::Remove { flag: Some(flag), based, .. } => {
            ("The flag is defined no more", host.write(Method::DELETE, &of(&flag), based.revision, None)?)
        }
        Definitions::Remove { flag: None, based, .. } => {
            ("No flag is defined any more", host.write(Method::DELETE, SET, based.revision, None)?)
        }
    };
    if json {
        return Ok(Output::json(&answer));
    }
    let DefinitionsChange { revision, flags, changed, in_force, warnings } = host.view(&answer)?;
    let told = if changed { told } else { "It was so already" };
    let number = if flags == 1 { "1 flag".to_owned() } else { format!("{flags} flags") };
    let mut output = Output::text(format_args!("{told} ({number}, revision {revision})\n"));
    output.remarks.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    Ok(if in_force { output } else { output.remark("it is stored, but not in force yet: see `tenon status`") })
}

fn state(host: &Client, path: &str, based: &IfRevision, state: &str) -> Result<Value, Failure> {
    host.write(Method::PATCH, path, based.revision, Some(json!({ "state": state }).to_string()))
}

/// A file as it stands, or what comes on stdin.
fn read(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    read.map_err(|error| Failure::Usage(format!("`{}`: {error}", file.display())))
}
