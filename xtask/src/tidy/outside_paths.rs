//! Nothing refers to a folder outside the project: what works on one machine only is found here.

use super::{
    Finding,
    links::links,
    tree::{File, Tree, follow},
};

/// Folders in which people and machines keep projects and scratch files; written without their slash, or this file
/// would find itself.
const OF_ONE_MACHINE: &[&str] = &["home", "root", "tmp", "work", "Users"];

/// A folder beside the project.
const BESIDE: &str = "shared";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (index, line) in file.text.lines().enumerate() {
            for place in absolute(line) {
                findings.push(Finding::new(&file.path, index + 1, format!("`{place}` is a folder of one machine")));
            }
        }
        for (line, path) in relative(file) {
            if follow(file.folder(), path).is_none() {
                findings.push(Finding::new(&file.path, line, format!("`{path}` leads out of the project")));
            }
        }
    }
    findings
}

/// What a line says of other machines' folders, and of the one beside.
fn absolute(line: &str) -> Vec<String> {
    let part_of_path = |sign: char| sign.is_alphanumeric() || "_-.~}$/)>]".contains(sign);
    let mut found: Vec<String> = Vec::new();
    for name in OF_ONE_MACHINE {
        let folder = format!("/{name}");
        for (at, _) in line.match_indices(&folder) {
            let begins = !line[..at].ends_with(part_of_path);
            let ends =
                !line[at + folder.len()..].starts_with(|sign: char| sign.is_alphanumeric() || "_-.".contains(sign));
            if begins && ends {
                found.push(folder.clone());
            }
        }
    }
    let beside = format!("../{BESIDE}");
    found.extend(line.contains(&beside).then_some(beside));
    found
}

/// The relative paths that a file refers to, with their lines, as far as they climb: links of a page, values of a
/// TOML file, files that a source includes.
fn relative(file: &File) -> Vec<(usize, &str)> {
    if file.path.ends_with(".md") {
        return links(&file.text);
    }
    if let Some(code) = &file.code {
        const INCLUDES: &[&str] = &["include_str!(", "include_bytes!(", "include!(", "#[path ="];
        let climbing = code.literals().iter().filter(|literal| {
            let before = code.text()[..literal.at].trim_end();
            INCLUDES.iter().any(|include| before.ends_with(include))
        });
        return climbing.map(|literal| (code.line_of(literal.at), literal.text.as_str())).collect();
    }
    if file.path.ends_with(".toml") {
        let lines = file.text.lines().enumerate();
        let values = lines.flat_map(|(index, line)| {
            line.split('"')
                .skip(1)
                .step_by(2)
                .filter(|value| value.starts_with("../"))
                .map(move |value| (index + 1, value))
        });
        return values.collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn folders_of_one_machine_are_found() {
        for name in OF_ONE_MACHINE {
            let text = format!("see \"/{name}/x\"\nurl https://a.b/{name}/x and ./{name} and /{name}ing\n");
            assert_eq!(
                findings_in(check, &[("a.md", &text)]),
                [format!("a.md:1: `/{name}` is a folder of one machine")]
            );
        }
    }

    #[test]
    fn paths_out_of_the_project_are_found() {
        let source = "const A: &str = include_str!(\"../../a.md\");\nconst B: &str = \"../../../x\";\n#[path = \"../../../b.rs\"]\n";
        let found = findings_in(
            check,
            &[
                ("docs/a.md", "[in](../README.md) [out](../../x.md)\n```\ncd ../..\n```\n"),
                ("host/Cargo.toml", "a = { path = \"../module-api\" }\nb = { path = \"../../b\" }\n"),
                ("host/src/lib.rs", source),
                ("host/src/b.rs", &format!("// see ../{BESIDE}/page")),
            ],
        );
        assert_eq!(
            found,
            [
                "docs/a.md:1: `../../x.md` leads out of the project".to_owned(),
                "host/Cargo.toml:2: `../../b` leads out of the project".to_owned(),
                format!("host/src/b.rs:1: `../{BESIDE}` is a folder of one machine"),
                "host/src/lib.rs:3: `../../../b.rs` leads out of the project".to_owned(),
            ]
        );
    }
}
