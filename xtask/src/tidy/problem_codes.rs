//! Every code that the host answers with is explained to those who get it, and is asserted by a test.

use super::{
    Finding,
    code::places_of_word,
    tree::{File, Tree},
};

const TABLE: &str = "host/src/problem/code.rs";
const GUIDE: &str = "docs/troubleshooting.md";
const HEADING: &str = "## ";
const TEST_PART: &str = "#[cfg(test)]";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.file(TABLE) else {
        return vec![Finding::new(TABLE, 0, "the table of codes is not here, so none can be checked")];
    };
    let codes = codes(table);
    let guide = tree.file(GUIDE).map_or("", |file| &file.text);
    let tests: Vec<&str> =
        tree.files().iter().filter(|file| !file.path.starts_with("host/src/problem/")).filter_map(test_part).collect();

    let mut findings = Vec::new();
    for (line, code) in &codes {
        if !headings(guide).any(|(_, heading)| heading == *code) {
            findings.push(Finding::new(TABLE, *line, format!("`{code}` has no entry `{HEADING}{code}` in {GUIDE}")));
        }
        if !tests.iter().any(|test| !places_of_word(test, code).is_empty()) {
            findings.push(Finding::new(TABLE, *line, format!("`{code}` is asserted by no test")));
        }
    }
    for (line, heading) in headings(guide) {
        if is_code(heading) && codes.iter().all(|(_, code)| *code != heading) {
            findings.push(Finding::new(GUIDE, line, format!("`{heading}` is no code of {TABLE}")));
        }
    }
    findings
}

/// The string literals of the table that look like a code, those of its own tests left out, each once.
fn codes(table: &File) -> Vec<(usize, &str)> {
    let Some(code) = &table.code else { return Vec::new() };
    let end = code.text().find(TEST_PART).unwrap_or(usize::MAX);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for literal in code.literals().iter().filter(|literal| literal.at < end && is_code(&literal.text)) {
        if found.iter().all(|(_, known)| *known != literal.text) {
            found.push((code.line_of(literal.at), &literal.text));
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    text.len() > 2
        && text.starts_with(|character: char| character.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn headings(guide: &str) -> impl Iterator<Item = (usize, &str)> {
    guide
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, line.strip_prefix(HEADING)?.trim().trim_matches('`'))))
}

/// What of a file is tests: all of it in a folder or file of that name, else what follows `#[cfg(test)]`.
fn test_part(file: &File) -> Option<&str> {
    let is_test_file = file.path.starts_with("tests/")
        || file.path.contains("/tests/")
        || file.path.ends_with("/tests.rs")
        || file.path.ends_with("_tests.rs");
    match &file.code {
        _ if is_test_file => Some(&file.text),
        Some(code) => code.text().find(TEST_PART).and_then(|at| file.text.get(at..)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    const CODES: &str = "\
//! Codes.
const ALL: &[&str] = &[
    \"FORBIDDEN\",
    \"MODULE_BUSY\",
    \"INTERNAL\", \"Not a code\", \"OK\",
];
#[cfg(test)]
mod tests { const C: &str = \"INVENTED\"; }
";

    #[test]
    fn a_code_needs_an_entry_and_a_test() {
        let found = findings_in(
            check,
            &[
                ("host/src/problem/code.rs", CODES),
                ("docs/troubleshooting.md", "# Codes\n\n## FORBIDDEN\n## `INTERNAL`\n## GONE\n## How to read this\n"),
                ("tests/src/story.rs", "assert(\"FORBIDDEN\"); // MODULE_BUSY_NOT"),
                ("host/src/gateway/mod.rs", "fn f() { \"MODULE_BUSY\" }\n#[cfg(test)]\nmod tests { \"INTERNAL\" }"),
            ],
        );
        assert_eq!(
            found,
            [
                "docs/troubleshooting.md:5: `GONE` is no code of host/src/problem/code.rs",
                "host/src/problem/code.rs:4: `MODULE_BUSY` has no entry `## MODULE_BUSY` in docs/troubleshooting.md",
                "host/src/problem/code.rs:4: `MODULE_BUSY` is asserted by no test",
            ]
        );
    }

    #[test]
    fn a_missing_table_is_told() {
        assert_eq!(
            findings_in(check, &[]),
            ["host/src/problem/code.rs: the table of codes is not here, so none can be checked"]
        );
    }
}
