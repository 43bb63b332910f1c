//! What goes out of the host over HTTP: the requests of modules to hosts that their manifests name.
//!
//! Refuses every address of an inside network that the operator has not listed, whatever name it hides behind, and
//! follows redirects only where a module could have gone by itself. Knows nothing of tenants' requests.

mod addresses;
mod answer;
mod client;
mod fetch;
mod resolver;
mod wanted;

pub use addresses::AddressRules;
pub use client::{HttpClient, HttpClientError};
pub use fetch::{Outside, OutsideSettings};

#[cfg(test)]
mod tests;
