//! Carries out the requests of modules: checks, sends, follows redirects, reads the answer, all within its time.

use std::{error::Error, io, sync::Arc, time::Duration};

use ipnet::IpNet;
use reqwest::{Client, Response, Url};

use super::{
    addresses::AddressRules,
    answer::{ReadError, redirect_of, whole},
    client::{HttpClient, HttpClientError, chain},
    resolver::{Guarded, Lookup, NoAddress, system_lookup},
    wanted::{Bounds, Wanted, inside},
};
use crate::{
    loader::{Answer, Failure, FailureKind, Fetch, ServiceFuture},
    manifest::Outbound,
    tenancy::{Asker, FetchOutside},
};

/// How many redirects are followed; a choice, as of many clients: sites use one or two.
const MAX_REDIRECTS: usize = 5;

/// What modules may do outside.
#[derive(Debug, Clone)]
pub struct OutsideSettings {
    /// Addresses that are not public and permitted all the same.
    pub allow: Vec<IpNet>,
    /// The longest time for a request, its redirects and its answer together.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub answer_bytes: usize,
}

/// Sends requests for modules.
#[derive(Debug)]
pub struct Outside(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    rules: AddressRules,
    timeout: Duration,
    answer_bytes: usize,
}

impl Outside {
    /// Nothing is opened yet. Requests must be polled inside a runtime with timers and sockets.
    ///
    /// # Errors
    ///
    /// [`HttpClientError`] where no client can be made.
    pub fn new(settings: OutsideSettings, http: &HttpClient) -> Result<Self, HttpClientError> {
        Self::with_lookup(settings, http, system_lookup())
    }

    pub(super) fn with_lookup(
        settings: OutsideSettings,
        http: &HttpClient,
        lookup: Lookup,
    ) -> Result<Self, HttpClientError> {
        let rules = AddressRules::allowing(settings.allow);
        let resolver = Arc::new(Guarded::new(rules.clone(), lookup));
        let client = http.build(|builder| builder.dns_resolver(resolver))?;
        Ok(Self(Arc::new(Shared { client, rules, timeout: settings.timeout, answer_bytes: settings.answer_bytes })))
    }
}

impl FetchOutside for Outside {
    fn fetch(&self, from: Asker, allowed: Arc<[Outbound]>, fetch: Fetch) -> ServiceFuture<Result<Answer, Failure>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let time = fetch.timeout.map_or(shared.timeout, |own| own.min(shared.timeout));
            let carried_out = tokio::time::timeout(time, shared.carry_out(&from, &allowed, fetch)).await;
            carried_out.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Timeout, format!("there was no whole answer within {time:?}")))
            })
        })
    }
}

impl Shared {
    async fn carry_out(&self, from: &Asker, named: &[Outbound], fetch: Fetch) -> Result<Answer, Failure> {
        let bounds = Bounds { named, rules: &self.rules };
        let mut wanted = Wanted::read(fetch, bounds)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(from, &wanted).await?;
            let status = response.status();
            let Some(target) = redirect_of(&response)? else {
                return whole(response, self.answer_bytes).await.map_err(|error| match error {
                    ReadError::Broken(error) => failure_of(from, &wanted.url, error),
                    ReadError::Refused(failure) => failure,
                });
            };
            bounds.check(&target).map_err(|failure| {
                let text = format!("a redirect was not followed: {}", failure.message);
                Failure::new(FailureKind::Refused, text)
            })?;
            wanted.redirected(status, target);
        }
        Err(Failure::new(FailureKind::Unreachable, format!("there were more than {MAX_REDIRECTS} redirects")))
    }

    async fn send(&self, from: &Asker, wanted: &Wanted) -> Result<Response, Failure> {
        let request = self.client.request(wanted.method.clone(), wanted.url.clone());
        let request = request.headers(wanted.headers.clone());
        // An empty body is none: some servers refuse a GET that has one.
        let request = if wanted.body.is_empty() { request } else { request.body(wanted.body.clone()) };
        request.send().await.map_err(|error| failure_of(from, &wanted.url, error))
    }
}

/// What a module is told; the log has the rest. Texts name what the module named, never an address.
fn failure_of(from: &Asker, url: &Url, error: reqwest::Error) -> Failure {
    // Paths and queries may hold what is nobody's business.
    let error = &error.without_url();
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    tracing::info!(
        tenant = %from.tenant, module = %from.module, host, port, "a request outside failed: {}", chain(error)
    );
    let unreachable =
        |why: &str| Failure::new(FailureKind::Unreachable, format!("`{host}:{port}` can't be reached: {why}"));
    match cause(error) {
        Some(NoAddress::Refused(_)) => return inside(host, port),
        Some(NoAddress::Unknown(_)) => return unreachable("the name has no address"),
        None => {}
    }
    if cause::<rustls::Error>(error).is_some() {
        return unreachable("TLS failed; the host's log says why");
    }
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => unreachable("nobody listens there"),
        _ if error.is_connect() => unreachable("the connection failed"),
        _ if error.is_builder() => Failure::new(FailureKind::Misuse, "the request can't be sent as it is"),
        _ => unreachable("the connection broke before the whole answer was there"),
    }
}

/// The first error of a kind in a chain. An `io::Error` hides what it wraps one step deeper than its source.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
