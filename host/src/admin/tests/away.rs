//! A store that hosts share and that goes away: what operators are told meanwhile.

use std::{path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use serde_json::json;
use tokio::runtime::Handle;

use super::{desk::Desk, refused};
use crate::stores::{
    Store, contract,
    tiers::{
        LastGood, Tiered,
        tests::faulty::{Faulty, Manner},
    },
};

fn unavailable() -> (u16, String, String) {
    refused(503, "STORE_UNAVAILABLE", "The store is unavailable")
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn tiered(folder: &Path, truth: &Arc<Faulty>) -> Arc<Tiered> {
    let last_good = LastGood::open(&folder.join("last-good")).unwrap();
    Arc::new(Tiered::start(Arc::clone(truth) as _, None, Some(last_good), &Handle::current()))
}

fn goes(truth: &Faulty, manner: Manner) {
    truth.pings(manner);
    truth.calls(manner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_saw_the_store_does_not_say_that_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    goes(&truth, Manner::Refuses);
    let tiered = tiered(folder.path(), &truth);
    tiered.look().await;
    let desk = Desk::over(tiered);
    for path in ["/admin/v1/tenants", "/admin/v1/flag-definitions", "/admin/v1/tenants/acme/flags", "/admin/v1/export"]
    {
        let answer = desk.ask("GET", path).await;
        assert_eq!(answer.refusal(), unavailable(), "{path}");
        assert!(!answer.header("x-tenon-stale").is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_old_says_so_until_it_was_compared() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    truth.create_tenant(contract::tenant("acme")).await.unwrap();
    let tiered = tiered(folder.path(), &truth);
    until("all was copied", async || tiered.figures().last_good.unwrap().copied_at.is_some()).await;
    let desk = Desk::over(Arc::clone(&tiered) as _);
    let paths = [
        "/admin/v1/tenants",
        "/admin/v1/flag-definitions",
        "/admin/v1/tenants/acme/flags",
        "/admin/v1/tenants/acme/keys",
        "/admin/v1/status",
    ];
    for path in paths {
        let answer = desk.ask("GET", path).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tenon-stale")), (200, ""), "{path}");
    }
    goes(&truth, Manner::Refuses);
    tiered.look().await;
    for path in paths {
        let answer = desk.ask("GET", path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("x-tenon-stale").parse::<u64>().is_ok(), "{path}");
    }
    assert_eq!(desk.ask("GET", "/admin/v1/tenants").await.json()["tenants"][0]["tenantId"], "acme");
    // Who has not shown the token learns nothing.
    let without = desk.send(http::Request::builder().uri("/admin/v1/tenants"), Body::empty()).await;
    assert_eq!((without.status.as_u16(), without.header("x-tenon-stale")), (401, ""));
    goes(&truth, Manner::Answers);
    let is_fresh = async || desk.ask("GET", "/admin/v1/tenants").await.header("x-tenon-stale").is_empty();
    until("nothing is old any more", is_fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_invalidated_while_nothing_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    truth.create_tenant(contract::tenant("acme")).await.unwrap();
    let tiered = tiered(folder.path(), &truth);
    let desk = Desk::over(Arc::clone(&tiered) as _);
    let (all, one) = ("/admin/v1/invalidate", "/admin/v1/tenants/acme/invalidate");
    assert_eq!(desk.ask("GET", "/admin/v1/tenants/acme").await.status, 200);
    for path in [all, one] {
        let answer = desk.ask("POST", path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "tenants": 1 })), "{path}");
        until("it is read again", async || desk.ask("GET", "/admin/v1/tenants/acme").await.status == 200).await;
    }
    let nobody = desk.ask("POST", "/admin/v1/tenants/nobody/invalidate").await;
    assert_eq!(nobody.refusal(), refused(404, "TENANT_NOT_FOUND", "Tenant not found: nobody"));
    goes(&truth, Manner::Refuses);
    tiered.look().await;
    for path in [all, one, "/admin/v1/tenants/nobody/invalidate"] {
        assert_eq!(desk.ask("POST", path).await.refusal(), unavailable(), "{path}");
    }
}
