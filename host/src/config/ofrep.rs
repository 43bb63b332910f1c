//! What can be configured about flags for clients, with its defaults. Plain data: values here have been checked already.

use std::{path::PathBuf, time::Duration};

/// `[ofrep]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ofrep {
    /// Requests for flags at once, for one tenant.
    pub concurrency: usize,
    /// Open change streams of one tenant.
    pub event_streams: usize,
    /// How often a stream on which nothing happens says that it is there.
    pub heartbeat: Duration,
    /// How long a ticket opens streams at the most.
    pub ticket_life: Duration,
    /// The file with the key that signs tickets, where hosts share one; else each host has its own in its data folder.
    pub ticket_key_file: Option<PathBuf>,
}

impl Default for Ofrep {
    fn default() -> Self {
        Self {
            // As a module has for one tenant.
            concurrency: 256,
            // A guess: a tenant's open pages, of 10,000 connections in all.
            event_streams: 1_000,
            // Proxies close what is silent, most of them after 30 or 60 s.
            heartbeat: Duration::from_secs(20),
            ticket_life: Duration::from_secs(900),
            ticket_key_file: None,
        }
    }
}
