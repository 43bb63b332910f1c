//! The two names that every room speaks of: a tenant's id and a module's name, checked once at the edge.

mod module_name;
mod tenant_id;

pub use module_name::{ModuleName, ModuleNameError};
pub use tenant_id::{TenantId, TenantIdError};
