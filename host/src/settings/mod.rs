//! A tenant's settings for a module: what the module's schema says about them, which of them are secret, and how a
//! secret is found where it is kept. Refuses secrets in plain text, and never repeats a value in a message.

mod schema;
mod secrets;

pub use schema::{check, merge, redact, secret_fields};
pub use secrets::{Secrets, resolve};

/// Where in settings a field is: the names from the outside in.
pub type FieldPath = Vec<String>;

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "***";
