//! Every Rust source begins with a line that says what it is for.

use super::{Finding, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.ending_in(".rs")
        .filter(|file| file.text.strip_prefix("//!").is_none_or(|rest| rest.lines().next().is_none_or(is_blank)))
        .map(|file| Finding::new(&file.path, 1, "begin the file with `//!` and what it is for"))
        .collect()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn a_file_without_a_header_is_found() {
        let found =
            findings_in(check, &[("a.rs", "//! Good."), ("b.rs", "// Bad."), ("c.rs", "//!\n//! x"), ("d.rs", "")]);
        let line = "begin the file with `//!` and what it is for";
        assert_eq!(found, [format!("b.rs:1: {line}"), format!("c.rs:1: {line}"), format!("d.rs:1: {line}")]);
    }
}
