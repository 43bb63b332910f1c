//! The command line: `tenon serve` and `tenon check` work here, all other commands ask a running host.
//!
//! Data goes to stdout, messages to stderr; tables for people, `--json` for programs. Nothing asks back.

mod args;
mod exit;
mod run;

mod serve;

mod check;

mod client;
mod failure;
mod token;

mod answers;
mod output;
mod table;

mod dead_letters;
mod definitions;
mod marks;
mod enabling;
mod flags;
mod keys;
mod modules;
mod moving;
mod reload;
mod report;
mod settings;
mod tenants;

pub use run::run;

#[cfg(test)]
mod tests;
