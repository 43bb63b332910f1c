//! The trait that makes a type a module.

use std::future::Future;

use crate::{
    error::{Error, Result},
    event::Event,
    routes::Routes,
    tenant::Tenant,
};

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

    /// Handles an event that `module.toml` subscribes to. An error or a panic means that it comes again, after a
    /// back-off, at most ten times; then it is a dead letter that operators see.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any await when the deadline passes, or when another host has taken the event over. What the
    /// handler writes after that is refused with [`StoreError::ClaimLost`](crate::StoreError::ClaimLost).
    fn on_event(&self, event: Event) -> impl Future<Output = Result<()>> + Send {
        async move { Err(Error::internal(format!("the module does not handle events, such as `{}`", event.name()))) }
    }

    /// Handles a wake-up that was set by [`Tenant::wake_at`] and is due. An error or a panic means that it is
    /// repeated, after a back-off, at most ten times. It comes at least once, and on one host at a time.
    ///
    /// # Cancel safety
    ///
    /// As [`Module::on_event`].
    fn on_wake(&self, key: String) -> impl Future<Output = Result<()>> + Send {
        async move { Err(Error::internal(format!("the module does not handle wake-ups, such as `{key}`"))) }
    }

    /// Runs after an operator has changed the tenant's settings for the module; [`Tenant::settings`] has the new
    /// ones. An error is logged, the settings stay.
    fn settings_changed(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Whether the instance can do its work. Asked after `initialize`, before the first request: an error means that
    /// the instance is not put into service.
    fn health(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Runs once, when the tenant no longer uses the instance and all its requests have ended. Not called
    /// after a panic in a drop, nor when the process is killed.
    fn cleanup(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
