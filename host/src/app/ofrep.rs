//! How clients are served that ask for flags, out of the configuration and the key file.

use super::builder::StartError;
use crate::{config::Config, gateway::OfrepSettings, identity::TicketKey};

/// Reads the key that hosts share, or this host's own, which is made at the first start.
pub(super) fn ofrep_settings(config: &Config) -> Result<OfrepSettings, StartError> {
    let tickets = match shared_ticket_key(config)? {
        Some(shared) => shared,
        None => TicketKey::load_or_create(&config.data.join("ticket.key")).map_err(StartError::TicketKey)?,
    };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(OfrepSettings {
        concurrency: number(config.ofrep.concurrency),
        event_streams: number(config.ofrep.event_streams),
        // The other half is for those who want an answer.
        event_streams_of_all: number((config.limits.connections / 2).max(1)),
        heartbeat: config.ofrep.heartbeat,
        ticket_life: config.ofrep.ticket_life,
        tickets,
    })
}

/// The key that hosts share, where they do.
pub(super) fn shared_ticket_key(config: &Config) -> Result<Option<TicketKey>, StartError> {
    let file = config.ofrep.ticket_key_file.as_ref();
    file.map(|file| TicketKey::load(file)).transpose().map_err(StartError::TicketKey)
}
