//! Module keeper: documents of one number each, and a guarded route that touches none.

#![forbid(unsafe_code)]

use module_api::prelude::*;
use serde::{Deserialize, Serialize};

struct Keeper {
    entries: Collection<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: u64,
}

impl Module for Keeper {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { entries: tenant.collection("Entry")? })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.get("/mark", Self::mark).post("/entries/{id}", Self::write).get("/entries/{id}", Self::read);
    }
}

impl Keeper {
    async fn mark(&self) -> Response {
        Response::text("marked")
    }

    async fn write(&self, request: Request) -> Result<Response> {
        let (id, entry): (_, Entry) = (request.param("id"), request.json()?);
        self.entries.insert(id, &entry).await?;
        Response::created(format!("/bench/keeper/entries/{id}"), &entry)
    }

    async fn read(&self, request: Request) -> Result<Response> {
        let found = self.entries.get(request.param("id")).await?;
        let found = found.ok_or_else(|| Fault::not_found("no-entry", "there is no such entry"))?;
        Response::json(&found.value)
    }
}

module_api::export_module!(Keeper, "keeper-module/module.toml");
