//! Exit codes. Documented in docs/api.md; a code never changes its meaning.

/// Done.
pub(super) const OK: u8 = 0;
/// Anything that has no code of its own.
pub(super) const OTHER: u8 = 1;
/// The command or the request is malformed: usage, and 400, 422, 428.
pub(super) const USAGE: u8 = 2;
/// What was named is not there: 404.
pub(super) const NOT_FOUND: u8 = 3;
/// It does not go together with what is there: 409, 412.
pub(super) const CONFLICT: u8 = 4;
/// The token is missing or wrong, or the tenant may not: 401, 403.
pub(super) const DENIED: u8 = 5;
/// No host answers, or not now: 429, 503, 504.
pub(super) const UNAVAILABLE: u8 = 6;
/// `check` found problems.
pub(super) const CHECK: u8 = 7;

/// The exit code for an HTTP status.
pub(super) fn of_status(status: u16) -> u8 {
    match status {
        200..=299 => OK,
        400 | 422 | 428 => USAGE,
        404 => NOT_FOUND,
        409 | 412 => CONFLICT,
        401 | 403 => DENIED,
        429 | 503 | 504 => UNAVAILABLE,
        _ => OTHER,
    }
}
