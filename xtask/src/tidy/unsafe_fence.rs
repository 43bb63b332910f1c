//! The word `unsafe` stands only where native code is opened and called, and where a module meets the host.

use super::{Finding, tree::Tree};

/// Whole rooms.
const ROOMS: &[&str] = &["host/src/loader/"];

/// Single files: the binary interface of modules, and fixtures that break it on purpose.
const FILES: &[&str] = &[
    "module-api/src/abi/mod.rs",
    "module-api/src/export.rs",
    "module-api/src/guard.rs",
    "module-api/src/testing/lend.rs",
    "tests/fixtures/early/lib.rs",
    "tests/fixtures/gnu-unique/lib.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.sources() {
        let inside_the_fence =
            ROOMS.iter().any(|room| file.path.starts_with(room)) || FILES.contains(&file.path.as_str());
        if inside_the_fence {
            continue;
        }
        for at in code.places_of_word("unsafe") {
            let text = "`unsafe` outside the fence: host/src/loader and the binary interface have it all";
            findings.push(Finding::new(&file.path, code.line_of(at), text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn unsafe_is_found_outside_only() {
        let source = "#![forbid(unsafe_code)] // unsafe\nfn f() { unsafe { g(\"unsafe\") } }";
        let found = findings_in(
            check,
            &[
                ("host/src/loader/open.rs", source),
                ("module-api/src/abi/mod.rs", source),
                ("host/src/catalog/scan.rs", source),
            ],
        );
        assert_eq!(
            found,
            [
                "host/src/catalog/scan.rs:2: `unsafe` outside the fence: host/src/loader and the binary interface have it all"
            ]
        );
    }
}
