//! The composition root: builds the rooms bottom-up, stops them top-down. The embeddable [`Host`] is here, and
//! [`serve`], which is a host with signals.

mod builder;
mod host;
mod rescan;
mod serve;
mod threads;

pub use builder::{HostBuilder, StartError};
pub use host::Host;
pub use serve::serve;
