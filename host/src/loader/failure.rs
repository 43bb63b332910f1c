//! Failures as they cross the interface, in both directions.

use abi_stable::std_types::RString;
use module_api::abi::{
    FAILURE_CLAIM_LOST, FAILURE_EXISTS, FAILURE_FAULT, FAILURE_INTERNAL, FAILURE_INVALID, FAILURE_MISSING,
    FAILURE_MISUSE, FAILURE_NOT_UNIQUE, FAILURE_PANIC, FAILURE_REFUSED, FAILURE_REVISION, FAILURE_STOPPING,
    FAILURE_STORE_UNAVAILABLE, FAILURE_TIMEOUT, FAILURE_UNREACHABLE, FAILURE_UNSUPPORTED, RawFailure,
};

use super::services::{Failure, FailureKind};

impl Failure {
    /// What a future that has ended, or that was never begun, answers.
    pub(super) fn ended() -> Self {
        Self::new(FailureKind::Internal, "a future was polled after it had ended")
    }

    /// Copies a failure out of the module's memory.
    pub(super) fn from_raw(raw: RawFailure) -> Self {
        let code = || raw.code.as_str().to_owned();
        let kind = match raw.kind {
            FAILURE_FAULT => {
                let status = if (400..500).contains(&raw.status) { raw.status } else { 400 };
                FailureKind::Fault { status, code: code() }
            }
            FAILURE_INVALID => FailureKind::Invalid,
            FAILURE_PANIC => FailureKind::Panicked { place: raw.place.as_str().to_owned() },
            FAILURE_STORE_UNAVAILABLE => FailureKind::StoreUnavailable,
            FAILURE_EXISTS => FailureKind::Exists,
            FAILURE_MISSING => FailureKind::Missing,
            FAILURE_REVISION => FailureKind::Revision,
            FAILURE_NOT_UNIQUE => FailureKind::NotUnique { field: code() },
            FAILURE_UNSUPPORTED => FailureKind::Unsupported,
            FAILURE_MISUSE => FailureKind::Misuse,
            FAILURE_STOPPING => FailureKind::Stopping,
            FAILURE_CLAIM_LOST => FailureKind::ClaimLost,
            FAILURE_REFUSED => FailureKind::Refused,
            FAILURE_TIMEOUT => FailureKind::Timeout,
            FAILURE_UNREACHABLE => FailureKind::Unreachable,
            // A number of a later module-api is read as the most general one.
            _ => FailureKind::Internal,
        };
        Self::new(kind, raw.message.as_str())
    }

    /// The failure as a module gets it.
    pub(super) fn into_raw(self) -> RawFailure {
        let (kind, status, code, place) = match self.kind {
            FailureKind::Fault { status, code } => (FAILURE_FAULT, status, code, String::new()),
            FailureKind::Panicked { place } => (FAILURE_PANIC, 0, String::new(), place),
            FailureKind::NotUnique { field } => (FAILURE_NOT_UNIQUE, 0, field, String::new()),
            other => {
                let kind = match other {
                    FailureKind::Invalid => FAILURE_INVALID,
                    FailureKind::StoreUnavailable => FAILURE_STORE_UNAVAILABLE,
                    FailureKind::Exists => FAILURE_EXISTS,
                    FailureKind::Missing => FAILURE_MISSING,
                    FailureKind::Revision => FAILURE_REVISION,
                    FailureKind::Unsupported => FAILURE_UNSUPPORTED,
                    FailureKind::Misuse => FAILURE_MISUSE,
                    FailureKind::Stopping => FAILURE_STOPPING,
                    FailureKind::ClaimLost => FAILURE_CLAIM_LOST,
                    FailureKind::Refused => FAILURE_REFUSED,
                    FailureKind::Timeout => FAILURE_TIMEOUT,
                    FailureKind::Unreachable => FAILURE_UNREACHABLE,
                    _ => FAILURE_INTERNAL,
                };
                (kind, 0, String::new(), String::new())
            }
        };
        RawFailure {
            kind,
            status,
            code: RString::from(code),
            message: RString::from(self.message),
            place: RString::from(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_comes_back_as_it_went() {
        let kinds = [
            FailureKind::Fault { status: 409, code: "overlap".to_owned() },
            FailureKind::Invalid,
            FailureKind::Internal,
            FailureKind::Panicked { place: "src/lib.rs:7".to_owned() },
            FailureKind::StoreUnavailable,
            FailureKind::Exists,
            FailureKind::Missing,
            FailureKind::Revision,
            FailureKind::NotUnique { field: "email".to_owned() },
            FailureKind::Unsupported,
            FailureKind::Misuse,
            FailureKind::Stopping,
            FailureKind::ClaimLost,
            FailureKind::Refused,
            FailureKind::Timeout,
            FailureKind::Unreachable,
        ];
        for kind in kinds {
            let failure = Failure::new(kind, "why");
            assert_eq!(Failure::from_raw(failure.clone().into_raw()), failure);
        }
    }

    #[test]
    fn what_a_module_may_not_say_is_made_harmless() {
        let mut raw = Failure::new(FailureKind::Fault { status: 409, code: "x".to_owned() }, "").into_raw();
        raw.status = 200;
        assert_eq!(Failure::from_raw(raw.clone()).kind, FailureKind::Fault { status: 400, code: "x".to_owned() });
        raw.kind = 99;
        assert_eq!(Failure::from_raw(raw).kind, FailureKind::Internal);
    }
}
