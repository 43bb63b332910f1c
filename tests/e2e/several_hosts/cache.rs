//! A shared cache that has what is not so.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::{Site, flag, set};
use crate::harness::{Host, until};

fn is_gone(host: &Host, tenant: &str) -> bool {
    flag(host, tenant, "x").is_err_and(|answer| answer.text().contains(&format!("Tenant not found: {tenant}")))
}

/// What the cache answers to a command; nothing where there is nothing.
fn ask_cache(site: &Site, words: &[&str]) -> String {
    let address = site.redis.url();
    let mut stream = TcpStream::connect(address.trim_start_matches("redis://").trim_end_matches('/')).unwrap();
    let mut command = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| command += &format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(command.as_bytes()).unwrap();
    let (mut reader, mut first) = (BufReader::new(stream), String::new());
    reader.read_line(&mut first).unwrap();
    let Some(length) = first.trim_end().strip_prefix('$').map(|length| length.parse::<i64>().unwrap()) else {
        return first.trim_end().to_owned();
    };
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    reader.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_tenant_whose_document_another_program_deletes_does_not_come_back_from_the_cache() {
    let Some(site) = Site::start("a foreign program that deletes a tenant") else { return };
    assert_eq!(set(&site.hosts[0], "acme", "x=1"), 0);
    site.until_all_say("acme", "x", &json!(1));
    let cached = || ask_cache(&site, &["HGET", "tenon:tenant:acme", "document"]);
    until("it is in the cache", || cached().contains("acme"));
    site.foreign().delete("acme");
    for host in &site.hosts {
        until("the tenant is gone", || is_gone(host, "acme"));
    }
    until("nothing is left of it in the cache", || cached().is_empty());
    for _ in 0..20 {
        assert!(site.hosts.iter().all(|host| is_gone(host, "acme")));
    }
    site.hosts[2].tenon(&["tenants", "create", "acme"]).succeeds();
    site.until_all_say("acme", "x", &json!(null));
}

#[test]
fn what_is_invalidated_is_read_from_the_store_and_not_from_the_cache() {
    let Some(site) = Site::start("a cache that somebody has written to") else { return };
    for words in [&["invalidate", "one"][..], &["invalidate"]] {
        let tenant = words.get(1).copied().unwrap_or("all");
        site.hosts[0].tenon(&["tenants", "create", tenant]).succeeds();
        assert_eq!(set(&site.hosts[0], tenant, "x=1"), 0);
        let key = format!("tenon:tenant:{tenant}");
        let cached = || ask_cache(&site, &["HGET", &key, "document"]);
        until("it is in the cache", || cached().contains("\"x\":1"));
        let mut wrong: Value = serde_json::from_str(&cached()).unwrap();
        wrong["featureFlags"]["x"] = json!("wrong");
        wrong["revision"] = json!(99);
        ask_cache(&site, &["HSET", &key, "revision", "99", "document", &wrong.to_string()]);
        let host = &site.hosts[1];
        assert_eq!(flag(host, tenant, "x").unwrap(), "wrong");
        host.tenon(words).succeeds();
        until("it is read from the store", || flag(host, tenant, "x").is_ok_and(|value| value == 1));
    }
}
