//! Tenon: a multi-tenant host for modules that are native libraries.
//!
//! The rooms below are in the order in which a newcomer should read them; each imports only rooms of a lower
//! rank (`cargo xtask tidy` checks it). `ARCHITECTURE.md` has the picture.

pub mod names;

pub mod config;
pub mod manifest;
pub mod problem;
pub mod stores;
pub mod telemetry;

pub mod catalog;
pub mod flags;
pub mod identity;
pub mod loader;
pub mod settings;

pub mod tenancy;

pub mod refusals;

pub mod admin;
pub mod gateway;
pub mod layers;
pub mod outbound;
pub mod watch;

pub mod app;
pub mod cli;
