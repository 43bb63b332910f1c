//! What a module says about itself: `module.toml` and the stamp, read from its file and checked before any
//! of its code runs. Knows one file at a time; refuses to know folders, other modules or tenants.

mod declared;
mod elf;
mod json;
mod module_file;
mod parse;
mod parse_tables;
mod routes;
mod schema_secrets;
mod source;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod tests;

pub use declared::{Decimal, Dependency, EventName, Manifest, Model, Outbound, Pricing, Subscription, ValueError};
pub use elf::UnloadFacts;
pub use module_file::{FileIdentity, Incompatibility, ModuleFile, ModuleFileError};
pub use parse::ManifestError;
pub use routes::{BasePath, Endpoint, PathError, RoutePath, Routes, Segment};
pub use source::ManifestProblem;
