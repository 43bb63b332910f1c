//! Operators' traffic: the HTTP interface under `/admin/v1`, its OpenAPI document and the probes, on a listener
//! and a thread of their own, so that they answer while modules keep every other thread busy.
//!
//! Refuses to decide anything: what may be enabled, selected or deleted is said by the rooms below, and put
//! here into JSON.

mod state;

mod router;

mod cors;
mod definitions;
mod dead_letters;
mod doors;
mod extract;
mod queries;
mod refusal;

mod modules;
mod modules_wire;
mod order;
mod reload;

mod change_wire;
mod enabling;
mod flags;
mod keys;
mod tenants;
mod tenants_wire;
mod tiers;

mod census;
mod health;
mod lines;
mod moving;
mod settings;
mod stats;
mod status;

mod openapi;

mod listener;
mod marks;

pub use listener::AdminListener;
pub use router::router;
pub use state::{AdminState, DefinitionsFile, Liveness, ReadFolder, Readiness};

#[cfg(test)]
mod tests;
