//! Reads the text of `tenon.toml` over a configuration: one function for each table of the file.

use std::{collections::BTreeMap, num::NonZeroUsize, path::Path, time::Duration};

use toml::de::DeTable;

use super::{
    auth::{Auth, AuthJwks, AuthKey, JwksSource, KeyAlgorithm},
    error::ConfigProblem,
    ofrep::Ofrep,
    section::{Notes, Section},
    settings::{
        Config, Containment, Deliveries, Limits, Log, LogFormat, ModuleOverride, Outbound, Reload, Runtime,
        RuntimeMode, Tenancy, TenantSource, Watch, WatchMode,
    },
    store::{read_cache, read_store},
    value::{address, address_range, boolean, bytes, choice, count, duration, filter, path, tenant, text, web_address},
};
use crate::names::{ModuleName, TenantId};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Overwrites what the text sets. Relative paths begin at the file's folder.
pub(super) fn read_file(config: &mut Config, file: &Path, source: &str) -> Vec<ConfigProblem> {
    let notes = Notes::new(file, source);
    let (table, broken) = DeTable::parse_recoverable(source);
    if broken.is_empty() {
        let mut top = Section::top(&notes, table.get_ref());
        let folder = file.parent().unwrap_or(Path::new(""));
        read_top(config, &mut top, folder);
        top.finish();
    }
    // What the rest of a file with broken syntax means is guesswork; only the syntax is reported.
    for error in broken {
        notes.add(error.span().unwrap_or(0..0), error.message().to_owned(), None);
    }
    notes.into_problems()
}

fn read_top(config: &mut Config, top: &mut Section<'_, '_>, folder: &Path) {
    top.set("plugins", &mut config.plugins, path(folder));
    top.set("data", &mut config.data, path(folder));
    top.set("listen", &mut config.listen, address);
    top.set("admin-listen", &mut config.admin_listen, address);
    top.set("dev", &mut config.dev, boolean);
    top.table("store", |section| read_store(config, section, folder));
    top.table("cache", |section| read_cache(&mut config.cache, section, folder));
    top.table("limits", |section| read_limits(&mut config.limits, section));
    top.table("auth", |section| read_auth(&mut config.auth, section, folder));
    top.table("tenant-source", |section| read_tenant_source(&mut config.tenant_source, section));
    top.table("proxies", |section| section.list("trusted", &mut config.proxies.trusted, address_range));
    top.table("tenancy", |section| read_tenancy(&mut config.tenancy, section));
    top.table("deliveries", |section| read_deliveries(&mut config.deliveries, section));
    top.table("reload", |section| read_reload(&mut config.reload, section));
    top.table("outbound", |section| read_outbound(&mut config.outbound, section));
    top.table("secrets", |section| {
        section.set("folder", &mut config.secrets.folder, |value| path(folder)(value).map(Some));
    });
    top.table("flags", |section| {
        section.set("definitions", &mut config.flags.definitions, |value| path(folder)(value).map(Some));
    });
    top.table("ofrep", |section| read_ofrep(&mut config.ofrep, section, folder));
    top.table("containment", |section| read_containment(&mut config.containment, section));
    top.table("runtime", |section| read_runtime(&mut config.runtime, section));
    top.table("watch", |section| read_watch(&mut config.watch, section));
    top.table("log", |section| read_log(&mut config.log, section));
}

const MOST_BODY: usize = 1 << 30;
const MOST_CONCURRENCY: usize = 1_000_000;

fn read_limits(limits: &mut Limits, section: &mut Section<'_, '_>) {
    section.set("body-bytes", &mut limits.general.body_bytes, bytes(0, MOST_BODY));
    section.set("deadline", &mut limits.general.deadline, duration(MS, DAY));
    section.set("concurrency", &mut limits.general.concurrency, count(1, MOST_CONCURRENCY));
    // hyper refuses a smaller buffer than 8 KiB.
    section.set("header-bytes", &mut limits.header_bytes, bytes(8 << 10, 1 << 20));
    section.set("header-count", &mut limits.header_count, count(8, 10_000));
    section.set("header-timeout", &mut limits.header_timeout, duration(MS, HOUR));
    section.set("connections", &mut limits.connections, count(1, 10_000_000));
    section.set("write-timeout", &mut limits.write_timeout, duration(MS, HOUR));
    let modules: &mut BTreeMap<_, _> = &mut limits.modules;
    section.each_named("modules", |name, own| {
        let limits = ModuleOverride {
            body_bytes: own.get("body-bytes", bytes(0, MOST_BODY)),
            deadline: own.get("deadline", duration(MS, DAY)),
            concurrency: own.get("concurrency", count(1, MOST_CONCURRENCY)),
        };
        match name.parse::<ModuleName>() {
            Ok(module) => drop(modules.insert(module, limits)),
            Err(why) => own.refuse(format!("`{name}`: {why}"), None),
        }
    });
}

fn read_auth(auth: &mut Auth, section: &mut Section<'_, '_>, folder: &Path) {
    section.set("leeway", &mut auth.leeway, duration(Duration::ZERO, 300 * SECOND));
    section.set("token-cache", &mut auth.token_cache, count(0, 1_000_000));
    section.table("claims", |claims| {
        claims.set("subject", &mut auth.claims.subject, text);
        claims.set("tenant", &mut auth.claims.tenant, text);
        claims.set("roles", &mut auth.claims.roles, text);
    });
    section.each("keys", |key| {
        let algorithms = choice(&[
            ("HS256", KeyAlgorithm::Hs256),
            ("RS256", KeyAlgorithm::Rs256),
            ("ES256", KeyAlgorithm::Es256),
            ("EdDSA", KeyAlgorithm::EdDsa),
        ]);
        // Each is read before any is missed, so that every problem of the entry is noted.
        let id = key.require("id", text);
        let algorithm = key.require("algorithm", algorithms);
        let file = key.require("file", path(folder));
        let issuer = key.require("issuer", text);
        let audience = key.require("audience", text);
        let tenant = key.get("tenant", tenant);
        let (Some(id), Some(algorithm), Some(file), Some(issuer), Some(audience)) =
            (id, algorithm, file, issuer, audience)
        else {
            return;
        };
        if auth.keys.iter().any(|other| other.id == id) {
            key.refuse(format!("there are two keys with id `{id}`"), None);
        }
        refuse_two_tenants(auth, key, &issuer, tenant.as_ref());
        auth.keys.push(AuthKey { id, algorithm, file, issuer, audience, tenant });
    });
    section.each("jwks", |set| read_jwks(auth, set, folder));
}

fn read_jwks(auth: &mut Auth, set: &mut Section<'_, '_>, folder: &Path) {
    // A secret in a set that others can read would be none.
    const PUBLIC: &[(&str, KeyAlgorithm)] =
        &[("RS256", KeyAlgorithm::Rs256), ("ES256", KeyAlgorithm::Es256), ("EdDSA", KeyAlgorithm::EdDsa)];
    let issuer = set.require("issuer", text);
    let audience = set.require("audience", text);
    let tenant = set.get("tenant", tenant);
    let mut algorithms: Vec<KeyAlgorithm> = PUBLIC.iter().map(|(_, algorithm)| *algorithm).collect();
    set.list("algorithms", &mut algorithms, choice(PUBLIC));
    if algorithms.is_empty() && set.has("algorithms") {
        set.refuse("`auth.jwks.algorithms` permits no key: list at least one that there is".into(), None);
    }
    let mut refresh = 900 * SECOND;
    set.set("refresh", &mut refresh, duration(SECOND, DAY));
    let sources = [set.has("file"), set.has("url")];
    let file = set.get("file", path(folder)).map(JwksSource::File);
    let url = set.get("url", web_address).map(JwksSource::Url);
    if sources[0] == sources[1] {
        set.refuse("`auth.jwks` needs one of `file` and `url`, and only one".into(), None);
        return;
    }
    let (Some(issuer), Some(audience), Some(source)) = (issuer, audience, file.or(url)) else { return };
    refuse_two_tenants(auth, set, &issuer, tenant.as_ref());
    auth.jwks.push(AuthJwks { issuer, audience, tenant, algorithms, source, refresh });
}

/// An issuer that is tied to a tenant by one key and free by another would not be tied at all.
fn refuse_two_tenants(auth: &Auth, entry: &Section<'_, '_>, issuer: &str, tenant: Option<&TenantId>) {
    let of_keys = auth.keys.iter().map(|key| (&key.issuer, &key.tenant));
    let of_sets = auth.jwks.iter().map(|set| (&set.issuer, &set.tenant));
    if of_keys.chain(of_sets).any(|(other, bound)| other == issuer && bound.as_ref() != tenant) {
        entry.refuse(
            format!("the keys of issuer `{issuer}` name different tenants"),
            Some("give all keys of one issuer the same `tenant`, or none".into()),
        );
    }
}

fn read_tenant_source(from: &mut TenantSource, section: &mut Section<'_, '_>) {
    // `header = false` switches the header off, which an absent key does not.
    section.set("header", &mut from.header, |value| match value.as_bool() {
        Some(false) => Ok(None),
        _ => match text(value)?.parse::<http::HeaderName>() {
            Ok(name) => Ok(Some(name.as_str().to_owned())),
            Err(_) => Err("must be the name of a header, or `false`".into()),
        },
    });
    section.set("host-suffix", &mut from.host_suffix, |value| {
        let suffix = text(value)?.trim_start_matches('.').to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let is_host = !suffix.is_empty() && suffix.chars().all(plain);
        if is_host { Ok(Some(suffix)) } else { Err("must be a host name, as in \"example.com\"".into()) }
    });
    section.set("path-prefix", &mut from.path_prefix, |value| {
        let prefix = text(value)?;
        let segment = prefix.strip_prefix('/').unwrap_or("");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_segment = !segment.is_empty() && segment.chars().all(plain);
        if is_segment { Ok(Some(prefix)) } else { Err("must be one path segment, as in \"/t\"".into()) }
    });
}

fn read_tenancy(tenancy: &mut Tenancy, section: &mut Section<'_, '_>) {
    section.set("drain-deadline", &mut tenancy.drain_deadline, duration(Duration::ZERO, HOUR));
    section.set("idle-release", &mut tenancy.idle_release, duration(SECOND, 365 * DAY));
    section.set("linger", &mut tenancy.linger, duration(Duration::ZERO, DAY));
    section.set("max-generations", &mut tenancy.max_generations, count(1, 700));
    section.set("initialize-deadline", &mut tenancy.initialize_deadline, duration(MS, HOUR));
    section.set("memory-budget", &mut tenancy.memory_budget, bytes(1 << 16, 1 << 40));
    section.set("start-concurrency", &mut tenancy.start_concurrency, count(1, 1024));
}

fn read_deliveries(deliveries: &mut Deliveries, section: &mut Section<'_, '_>) {
    section.set("claim", &mut deliveries.claim, duration(SECOND, HOUR));
    section.set("look-every", &mut deliveries.look_every, duration(10 * MS, HOUR));
    section.set("retry-base", &mut deliveries.retry_base, duration(MS, HOUR));
    section.set("retry-limit", &mut deliveries.retry_limit, duration(MS, DAY));
    section.set("attempts", &mut deliveries.attempts, count(1, 1000));
    section.set("concurrency", &mut deliveries.concurrency, count(1, 10_000));
    section.set("per-tenant", &mut deliveries.per_tenant, count(1, 10_000));
}

fn read_reload(reload: &mut Reload, section: &mut Section<'_, '_>) {
    section.set("probation", &mut reload.probation, duration(Duration::ZERO, DAY));
    section.set("min-requests", &mut reload.min_requests, count(1, 1_000_000));
    section.set("failure-margin-percent", &mut reload.failure_margin_percent, count(0, 100));
    section.set("failed-share-percent", &mut reload.failed_share_percent, count(0, 100));
    section.set("keep-versions", &mut reload.keep_versions, count(1, 100));
    section.set("panic-limit", &mut reload.panic_limit, count(0, 100_000));
    section.set("panic-window", &mut reload.panic_window, duration(SECOND, DAY));
}

fn read_ofrep(ofrep: &mut Ofrep, section: &mut Section<'_, '_>, folder: &Path) {
    section.set("concurrency", &mut ofrep.concurrency, count(1, MOST_CONCURRENCY));
    section.set("event-streams", &mut ofrep.event_streams, count(0, MOST_CONCURRENCY));
    section.set("heartbeat", &mut ofrep.heartbeat, duration(100 * MS, HOUR));
    section.set("ticket-life", &mut ofrep.ticket_life, duration(10 * SECOND, DAY));
    section.set("ticket-key-file", &mut ofrep.ticket_key_file, |value| path(folder)(value).map(Some));
}

fn read_containment(containment: &mut Containment, section: &mut Section<'_, '_>) {
    section.set("stuck-limit", &mut containment.stuck_limit, count(1, 1000));
    section.set("stuck-window", &mut containment.stuck_window, duration(SECOND, DAY));
    section.set("log-lines-per-second", &mut containment.log_lines_per_second, count(1, 1_000_000));
    section.set("events-waiting", &mut containment.events_waiting, count(1, 100_000_000));
}

fn read_outbound(outbound: &mut Outbound, section: &mut Section<'_, '_>) {
    section.list("allow", &mut outbound.allow, address_range);
    section.set("timeout", &mut outbound.timeout, duration(MS, HOUR));
    section.set("answer-bytes", &mut outbound.answer_bytes, bytes(0, MOST_BODY));
}

fn read_runtime(runtime: &mut Runtime, section: &mut Section<'_, '_>) {
    let modes = choice(&[("per-core", RuntimeMode::PerCore), ("work-stealing", RuntimeMode::WorkStealing)]);
    section.set("workers", &mut runtime.workers, |value| count(1, 1024)(value).map(NonZeroUsize::new));
    section.set("mode", &mut runtime.mode, modes);
}

fn read_watch(watch: &mut Watch, section: &mut Section<'_, '_>) {
    section.set("mode", &mut watch.mode, choice(&[("events", WatchMode::Events), ("poll", WatchMode::Poll)]));
    section.set("settle", &mut watch.settle, duration(MS, 60 * SECOND));
    section.set("poll-interval", &mut watch.poll_interval, duration(10 * MS, HOUR));
}

fn read_log(log: &mut Log, section: &mut Section<'_, '_>) {
    section.set("format", &mut log.format, choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    section.set("filter", &mut log.filter, filter);
}
