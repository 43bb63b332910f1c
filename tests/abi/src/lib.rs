//! One module, built three ways: against a module-api with one service fewer than the host, the same, and one
//! more.

#![forbid(unsafe_code)]

use module_api::prelude::*;

struct Growth {
    tenant: Tenant,
}

impl Module for Growth {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.get("/id", Self::id);
        routes.get("/beyond", Self::beyond);
        routes.get("/needed", Self::needed);
    }
}

impl Growth {
    async fn id(&self) -> Response {
        Response::text(self.tenant.id())
    }

    /// What the service of a later host answers; nothing where the module knows of none.
    async fn beyond(&self) -> Result<Response> {
        #[cfg(feature = "newer")]
        let answer = self.tenant.beyond().map_err(|error| error.to_string());
        #[cfg(not(feature = "newer"))]
        let answer: Result<String, String> = Ok("unknown".to_owned());
        Response::json(&answer)
    }

    /// The same, passed on as an error.
    async fn needed(&self) -> Result<Response> {
        #[cfg(feature = "newer")]
        let answer = self.tenant.beyond()?;
        #[cfg(not(feature = "newer"))]
        let answer = "unknown";
        Response::json(&answer)
    }
}

module_api::export_module!(Growth);
