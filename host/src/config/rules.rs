//! What must hold between values, whichever layer each came from.

use std::net::SocketAddr;

use super::{
    error::{ConfigProblem, Place},
    settings::{Config, WatchMode},
    store::StoreKind,
};

/// Everything that is good alone and wrong together.
pub(super) fn check(config: &Config) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    let mut refuse = |message: String, hint: &str| {
        problems.push(ConfigProblem { place: Place::Together, message, hint: Some(hint.into()) });
    };
    for (name, listener) in open_dev_listeners(config) {
        refuse(
            format!("dev mode believes every header, so `{name}` must be a loopback address, found {listener}"),
            "listen on 127.0.0.1 or [::1], or leave dev mode",
        );
    }
    if config.listen == config.admin_listen && config.listen.port() != 0 {
        refuse(
            format!("`listen` and `admin-listen` are both {}", config.listen),
            "tenants and operators need a listener each; give them different ports",
        );
    }
    if config.cache.uri.is_some() && config.store == StoreKind::Sqlite {
        refuse(
            "`[cache]` is for hosts that share a store, and this one has a store of its own".into(),
            "give `[store]` the kind \"mongodb\", or leave `[cache]` out",
        );
    }
    let source = &config.tenant_source;
    let nameable = source.header.is_some() || source.host_suffix.is_some() || source.path_prefix.is_some();
    if !nameable && config.auth.keys.is_empty() && config.auth.jwks.is_empty() {
        refuse(
            "no request can name a tenant: `[tenant-source]` permits no way and there are no keys for tokens".into(),
            "permit the header, or configure `host-suffix`, `path-prefix` or `[[auth.keys]]`",
        );
    }
    if config.watch.mode == WatchMode::Poll && config.watch.settle > config.watch.poll_interval {
        refuse(
            format!(
                "`watch.settle` ({:?}) is longer than `watch.poll-interval` ({:?})",
                config.watch.settle, config.watch.poll_interval
            ),
            "a file is read at the first look after it settled; make `poll-interval` the longer one",
        );
    }
    problems
}

/// Those listeners of a host in dev mode that others than this machine could reach.
fn open_dev_listeners(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let listeners = [("listen", config.listen), ("admin-listen", config.admin_listen)];
    let dev = config.dev;
    listeners.into_iter().filter(move |(_, address)| dev && !address.ip().to_canonical().is_loopback())
}
