//! Module tasks.
