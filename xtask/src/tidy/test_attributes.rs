//! No test is ignored, and none is content with just any panic.

use super::{Finding, code::places_of_word, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.sources() {
        for (at, attribute) in code.attributes() {
            let has = |word| !places_of_word(attribute, word).is_empty();
            if has("ignore") {
                let text = "an ignored test tests nothing: run it, or delete it";
                findings.push(Finding::new(&file.path, code.line_of(at), text));
            }
            if has("should_panic") && !has("expected") {
                let text = "any panic would do: say which with `should_panic(expected = \"...\")`";
                findings.push(Finding::new(&file.path, code.line_of(at), text));
            }
        }
        for (index, line) in file.text.lines().enumerate() {
            let comment = line.trim_start();
            let fence = ["//! ```", "/// ```"].iter().find_map(|fence| comment.strip_prefix(fence));
            if fence.is_some_and(|words| words.split(',').any(|word| word.trim() == "ignore")) {
                let text = "an ignored example is never compiled: use `no_run`, or `text` if it is no code";
                findings.push(Finding::new(&file.path, index + 1, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn ignored_tests_and_bare_panics_are_found() {
        let source = "//! ```rust,ignore\n//! ```no_run\n#[ignore = \"slow\"]\n#[cfg_attr(miri, ignore)]\n\
                      #[should_panic]\n#[should_panic(expected = \"x\")]\n#[cfg(test)]\nfn ignore() {}";
        let lines: Vec<String> = findings_in(check, &[("a.rs", source)])
            .iter()
            .filter_map(|finding| Some(finding.split(' ').next()?.to_owned()))
            .collect();
        assert_eq!(lines, ["a.rs:1:", "a.rs:3:", "a.rs:4:", "a.rs:5:"]);
    }
}
