//! The name of a module.

use std::{borrow::Borrow, fmt, str::FromStr};

use arcstr::ArcStr;

/// The name of a module: `[a-z][a-z0-9-]{0,62}`. Cheap to clone, and one word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleName(ArcStr);

/// Why a text is no module name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`")]
pub struct ModuleNameError;

impl ModuleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModuleName {
    type Err = ModuleNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let fits = (1..=63).contains(&bytes.len()) && bytes[0].is_ascii_lowercase() && bytes.iter().all(plain);
        if fits { Ok(Self(text.into())) } else { Err(ModuleNameError) }
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ModuleName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_rule() {
        for good in ["a", "hr-core", "m2", &"x".repeat(63)] {
            assert!(good.parse::<ModuleName>().is_ok(), "{good}");
        }
        for bad in ["", "2m", "-a", "Hr", "a_b", "a/b", &*"x".repeat(64)] {
            assert!(bad.parse::<ModuleName>().is_err(), "{bad}");
        }
    }
}
