//! From a tenant, a method and a path to an instance that is leased: guards 2 to 7, and what follows up to the
//! module's reply. The same for requests from outside and for calls between modules.

use std::{sync::Arc, time::Instant};

use http::Method;
use percent_encoding::percent_decode_str;

use super::{
    call::{Called, call},
    guards,
};
use crate::{
    identity::Caller,
    loader::{CallRequest, FailureKind, Reply},
    names::TenantId,
    problem::Problem,
    refusals,
    telemetry::RequestId,
    tenancy::{Lease, Lent, ModuleLimits, RouteMatch, Tenancy, TenantSnapshot, Unlent},
};

/// How often a request is routed again because its tenant changed under it.
const ROUTE_ATTEMPTS: usize = 4;

/// A request that has passed the guards and has its instance.
pub(super) struct Admitted<'caller> {
    pub(super) caller: Option<&'caller Caller>,
    pub(super) snapshot: Arc<TenantSnapshot>,
    pub(super) slot: usize,
    pub(super) lease: Lease,
    pub(super) route: u32,
    pub(super) params: Vec<(Arc<str>, String)>,
    pub(super) deadline: Instant,
    pub(super) limits: ModuleLimits,
}

/// What is to be admitted.
pub(super) struct Asked<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) id: RequestId,
    /// The request gives up then, if not before.
    pub(super) latest: Option<Instant>,
}

/// Finds the endpoint, looks at its guards and takes a lease. `known` is the tenant's picture where the caller has it
/// already.
pub(super) async fn admit<'caller>(
    tenancy: &Tenancy,
    asked: &Asked<'_>,
    caller: Option<&'caller Caller>,
    mut known: Option<Arc<TenantSnapshot>>,
) -> Result<Admitted<'caller>, Problem> {
    let begun = Instant::now();
    for _ in 0..ROUTE_ATTEMPTS {
        let snapshot = match known.take().or_else(|| tenancy.snapshot(asked.tenant.as_str())) {
            Some(snapshot) => snapshot,
            None => tenancy.load(asked.tenant).await.map_err(|error| refusals::of_tenancy(&error))?,
        };
        guards::tenant_active(&snapshot)?;
        let found = guards::endpoint(tenancy, &snapshot, asked.method, asked.path, asked.id)?;
        let name = &snapshot.table.module(found.module).name;
        let limits = snapshot.table.limits(found.module);
        let seen = guards::admit(&snapshot, name, found.endpoint, caller)?;
        let params = decode(&found)?;
        let (module, route) = (found.module, found.endpoint_index);
        let own = begun + limits.deadline;
        let deadline = asked.latest.map_or(own, |latest| latest.min(own));
        match tenancy.lease(&snapshot, module, deadline).await {
            Ok(Lent::Lease(lease)) => {
                let route = u32::try_from(route).unwrap_or(u32::MAX);
                return Ok(Admitted { caller: seen, snapshot, slot: module, lease, route, params, deadline, limits });
            }
            Ok(Lent::Stale) => {}
            Err(Unlent::Full) => return Err(refusals::full(name)),
            Err(Unlent::Barred) => return Err(refusals::barred(name)),
            Err(Unlent::Failed(error)) => return Err(refusals::of_tenancy(&error)),
        }
    }
    Err(Problem::tenant_changing())
}

fn decode(found: &RouteMatch<'_, '_>) -> Result<Vec<(Arc<str>, String)>, Problem> {
    if found.names.is_empty() {
        return Ok(Vec::new());
    }
    let mut params = Vec::with_capacity(found.names.len());
    for ((_, value), name) in found.params.iter().zip(found.names.iter()) {
        let Ok(text) = percent_decode_str(value).decode_utf8() else {
            return Err(Problem::request_invalid(format!("`{name}` in the path is not UTF-8")));
        };
        params.push((Arc::clone(name), text.into_owned()));
    }
    Ok(params)
}

/// Why an admitted request has no reply.
pub(super) enum Unanswered {
    /// The module failed, or is leaving.
    Problem(Problem),
    /// The deadline passed first.
    TimedOut,
}

impl Admitted<'_> {
    /// Lends the request to the module and waits for its reply.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler.
    pub(super) async fn run(
        &self,
        tenancy: &Tenancy,
        request: CallRequest,
        id: RequestId,
    ) -> Result<Reply, Unanswered> {
        let module = &self.snapshot.table.module(self.slot).name;
        let begun = Instant::now();
        match call(&self.lease, request, self.deadline).await {
            Called::Ended(Ok(reply)) => {
                if reply.status.is_server_error() {
                    tenancy.failed(&self.snapshot, self.slot);
                }
                Ok(reply)
            }
            Called::Ended(Err(failure)) => {
                match failure.kind {
                    FailureKind::Panicked { .. } => {
                        tenancy.broken(&self.snapshot, self.slot, self.lease.serial());
                    }
                    FailureKind::Fault { .. }
                    | FailureKind::Invalid
                    | FailureKind::StoreUnavailable
                    | FailureKind::Stopping => {}
                    _ => tenancy.failed(&self.snapshot, self.slot),
                }
                // Failures are rare enough for a span; it lets the log be found by the id that the client has.
                let tenant = self.snapshot.id();
                let _named = tracing::error_span!("request", request_id = %id, %tenant).entered();
                Err(Unanswered::Problem(refusals::of_failure(module, &failure)))
            }
            Called::TimedOut => {
                // A client that takes its time over a body leaves the handler little: that is not the code's fault.
                if self.deadline.saturating_duration_since(begun) >= self.limits.deadline / 2 {
                    tenancy.failed(&self.snapshot, self.slot);
                }
                Err(Unanswered::TimedOut)
            }
            Called::Cut => Err(Unanswered::Problem(refusals::busy(module))),
        }
    }
}
