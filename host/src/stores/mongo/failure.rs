//! What the driver's errors mean here.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use super::StoreError;

/// A value that no other document may have.
const DUPLICATE_KEY: i32 = 11_000;

impl From<Error> for StoreError {
    fn from(problem: Error) -> Self {
        Self::Unavailable(Box::new(problem))
    }
}

impl From<bson::error::Error> for StoreError {
    fn from(problem: bson::error::Error) -> Self {
        Self::Unavailable(Box::new(problem))
    }
}

/// The server does not do what it should.
pub(super) fn away(what: &'static str) -> StoreError {
    StoreError::Unavailable(format!("the database is away: {what}").into())
}

/// The store was closed, or what was asked of it made its task fail.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// What is stored has another form than Tenon writes.
pub(super) fn unfit(what: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("what is stored can't be read: {what}").into())
}

/// Whether a write was refused because of a unique index, by whichever command.
pub(super) fn is_duplicate(problem: &StoreError) -> bool {
    match driver_error(problem).map(|error| &*error.kind) {
        Some(ErrorKind::Command(error)) => error.code == DUPLICATE_KEY,
        Some(ErrorKind::Write(WriteFailure::WriteError(error))) => error.code == DUPLICATE_KEY,
        Some(ErrorKind::InsertMany(error)) => {
            error.write_errors.iter().flatten().any(|error| error.code == DUPLICATE_KEY)
        }
        _ => false,
    }
}

/// Whether the driver says this of an error.
pub(super) fn has_label(problem: &StoreError, label: &str) -> bool {
    driver_error(problem).is_some_and(|error| error.contains_label(label))
}

fn driver_error(problem: &StoreError) -> Option<&Error> {
    match problem {
        StoreError::Unavailable(source) => source.downcast_ref(),
        _ => None,
    }
}
