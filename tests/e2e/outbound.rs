//! Modules call hosts outside: only those that their manifests name, at addresses that are public or that the operator
//! lists. The hosts outside are servers of the test.

use http::{Request, Response};
use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Setup, Site};

const ALLOWED: &str = "[outbound]\nallow = [\"127.0.0.1\"]\n";

/// A host with fixture `fetcher`, which names these hosts.
fn start(config: &str, named: &[String]) -> Host {
    let setup = Setup::new().config(config);
    let manifest = include_str!("../fixtures/fetcher/module.toml");
    let outbound = format!("host-api = \"^1\"\noutbound = {named:?}");
    let module = NewModule::of("fetcher", manifest.replace("host-api = \"^1\"", &outbound));
    setup.add_new("fetcher.so", &module);
    let host = setup.start();
    host.tenant("acme", &["fetcher"]);
    host
}

fn named(sites: &[&Site]) -> Vec<String> {
    sites.iter().map(|site| site.address().to_string()).collect()
}

/// What the module tells of its call.
fn fetch(host: &Host, order: &Value) -> Value {
    let told = host.ask("POST", "/fixtures/fetcher/fetch").header("x-tenant-id", "acme").json(order).send();
    told.expect(200)
}

#[track_caller]
fn fails(host: &Host, order: &Value, sort: &str, text: &str) {
    assert_eq!(fetch(host, order), json!({"failure": {"sort": sort, "text": text}}));
}

/// A site that gives back what it was asked.
fn echo() -> Site {
    Site::new(|request: &Request<_>| {
        let body = String::from_utf8_lossy(request.body());
        Response::new(format!("{} {} {body}", request.method(), request.uri()))
    })
}

/// A site that sends everybody on to the URL in the query.
fn sends_on(status: u16) -> Site {
    Site::new(move |request: &Request<_>| {
        let target = request.uri().query().unwrap_or_default();
        Response::builder().status(status).header("location", target).body(String::new()).unwrap()
    })
}

#[test]
fn a_named_host_that_is_allowed_is_called() {
    let site = echo();
    let host = start(ALLOWED, &named(&[&site]));
    let order = json!({
        "method": "post", "url": site.url("/a?b=c"), "body": "hello", "headers": {"authorization": "Bearer t", "x-one": "1"}
    });
    assert_eq!(fetch(&host, &order), json!({"answer": {"status": 200, "kind": null, "body": "POST /a?b=c hello"}}));
    let asked = &site.asked()[0];
    let header = |name: &str| asked.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("authorization").as_deref(), Some("Bearer t"));
    assert_eq!(header("x-one").as_deref(), Some("1"));
    assert_eq!(header("host"), Some(site.address().to_string()));
    assert!(header("user-agent").unwrap().starts_with("tenon/"), "{asked:?}");
    assert_eq!(header("x-tenant-id"), None, "nothing of the tenant goes out");
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let (site, proxy) = (echo(), echo());
    let setup = Setup::new().config(ALLOWED);
    let manifest = include_str!("../fixtures/fetcher/module.toml");
    let outbound = format!("host-api = \"^1\"\noutbound = [\"{}\"]", site.address());
    setup.add_new("fetcher.so", &NewModule::of("fetcher", manifest.replace("host-api = \"^1\"", &outbound)));
    let host = setup.start_with(|command| {
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(name, proxy.url("/"));
        }
    });
    host.tenant("acme", &["fetcher"]);
    assert_eq!(fetch(&host, &json!({"url": site.url("/")}))["answer"]["status"], 200);
    assert!(proxy.asked().is_empty());
}

#[test]
fn a_host_that_is_not_named_is_refused() {
    let (site, other) = (echo(), echo());
    let host = start(ALLOWED, &named(&[&site]));
    let text = format!("`{}` is not listed under `outbound` in the manifest", other.address());
    fails(&host, &json!({"url": other.url("/")}), "refused", &text);
    // The same server by another name is another host.
    let port = site.address().port();
    let text = format!("`localhost:{port}` is not listed under `outbound` in the manifest");
    fails(&host, &json!({"url": format!("http://localhost:{port}/")}), "refused", &text);
    assert!(site.asked().is_empty() && other.asked().is_empty());
}

#[test]
fn addresses_inside_are_refused_by_address_and_by_name() {
    let site = echo();
    let port = site.address().port();
    let names = [site.address().to_string(), format!("localhost:{port}")];
    let host = start("", &names);
    for name in &names {
        let text = format!(
            "`{name}` has no address that modules may call: it is not public, and `[outbound] allow` in the host's \
             configuration does not list it"
        );
        fails(&host, &json!({"url": format!("http://{name}/")}), "refused", &text);
    }
    assert!(site.asked().is_empty());
}

#[test]
fn redirects_are_followed_to_named_hosts_only() {
    let (first, last, unnamed) = (sends_on(302), echo(), echo());
    let host = start(ALLOWED, &named(&[&first, &last]));
    let order = json!({
        "method": "POST", "url": first.url(&format!("/?{}", last.url("/x"))), "body": "hello",
        "headers": {"authorization": "Bearer t", "cookie": "a=b", "content-type": "text/plain", "x-one": "1"},
    });
    assert_eq!(fetch(&host, &order)["answer"]["body"], "GET /x ");
    let asked = &last.asked()[0];
    for gone in ["authorization", "cookie", "content-type"] {
        assert!(!asked.headers().contains_key(gone), "{gone} was sent on");
    }
    assert_eq!(asked.headers()["x-one"], "1");
    let text =
        format!("a redirect was not followed: `{}` is not listed under `outbound` in the manifest", unnamed.address());
    fails(&host, &json!({"url": first.url(&format!("/?{}", unnamed.url("/")))}), "refused", &text);
    assert!(unnamed.asked().is_empty());
}

#[test]
fn a_redirect_keeps_method_and_body_where_it_says_so_and_ends_after_five() {
    let (first, last) = (sends_on(307), echo());
    let host = start(ALLOWED, &named(&[&first, &last]));
    let order = json!({"method": "PUT", "url": first.url(&format!("/?{}", last.url("/x"))), "body": "hello"});
    assert_eq!(fetch(&host, &order)["answer"]["body"], "PUT /x hello");
    // A relative target; on the same site nothing is taken away.
    let circle = Site::new(|_: &Request<_>| {
        Response::builder().status(301).header("location", "/again").body(String::new()).unwrap()
    });
    let host = start(ALLOWED, &named(&[&circle]));
    let order = json!({"url": circle.url("/"), "headers": {"authorization": "Bearer t"}});
    fails(&host, &order, "unreachable", "there were more than 5 redirects");
    let asked = circle.asked();
    assert_eq!(asked.len(), 6);
    assert!(asked.iter().all(|request| request.headers().contains_key("authorization")));
}

#[test]
fn what_takes_too_long_ends() {
    let site = echo();
    let host = start(&format!("{ALLOWED}timeout = \"300ms\"\n"), &named(&[&site]));
    let own = json!({"url": site.url("/never"), "millis": 50});
    fails(&host, &own, "timeout", "there was no whole answer within 50ms");
    let more_than_allowed = json!({"url": site.url("/never"), "millis": 60_000});
    fails(&host, &more_than_allowed, "timeout", "there was no whole answer within 300ms");
    assert_eq!(fetch(&host, &json!({"url": site.url("/")}))["answer"]["status"], 200);
}

#[test]
fn an_answer_that_is_too_large_is_refused() {
    let site = Site::new(|request: &Request<_>| {
        let length: usize = request.uri().path()[1..].parse().unwrap();
        Response::new("x".repeat(length))
    });
    let host = start(&format!("{ALLOWED}answer-bytes = 1000\n"), &named(&[&site]));
    assert_eq!(fetch(&host, &json!({"url": site.url("/1000")}))["answer"]["body"], "x".repeat(1000));
    let text = "the answer has more than 1000 bytes, the most that this host takes";
    fails(&host, &json!({"url": site.url("/1001")}), "refused", text);
}

#[test]
fn a_server_that_is_away() {
    let site = echo();
    let named = named(&[&site]);
    let address = site.leave();
    let host = start(ALLOWED, &named);
    let text = format!("`{address}` can't be reached: nobody listens there");
    fails(&host, &json!({"url": format!("http://{address}/")}), "unreachable", &text);
    let back = Site::on(address, |_: &Request<_>| Response::new("back".to_owned()));
    assert_eq!(fetch(&host, &json!({"url": back.url("/")}))["answer"]["body"], "back");
}

#[test]
fn headers_of_the_host_are_refused() {
    let site = echo();
    let host = start(ALLOWED, &named(&[&site]));
    let order = json!({"url": site.url("/"), "headers": {"Host": "elsewhere"}});
    fails(&host, &order, "misuse", "the header `host` is the host's to say; leave it out");
}
