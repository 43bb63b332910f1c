//! Flags for clients, by the OpenFeature Remote Evaluation Protocol (OFREP) 0.3.0: one flag, or all, for one user of the
//! tenant, and a stream that tells when to ask again. Whoever asks proves the tenant by a token or an API key, on a stream
//! by a ticket too; what is refused is told in OFREP's own bodies, as its clients read no others.

mod answer;

mod proof;

mod events;
mod position;

mod wire;

use std::time::Duration;

use percent_encoding::percent_decode_str;

pub(super) use events::EventPieces;
pub(super) use proof::UNPROVED_READS;

use crate::identity::TicketKey;

/// Below which no module's paths are.
const ROOT: &str = "/ofrep";
const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const EVENTS: &str = "/ofrep/v1/events";

/// How clients are served.
#[derive(Debug, Clone)]
pub struct OfrepSettings {
    /// Requests at once for one tenant.
    pub concurrency: u32,
    /// Open streams of one tenant.
    pub event_streams: u32,
    /// Open streams of all tenants together.
    pub event_streams_of_all: u32,
    /// How often a stream on which nothing happens says that it is there.
    pub heartbeat: Duration,
    /// How long a ticket opens streams at the most, and for half of which it does at the least.
    pub ticket_life: Duration,
    /// Signs and verifies tickets.
    pub tickets: TicketKey,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    One(String),
    All,
    Events,
}

/// Whether a path is for this room.
pub(super) fn is_meant(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn wanted(path: &str) -> Option<Wanted> {
    if path == EVENTS {
        return Some(Wanted::Events);
    }
    match path.strip_prefix(FLAGS)? {
        "" | "/" => Some(Wanted::All),
        rest => {
            // OpenFeature's provider for servers and that for Python write a key into the path as it is, slashes included.
            let key = rest.strip_prefix('/')?;
            Some(Wanted::One(percent_decode_str(key).decode_utf8().ok()?.into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let one = |key: &str| Some(Wanted::One(key.to_owned()));
        for (path, expected) in [
            ("/ofrep/v1/evaluate/flags", Some(Wanted::All)),
            ("/ofrep/v1/evaluate/flags/", Some(Wanted::All)),
            ("/ofrep/v1/evaluate/flags/new-theme", one("new-theme")),
            ("/ofrep/v1/evaluate/flags/a%2Fb%20c", one("a/b c")),
            ("/ofrep/v1/evaluate/flags/a/b", one("a/b")),
            ("/ofrep/v1/evaluate/flags//a/", one("/a/")),
            ("/ofrep/v1/events", Some(Wanted::Events)),
            ("/ofrep", None),
            ("/ofrep/v1", None),
            ("/ofrep/v1/events/", None),
            ("/ofrep/v1/evaluate/flagship", None),
            ("/ofrep/v1/evaluate/flags/%ff", None),
        ] {
            assert_eq!(wanted(path), expected, "{path}");
            assert!(is_meant(path));
        }
        assert!(!is_meant("/ofrep2") && !is_meant("/a/ofrep"));
    }
}
