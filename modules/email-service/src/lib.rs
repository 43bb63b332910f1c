//! Module email-service: mail that is asked for once is handed to the tenant's mail server once.
//!
//! Reading order: `message` says what is stored, what a client may send and what it sees; `message_routes` are the
//! handlers. `delivery` takes a message from the queue when its wake-up comes, `smtp` speaks with the server,
//! `schedule` says when the next try is. `settings` are the tenant's, `template` is what a message can be made from,
//! `template_routes` its handlers.

#![forbid(unsafe_code)]

mod delivery;
mod message;
mod message_routes;
mod schedule;
mod settings;
mod smtp;
mod template;
mod template_routes;

#[cfg(test)]
mod tests;

use module_api::prelude::*;

use crate::{message::StoredMessage, template::StoredTemplate};

/// Where the module's routes begin; the same as `routes.base` in `module.toml`.
const BASE: &str = "/api/v1/email";

/// How often a write is tried when others write the same document at the same time. A guess: each round lost
/// means that somebody else's write went through.
const WRITE_ATTEMPTS: u32 = 16;

struct EmailService {
    tenant: Tenant,
    messages: Collection<StoredMessage>,
    templates: Collection<StoredTemplate>,
}

impl Module for EmailService {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        let (messages, templates) = (tenant.collection("Message")?, tenant.collection("Template")?);
        Ok(Self { messages, templates, tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .post("/messages", Self::queue)
            .get("/messages", Self::list)
            .get("/messages/{id}", Self::show)
            .delete("/messages/{id}", Self::delete)
            .post("/messages/{id}/retry", Self::retry)
            .get("/templates", Self::list_templates)
            .get("/templates/{name}", Self::show_template)
            .put("/templates/{name}", Self::put_template)
            .delete("/templates/{name}", Self::delete_template);
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        if key == delivery::SETTINGS_CHANGED { self.hurry().await } else { self.deliver(&key).await }
    }

    async fn settings_changed(&self) -> Result<()> {
        // A wake-up and not the work itself: the queue may be long, and this instance may be leaving.
        Ok(self.tenant.wake_at(delivery::SETTINGS_CHANGED, self.tenant.now()).await?)
    }
}

module_api::export_module!(EmailService);
