//! Tests of room `config`, through [`Config::load`].

use std::{ffi::OsString, fs, path::Path, time::Duration};

use super::*;

mod auth;
mod ofrep;
mod store;

fn load(text: &str, env: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tenon.toml"), text).unwrap();
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    let loaded = Config::load(Layers { folder: folder.path(), file: None, env: &env, flags });
    let shorten = |errors: ConfigErrors| errors.to_string().replace(folder.path().to_str().unwrap(), "");
    let relative = |path: &Path| path.strip_prefix(folder.path()).unwrap_or(path).to_owned();
    loaded.map_err(shorten).map(|mut config| {
        config.source = config.source.as_deref().map(relative);
        config.plugins = relative(&config.plugins);
        config.data = relative(&config.data);
        config.auth.keys.iter_mut().for_each(|key| key.file = relative(&key.file));
        config
    })
}

fn from_file(text: &str) -> Result<Config, String> {
    load(text, &[], Flags::default())
}

#[test]
fn an_absent_file_gives_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers { folder: folder.path(), file: None, env: &|_| None, flags: Flags::default() };
    let config = Config::load(layers).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    let general = config.limits.general;
    assert_eq!((general.body_bytes, general.deadline, general.concurrency), (2_097_152, Duration::from_secs(30), 256));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("other.toml");
    for by_env in [false, true] {
        let env = |name: &str| (by_env && name == "TENON_CONFIG").then(|| missing.clone().into_os_string());
        let file = (!by_env).then_some(missing.as_path());
        let layers = Layers { folder: folder.path(), file, env: &env, flags: Flags::default() };
        let errors = Config::load(layers).unwrap_err();
        assert_eq!(errors.problems()[0].place, Place::WholeFile(missing.clone()));
    }
}

#[test]
fn every_key_of_the_file_is_read() {
    let config = from_file(
        r#"
        plugins = "mods"
        data = "/var/lib/tenon"
        listen = "0.0.0.0:80"
        admin-listen = "[::1]:0"
        dev = false
        [store]
        kind = "sqlite"
        compare-every = "3s"
        [cache]
        lifetime = "60s"
        [limits]
        body-bytes = "64 KiB"
        deadline = "500ms"
        concurrency = 3
        header-bytes = 8192
        header-count = 20
        header-timeout = "1s"
        connections = 500
        write-timeout = "5s"
        [limits.modules.tasks]
        body-bytes = "8MiB"
        [auth]
        leeway = "0s"
        token-cache = 0
        claims = { subject = "user", tenant = "org", roles = "groups" }
        [[auth.keys]]
        id = "main"
        algorithm = "EdDSA"
        file = "keys/main.pem"
        issuer = "https://id.example"
        audience = "tenon"
        tenant = "acme"
        [[auth.jwks]]
        issuer = "https://keys.example"
        audience = "tenon"
        tenant = "acme"
        algorithms = ["ES256"]
        url = "https://keys.example/jwks"
        refresh = "1h"
        [[auth.jwks]]
        issuer = "https://file.example"
        audience = "tenon"
        file = "/etc/tenon/jwks.json"
        [tenant-source]
        header = false
        host-suffix = ".Example.com"
        path-prefix = "/t"
        [proxies]
        trusted = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
        [tenancy]
        drain-deadline = "5s"
        idle-release = "1h"
        linger = "0"
        max-generations = 700
        initialize-deadline = "2s"
        start-concurrency = 2
        [deliveries]
        claim = "30s"
        look-every = "2s"
        retry-base = "5s"
        retry-limit = "1m"
        attempts = 3
        concurrency = 2
        per-tenant = 1
        [reload]
        probation = "10s"
        min-requests = 50
        failure-margin-percent = 1
        failed-share-percent = 20
        keep-versions = 5
        panic-limit = 0
        panic-window = "30s"
        [outbound]
        allow = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
        timeout = "5s"
        answer-bytes = "1MiB"
        [secrets]
        folder = "/run/secrets"
        [flags]
        definitions = "/etc/tenon/flags.json"
        [containment]
        stuck-limit = 5
        stuck-window = "1h"
        log-lines-per-second = 50
        events-waiting = 500
        [runtime]
        workers = 4
        mode = "work-stealing"
        [watch]
        mode = "poll"
        settle = "20ms"
        poll-interval = "100ms"
        [log]
        format = "json"
        filter = "warn,tenon_host=debug"
        "#,
    )
    .unwrap();
    let tasks = config.limits.of(&"tasks".parse().unwrap());
    assert_eq!((tasks.body_bytes, tasks.concurrency), (8 << 20, 3));
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        source: Some(
            "tenon.toml",
        ),
        plugins: "mods",
        data: "/var/lib/tenon",
        listen: 0.0.0.0:80,
        admin_listen: [::1]:0,
        dev: false,
        store: Sqlite,
        compare_every: 3s,
        cache: Cache {
            uri: None,
            lifetime: 60s,
            prefix: "tenon:",
        },
        limits: Limits {
            general: ModuleLimits {
                body_bytes: 65536,
                deadline: 500ms,
                concurrency: 3,
            },
            modules: {
                ModuleName(
                    "tasks",
                ): ModuleOverride {
                    body_bytes: Some(
                        8388608,
                    ),
                    deadline: None,
                    concurrency: None,
                },
            },
            header_bytes: 8192,
            header_count: 20,
            header_timeout: 1s,
            connections: 500,
            write_timeout: 5s,
        },
        auth: Auth {
            claims: ClaimNames {
                subject: "user",
                tenant: "org",
                roles: "groups",
            },
            leeway: 0ns,
            token_cache: 0,
            keys: [
                AuthKey {
                    id: "main",
                    algorithm: EdDsa,
                    file: "keys/main.pem",
                    issuer: "https://id.example",
                    audience: "tenon",
                    tenant: Some(
                        TenantId(
                            "acme",
                        ),
                    ),
                },
            ],
            jwks: [
                AuthJwks {
                    issuer: "https://keys.example",
                    audience: "tenon",
                    tenant: Some(
                        TenantId(
                            "acme",
                        ),
                    ),
                    algorithms: [
                        Es256,
                    ],
                    source: Url(
                        "https://keys.example/jwks",
                    ),
                    refresh: 3600s,
                },
                AuthJwks {
                    issuer: "https://file.example",
                    audience: "tenon",
                    tenant: None,
                    algorithms: [
                        Rs256,
                        Es256,
                        EdDsa,
                    ],
                    source: File(
                        "/etc/tenon/jwks.json",
                    ),
                    refresh: 900s,
                },
            ],
        },
        tenant_source: TenantSource {
            header: None,
            host_suffix: Some(
                "example.com",
            ),
            path_prefix: Some(
                "/t",
            ),
        },
        proxies: Proxies {
            trusted: [
                127.0.0.1/32,
                10.0.0.0/8,
                fd00::/8,
            ],
        },
        tenancy: Tenancy {
            drain_deadline: 5s,
            idle_release: 3600s,
            linger: 0ns,
            max_generations: 700,
            initialize_deadline: 2s,
            start_concurrency: 2,
            memory_budget: 268435456,
        },
        deliveries: Deliveries {
            claim: 30s,
            look_every: 2s,
            retry_base: 5s,
            retry_limit: 60s,
            attempts: 3,
            concurrency: 2,
            per_tenant: 1,
        },
        reload: Reload {
            probation: 10s,
            min_requests: 50,
            failure_margin_percent: 1,
            failed_share_percent: 20,
            keep_versions: 5,
            panic_limit: 0,
            panic_window: 30s,
        },
        outbound: Outbound {
            allow: [
                127.0.0.1/32,
                10.0.0.0/8,
                fd00::/8,
            ],
            timeout: 5s,
            answer_bytes: 1048576,
        },
        secrets: Secrets {
            folder: Some(
                "/run/secrets",
            ),
        },
        flags: FeatureFlags {
            definitions: Some(
                "/etc/tenon/flags.json",
            ),
        },
        ofrep: Ofrep {
            concurrency: 256,
            event_streams: 1000,
            heartbeat: 20s,
            ticket_life: 900s,
            ticket_key_file: None,
        },
        containment: Containment {
            stuck_limit: 5,
            stuck_window: 3600s,
            log_lines_per_second: 50,
            events_waiting: 500,
        },
        runtime: Runtime {
            workers: Some(
                4,
            ),
            mode: WorkStealing,
        },
        watch: Watch {
            mode: Poll,
            settle: 20ms,
            poll_interval: 100ms,
        },
        log: Log {
            format: Json,
            filter: "warn,tenon_host=debug",
        },
    }
    "#);
}

#[test]
fn every_problem_is_reported_with_its_place() {
    let errors = from_file(
        r#"lisen = "127.0.0.1:1"
admin_listen = "127.0.0.1:1"
dev = "yes"
frobnicate = 1
[limits]
deadline = 30
concurrency = 0
body-bytes = "2MB"
[limits.modules.Tasks]
deadlin = "1s"
[tenancy]
max-generations = 701
linger = "2 days"
[runtime]
mode = "percore"
[watch]
settle = -5
[log]
filter = "tenon=loud"
[[auth.keys]]
id = "a"
algorithm = "none"
file = "a.pem"
issuer = "i"
tenant = "../etc"
"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    /tenon.toml:1:1: unknown key `lisen`
    hint: did you mean `listen`?
    /tenon.toml:2:1: unknown key `admin_listen`
    hint: did you mean `admin-listen`?
    /tenon.toml:3:7: `dev`: must be `true` or `false`, found "yes"
    /tenon.toml:4:1: unknown key `frobnicate`
    hint: known here: `plugins`, `data`, `listen`, `admin-listen`, `dev`, `store`, `cache`, `limits`, `auth`, `tenant-source`, `proxies`, `tenancy`, `deliveries`, `reload`, `outbound`, `secrets`, `flags`, `ofrep`, `containment`, `runtime`, `watch`, `log`
    /tenon.toml:6:12: `limits.deadline`: must be a duration, as in "50ms", "30s" or "10m", found 30
    /tenon.toml:7:15: `limits.concurrency`: must be 1 to 1000000, found 0
    /tenon.toml:8:14: `limits.body-bytes`: must be a number of bytes, as in `65536` or "2MiB", found "2MB"
    /tenon.toml:9:17: `Tasks`: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    /tenon.toml:10:1: unknown key `limits.modules.Tasks.deadlin`
    hint: did you mean `deadline`?
    /tenon.toml:12:19: `tenancy.max-generations`: must be 1 to 700, found 701
    /tenon.toml:13:10: `tenancy.linger`: must be a duration, as in "50ms", "30s" or "10m", found "2 days"
    /tenon.toml:15:8: `runtime.mode`: must be "per-core" or "work-stealing", found "percore"
    /tenon.toml:17:10: `watch.settle`: must be a duration, as in "50ms", "30s" or "10m", found -5
    /tenon.toml:19:10: `log.filter`: `tenon=loud` is no log filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    /tenon.toml:20:1: `auth.keys.audience` is missing
    /tenon.toml:22:13: `auth.keys.algorithm`: must be "HS256" or "RS256" or "ES256" or "EdDSA", found "none"
    /tenon.toml:25:10: `auth.keys.tenant`: a tenant id begins with a letter or digit and has only letters, digits, `_`, `.` and `-`
    "#);
}

#[test]
fn ranges_of_addresses_are_refused_one_by_one() {
    let errors = from_file(
        "[outbound]\nallow = [\"localhost\", \"10.0.0.1/8\", \"10.0.0.0/33\", 7, \"::1\"]\ntimeout = \"0\"\nalow = []\n",
    );
    insta::assert_snapshot!(errors.unwrap_err(), @r#"
    /tenon.toml:2:10: `outbound.allow[0]`: `localhost` is no range of addresses; an IP address or a range is needed, as in "10.0.0.0/8"
    /tenon.toml:2:23: `outbound.allow[1]`: `10.0.0.1/8` is an address within a range; write "10.0.0.0/8" or "10.0.0.1"
    /tenon.toml:2:37: `outbound.allow[2]`: `10.0.0.0/33` is no range of addresses; an IP address or a range is needed, as in "10.0.0.0/8"
    /tenon.toml:2:52: `outbound.allow[3]`: must be a string, found 7
    /tenon.toml:3:11: `outbound.timeout`: must be 1ms to 3600s, found 0s
    /tenon.toml:4:1: unknown key `outbound.alow`
    hint: did you mean `allow`?
    "#);
    let errors = from_file("[outbound]\nallow = \"10.0.0.0/8\"\n");
    insta::assert_snapshot!(errors.unwrap_err(), @"/tenon.toml:2:9: `outbound.allow`: must be a list, found string");
}

#[test]
fn a_range_of_proxies_is_exact() {
    let errors = from_file("[proxies]\ntrusted = [\"10.1.2.3/8\", \"proxy.example\", 7, \"::1\"]\n").unwrap_err();
    for problem in [
        "`proxies.trusted[0]`: `10.1.2.3/8` is an address within a range",
        "`proxies.trusted[1]`",
        "`proxies.trusted[2]`: must be a string",
    ] {
        assert!(errors.contains(problem), "{errors}");
    }
    let errors = from_file("[proxies]\ntrusted = \"127.0.0.1\"\n").unwrap_err();
    assert!(errors.contains("must be a list"), "{errors}");
}

#[test]
fn broken_syntax_is_reported_alone_and_in_full() {
    let errors = from_file("listen = 127.0.0.1\nunknown = 1\n[log\nformat = \"json\"\n").unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    /tenon.toml:1:15: invalid float, expected nothing
    /tenon.toml:3:5: unclosed table, expected `]`
    "#);
}

#[test]
fn flag_wins_over_environment_over_file() {
    let file = "plugins = \"f\"\nlisten = \"127.0.0.1:1\"\nadmin-listen = \"127.0.0.1:2\"\n[log]\nfilter = \"warn\"\n";
    let env = [("TENON_LISTEN", "127.0.0.1:3"), ("TENON_ADMIN_LISTEN", "127.0.0.1:4"), ("TENON_LOG", "debug")];
    let flags = Flags { listen: Some("127.0.0.1:5".parse().unwrap()), ..Flags::default() };
    let config = load(file, &env, flags).unwrap();
    assert_eq!(config.plugins, Path::new("f"));
    assert_eq!((config.listen.port(), config.admin_listen.port()), (5, 4));
    assert_eq!(config.log.filter, "debug");

    let config = load(file, &[("TENON_PLUGINS", "e"), ("TENON_DATA", "")], Flags::default()).unwrap();
    assert_eq!((config.plugins.to_str(), config.data.to_str()), (Some("e"), Some("./data")), "empty counts as absent");
}

#[test]
fn bad_environment_is_named() {
    let env = [("TENON_LISTEN", "8080"), ("TENON_LOG", "x=loud")];
    let errors = load("dev = 1", &env, Flags::default()).unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    /tenon.toml:1:7: `dev`: must be `true` or `false`, found 1
    TENON_LISTEN: `8080` is no address; an IP address and a port are needed, as in `127.0.0.1:8080`
    TENON_LOG: `x=loud` is no log filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    "#);
}

#[test]
fn dev_mode_needs_loopback_listeners() {
    let dev = |text: &str| load(text, &[], Flags { dev: true, ..Flags::default() });
    assert!(dev("listen = \"[::1]:1\"\nadmin-listen = \"127.0.0.9:2\"").unwrap().dev);
    assert!(from_file("listen = \"0.0.0.0:1\"").is_ok(), "without dev mode any address will do");
    insta::assert_snapshot!(dev("listen = \"0.0.0.0:1\"\nadmin-listen = \"10.0.0.1:2\"").unwrap_err(), @r#"
    dev mode believes every header, so `listen` must be a loopback address, found 0.0.0.0:1
    hint: listen on 127.0.0.1 or [::1], or leave dev mode
    dev mode believes every header, so `admin-listen` must be a loopback address, found 10.0.0.1:2
    hint: listen on 127.0.0.1 or [::1], or leave dev mode
    "#);
}

#[test]
fn values_must_fit_together() {
    let errors = from_file(
        "listen = \"127.0.0.1:9\"\nadmin-listen = \"127.0.0.1:9\"\n[tenant-source]\nheader = false\n\
         [watch]\nmode = \"poll\"\nsettle = \"5s\"\n",
    );
    insta::assert_snapshot!(errors.unwrap_err(), @r#"
    `listen` and `admin-listen` are both 127.0.0.1:9
    hint: tenants and operators need a listener each; give them different ports
    no request can name a tenant: `[tenant-source]` permits no way and there are no keys for tokens
    hint: permit the header, or configure `host-suffix`, `path-prefix` or `[[auth.keys]]`
    `watch.settle` (5s) is longer than `watch.poll-interval` (2s)
    hint: a file is read at the first look after it settled; make `poll-interval` the longer one
    "#);
}
