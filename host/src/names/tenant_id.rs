//! The id of a tenant.

use std::{borrow::Borrow, fmt, str::FromStr};

use arcstr::ArcStr;

/// The id of a tenant: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`. Cheap to clone, and one word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(ArcStr);

/// Why a text is no tenant id. The text itself is not repeated: it may be long or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// Empty.
    #[error("a tenant id must not be empty")]
    Empty,
    /// Over 128 bytes.
    #[error("a tenant id has at most 128 characters, this one has {0}")]
    TooLong(usize),
    /// A character outside the permitted ones, or a first one that is no letter or digit.
    #[error("a tenant id begins with a letter or digit and has only letters, digits, `_`, `.` and `-`")]
    Character,
}

impl TenantId {
    /// The most bytes an id can have.
    pub const MAX_BYTES: usize = 128;

    /// Whether a text is a tenant id, without making one.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn check(text: &str) -> Result<(), TenantIdError> {
        let bytes = text.as_bytes();
        let Some(first) = bytes.first() else { return Err(TenantIdError::Empty) };
        if bytes.len() > Self::MAX_BYTES {
            return Err(TenantIdError::TooLong(bytes.len()));
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if !first.is_ascii_alphanumeric() || !bytes.iter().all(plain) {
            return Err(TenantIdError::Character);
        }
        Ok(())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_by_rule() {
        for good in ["a", "tenant_123", "Acme.eu-1", &"x".repeat(128)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", TenantIdError::Empty),
            (&*"x".repeat(10_240), TenantIdError::TooLong(10_240)),
            ("../etc", TenantIdError::Character),
            ("a/b", TenantIdError::Character),
            (".a", TenantIdError::Character),
            ("ä", TenantIdError::Character),
            ("a\0", TenantIdError::Character),
        ] {
            assert_eq!(bad.parse::<TenantId>().unwrap_err(), why);
        }
    }
}
