//! Why something could not be measured. A number that misses its goal is no failure.

use std::{error::Error, fmt};

/// What was tried, and why it did not work.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// `doing` reads well after "failed to".
    fn doing(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: Error> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let mut text = format!("failed to {doing}: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            Failure::new(text)
        })
    }
}
