//! `[store]`.

use std::time::Duration;

use super::{ServerUri, StoreKind, from_file};

#[test]
fn a_store_of_several_hosts_is_named_by_a_uri_or_a_file_with_one() {
    let store = |text: &str| from_file(text).map(|config| config.store);
    let uri = "mongodb://me@db-1.example,db-2.example/tenon?replicaSet=rs0".to_owned();
    let named = store(&format!("[store]\nkind = \"mongodb\"\nuri = \"{uri}\"\n")).unwrap();
    assert_eq!(named, StoreKind::Mongodb(ServerUri::Text(uri)));
    let named = store("[store]\nkind = \"mongodb\"\nuri-file = \"/run/secrets/uri\"\n").unwrap();
    assert_eq!(named, StoreKind::Mongodb(ServerUri::File("/run/secrets/uri".into())));
    let mut refusals = String::new();
    for wrong in [
        "kind = \"mongodb\"",
        "kind = \"mongodb\"\nuri = \"mongodb://a/b\"\nuri-file = \"c\"",
        "uri = \"mongodb://a/b\"",
        "kind = \"sqlite\"\nuri-file = \"c\"",
        "kind = \"mongodb\"\nuri = \"mongodb://me:hunter2@a/b\"",
        "kind = \"mongodb\"\nuri = \"mongodb://me:hunter/2@a/b\"",
        "kind = \"mongodb\"\nuri = \"mongodb://a:27017/\"",
        "kind = \"mongodb\"\nuri = \"mongodb://a?replicaSet=b\"",
        "kind = \"mongodb\"\nuri = \"https://a/b\"",
        "kind = \"mongo\"\nuri = \"mongodb://a/b\"",
    ] {
        refusals.push_str(&store(&format!("[store]\n{wrong}\n")).unwrap_err());
        refusals.push('\n');
    }
    assert!(!refusals.contains("hunter"));
    insta::assert_snapshot!(refusals, @r#"
    /tenon.toml:1:1: `store` of kind "mongodb" needs one of `uri` and `uri-file`, and only one
    /tenon.toml:1:1: `store` of kind "mongodb" needs one of `uri` and `uri-file`, and only one
    /tenon.toml:1:1: `store.uri` and `store.uri-file` are of a store of kind "mongodb"
    hint: add `kind = "mongodb"`, or leave them out
    /tenon.toml:1:1: `store.uri` and `store.uri-file` are of a store of kind "mongodb"
    hint: add `kind = "mongodb"`, or leave them out
    /tenon.toml:3:7: `store.uri`: must have no password in it; put the whole URI into a file and name that as `uri-file`
    /tenon.toml:3:7: `store.uri`: must have no password in it; put the whole URI into a file and name that as `uri-file`
    /tenon.toml:3:7: `store.uri`: must name a database, as in "mongodb://localhost:27017/tenon"
    /tenon.toml:3:7: `store.uri`: must name a database, as in "mongodb://localhost:27017/tenon"
    /tenon.toml:3:7: `store.uri`: must begin with `mongodb://` or `mongodb+srv://`
    /tenon.toml:2:8: `store.kind`: must be "sqlite" or "mongodb", found "mongo"
    "#);
}

#[test]
fn a_shared_cache_is_named_by_a_uri_without_a_password_or_a_file() {
    let cache = |text: &str| {
        let store = "[store]\nkind = \"mongodb\"\nuri = \"mongodb://h/d\"\n";
        from_file(&format!("[cache]\n{text}\n{store}")).map(|config| config.cache)
    };
    let named = cache("uri = \"redis://10.0.0.7:6379/2\"\nprefix = \"blue:\"\nlifetime = \"10s\"").unwrap();
    assert_eq!(named.uri, Some(ServerUri::Text("redis://10.0.0.7:6379/2".to_owned())));
    assert_eq!((&*named.prefix, named.lifetime), ("blue:", Duration::from_secs(10)));
    let named = cache("uri-file = \"/run/secrets/cache\"").unwrap();
    assert_eq!(
        (named.uri, named.lifetime),
        (Some(ServerUri::File("/run/secrets/cache".into())), Duration::from_secs(300))
    );
    assert!(cache("").unwrap().uri.is_none());
    let mut refusals = String::new();
    for wrong in [
        "uri = \"redis://:hunter2@a\"",
        "uri = \"rediss://a\"",
        "uri = \"redis://a\"\nuri-file = \"b\"",
        "lifetime = \"0s\"",
    ] {
        refusals.push_str(&cache(wrong).unwrap_err());
        refusals.push('\n');
    }
    assert!(!refusals.contains("hunter"));
    insta::assert_snapshot!(refusals, @r#"
    /tenon.toml:2:7: `cache.uri`: must have no password in it; put the whole URI into a file and name that as `uri-file`
    /tenon.toml:2:7: `cache.uri`: must begin with `redis://`
    /tenon.toml:1:1: `cache` needs one of `uri` and `uri-file`, and only one
    /tenon.toml:2:12: `cache.lifetime`: must be 1s to 86400s, found 0s
    "#);
}

#[test]
fn a_shared_cache_belongs_to_a_shared_store() {
    let own = from_file("[cache]\nuri = \"redis://10.0.0.7:6379\"\n");
    insta::assert_snapshot!(own.unwrap_err(), @r#"
    `[cache]` is for hosts that share a store, and this one has a store of its own
    hint: give `[store]` the kind "mongodb", or leave `[cache]` out
    "#);
}
