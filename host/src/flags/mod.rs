//! A tenant's flags: what the tenant overrides, what operators define for all tenants, what its modules declare, and what
//! a module or a client sees of it all. In this order: the first that has a value decides.
//!
//! Plain data and pure functions. Refuses to read files and stores, to know which modules are enabled, and to guess: a
//! flag that nobody defined, declared or set has no value.

mod name;
mod assign;

mod context;
mod definitions;
mod doubled;
mod editing;
mod javascript;
mod operators;
mod problem;
mod reading;
mod results;

mod book;
mod rule;

mod set;

pub use assign::{FlagChange, FlagError, MAX_OVERRIDES, MAX_VALUE_BYTES, apply_changes, parse_assignment, type_of};
pub use context::{ContextError, EvaluationContext, MAX_CONTEXT_VALUES, unix_seconds};
pub use definitions::{Definitions, Evaluation, EvaluationError, Reason};
pub use editing::{flag_in, with_flag, with_state, without_flag};
pub use name::FlagName;
pub use problem::{DefinitionErrors, DefinitionProblem};
pub use reading::MAX_FILE_BYTES;
pub use set::{FlagAnswer, FlagDefaults, FlagEvaluation, FlagSet, FlagSource, bytes_of};

#[cfg(test)]
mod tests;
