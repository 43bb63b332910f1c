//! `tenon modules`: what could run.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
};

use http::Method;
use serde_json::{Value, json};

use super::{
    answers::{Module, Node, Order, Registry, Tree},
    args::Modules,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    report::{kept_out, leaving},
    table::{Table, plain},
};

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: Modules) -> Result<Output, Failure> {
    match what {
        Modules::List => {
            let answer = host.get("/admin/v1/modules")?;
            if json { Ok(Output::json(&answer)) } else { Ok(list(&host.view(&answer)?)) }
        }
        Modules::Show { name } => {
            let answer = host.get(&format!("/admin/v1/modules/{}", segment(&name)))?;
            if json { Ok(Output::json(&answer)) } else { Ok(Output::text(show(&host.view(&answer)?))) }
        }
        Modules::Tree { name } => {
            let answer = host.get(&format!("/admin/v1/modules/{}/tree", segment(&name)))?;
            if json { Ok(Output::json(&answer)) } else { Ok(tree(&host.view(&answer)?)) }
        }
        Modules::Order { names } => {
            let answer = host.send(Method::POST, "/admin/v1/modules/order", Some(json!({ "names": names })))?;
            if json {
                return Ok(Output::json(&answer));
            }
            let order: Order = host.view(&answer)?;
            Ok(Output::text(order.order.iter().map(|name| format!("{name}\n")).collect::<String>()))
        }
    }
}

pub(super) fn list(registry: &Registry) -> Output {
    let mut table = Table::new(&["MODULE", "VERSION", "STATE", "TENANTS", "INSTANCES", "FILE"]);
    for module in &registry.modules {
        for version in &module.versions {
            table.row([
                module.name.clone(),
                version.version.clone(),
                version.state.clone(),
                version.tenants.to_string(),
                version.instances.to_string(),
                version.path.clone(),
            ]);
        }
    }
    let problems = registry.modules.iter().flat_map(|module| {
        module.versions.iter().flat_map(|version| {
            let of = format!("{} {}", module.name, version.version);
            version.problems.iter().map(move |problem| format!("{of}: {}: {}", problem.code, plain(&problem.text)))
        })
    });
    let mut text = if table.is_empty() { String::new() } else { table.to_string() };
    let problems: Vec<String> = problems.collect();
    if !problems.is_empty() {
        let _ = write!(text, "\nBlocked\n{}\n", problems.join("\n"));
    }
    kept_out(&mut text, &registry.rejected);
    leaving(&mut text, &registry.leaving);
    let output = Output::text(text.trim_start_matches('\n'));
    if registry.modules.is_empty() { output.remark("there are no modules") } else { output }
}

/// Facts of the manifest, a line each; those that it does not have are left out.
fn show(module: &Module) -> String {
    let mut text = String::new();
    for version in &module.versions {
        let manifest = &version.manifest;
        let mut table = Table::new(&[]);
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                table.row([format!("  {name}"), value]);
            }
        };
        let text_of = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list_of = |key: &str| {
            let items = manifest.get(key).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        let entries_of = |key: &str| manifest.get(key).and_then(Value::as_object).into_iter().flatten();
        fact("state", version.state.clone());
        for problem in &version.problems {
            fact("problem", format!("{}: {}", problem.code, problem.text));
        }
        fact("file", version.path.clone());
        fact("name", text_of("display-name"));
        fact("description", text_of("description"));
        fact("category", text_of("category"));
        fact("authors", list_of("authors"));
        fact("license", text_of("license"));
        fact("host-api", text_of("host-api"));
        for (name, dependency) in entries_of("dependencies") {
            let range = dependency.get("version").and_then(Value::as_str).unwrap_or("*");
            let optional = dependency.get("optional").and_then(Value::as_bool).unwrap_or(false);
            fact("needs", format!("{name} {range}{}", if optional { " (optional)" } else { "" }));
        }
        fact("provides to", list_of("provides-to"));
        let models: Vec<&str> = entries_of("models").map(|(name, _)| name.as_str()).collect();
        fact("models", models.join(", "));
        for (name, value) in entries_of("features") {
            fact("feature", format!("{name} = {value}"));
        }
        let base = manifest.pointer("/routes/base").and_then(Value::as_str).unwrap_or_default();
        for endpoint in manifest.pointer("/routes/endpoints").and_then(Value::as_array).into_iter().flatten() {
            fact("route", route(base, endpoint));
        }
        fact("note", version.unload_note.clone().unwrap_or_default());
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{gap}{} {}\n{table}", module.name, version.version);
    }
    text
}

fn route(base: &str, endpoint: &Value) -> String {
    let text_of = |key: &str| endpoint.get(key).and_then(Value::as_str).unwrap_or_default();
    let path = text_of("path");
    let mut line = format!("{} {base}{}", text_of("method"), if path == "/" { "" } else { path });
    let roles = endpoint.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles: Vec<&str> = roles.filter_map(Value::as_str).collect();
    if endpoint.get("auth") == Some(&Value::Bool(false)) {
        line.push_str("  open to all");
    }
    if !roles.is_empty() {
        let _ = write!(line, "  roles: {}", roles.join(", "));
    }
    if !text_of("feature").is_empty() {
        let _ = write!(line, "  feature: {}", text_of("feature"));
    }
    line
}

/// What a module needs, indented below it. A module that was shown is not unfolded again, so a circle ends.
pub(super) fn tree(tree: &Tree) -> Output {
    let nodes: HashMap<&str, &Node> = tree.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let version = nodes.get(tree.module.as_str()).and_then(|node| node.version.as_deref()).unwrap_or("?");
    let mut text = format!("{} {version}\n", tree.module);
    unfold(&mut text, &tree.module, 1, &nodes, &mut BTreeSet::new());
    let output = Output::text(text);
    if tree.valid { output } else { output.remark(format!("note: {}", tree.message)) }
}

fn unfold<'a>(
    text: &mut String,
    name: &'a str,
    depth: usize,
    nodes: &HashMap<&str, &'a Node>,
    shown: &mut BTreeSet<&'a str>,
) {
    let Some(node) = nodes.get(name) else { return };
    shown.insert(name);
    for dependency in &node.dependencies {
        let version = nodes.get(dependency.name.as_str()).and_then(|node| node.version.as_deref());
        let _ = write!(text, "{:indent$}{} {}", "", dependency.name, dependency.range, indent = 2 * depth);
        let has_more = nodes.get(dependency.name.as_str()).is_some_and(|node| !node.dependencies.is_empty());
        text.push_str(&match version {
            // Optional dependencies are not part of what the host was asked for.
            _ if dependency.optional => " (optional)\n".to_owned(),
            None => " (not in the registry)\n".to_owned(),
            Some(version) if has_more && shown.contains(dependency.name.as_str()) => {
                format!(" (here: {version}; see above)\n")
            }
            Some(version) => format!(" (here: {version})\n"),
        });
        if !dependency.optional && !shown.contains(dependency.name.as_str()) {
            unfold(text, &dependency.name, depth + 1, nodes, shown);
        }
    }
}
