//! What is read from a request's headers.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::*;

fn headers(given: &[(&str, &str)]) -> HeaderMap {
    let parse =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    let mut headers = HeaderMap::new();
    headers.extend(given.iter().map(parse));
    headers
}

#[test]
fn one_bearer_token_is_taken() {
    let token = |values: &[&str]| {
        let given: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        bearer_token(&headers(&given)).map(|token| token.map(str::to_owned))
    };
    assert_eq!(token(&[]), Ok(None));
    assert_eq!(token(&["Bearer abc"]), Ok(Some("abc".into())));
    assert_eq!(token(&["bEARER  abc"]), Ok(Some("abc".into())), "schemes have no letter case");
    for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["Bearer a b"], &["abc"], &["Bearer a", "Bearer b"]] {
        assert_eq!(token(bad), Err(IdentityError::Header), "{bad:?}");
    }
}

#[test]
fn dev_mode_believes_its_headers() {
    assert_eq!(dev_caller(&headers(&[])), None);
    assert_eq!(dev_caller(&headers(&[("x-dev-roles", "Admin")])), None, "roles alone make nobody");
    assert_eq!(dev_caller(&headers(&[("x-dev-user", " ")])), None);
    let given = [("x-dev-user", "ann"), ("x-dev-roles", "Admin, Member,,module:tasks, module:x")];
    let caller = dev_caller(&headers(&given)).unwrap();
    assert_eq!((caller.subject.as_deref(), &caller.tenant), (Some("ann"), &TenantProof::Any));
    assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["Admin", "Member"]);
}

#[test]
fn dev_mode_knows_this_machine() {
    for here in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080"] {
        assert!(is_loopback_host(here), "{here}");
    }
    for elsewhere in [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io:80",
        "10.0.0.1",
        "[::2]",
        "[::1",
        "::1",
        "localhost:x",
        "[::1]x",
    ] {
        assert!(!is_loopback_host(elsewhere), "{elsewhere}");
    }
}
