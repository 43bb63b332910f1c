//! The name of a new module: which ones can be taken, and how it is written in code and for people.

use crate::failure::{Failure, Result};

/// A name that a module can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

/// Crates of this name can't be built, or hide one of the compiler's own. Source: the Rust reference, "Keywords",
/// and cargo's own rules for package names.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

impl Name {
    /// Checks a name against the rule for modules and against the crates that are there.
    ///
    /// # Errors
    ///
    /// Which rule it breaks.
    pub(super) fn parse(text: &str, taken: &[String]) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(plain);
        if !fits {
            return Err(Failure::new(format!(
                "`{text}` is no name for a module: 1 to 63 lower-case letters, digits and `-`, a letter first\n\
                 hint: such as `greeter` or `hr-core`"
            )));
        }
        let is_word = |word: &str| RESERVED.contains(&word) || word == concat!("un", "safe");
        if is_word(text) {
            return Err(Failure::new(format!("`{text}` can't be the name of a crate: Rust or cargo has a use for it")));
        }
        if taken.iter().any(|known| known == text) {
            return Err(Failure::new(format!("`{text}` is taken: the project has or uses a crate of this name")));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it stands in manifests.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As the compiler names the crate.
    pub(super) fn crate_name(&self) -> String {
        self.0.replace('-', "_")
    }

    /// As a Rust type: `hr-core` is `HrCore`.
    pub(super) fn type_name(&self) -> String {
        self.0.split('-').map(capitalized).collect()
    }

    /// For people: `hr-core` is `Hr core`.
    pub(super) fn display(&self) -> String {
        capitalized(&self.0.replace('-', " "))
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_the_module_s_rule_and_against_those_taken() {
        let taken = ["tasks".to_owned(), "serde".to_owned()];
        for good in ["greeter", "a", "hr2-core", &"x".repeat(63)] {
            assert!(Name::parse(good, &taken).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "no name for a module"),
            ("Greeter", "no name for a module"),
            ("2nd", "no name for a module"),
            ("a_b", "no name for a module"),
            ("../up", "no name for a module"),
            ("match", "Rust or cargo"),
            ("tasks", "is taken"),
            ("serde", "is taken"),
        ] {
            let failure = Name::parse(bad, &taken).unwrap_err().to_string();
            assert!(failure.contains(why), "{bad}: {failure}");
        }
        assert!(Name::parse(&"x".repeat(64), &taken).is_err());
    }

    #[test]
    fn a_name_is_written_in_each_place_as_is_usual_there() {
        let name = Name::parse("hr-core2", &[]).unwrap();
        assert_eq!(
            (name.crate_name(), name.type_name(), name.display()),
            ("hr_core2".to_owned(), "HrCore2".to_owned(), "Hr core2".to_owned())
        );
    }
}
