//! The composition root: builds the rooms bottom-up, stops them top-down. The embeddable [`Host`] is here, and
//! [`serve`], which is a host with signals.

mod builder;
mod check;
mod containment;
mod definitions;
mod flags;
mod host;
mod ofrep;
mod rescan;
mod serve;
mod service;
mod stores;
mod threads;

pub use builder::{HostBuilder, Listeners, StartError};
pub use check::check_files;
pub use flags::Flags;
pub use host::Host;
pub use serve::serve;
pub use service::{Answering, TenantService};
