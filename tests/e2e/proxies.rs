//! What proxies say of a request is believed of those that the operator trusts. A test is a peer on 127.0.0.1.

use crate::harness::{Ask, Host, Setup};

/// Tenants are named by host name alone.
const BY_HOST: &str = "[tenant-source]\nheader = false\nhost-suffix = \"example.com\"\n";
const TRUSTED: &str = "[proxies]\ntrusted = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
const OTHERS_TRUSTED: &str = "[proxies]\ntrusted = [\"10.0.0.0/8\"]\n";

fn start(config: &str) -> Host {
    let host = Setup::with(&["mirror"]).without_dev().config(config).start();
    host.tenant("acme", &["mirror"]);
    host.tenant("other", &["mirror"]);
    host
}

fn ask(host: &Host, header: &str) -> Ask {
    host.ask("GET", &format!("/fixtures/mirror/header/{header}"))
}

/// A request that says all that a proxy can say.
fn forwarded(host: &Host, header: &str) -> Ask {
    ask(host, header)
        .header("x-forwarded-for", "198.51.100.7, 192.0.2.9, 10.0.0.3")
        .header("x-forwarded-host", "Acme.example.com:8443")
        .header("x-forwarded-proto", "HTTPS")
        .header("x-forwarded-user", "root")
        .header("x-real-ip", "198.51.100.7")
        .header("forwarded", "for=198.51.100.7;host=other.example.com")
}

#[test]
fn a_trusted_proxy_names_the_tenant_by_the_host_it_was_asked_for() {
    let host = start(&format!("{BY_HOST}{TRUSTED}"));
    for (header, seen) in [
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-host", "acme.example.com:8443"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-user", "absent"),
        ("x-real-ip", "absent"),
        ("forwarded", "absent"),
        ("host", "other.example.com"),
    ] {
        forwarded(&host, header).header("host", "other.example.com").send().expect_text(seen);
    }
    host.tenon(&["tenants", "suspend", "other"]).succeeds();
    forwarded(&host, "host").header("host", "other.example.com").send().expect_text("other.example.com");
    ask(&host, "host").header("host", "other.example.com").send().refuses(
        403,
        "TENANT_SUSPENDED",
        "Tenant other is suspended",
    );
    let bad = ask(&host, "host").header("x-forwarded-host", "acme.example.com/x").send();
    bad.refuses(400, "REQUEST_INVALID", "X-Forwarded-Host is no host");
    host.stop();
}

#[test]
fn from_anybody_else_it_names_nobody_and_no_module_sees_it() {
    for config in [BY_HOST.to_owned(), format!("{BY_HOST}{OTHERS_TRUSTED}")] {
        let host = start(&config);
        for header in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip"] {
            forwarded(&host, header).header("host", "acme.example.com").send().expect_text("absent");
        }
        forwarded(&host, "host").send().refuses(400, "TENANT_REQUIRED", "The request must name a tenant");
        host.stop();
    }
}

#[test]
fn with_dev_a_forwarded_host_must_be_loopback_as_well() {
    let host = Setup::with(&["mirror"]).config(TRUSTED).start();
    host.tenant("acme", &["mirror"]);
    let asked = || ask(&host, "x-forwarded-host").header("x-tenant-id", "acme");
    let refused = "With --dev only requests to loopback hosts are served";
    // A page under another name, by way of a proxy that replaces the name.
    asked().header("x-forwarded-host", "evil.example").send().refuses(403, "FORBIDDEN", refused);
    // A page under another name that says it is loopback.
    let rebound = asked().header("host", "evil.example").header("x-forwarded-host", "localhost").send();
    rebound.refuses(403, "FORBIDDEN", refused);
    asked().header("x-forwarded-host", "localhost:3000").send().expect_text("localhost:3000");
    asked().send().expect_text("absent");
    host.stop();
}
