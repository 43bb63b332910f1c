//! The two guards as layers. A request that passes carries its tenant's snapshot in its extensions.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use tower::{Layer, Service};

use super::tenant::TenantOf;
use crate::{
    names::ModuleName,
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::{Tenancy, TenantSnapshot},
};

/// Lets requests of those tenants through that have a module enabled, and that can run it; 403 MODULE_NOT_ENABLED for
/// all others.
///
/// Without a tenant a request is refused with 400, for one that does not exist with 404, for one that is suspended with
/// 403: with the same bodies as the host's own listener. What passes finds an `Arc<TenantSnapshot>` in its extensions.
#[derive(Debug, Clone)]
pub struct ModuleGuard {
    tenancy: Tenancy,
    module: ModuleName,
    tenant: TenantOf,
}

/// Lets requests of those tenants through that have a feature on; 403 FEATURE_NOT_ENABLED for all others. As
/// [`ModuleGuard`] otherwise.
#[derive(Debug, Clone)]
pub struct RequireFeature {
    tenancy: Tenancy,
    module: Option<ModuleName>,
    feature: Arc<str>,
    tenant: TenantOf,
}

impl ModuleGuard {
    /// For this module. The tenant is the one that the header `X-Tenant-Id` names.
    pub fn new(tenancy: &Tenancy, module: ModuleName) -> Self {
        Self { tenancy: tenancy.clone(), module, tenant: TenantOf::default() }
    }

    /// With another way to know the tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantOf) -> Self {
        self.tenant = tenant;
        self
    }
}

impl RequireFeature {
    /// For a feature of the tenant, as the tenant's modules and its own values have it. The tenant is the one that the
    /// header `X-Tenant-Id` names.
    pub fn new(tenancy: &Tenancy, feature: &str) -> Self {
        Self { tenancy: tenancy.clone(), module: None, feature: feature.into(), tenant: TenantOf::default() }
    }

    /// As this module sees the feature: its own default counts.
    #[must_use]
    pub fn of_module(mut self, module: ModuleName) -> Self {
        self.module = Some(module);
        self
    }

    /// With another way to know the tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantOf) -> Self {
        self.tenant = tenant;
        self
    }
}

/// What a guard asks of a tenant.
#[derive(Debug, Clone)]
enum Wanted {
    Module(ModuleName),
    Feature(Option<ModuleName>, Arc<str>),
}

/// A service behind a guard.
#[derive(Debug, Clone)]
pub struct Guarding<S> {
    inner: S,
    tenancy: Tenancy,
    tenant: TenantOf,
    wanted: Wanted,
}

impl<S> Layer<S> for ModuleGuard {
    type Service = Guarding<S>;

    fn layer(&self, inner: S) -> Guarding<S> {
        let wanted = Wanted::Module(self.module.clone());
        Guarding { inner, tenancy: self.tenancy.clone(), tenant: self.tenant.clone(), wanted }
    }
}

impl<S> Layer<S> for RequireFeature {
    type Service = Guarding<S>;

    fn layer(&self, inner: S) -> Guarding<S> {
        let wanted = Wanted::Feature(self.module.clone(), Arc::clone(&self.feature));
        Guarding { inner, tenancy: self.tenancy.clone(), tenant: self.tenant.clone(), wanted }
    }
}

impl<S, B, R> Service<Request<B>> for Guarding<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<Bytes> + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was found ready is used; its clone is for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (tenancy, tenant, wanted) = (self.tenancy.clone(), self.tenant.clone(), self.wanted.clone());
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match judge(&tenancy, &tenant, &wanted, &parts).await {
                Ok(snapshot) => {
                    parts.extensions.insert(snapshot);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(problem) => Ok(refuse(&problem)),
            }
        })
    }
}

/// The tenant's snapshot, where it has what is wanted.
async fn judge(
    tenancy: &Tenancy,
    tenant: &TenantOf,
    wanted: &Wanted,
    parts: &Parts,
) -> Result<Arc<TenantSnapshot>, Problem> {
    let named = tenant.of(parts).ok_or_else(Problem::tenant_required)?;
    let snapshot = match tenancy.snapshot(&named) {
        Some(snapshot) => snapshot,
        None => {
            let id = named.parse().map_err(Problem::tenant_id_invalid)?;
            tenancy.load(&id).await.map_err(|error| refusals::of_tenancy(&error))?
        }
    };
    if !snapshot.is_active() {
        return Err(Problem::tenant_suspended(snapshot.id()));
    }
    match wanted {
        Wanted::Module(module) if snapshot.module(module.as_str()).is_some() => Ok(snapshot),
        Wanted::Module(module) if snapshot.has_enabled(module.as_str()) => Err(Problem::module_load_failed(module)),
        Wanted::Module(module) => Err(Problem::module_not_enabled(module)),
        Wanted::Feature(module, feature) => {
            let is_on = match module {
                Some(module) => snapshot.flags.is_enabled(module, feature) == Some(true),
                None => snapshot.flags.is_feature_enabled(feature),
            };
            if is_on { Ok(snapshot) } else { Err(Problem::feature_not_enabled(feature)) }
        }
    }
}

fn refuse<R: From<Bytes>>(problem: &Problem) -> Response<R> {
    let id = RequestId::new();
    let mut response = Response::new(R::from(Bytes::from(problem.to_body(id.uuid()))));
    *response.status_mut() = problem.status();
    problem.write_headers(response.headers_mut());
    if let Ok(value) = http::HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
