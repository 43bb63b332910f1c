//! Module tasks: what is to be done, by whom, until when, and how far it is.
//!
//! Reading order: `task` says what is stored, what a client may send and what it sees; `task_routes` are the
//! handlers of single tasks, `filter` what a listing can be asked for, `numbering` how tasks get their
//! numbers. `assignee` asks hr-core who somebody is, `farewell` hears that they are gone. `import` reads CSV, `report`
//! counts. The rest are small parts.

#![forbid(unsafe_code)]

mod assignee;
mod dates;
mod farewell;
mod filter;
mod import;
mod import_route;
mod numbering;
mod report;
mod report_route;
mod status;
mod task;
mod task_routes;

#[cfg(test)]
mod tests;

use module_api::prelude::*;

use crate::{numbering::Counter, task::StoredTask};

/// Where the module's routes begin; the same as `routes.base` in `module.toml`.
const BASE: &str = "/api/v1/tasks";

/// How often a write is tried when others write the same document at the same time. A guess: each round lost
/// means that somebody else's write went through.
const WRITE_ATTEMPTS: u32 = 16;

/// The largest page the store gives.
const PAGE: usize = 200;

struct Tasks {
    tenant: Tenant,
    tasks: Collection<StoredTask>,
    counters: Collection<Counter>,
}

impl Module for Tasks {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { tasks: tenant.collection("Task")?, counters: tenant.collection("Counter")?, tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .get("/items", Self::list)
            .post("/items", Self::create)
            .post("/items/import", Self::import)
            .get("/items/{id}", Self::show)
            .put("/items/{id}", Self::replace)
            .delete("/items/{id}", Self::delete)
            .get("/report", Self::report);
    }

    async fn on_event(&self, event: Event) -> Result<()> {
        self.employee_deleted(&event).await
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        self.look_again(&key).await
    }
}

module_api::export_module!(Tasks);
