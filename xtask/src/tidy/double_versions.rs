//! Two versions of a crate in what is built need a written reason. Dependencies of tests and of other platforms
//! don't count: they are in nobody's program.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    failure::{Doing, Failure, Result},
    workspace::{Workspace, output_of},
};

use super::{Finding, tree::Tree};

const REASONS: &str = "docs/decisions/double-versions.toml";

/// What is compiled into the programs of this project: each crate with its versions.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<String, BTreeSet<String>>);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev`, `build`, or nothing for a normal one.
    kind: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Reasons {
    #[serde(default)]
    double: Vec<Reason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    #[serde(rename = "crate")]
    name: String,
    versions: BTreeSet<String>,
    reason: String,
}

impl Graph {
    /// Asks cargo, for the platform this runs on.
    pub(super) fn of(workspace: &Workspace) -> Result<Self> {
        let about = output_of(std::process::Command::new("rustc").args(["--version", "--verbose"]))?;
        let platform = about
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .ok_or_else(|| Failure::new("rustc does not say which platform it runs on"))?;
        let text =
            output_of(&mut workspace.cargo(["metadata", "--format-version", "1", "--filter-platform", platform]))?;
        Self::parse(&text)
    }

    fn parse(metadata: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata).doing(|| "read what cargo metadata says".to_owned())?;
        let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
            let built = dependencies
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
            next.extend(built.map(|dependency| dependency.pkg.as_str()));
        }
        let mut graph = Self::default();
        for package in metadata.packages.iter().filter(|package| seen.contains(package.id.as_str())) {
            graph.0.entry(package.name.clone()).or_default().insert(line_of_versions(&package.version));
        }
        Ok(graph)
    }
}

/// The part of a version that tells incompatible ones apart, as in Cargo's requirements: `1`, `0.7`, `0.0.3`. An
/// update within it changes no reason.
fn line_of_versions(version: &str) -> String {
    let parts: Vec<&str> = version.split(['.', '+', '-']).collect();
    let count = 1 + parts.iter().take(2).take_while(|part| **part == "0").count();
    parts[..count.min(parts.len())].join(".")
}

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let reasons = match tree.file(REASONS).map(|file| toml::from_str::<Reasons>(&file.text)).transpose() {
        Ok(reasons) => reasons.unwrap_or_default(),
        Err(error) => return vec![Finding::new(REASONS, 0, error.message())],
    };
    let list = |versions: &BTreeSet<String>| versions.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut findings = Vec::new();
    for (name, versions) in graph.0.iter().filter(|(_, versions)| versions.len() > 1) {
        match reasons.double.iter().find(|reason| reason.name == *name) {
            None => findings.push(Finding::new(
                "Cargo.lock",
                0,
                format!(
                    "`{name}` is built in versions {}: drop one, or give the reason in {REASONS} \
                     (`cargo tree --duplicates` shows who asks)",
                    list(versions)
                ),
            )),
            Some(reason) if reason.versions != *versions => findings.push(Finding::new(
                REASONS,
                0,
                format!("`{name}` is built in versions {}, not {}", list(versions), list(&reason.versions)),
            )),
            Some(_) => {}
        }
    }
    for reason in &reasons.double {
        if graph.0.get(&reason.name).is_none_or(|versions| versions.len() < 2) {
            findings.push(Finding::new(REASONS, 0, format!("`{}` is no longer double: delete its entry", reason.name)));
        }
        if reason.reason.trim().is_empty() {
            findings.push(Finding::new(REASONS, 0, format!("`{}` has no reason", reason.name)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a -> b 1, c; c -> b 2; a -dev-> d 1, d 2.
    const METADATA: &str = r#"{
        "workspace_members": ["a"],
        "packages": [
            {"id": "a", "name": "a", "version": "1.0.0"}, {"id": "c", "name": "c", "version": "0.3.4"},
            {"id": "b1", "name": "b", "version": "1.9.0"}, {"id": "b2", "name": "b", "version": "2.0.0"},
            {"id": "d1", "name": "d", "version": "1.0.0"}, {"id": "d2", "name": "d", "version": "2.0.0"}
        ],
        "resolve": {"nodes": [
            {"id": "a", "deps": [
                {"pkg": "b1", "dep_kinds": [{"kind": null}]}, {"pkg": "c", "dep_kinds": [{"kind": "build"}]},
                {"pkg": "d1", "dep_kinds": [{"kind": "dev"}]}, {"pkg": "d2", "dep_kinds": [{"kind": "dev"}]}
            ]},
            {"id": "c", "deps": [{"pkg": "b2", "dep_kinds": [{"kind": null}]}]}
        ]}
    }"#;

    fn check_with(reasons: &str) -> Vec<String> {
        let found = check(&Tree::of(&[(REASONS, reasons)]), &Graph::parse(METADATA).unwrap());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_double_needs_a_reason() {
        let found = check_with("");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("Cargo.lock: `b` is built in versions 1, 2: drop one"), "{found:?}");
        assert!(check_with("[[double]]\ncrate = \"b\"\nversions = [\"1\", \"2\"]\nreason = \"c is slow\"").is_empty());
    }

    #[test]
    fn a_reason_that_no_longer_fits_is_found() {
        let text = "[[double]]\ncrate = \"b\"\nversions = [\"1\"]\nreason = \" \"\n\
                    [[double]]\ncrate = \"d\"\nversions = [\"1\", \"2\"]\nreason = \"x\"";
        assert_eq!(
            check_with(text),
            [
                format!("{REASONS}: `b` is built in versions 1, 2, not 1"),
                format!("{REASONS}: `b` has no reason"),
                format!("{REASONS}: `d` is no longer double: delete its entry"),
            ]
        );
        assert_eq!(check_with("[[double]]\nname = 1").len(), 1);
    }

    #[test]
    fn versions_are_told_apart_as_cargo_does() {
        for (version, line) in [("1.2.3", "1"), ("0.7.4", "0.7"), ("0.0.3", "0.0.3"), ("2.0.0-rc.1", "2")] {
            assert_eq!(line_of_versions(version), line);
        }
    }
}
