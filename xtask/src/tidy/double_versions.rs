//! Two versions of a crate in what is built need a written reason. Dependencies of tests and of other platforms
//! don't count: they are in nobody's program.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    failure::Result,
    workspace::{Workspace, output_of},
};

use super::{Finding, tree::Tree};

const REASONS: &str = "docs/decisions/double-versions.toml";

/// What is compiled into the programs of this project: each crate with its versions.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<String, BTreeSet<String>>);

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
    /// Asks cargo, for the platform this runs on. `cargo metadata` won't do: it adds what features of tests ask for.
    pub(super) fn of(workspace: &Workspace) -> Result<Self> {
        let arguments = ["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
        Ok(Self::parse(&output_of(&mut workspace.cargo(arguments))?))
    }

    /// Reads lines such as `syn v2.0.119` and `clap_derive v4.6.9 (proc-macro) (*)`.
    fn parse(tree: &str) -> Self {
        let mut graph = Self::default();
        for line in tree.lines() {
            let mut words = line.split(' ');
            if let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) {
                graph.0.entry(name.to_owned()).or_default().insert(line_of_versions(version));
            }
        }
        graph
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

    const CARGO_TREE: &str = "\
a v1.0.0 (/p/a)
b v1.9.0
b v1.9.0 (*)
c v0.3.4 (proc-macro)
b v2.0.0

d v1.0.0
";

    fn check_with(reasons: &str) -> Vec<String> {
        let found = check(&Tree::of(&[(REASONS, reasons)]), &Graph::parse(CARGO_TREE));
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
