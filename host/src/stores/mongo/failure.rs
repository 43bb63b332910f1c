//! What the driver's errors mean here.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use super::StoreError;

/// A value that no other document may have.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// What the server says of what it will refuse each time: an object is too large, a document is too large after its
/// update, it is not as whoever keeps the database wants it to be.
const FOR_EVER: [i32; 3] = [10_334, 17_419, 121];

impl From<Error> for StoreError {
    fn from(problem: Error) -> Self {
        let is_for_ever = matches!(&*problem.kind, ErrorKind::InvalidArgument { .. })
            || codes(&problem).iter().any(|code| FOR_EVER.contains(code));
        if is_for_ever { Self::Refused(Box::new(problem)) } else { Self::Unavailable(Box::new(problem)) }
    }
}

/// What the server says was wrong, by whichever command.
fn codes(problem: &Error) -> Vec<i32> {
    match &*problem.kind {
        ErrorKind::Command(error) => vec![error.code],
        ErrorKind::Write(WriteFailure::WriteError(error)) => vec![error.code],
        ErrorKind::InsertMany(error) => error.write_errors.iter().flatten().map(|error| error.code).collect(),
        _ => Vec::new(),
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
    driver_error(problem).is_some_and(|error| codes(error).contains(&DUPLICATE_KEY))
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
