//! How far a tenant's flags have come, in a form that any host can compare: the id of an event, and what a client repeats
//! when it asks because of one.

use std::fmt;

use crate::tenancy::TenantSnapshot;

/// A state of a tenant's flags. As text: `17-0f6c1c4d8a1b4e0d-9a2b7c3e5f60718a`, and where rules read the time the minute
/// after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Of the tenant's document.
    pub(super) revision: u64,
    /// Of what is defined for all tenants; `0` where nothing is.
    definitions: Box<str>,
    /// Of all that is set, defined and declared, so that what has changed without any effect on flags tells nobody
    /// anything.
    digest: [u8; 8],
    /// Since 1970, where a rule reads the time.
    minute: Option<u64>,
}

impl Position {
    pub(super) fn of(snapshot: &TenantSnapshot, unix_seconds: u64) -> Self {
        let definitions = snapshot.flags.definitions();
        let [digest, ..] = snapshot.flags.digest().as_chunks::<8>().0 else {
            unreachable!("32 bytes are four times 8")
        };
        Self {
            revision: snapshot.revision(),
            definitions: shown(definitions.revision()).into(),
            digest: *digest,
            minute: definitions.reads_time().then_some(unix_seconds / 60),
        }
    }

    /// Reads one; `None` where a text is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (revision, definitions, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let minute = parts.next().map(str::parse).transpose().ok()?;
        let is_hex = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.next().is_some() || digest.len() != 16 || !is_hex(digest, 16) || !is_hex(definitions, 64) {
            return None;
        }
        let digest = u64::from_str_radix(digest, 16).ok()?.to_be_bytes();
        Some(Self { revision: revision.parse().ok()?, definitions: definitions.into(), digest, minute })
    }

    /// Whether a client that has seen the other one has seen these flags.
    pub(super) fn has_flags_of(&self, other: &Self) -> bool {
        self.digest == other.digest && self.minute == other.minute
    }

    /// Whether a snapshot is under the definitions that this was under.
    pub(super) fn has_definitions_of(&self, snapshot: &TenantSnapshot) -> bool {
        *self.definitions == *shown(snapshot.flags.definitions().revision())
    }
}

fn shown(revision: &str) -> &str {
    if revision.is_empty() { "0" } else { revision }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}", self.revision, self.definitions, u64::from_be_bytes(self.digest))?;
        self.minute.map_or(Ok(()), |minute| write!(f, "-{minute}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_as_it_was() {
        let position =
            |minute| Position { revision: 17, definitions: "0".into(), digest: [0, 7, 0, 0, 0, 0, 0, 255], minute };
        for (position, text) in
            [(position(None), "17-0-00070000000000ff"), (position(Some(29)), "17-0-00070000000000ff-29")]
        {
            assert_eq!((position.to_string().as_str(), Position::parse(text)), (text, Some(position)));
        }
        let (one, later) = (position(None), Position { revision: 18, ..position(None) });
        assert!(one.has_flags_of(&later) && !one.has_flags_of(&position(Some(1))));
        for bad in [
            "",
            "17",
            "17-0",
            "x-0-00070000000000ff",
            "17-g-00070000000000ff",
            "17-0-7",
            "17-0-00070000000000ff-x",
            "17-0-00070000000000ff-1-1",
            "17-0-+0070000000000ff",
            "-0-00070000000000ff",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }
}
