//! An exception to a lint says why, and ends by itself when it is no longer needed: `expect` with a reason.

use super::{Finding, code::places_of_word, tree::Tree};

/// abi_stable's macros write code that breaks some lints with one version of the compiler and not with the next:
/// here `allow` may stand, with a reason all the same.
const MAY_ALLOW: &[&str] = &["module-api/src/abi/mod.rs"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.sources() {
        for (at, attribute) in code.attributes() {
            let calls = |word: &str| {
                places_of_word(attribute, word)
                    .into_iter()
                    .any(|place| attribute[place + word.len()..].trim_start().starts_with('('))
            };
            let has_reason = !places_of_word(attribute, "reason").is_empty();
            let text = if calls("allow") && !MAY_ALLOW.contains(&file.path.as_str()) {
                "use `expect(..., reason = \"...\")`: it ends when it is no longer needed"
            } else if (calls("allow") || calls("expect")) && !has_reason {
                "say why, with `reason = \"...\"`"
            } else {
                continue;
            };
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
    fn allow_and_silent_exceptions_are_found() {
        let source = "#![allow(a, reason = \"b\")]\n#[expect(a, reason = \"b\")]\n#[expect(a)]\n\
                      #[cfg_attr(test, allow(a))]\nfn f() { x.expect(\"y\") }";
        let better = "use `expect(..., reason = \"...\")`: it ends when it is no longer needed";
        assert_eq!(
            findings_in(check, &[("a.rs", source), ("module-api/src/abi/mod.rs", source)]),
            [
                format!("a.rs:1: {better}"),
                "a.rs:3: say why, with `reason = \"...\"`".to_owned(),
                format!("a.rs:4: {better}"),
                "module-api/src/abi/mod.rs:3: say why, with `reason = \"...\"`".to_owned(),
                "module-api/src/abi/mod.rs:4: say why, with `reason = \"...\"`".to_owned(),
            ]
        );
    }
}
