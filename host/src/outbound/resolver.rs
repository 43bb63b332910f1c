//! Names become addresses here, once for each connection: what is checked is what is connected to, so a name that
//! points elsewhere at the second look gains nothing.

use std::{io, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::AddressRules;

/// Looks a name up; tests hand in their own.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Why a name gave no address to connect to. Found again in the chain of the client's error.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAddress {
    /// The name has none.
    #[error("the name has no address")]
    Unknown(#[source] io::Error),
    /// All that it has are inside.
    #[error("all addresses of the name are refused: {0:?}")]
    Refused(Vec<SocketAddr>),
}

/// A resolver that gives only addresses that the rules permit.
pub(super) struct Guarded {
    rules: AddressRules,
    lookup: Lookup,
}

impl Guarded {
    pub(super) fn new(rules: AddressRules, lookup: Lookup) -> Self {
        Self { rules, lookup }
    }
}

/// As the machine looks names up.
pub(super) fn system_lookup() -> Lookup {
    // The port is put in by the client.
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, rules) = ((self.lookup)(name.as_str().to_owned()), self.rules.clone());
        Box::pin(async move {
            let found = found.await.map_err(NoAddress::Unknown)?;
            if found.is_empty() {
                return Err(NoAddress::Unknown(io::ErrorKind::NotFound.into()).into());
            }
            let permitted: Vec<_> = found.iter().copied().filter(|address| rules.permit(address.ip())).collect();
            if permitted.is_empty() {
                return Err(NoAddress::Refused(found).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
