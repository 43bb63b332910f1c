//! Who asks: verifies tokens and tenants' API keys, reads dev mode's headers, keeps the operators' token, and says what
//! a caller may claim to be.
//!
//! Refuses whatever is not proven. What is wrong with a token goes to the log; clients are told only that it
//! won't do. Knows neither routes nor tenants beyond their ids.

mod access;
mod admin_token;
mod api_key;
mod bearer;
mod cache;
mod caller;
mod claims;
mod dev;
mod error;
mod key_set;
mod keys;
mod public_keys;
mod ticket;
mod verifier;

pub use access::{Denied, EndpointAuth, authorize_roles, authorize_tenant, select_tenant};
pub use admin_token::{AdminToken, AdminTokenError};
pub use api_key::{FLAGS_READ, KEY_SCOPES, KeyWish, NewKey, PresentedKey, is_over};
pub use bearer::bearer_token;
pub use caller::{Caller, TenantProof};
pub use dev::{dev_caller, is_loopback_host};
pub use error::{IdentityError, KeyError, KeyErrors, KeyProblem};
pub use key_set::{KeySet, KeySetChange, KeySetError};
pub use ticket::{Ticket, TicketKey};
pub use verifier::{Clock, Verifier};

#[cfg(test)]
mod tests;
