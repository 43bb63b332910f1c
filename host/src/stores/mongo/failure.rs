//! What the driver's errors mean here.

use std::fmt;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use super::StoreError;

/// A value that no other document may have.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// What the server says of what it will refuse each time: an object is too large, a document is too large after its
/// update, it is not as whoever keeps the database wants it to be.
const FOR_EVER: [i32; 3] = [10_334, 17_419, 121];

/// An error of the driver's, in few words: its own text has the whole topology and all labels.
#[derive(Debug)]
struct Driver(Error);

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.kind {
            ErrorKind::Command(error) => write!(f, "{} (code {}): {}", error.code_name, error.code, error.message),
            kind => {
                let text = kind.to_string();
                f.write_str(text.split(" Topology: ").next().unwrap_or(&text).trim_end_matches('.'))
            }
        }
    }
}

impl std::error::Error for Driver {}

impl From<Error> for StoreError {
    fn from(problem: Error) -> Self {
        let is_for_ever = matches!(&*problem.kind, ErrorKind::InvalidArgument { .. })
            || codes(&problem).iter().any(|code| FOR_EVER.contains(code));
        let problem = Box::new(Driver(problem));
        if is_for_ever { Self::Refused(problem) } else { Self::Unavailable(problem) }
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

/// The driver can't do its work, whatever it says is wrong.
pub(super) fn unavailable(problem: Error) -> StoreError {
    StoreError::Unavailable(Box::new(Driver(problem)))
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
pub(super) fn unfit(what: impl fmt::Display) -> StoreError {
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
        StoreError::Unavailable(source) => source.downcast_ref().map(|Driver(error)| error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{MongoSettings, MongoStore, StoreError};
    use crate::stores::Store;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_away_is_told_of_in_few_words() {
        let patient = MongoSettings { answer_within: Duration::from_secs(2), ..MongoSettings::default() };
        let store = MongoStore::open("mongodb://127.0.0.1:1/tenon", patient).unwrap();
        let error = store.ping().await.unwrap_err();
        let told = error.with_causes();
        assert!(matches!(error, StoreError::Unavailable(_)) && told.contains("Server selection timeout"), "{told}");
        assert!(!told.contains(['{', '"']) && told.len() < 200, "{told}");
        store.close().await;
    }

    #[test]
    fn an_address_is_checked_without_a_server() {
        assert!(MongoStore::check("mongodb://u:p@127.0.0.1:1/tenon?replicaSet=rs0").is_ok());
        for wrong in ["", "nonsense", "redis://a/b", "mongodb://127.0.0.1:1"] {
            assert!(MongoStore::check(wrong).is_err(), "{wrong}");
        }
    }
}
