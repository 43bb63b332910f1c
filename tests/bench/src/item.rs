//! What the measured handler does: parses an id, makes a document with two texts of its own, writes it as JSON.
//! Compiled into the module, into the peer and into the direct call, so that all three do the same.

use serde::Serialize;

/// A document of about 270 bytes as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    id: u64,
    title: String,
    assignee: String,
    status: &'static str,
    due: &'static str,
    note: &'static str,
    labels: [&'static str; 2],
    minutes: u32,
    revision: u64,
}

impl Item {
    /// The document of an id; `None` where the text is no number.
    pub(crate) fn of(id: &str) -> Option<Self> {
        let id: u64 = id.parse().ok()?;
        Some(Self {
            id,
            title: String::from("Send the signed contract back to the supplier, and keep a copy of it"),
            assignee: String::from("anna.berg@example.com"),
            status: "in-progress",
            due: "2031-05-17",
            note: "By registered mail.",
            labels: ["contracts", "urgent"],
            minutes: 45,
            revision: id % 97,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_as_large_as_it_says() {
        let bytes = serde_json::to_vec(&Item::of("10007").unwrap()).unwrap().len();
        assert!((250..=290).contains(&bytes), "{bytes}");
        assert!(Item::of("x").is_none());
    }
}
