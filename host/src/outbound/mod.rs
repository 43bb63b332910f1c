//! What goes out of the host over HTTP: the requests of modules to hosts that their manifests
//! name, and the host's own to issuers of tokens, for their keys.
//!
//! Refuses every address of an inside network that the operator has not listed, whatever name it hides behind, and
//! follows redirects only where a module could have gone by itself. Knows nothing of tenants' requests.

mod addresses;
mod answer;
mod client;
mod fetch;
mod key_keeper;
mod key_times;
mod resolver;
mod wanted;

pub use addresses::AddressRules;
pub use client::{HttpClient, HttpClientError};
pub use fetch::{Outside, OutsideSettings};
pub use key_keeper::{KeyKeeper, KeyKeeperError};
pub use key_times::KeyTimes;

#[cfg(test)]
mod tests;
