//! Who asks for flags: a tenant is proved by a token, by one of its API keys, or, for a stream, by a ticket. Whoever proves
//! nothing learns nothing of tenants: of a tenant that there is not, a key is as wrong as any other.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, request::Parts};
use jiff::Timestamp;

use super::Wanted;
use crate::{
    flags::unix_seconds,
    gateway::{door::Door, guards},
    identity::{EndpointAuth, FLAGS_READ, IdentityError, PresentedKey, Ticket, authorize_tenant, is_over},
    names::TenantId,
    problem::Problem,
    refusals,
    stores::ApiKey,
    telemetry::RequestId,
    tenancy::TenantSnapshot,
};

/// How many tenants may be read at once on the word of keys that nothing is known of yet. Keys with made-up tenants cost a
/// look into the store each; so they get no more of it than this. A guess: many times what tenants that are not in memory
/// need.
pub(in crate::gateway) const UNPROVED_READS: usize = 32;

/// How long a request waits for its turn among them.
const TURN_WAIT: Duration = Duration::from_secs(2);

/// A tenant that was proved.
pub(super) struct Proved {
    pub(super) snapshot: Arc<TenantSnapshot>,
    /// The id of the key that proved it; `None`: a token did.
    pub(super) key: Option<String>,
}

impl Door {
    /// The tenant that a request proves; it is active.
    pub(super) async fn proved(
        &self,
        host: Result<Option<String>, Problem>,
        parts: &Parts,
        wanted: Option<&Wanted>,
        id: RequestId,
    ) -> Result<Proved, Problem> {
        let host = host?;
        let host = host.as_deref();
        let refused = |error: IdentityError| {
            tracing::info!(request_id = %id, %error, "a key or ticket was refused");
            Problem::token_or_key_refused()
        };
        let ticket = query(parts, "ticket").filter(|_| wanted == Some(&Wanted::Events));
        let proved = if let Some(ticket) = ticket {
            self.check_local(&parts.headers, host)?;
            let ticket = self.settings.ofrep.tickets.verify(&ticket, unix_seconds()).map_err(refused)?;
            self.refuse_other(parts, host, &ticket.tenant)?;
            let snapshot = self.known(&ticket.tenant).await?;
            if !ticket_holds(&ticket, &snapshot) {
                return Err(refused(IdentityError::Ticket("is of a key that was revoked")));
            }
            Proved { snapshot, key: ticket.key }
        } else if let Some(key) = PresentedKey::read(&parts.headers).map_err(refused)? {
            self.check_local(&parts.headers, host)?;
            let snapshot =
                self.on_the_word_of(&key).await?.ok_or(IdentityError::ApiKey("names no tenant that there is"));
            let snapshot = snapshot.map_err(refused)?;
            let found = key.verify(snapshot.api_keys(), Timestamp::now()).map_err(refused)?.clone();
            self.refuse_other(parts, host, key.tenant())?;
            if !permits(&found) {
                return Err(Problem::forbidden("The key's scopes do not permit this"));
            }
            Proved { snapshot, key: Some(found.id) }
        } else {
            // Which of both a client meant to send can't be known.
            let either = |problem: Problem| match problem.status() {
                StatusCode::UNAUTHORIZED => Problem::token_or_key_refused(),
                _ => problem,
            };
            let caller = self.caller(&parts.headers, host, id).map_err(either)?;
            let caller = caller.ok_or_else(Problem::token_or_key_missing)?;
            let named = self.named(parts, host)?;
            let tenant = guards::tenant_meant(named, Some(&caller))?;
            authorize_tenant(Some(&caller), &tenant, EndpointAuth::Required).map_err(|error| guards::denied(&error))?;
            Proved { snapshot: self.known(&tenant).await?, key: None }
        };
        guards::tenant_active(&proved.snapshot)?;
        Ok(proved)
    }

    async fn known(&self, tenant: &TenantId) -> Result<Arc<TenantSnapshot>, Problem> {
        match self.tenancy.snapshot(tenant.as_str()) {
            Some(snapshot) => Ok(snapshot),
            None => self.tenancy.load(tenant).await.map_err(|error| refusals::of_tenancy(&error)),
        }
    }

    /// The tenant that a key names, before anything about the key is proved; `None` where there is none.
    async fn on_the_word_of(&self, key: &PresentedKey) -> Result<Option<Arc<TenantSnapshot>>, Problem> {
        if let Some(snapshot) = self.tenancy.snapshot(key.tenant().as_str()) {
            return Ok(Some(snapshot));
        }
        let turn = tokio::time::timeout(TURN_WAIT, self.unproved_reads.acquire()).await;
        let Ok(_turn) = turn else { return Err(Problem::too_many_flag_requests()) };
        match self.known(key.tenant()).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    fn named(&self, parts: &Parts, host: Option<&str>) -> Result<Option<TenantId>, Problem> {
        let named = self.settings.naming.read(&parts.uri, &parts.headers, host)?;
        named.tenant.as_deref().map(str::parse::<TenantId>).transpose().map_err(Problem::tenant_id_invalid)
    }

    /// A request may name the tenant that it proves, and no other.
    fn refuse_other(&self, parts: &Parts, host: Option<&str>, proved: &TenantId) -> Result<(), Problem> {
        match self.named(parts, host)? {
            Some(named) if named != *proved => Err(Problem::forbidden("The key is for another tenant")),
            _ => Ok(()),
        }
    }
}

/// Whether what a ticket was given for still proves the tenant.
fn ticket_holds(ticket: &Ticket, snapshot: &TenantSnapshot) -> bool {
    holds(ticket.key.as_deref(), snapshot)
}

/// Whether a key, or a token, that proved the tenant before still does.
pub(super) fn holds(key: Option<&str>, snapshot: &TenantSnapshot) -> bool {
    let Some(id) = key else { return true };
    let found = snapshot.api_keys().iter().find(|key| key.id == id);
    found.is_some_and(|key| permits(key) && !is_over(key, Timestamp::now()))
}

fn permits(key: &ApiKey) -> bool {
    key.scopes.iter().any(|scope| scope == FLAGS_READ)
}

/// A parameter of the query.
pub(super) fn query(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    let found = form_urlencoded::parse(query.as_bytes()).find(|(found, _)| found == name);
    found.map(|(_, value)| value.into_owned())
}
