//! Optimistic concurrency over HTTP: `ETag` on answers, `If-Match` on writes.
//!
//! Source: RFC 9110, sections 8.8.3 and 13.1.1.

use crate::error::{Error, Fault, Result};

/// The entity tag of a revision.
pub fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// The condition that a writer set on the document as it is now.
#[derive(Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// None: the last writer wins.
    Unconditional,
    /// The document must have one of these tags.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID where it is no list of entity tags.
    pub fn read(header: Option<&str>) -> Result<Self> {
        let Some(header) = header.map(str::trim) else { return Ok(Self::Unconditional) };
        // `*` asks for any existing document, which every write here does.
        if header == "*" {
            return Ok(Self::Unconditional);
        }
        let tags: Vec<String> = header.split(',').map(|tag| tag.trim().to_owned()).collect();
        let is_tag = |tag: &String| {
            // A weak tag is well formed, but never matches: If-Match compares strongly.
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
        };
        if tags.iter().all(is_tag) {
            Ok(Self::OneOf(tags))
        } else {
            Err(Error::invalid("`If-Match` must be the `ETag` of an answer, quotes included, such as \"3\""))
        }
    }

    /// Checks the condition against what is stored.
    ///
    /// # Errors
    ///
    /// 412 `revision-mismatch`.
    pub fn admit(&self, revision: u64) -> Result<()> {
        match self {
            Self::OneOf(tags) if !tags.contains(&etag(revision)) => Err(Fault::new(
                412,
                "revision-mismatch",
                format!("the document has revision {revision}, not the one in If-Match; read it again"),
            )
            .into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_condition_every_revision_is_admitted() {
        for header in [None, Some("*"), Some(" * ")] {
            assert!(IfMatch::read(header).unwrap().admit(7).is_ok());
        }
    }

    #[test]
    fn one_of_several_tags_is_enough() {
        let condition = IfMatch::read(Some("\"3\", \"7\"")).unwrap();
        assert!(condition.admit(7).is_ok());
        let error = condition.admit(8).unwrap_err();
        assert_eq!(error.as_fault().map(|fault| (fault.status(), fault.code())), Some((412, "revision-mismatch")));
    }

    #[test]
    fn a_weak_tag_never_matches() {
        assert!(IfMatch::read(Some("W/\"7\"")).unwrap().admit(7).is_err());
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for header in ["7", "", "\"", "\"7\",", "'7'"] {
            assert!(IfMatch::read(Some(header)).is_err(), "{header}");
        }
    }
}
