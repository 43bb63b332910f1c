//! Whose request it is, as the application says.

use std::{fmt, sync::Arc};

use http::request::Parts;

/// The header that names the tenant where the application says nothing else.
const HEADER: &str = "x-tenant-id";

type Named = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// Tells which tenant a request is for. It only selects: that whoever sent the request may speak for the tenant is to
/// be proved before, by the application.
#[derive(Clone)]
pub struct TenantOf(Arc<Named>);

impl fmt::Debug for TenantOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantOf")
    }
}

impl TenantOf {
    /// By a function that looks at the head of the request: its path, its headers, what earlier layers have put into
    /// its extensions.
    pub fn from_fn(named: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(named))
    }

    pub(super) fn of(&self, parts: &Parts) -> Option<String> {
        (self.0)(parts)
    }
}

impl Default for TenantOf {
    fn default() -> Self {
        Self::from_fn(|parts| parts.headers.get(HEADER)?.to_str().ok().map(str::to_owned))
    }
}
