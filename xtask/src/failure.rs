//! Why a command ended early, as a text for the developer. Nothing here is matched on: a failed command says what
//! it was doing, what went wrong and, where there is one, what to do about it.

use std::fmt;

/// What a developer reads after `error: `.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// The result of everything in this crate that can go wrong.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this text: a lower-case fragment, advice on lines of its own.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// Turns the error into a [`Failure`] that reads "failed to `what`: the error".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure(format!("failed to {}: {error}", what())))
    }
}
