//! A truth that goes away, or seems to.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use super::{
    Logged, Tiered,
    faulty::{Faulty, Manner},
    kept, until,
};
use crate::stores::{Store, StoreError, TenantData, contract};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_truth_that_went_away() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let known = tiered.create_tenant(contract::tenant("known")).await.unwrap();
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    until("it is on the disk", async || on_disk.tenant(&known.id).await.unwrap().is_some()).await;
    let before = truth.begun.load(Ordering::Relaxed);
    truth.calls(Manner::IsSilent);
    let going_away = async {
        until("both have begun", async || truth.begun.load(Ordering::Relaxed) >= before + 2).await;
        truth.pings(Manner::IsSilent);
    };
    let (page, deleted, ()) = timeout(Duration::from_secs(30), async {
        tokio::join!(tiered.tenants(None, 10), tiered.delete_tenant(&known.id, 1, TenantData::Refuse), going_away)
    })
    .await
    .expect("all are answered");
    assert_eq!(page.unwrap().tenants, [known]);
    assert!(matches!(deleted, Err(StoreError::Unavailable(_))));
    tiered.close().await;
}

#[tokio::test]
async fn one_late_answer_is_no_outage_and_of_one_the_log_says_why() {
    let (logged, _guard) = Logged::start();
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    for _ in 0..3 {
        truth.late_pings.store(1, Ordering::Relaxed);
        tiered.look().await;
        assert_eq!(truth.late_pings.load(Ordering::Relaxed), 0);
    }
    let reach = tiered.reach().unwrap();
    assert!(reach.is_reached() && reach.behind_since().is_none());
    assert_eq!(logged.lines(&["the store is away"]), 0);
    truth.pings(Manner::Refuses);
    until("it is away", async || !reach.is_reached()).await;
    assert_eq!(logged.lines(&["WARN", "the store is away", "the port is closed"]), 1);
    truth.pings(Manner::Answers);
    until("it is back", async || reach.is_reached()).await;
    tiered.close().await;
}
