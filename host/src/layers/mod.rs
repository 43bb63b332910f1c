//! Guards for somebody else's application: tower layers that ask the host whether a tenant has a module or a feature.
//! Refuses to answer for the application: what a request may do beyond that is the application's to say.

mod guard;
mod tenant;

pub use guard::{Guarding, ModuleGuard, RequireFeature};
pub use tenant::TenantOf;
