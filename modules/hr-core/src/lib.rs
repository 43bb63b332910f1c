//! Module hr-core: the departments of a tenant and the people in them.
//!
//! Reading order: `department` and `employee` say what is stored, what a client may send and what it sees;
//! `search` turns the parameters of a listing into questions to the store; the two `*_routes` files are the
//! handlers, `membership` keeps the two kinds of document in agreement, and `leaving` tells other modules that an
//! employee is gone. What is left are small parts that both share.

#![forbid(unsafe_code)]

mod department;
mod department_routes;
mod employee;
mod employee_routes;
mod leaving;
mod membership;
mod search;
mod text;

#[cfg(test)]
mod tests;

use module_api::prelude::*;

use crate::{department::StoredDepartment, employee::StoredEmployee};

/// Where the module's routes begin; the same as `routes.base` in `module.toml`.
const BASE: &str = "/api/v1/hr";

/// How often a write is tried when others write the same document at the same time. A guess: each round lost
/// means that somebody else's write went through.
const WRITE_ATTEMPTS: u32 = 16;

struct HrCore {
    tenant: Tenant,
    departments: Collection<StoredDepartment>,
    employees: Collection<StoredEmployee>,
}

impl Module for HrCore {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { departments: tenant.collection("Department")?, employees: tenant.collection("Employee")?, tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .get("/departments", Self::list_departments)
            .post("/departments", Self::create_department)
            .get("/departments/{id}", Self::show_department)
            .put("/departments/{id}", Self::replace_department)
            .delete("/departments/{id}", Self::delete_department)
            .get("/employees", Self::list_employees)
            .post("/employees", Self::create_employee)
            .get("/employees/{id}", Self::show_employee)
            .put("/employees/{id}", Self::replace_employee)
            .delete("/employees/{id}", Self::delete_employee);
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        self.finish_leaving(&key).await
    }
}

/// What a write answers that lost every round against other writers.
fn too_many_writers() -> Error {
    Fault::conflict("concurrent-writes", "others keep writing this document at the same time; try again").into()
}

module_api::export_module!(HrCore);
