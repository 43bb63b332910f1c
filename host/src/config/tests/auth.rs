//! Tests of `[auth]`, through [`Config::load`](super::Config::load).

use super::from_file;

#[test]
fn key_ids_are_unique_and_an_issuer_has_one_tenant() {
    let key = |id: &str, tenant: &str| {
        let table = "algorithm = \"EdDSA\"\nfile = \"a\"\nissuer = \"i\"\naudience = \"t\"";
        format!("[[auth.keys]]\nid = \"{id}\"\n{table}\n{tenant}\n")
    };
    let same = key("a", "tenant = \"acme\"") + &key("b", "tenant = \"acme\"");
    assert_eq!(from_file(&same).unwrap().auth.keys.len(), 2);
    insta::assert_snapshot!(from_file(&(key("a", "tenant = \"acme\"") + &key("a", ""))).unwrap_err(), @r#"
    /tenon.toml:8:1: there are two keys with id `a`
    /tenon.toml:8:1: the keys of issuer `i` name different tenants
    hint: give all keys of one issuer the same `tenant`, or none
    "#);
}

#[test]
fn a_key_set_has_one_source_and_public_keys() {
    let set = |more: &str| format!("[[auth.jwks]]\nissuer = \"i\"\naudience = \"t\"\n{more}\n");
    for good in ["https://id.example/jwks", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"] {
        assert!(from_file(&set(&format!("url = \"{good}\""))).is_ok(), "{good}");
    }
    let all = [
        set(""),
        set("file = \"a\"\nurl = \"https://id.example/\""),
        set("url = \"http://id.example/\"\nalgorithms = [\"RS256\", \"HS256\"]"),
        set("url = \"https://user:secret@id.example/\"\nrefresh = \"0\""),
        set("url = \"file:///etc/passwd\"\nalgorithms = []"),
        set("url = \"id.example\""),
        set("file = \"a\""),
        set("file = \"b\"\ntenant = \"acme\""),
    ];
    insta::assert_snapshot!(from_file(&all.concat()).unwrap_err(), @r#"
    /tenon.toml:1:1: `auth.jwks` needs one of `file` and `url`, and only one
    /tenon.toml:5:1: `auth.jwks` needs one of `file` and `url`, and only one
    /tenon.toml:13:7: `auth.jwks.url`: must be `https`: over http anybody on the way can exchange the keys
    /tenon.toml:14:24: `auth.jwks.algorithms[1]`: must be "RS256" or "ES256" or "EdDSA", found "HS256"
    /tenon.toml:18:7: `auth.jwks.url`: must have no credentials in it
    /tenon.toml:19:11: `auth.jwks.refresh`: must be 1s to 86400s, found 0s
    /tenon.toml:20:1: `auth.jwks.algorithms` permits no key: list at least one that there is
    /tenon.toml:23:7: `auth.jwks.url`: must be `https`, found `file`
    /tenon.toml:28:7: `auth.jwks.url`: `id.example` is no URL: relative URL without a base
    /tenon.toml:33:1: the keys of issuer `i` name different tenants
    hint: give all keys of one issuer the same `tenant`, or none
    "#);
}
