//! Where modules may go, through a real client and servers of the tests' own.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{resolver::Lookup, *};
use crate::{
    loader::{Answer, Failure, FailureKind, Fetch},
    manifest::Outbound,
    tenancy::{Asker, FetchOutside},
};

/// A server that gives each request, headers included, back as the body of its answer, and then hangs up.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(&connection).lines().map_while(Result::ok);
            let head: String = lines.take_while(|line| !line.is_empty()).map(|line| line + "\n").collect();
            let length = head.len();
            let _ =
                write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{head}");
        }
    });
    address
}

/// What modules may do when the operator lists `allow` and names lead to `found`, one list for each look-up; the last
/// one stays.
fn outside(allow: &[&str], found: Vec<Vec<&'static str>>) -> (Outside, Arc<AtomicUsize>) {
    let looked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked);
    let lookup: Lookup = Arc::new(move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst).min(found.len() - 1);
        let addresses = found[turn].iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
        Box::pin(std::future::ready(Ok(addresses)))
    });
    let allow = allow.iter().map(|address| address.parse::<IpAddr>().unwrap().into()).collect();
    let settings = OutsideSettings { allow, timeout: Duration::from_secs(10), answer_bytes: 1 << 20 };
    (Outside::with_lookup(settings, &HttpClient::with_system_roots().unwrap(), lookup).unwrap(), looked)
}

fn fetch(url: &str) -> Fetch {
    Fetch { method: "GET".into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
}

async fn send(outside: &Outside, named: &[&str], fetch: Fetch) -> Result<Answer, Failure> {
    let from = Asker { tenant: "acme".parse().unwrap(), module: "fetcher".parse().unwrap() };
    let named: Vec<Outbound> = named.iter().map(|host| host.parse().unwrap()).collect();
    outside.fetch(from, named.into(), fetch).await
}

#[test]
fn inside_is_refused_and_outside_is_not() {
    let rules = AddressRules::default();
    let permitted = |text: &&&str| rules.permit(text.parse().unwrap());
    let inside = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.9.9.9",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    assert_eq!(inside.iter().filter(permitted).collect::<Vec<_>>(), Vec::<&&str>::new());
    let outside = [
        "1.1.1.1",
        "8.8.8.8",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.167.255.255",
        "198.17.255.255",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ];
    assert_eq!(outside.iter().filter(|text| !permitted(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
    let some = AddressRules::allowing(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert!(some.permit("10.9.9.9".parse().unwrap()) && some.permit("::1".parse().unwrap()));
    assert!(!some.permit("::ffff:10.9.9.9".parse().unwrap()) && !some.permit("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn a_name_that_points_elsewhere_later_gains_nothing() {
    let port = echo().port();
    let named = format!("api.example.com:{port}");
    let url = format!("http://{named}/x");
    let (outside, looked) = outside(&["127.0.0.1"], vec![vec!["127.0.0.1"], vec!["127.0.0.2"]]);
    let answer = send(&outside, &[&named], fetch(&url)).await.unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.starts_with("GET /x HTTP/1.1\n") && body.contains("\nhost: api.example.com:"), "{body}");
    assert_eq!(looked.load(Ordering::SeqCst), 1, "looked up once, and connected to what was found");
    let refused = send(&outside, &[&named], fetch(&url)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused}");
    assert!(!refused.message.contains("127.0.0"), "{refused}");
}

#[tokio::test]
async fn of_several_addresses_only_the_permitted_are_connected_to() {
    let port = echo().port();
    let named = format!("api.example.com:{port}");
    let (outside, _) = outside(&["127.0.0.1"], vec![vec!["10.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"]]);
    assert_eq!(send(&outside, &[&named], fetch(&format!("http://{named}/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_not_named_or_not_right_is_never_looked_up() {
    let (outside, looked) = outside(&[], vec![vec!["127.0.0.1"]]);
    let named = ["api.example.com:443", "api.example.com:8080", "10.0.0.1:80", "[::1]:80"];
    let mut told = Vec::new();
    for url in [
        "https://api.example.com:444/",
        "http://api.example.com/",
        "https://api.example.com./",
        "https://example.com/",
        "https://api.example.com.evil.test/",
        "https://api.example.com@evil.test/",
        "http://10.0.0.1/",
        "http://0x0a000001/",
        "http://[0:0::1]/",
        "ftp://api.example.com/",
        "api.example.com",
    ] {
        told.push(send(&outside, &named, fetch(url)).await.map_err(|failure| format!("{:?}: {failure}", failure.kind)));
    }
    let header = |name: &str| Fetch { headers: vec![(name.into(), "x".into())], ..fetch("https://api.example.com/") };
    for wrong in [
        header("host"),
        header("transfer-encoding"),
        header("proxy-connection"),
        header("a b"),
        Fetch { method: "CONNECT".into(), ..fetch("https://api.example.com/") },
        Fetch { method: "G T".into(), ..fetch("https://api.example.com/") },
    ] {
        told.push(send(&outside, &named, wrong).await.map_err(|failure| format!("{:?}: {failure}", failure.kind)));
    }
    assert_eq!(looked.load(Ordering::SeqCst), 0);
    insta::assert_snapshot!(told.into_iter().map(Result::unwrap_err).collect::<Vec<_>>().join("\n"), @r"
    Refused: `api.example.com:444` is not listed under `outbound` in the manifest
    Refused: `api.example.com:80` is not listed under `outbound` in the manifest
    Refused: `api.example.com.:443` is not listed under `outbound` in the manifest
    Refused: `example.com:443` is not listed under `outbound` in the manifest
    Refused: `api.example.com.evil.test:443` is not listed under `outbound` in the manifest
    Misuse: credentials in the URL are not sent; use the header `authorization`
    Refused: `10.0.0.1:80` has no address that modules may call: it is not public, and `[outbound] allow` in the host's configuration does not list it
    Refused: `10.0.0.1:80` has no address that modules may call: it is not public, and `[outbound] allow` in the host's configuration does not list it
    Refused: `[::1]:80` has no address that modules may call: it is not public, and `[outbound] allow` in the host's configuration does not list it
    Misuse: the URL's scheme must be `https` or `http`, not `ftp`
    Misuse: the URL can't be read: relative URL without a base
    Misuse: the header `host` is the host's to say; leave it out
    Misuse: the header `transfer-encoding` is the host's to say; leave it out
    Misuse: the header `proxy-connection` is the host's to say; leave it out
    Misuse: the header `a b` can't be sent
    Misuse: method CONNECT is not sent for modules
    Misuse: `G T` is no method
    ");
}

#[tokio::test]
async fn time_is_the_modules_own_and_at_most_the_hosts() {
    let never = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = never.local_addr().unwrap().to_string();
    let (outside, _) = outside(&["127.0.0.1"], vec![vec![]]);
    let hasty = Fetch { timeout: Some(Duration::from_millis(20)), ..fetch(&format!("http://{named}/")) };
    let failure = send(&outside, &[&named], hasty).await.unwrap_err();
    assert_eq!(failure, Failure::new(FailureKind::Timeout, "there was no whole answer within 20ms"));
}
