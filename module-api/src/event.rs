//! What a subscriber is told: an event that a module it depends on has published.

use serde::de::DeserializeOwned;

use crate::{
    abi::RawEvent,
    error::{Error, Result},
};

/// An event, stored by the host until every subscriber has handled it.
///
/// It comes at least once: a handler that was interrupted, or whose host was killed, gets it again. Handlers make
/// the same of the second time as of the first. Events of one publisher come in the order in which they were
/// published.
#[derive(Debug)]
pub struct Event {
    raw: RawEvent,
}

impl Event {
    pub(crate) fn new(raw: RawEvent) -> Self {
        Self { raw }
    }

    /// The same each time the event comes; different for each event.
    pub fn id(&self) -> &str {
        &self.raw.id
    }

    /// The module that published it.
    pub fn publisher(&self) -> &str {
        &self.raw.publisher
    }

    /// As the publisher's manifest declares it, such as `employee.deleted`.
    pub fn name(&self) -> &str {
        &self.raw.name
    }

    /// What the publisher said.
    ///
    /// # Errors
    ///
    /// Where it can't be read as a `T`; the event is then delivered again, and is a dead letter in the end.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.raw.body)
            .map_err(|error| Error::internal(format!("event `{}` can't be read: {error}", self.raw.name)))
    }

    /// When it was published, in milliseconds since the Unix epoch.
    pub fn published_at_millis(&self) -> i64 {
        self.raw.published_at
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.raw.attempt
    }
}
