//! Requests of tenants with a damaged tenant id, path or token, through the door of a host in this process: naming,
//! guards and routes are those of the listener, and a listener would only take longer.

use std::{collections::BTreeSet, fs, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use tenon_host::{
    app::Host,
    config::{AuthKey, Config, KeyAlgorithm},
    names::TenantId,
    tenancy::{Change, Dependencies, Mode, NewTenant},
};
use tokio::runtime::Runtime;
use tower::Service;

use super::{edits, mutate};
use crate::harness::Setup;

const MARK: &str = "/fixtures/answers/mark";
const WHOAMI: &str = "/fixtures/answers/whoami";
const SECRET: &str = "a secret that only issuer and host know";

/// A host with tenant `acme`, that names tenants in every way.
struct Stage {
    runtime: Runtime,
    host: Host,
    _setup: Setup,
}

impl Stage {
    fn start() -> Self {
        let setup = Setup::with(&["answers"]);
        let secret = setup.folder().join("shared.key");
        fs::write(&secret, SECRET).unwrap();
        let mut config = Config {
            plugins: setup.plugins(),
            data: setup.data(),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        config.tenant_source.path_prefix = Some("/t".to_owned());
        config.auth.keys.push(AuthKey {
            id: "shared".to_owned(),
            algorithm: KeyAlgorithm::Hs256,
            file: secret,
            issuer: "https://shared.example".to_owned(),
            audience: "tenon".to_owned(),
            tenant: None,
        });
        let runtime = Runtime::new().unwrap();
        let host = runtime.block_on(async {
            let host = Host::builder().config(config).start().await.unwrap();
            let acme: TenantId = "acme".parse().unwrap();
            host.tenants().create(NewTenant { id: acme.clone(), name: None }).await.unwrap();
            let enable = Change::Enable {
                module: "answers".parse().unwrap(),
                version: None,
                isolation: None,
                dependencies: Dependencies::EnableToo,
            };
            host.tenants().change(&acme, enable, None, "tester", Mode::Commit).await.unwrap();
            host
        });
        Self { runtime, host, _setup: setup }
    }

    /// Status, code and body of an answer, after a look at its form.
    fn ask(&self, request: Request<Full<Bytes>>) -> Result<(u16, String, Bytes), TestCaseError> {
        let mut door = self.host.service();
        self.runtime.block_on(async {
            let Ok(answer) = door.call(request).await;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            let body = body.map_err(|error| TestCaseError::fail(format!("the body breaks off: {error}")))?;
            let mut code = String::new();
            if parts.status.is_client_error() || parts.status.is_server_error() {
                let refusal: Value =
                    serde_json::from_slice(&body).map_err(|error| TestCaseError::fail(format!("{error}: {body:?}")))?;
                prop_assert_eq!(&refusal["status"], &json!(parts.status.as_u16()), "{}", refusal);
                prop_assert!(refusal["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", refusal);
                code = refusal["code"].as_str().unwrap_or_default().to_owned();
            }
            Ok((parts.status.as_u16(), code, body))
        })
    }

    fn stop(self) {
        assert_eq!(self.host.registry().names().count(), 1);
        self.runtime.block_on(self.host.shutdown());
    }
}

fn request() -> http::request::Builder {
    Request::builder().method("GET")
}

fn without_body(request: http::request::Builder) -> Request<Full<Bytes>> {
    request.body(Full::default()).unwrap()
}

/// What an id may be, written down once more.
fn is_an_id(text: &[u8]) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    (1..=128).contains(&text.len()) && text[0].is_ascii_alphanumeric() && text.iter().all(is_inner)
}

#[test]
fn a_damaged_tenant_id_is_nobody_s_or_no_id() {
    let pieces =
        ["acme", "ACME", "..", "/", "%2f", "%00", " ", "\t", ",", "_", "-", "a", "9", "*", "'", "\"", "\u{430}"];
    let stage = Stage::start();
    let ids = select(&["acme", "tenant_123", "Acme.eu-1", "x"][..]);
    let counts = mutate(&(ids, edits::text(&pieces), any::<bool>()), |(id, edits, in_path), count| {
        let id = edits::damaged(id, &edits);
        let parsed = std::str::from_utf8(&id).ok().and_then(|text| text.parse::<TenantId>().ok());
        prop_assert_eq!(parsed.is_some(), is_an_id(&id));
        if let Some(parsed) = &parsed {
            prop_assert_eq!(parsed.as_str().as_bytes(), &id[..]);
        }
        let (asked, sent) = if in_path {
            // What stands in a path ends at the next slash, and at what begins a query or fragment.
            let end = id.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(id.len());
            let uri = [b"/t/", &id[..], MARK.as_bytes()].concat();
            let Ok(uri) = Uri::try_from(uri) else {
                count("can't be sent");
                return Ok(());
            };
            (request().uri(uri), id[..end].to_vec())
        } else {
            let Ok(value) = HeaderValue::from_bytes(&id) else {
                count("can't be sent");
                return Ok(());
            };
            (request().uri(MARK).header("x-tenant-id", value), id.clone())
        };
        let (status, code, body) = stage.ask(without_body(asked))?;
        let is_whole = !in_path || sent.len() == id.len();
        let expected = match () {
            () if !is_an_id(&sent) => (400, "TENANT_ID_INVALID"),
            () if sent != b"acme" => (404, "TENANT_NOT_FOUND"),
            () if is_whole => (200, ""),
            // The rest of the path is another one now.
            () => (404, "ROUTE_NOT_FOUND"),
        };
        prop_assert_eq!((status, &*code), expected, "{}", String::from_utf8_lossy(&body));
        count(match status {
            400 => "no id",
            404 => "nobody",
            _ => "acme",
        });
        Ok(())
    });
    counts.expect(&["no id", "nobody", "can't be sent"]);
    stage.stop();
}

#[test]
fn a_damaged_path_is_another_one() {
    let pieces = [
        "/",
        "//",
        ".",
        "..",
        "/../",
        "/./",
        "%2e%2e",
        "%2f",
        "%5c",
        "\\",
        "%00",
        "%",
        "%zz",
        "?",
        "?a=b",
        "#",
        ";",
        "&",
        "=",
        "+",
        "{id}",
        "*",
        "mark",
        "wait",
        "notes",
        "/fixtures/answers",
        "/admin/v1/tenants",
        "/t/acme",
        "/livez",
        "\u{2f}mark",
        "%e4",
        "~",
        "@",
        ":80",
    ];
    let stage = Stage::start();
    let paths = [
        MARK,
        "/fixtures/answers/notes",
        "/fixtures/answers/wait/0",
        "/fixtures/answers/loud",
        WHOAMI,
        "/t/acme/fixtures/answers/mark",
        "/fixtures/answers/notes?limit=1&cursor=x",
    ];
    let methods = select(&["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"][..]);
    let mostly_get = prop_oneof![4 => Just("GET"), 1 => methods];
    let strategy = (select(paths.to_vec()), edits::text(&pieces), mostly_get);
    let served = BTreeSet::from(["/fixtures/answers/mark", "/fixtures/answers/notes"]);
    let counts = mutate(&strategy, |(path, edits, method), count| {
        let bytes = edits::damaged(path, &edits);
        // A path alone, as a request line has it.
        let Ok(target) = PathAndQuery::from_maybe_shared(Bytes::from(bytes)) else {
            count("can't be sent");
            return Ok(());
        };
        let uri = Uri::from(target);
        let path = uri.path().to_owned();
        let asked = request().method(method).uri(uri).header("x-tenant-id", "acme");
        let (status, code, body) = stage.ask(without_body(asked))?;
        let text = String::from_utf8_lossy(&body);
        prop_assert!(status < 500, "{} {}: {} {}", method, path, status, text);
        count(match status {
            200 if method == "GET" => {
                let below = path.strip_prefix("/t/acme").unwrap_or(&path);
                let is_known = served.contains(below) || below.starts_with("/fixtures/answers/wait/");
                prop_assert!(is_known, "{} is served: {}", path, text);
                "served"
            }
            200 | 204 => "served",
            400 if code == "TENANT_ID_INVALID" => {
                prop_assert!(path.starts_with("/t/"), "{}: {}", path, text);
                "refused"
            }
            400 | 401 | 403 | 405 | 422 => "refused",
            404 => "not there",
            _ => return Err(TestCaseError::fail(format!("{method} {path}: {status} {text}"))),
        });
        Ok(())
    });
    counts.expect(&["served", "refused", "not there", "can't be sent"]);
    stage.stop();
}

#[test]
fn a_damaged_token_proves_nothing() {
    let pieces =
        [".", "..", "=", "==", "e30", "eyJhbGciOiJub25lIn0", "A", "-", "_", "+", "/", " ", "Bearer ", ",", "null"];
    let stage = Stage::start();
    let claims = |sub: &str| {
        json!({
            "iss": "https://shared.example", "aud": "tenon", "exp": 4_000_000_000_u64, "sub": sub, "tenant": "acme",
            "roles": ["Admin"],
        })
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = |sub: &str| encode(&Header::new(Algorithm::HS256), &claims(sub), &key).unwrap();
    let tokens: Arc<[String]> = [token("ann"), token("bob"), token(&"b".repeat(2_000))].into();
    let ask = |token: &[u8]| {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
        let asked = request().uri(WHOAMI).header("x-tenant-id", "acme").header("authorization", value);
        Some(stage.ask(without_body(asked)))
    };
    for token in tokens.iter() {
        assert_eq!(ask(token.as_bytes()).unwrap().unwrap().0, 200, "it is good as it is");
    }
    let which = 0..tokens.len();
    let counts = mutate(&(which, edits::text(&pieces)), |(which, edits), count| {
        let token = edits::damaged(&tokens[which], &edits);
        let Some(answer) = ask(&token) else {
            count("can't be sent");
            return Ok(());
        };
        let (status, code, body) = answer?;
        // What surrounds a header's value is no part of it.
        let is_whole = token.trim_ascii() == tokens[which].as_bytes();
        let text = String::from_utf8_lossy(&body);
        if is_whole {
            prop_assert_eq!(status, 200, "{}", text);
        } else {
            prop_assert_eq!((status, &*code), (401, "UNAUTHENTICATED"), "{}", text);
        }
        count(if is_whole { "as it was" } else { "refused" });
        Ok(())
    });
    counts.expect(&["refused", "can't be sent"]);
    stage.stop();
}
