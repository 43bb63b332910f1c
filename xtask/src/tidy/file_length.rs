//! One idea a file: at most 500 lines, unless the header says that the file is one table.

use super::{Finding, tree::Tree};

const MOST_LINES: usize = 500;
const EXCUSE: &str = "one table";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.ending_in(".rs")
        .filter_map(|file| {
            let lines = file.text.lines().count();
            let mut header = file.text.lines().take_while(|line| line.starts_with("//!"));
            let too_long = lines > MOST_LINES && !header.any(|line| line.contains(EXCUSE));
            too_long.then(|| {
                let text = format!(
                    "{lines} lines, at most {MOST_LINES}: split it, or say `{EXCUSE}` in the header if it is one"
                );
                Finding::new(&file.path, 0, text)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn a_long_file_needs_to_be_a_table() {
        let long = format!("//! All of it.\n{}", "x\n".repeat(MOST_LINES));
        let table = format!("//! All of it,\n//! one table.\n{}", "x\n".repeat(MOST_LINES));
        let fits = "x\n".repeat(MOST_LINES);
        let found = findings_in(check, &[("a.rs", &long), ("b.rs", &table), ("c.rs", &fits), ("d.md", &long)]);
        assert_eq!(found, ["a.rs: 501 lines, at most 500: split it, or say `one table` in the header if it is one"]);
    }
}
