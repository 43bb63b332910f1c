//! Each fault in `docs/reliability.md` names the test that shows it, and there is such a test.

use super::{
    Finding,
    tree::{File, Tree},
};

const PAGE: &str = "docs/reliability.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut names_tests = false;
    for (index, line) in page.text.lines().enumerate() {
        let line = line.trim();
        if !line.starts_with('|') {
            names_tests = false;
            continue;
        }
        let last = line.trim_matches('|').rsplit('|').next().unwrap_or_default().trim();
        if last == "shown by" {
            names_tests = true;
            continue;
        }
        let is_rule = !last.is_empty() && last.chars().all(|sign| sign == '-');
        if !names_tests || is_rule {
            continue;
        }
        let mut named = 0;
        for test in last.split('`').skip(1).step_by(2) {
            named += 1;
            if !is_there(tree, test) {
                findings.push(Finding::new(PAGE, index + 1, format!("there is no test `{test}`")));
            }
        }
        if named == 0 {
            findings.push(Finding::new(PAGE, index + 1, "the row names no test that shows it"));
        }
    }
    findings
}

/// Whether there is a test of this name, as in `reloads::a_body_keeps_its_code`: a file, or a folder's own, and a function.
fn is_there(tree: &Tree, test: &str) -> bool {
    let Some((room, name)) = test.rsplit_once("::") else { return false };
    let begin = format!("fn {name}(");
    let is_of_room = |file: &&File| {
        let path = file.path.strip_suffix(".rs").unwrap_or_default();
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.strip_suffix(room).is_some_and(|before| before.ends_with('/'))
    };
    tree.ending_in(".rs").filter(is_of_room).any(|file| file.text.contains(&begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn rows_without_a_test_are_found() {
        let page = "| a | b |\n|---|---|\n| c | d |\n\n| fault | shown by |\n|---|---|\n| e | `rooms::there` |\n\
                    | f | `rooms::gone`, `hosts::there` |\n| g | |\n| h | `there` |\n";
        let found = findings_in(
            check,
            &[(PAGE, page), ("tests/e2e/rooms.rs", "fn there() {}\n"), ("tests/e2e/hosts/mod.rs", "fn there() {}\n")],
        );
        assert_eq!(
            found,
            [
                "docs/reliability.md:8: there is no test `rooms::gone`",
                "docs/reliability.md:9: the row names no test that shows it",
                "docs/reliability.md:10: there is no test `there`",
            ]
        );
    }
}
