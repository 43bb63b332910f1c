//! The trait that makes a type a module.

use std::future::Future;

use crate::{error::Result, routes::Routes, tenant::Tenant};

/// A module: one value of this type is one instance, made for one tenant.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Tenon module",
    label = "implement `module_api::Module` for it",
    note = "a module has `async fn initialize(tenant: Tenant) -> Result<Self>` and `fn routes(routes: &mut Routes<Self>)`"
)]
pub trait Module: Send + Sync + Sized + 'static {
    /// Makes an instance for a tenant. Runs before the tenant's first request, under a deadline; an error or
    /// a panic here means that the module does not run for the tenant, and changes nothing else.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any await when the deadline passes.
    fn initialize(tenant: Tenant) -> impl Future<Output = Result<Self>> + Send;

    /// Names the handlers. The routes must be those of `module.toml`.
    fn routes(routes: &mut Routes<Self>);

    /// Runs once, when the tenant no longer uses the instance and all its requests have ended. Not called
    /// after a panic in a drop, nor when the process is killed.
    fn cleanup(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
