//! The HTTP client beneath: TLS by ring with the machine's trust roots, no proxy, no redirect of its own.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// How long an unused connection is kept. Shorter than most servers keep theirs: a request on a connection that
/// the other side is closing fails.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The TLS library takes none of the protocol's versions.
    #[error("TLS can't be had")]
    Tls(#[from] rustls::Error),
    /// The client's own.
    #[error("an HTTP client can't be made")]
    Client(#[from] reqwest::Error),
}

/// A way to make clients that share what they trust.
#[derive(Clone)]
pub struct HttpClient {
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// Reads the machine's trust roots, as `SSL_CERT_FILE` and `SSL_CERT_DIR` say or where the system keeps them. A
    /// machine without any is no reason not to start: it can't call over https, and the log says so.
    ///
    /// # Errors
    ///
    /// [`HttpClientError`] where TLS can't be had.
    pub fn with_system_roots() -> Result<Self, HttpClientError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a trust root can't be read");
        }
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            tracing::warn!("this machine has no trust roots: no https call can succeed; install ca-certificates");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls) })
    }

    /// A client that goes nowhere but where it is sent: no proxy of the environment, no redirects, no second try.
    pub(super) fn build(&self, more: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Client, HttpClientError> {
        let builder = Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls))
            .user_agent(concat!("tenon/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_idle_timeout(POOL_IDLE);
        Ok(more(builder).build()?)
    }
}

/// An error with all its causes, for the log.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
