//! The end-to-end tests, one binary. Each file is a story; what they share is the library of this package.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// A module's file becomes an answer, or an error with nothing left behind.
mod loader_calls;
/// An older, an equal and a newer module on this host.
mod loader_growth;
/// What a module logs comes out in the host's log.
mod loader_log;
/// Panics of a module end one request.
mod loader_panics;
/// A module that is out of use is gone, or reported with the reason.
mod loader_unload;
/// Where the fixtures are, and a loader with threads to run them on.
mod stage;
