//! Everything the author of a Tenon module sees.

#![allow(non_local_definitions)]

pub mod abi;
pub mod stamp;
/// The version of this crate, which is the version of the contract between host and module.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
