//! The name of a flag.

use std::{fmt, str::FromStr};

use super::assign::FlagError;

/// The name of a flag: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlagName(String);

impl FlagName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for FlagName {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let fits = (1..=128).contains(&bytes.len()) && bytes[0].is_ascii_alphanumeric() && bytes.iter().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(FlagError::name(text)) }
    }
}

impl fmt::Display for FlagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
