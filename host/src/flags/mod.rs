//! A tenant's flags: what its modules declare, what the tenant overrides, and what a module sees of both.
//!
//! Plain data and pure functions. Refuses to read stores, to know which modules are enabled, and to guess: a
//! flag that nobody declared and nobody set has no value.

mod assign;
mod name;
mod set;

pub use assign::{FlagChange, FlagError, MAX_OVERRIDES, MAX_VALUE_BYTES, apply_changes, parse_assignment};
pub use name::FlagName;
pub use set::{FlagAnswer, FlagDefaults, FlagSet, FlagSource};

#[cfg(test)]
mod tests;
