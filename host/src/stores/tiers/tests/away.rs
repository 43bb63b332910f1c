//! A truth that goes away, or seems to.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use super::{
    Logged, Tiered,
    faulty::{Faulty, Manner},
    id, kept, until,
};
use crate::stores::{FlagSets, Mark, MarkKind, Marks, Store, StoreError, TenantData, contract};

fn mark(hash: char) -> Mark {
    Mark {
        module: "tasks".parse().unwrap(),
        hash: hash.to_string().repeat(64),
        tenant: None,
        kind: MarkKind::Bad,
        version: "1.0.0".to_owned(),
        reason: "it panics".to_owned(),
        marked_at: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_brings_nothing_older_back() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    tiered.put_definitions(Some("{}".to_owned()), 0).await.unwrap();
    tiered.definitions().await.unwrap();
    until("the first set is on the disk", async || on_disk.definitions().await.unwrap().is_some()).await;
    // The disk takes no other.
    let disk = rusqlite::Connection::open(folder.path().join("last-good/tenon.db")).unwrap();
    disk.execute_batch("ALTER TABLE definitions RENAME TO elsewhere").unwrap();
    tiered.put_definitions(Some("{ }".to_owned()), 1).await.unwrap();
    assert_eq!(tiered.definitions().await.unwrap().unwrap().revision, 2);
    assert!(tiered.marks().await.unwrap().is_empty());
    tiered.set_mark(mark('a')).await.unwrap();
    truth.calls(Manner::Refuses);
    assert!(matches!(tiered.definitions().await, Err(StoreError::Unavailable(_))));
    assert_eq!(tiered.definitions_nearby().await.unwrap().unwrap().revision, 2);
    assert!(matches!(tiered.marks().await, Err(StoreError::Unavailable(_))));
    assert_eq!(tiered.marks_nearby().await.unwrap(), [mark('a')]);
    until("this host's mark is on the disk", async || on_disk.marks().await.unwrap() == [mark('a')]).await;
    // And one that is set before the others were read.
    truth.calls(Manner::Answers);
    let folder = tempfile::tempdir().unwrap();
    truth.has_bad_marks.store(true, Ordering::Relaxed);
    let another = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    another.set_mark(mark('b')).await.unwrap();
    truth.has_bad_marks.store(false, Ordering::Relaxed);
    let on_disk = another.inner.last_good.as_ref().unwrap().kept();
    until("all marks are on the disk", async || on_disk.marks().await.unwrap() == [mark('a'), mark('b')]).await;
    assert_eq!(another.clear_marks(&"tasks".parse().unwrap(), None).await.unwrap(), 2);
    until("no mark is on the disk", async || on_disk.marks().await.unwrap().is_empty()).await;
    another.close().await;
    tiered.close().await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_answered_is_compared_with_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tiered.listen(Arc::new(move |change| drop(tell.send(change))));
    let first = tiered.create_tenant(contract::tenant("acme")).await.unwrap();
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    until("it is on the disk", async || on_disk.tenant(&first.id).await.unwrap().is_some()).await;
    // Of this nobody tells.
    truth.store.replace_tenant((*first).clone()).await.unwrap();
    truth.calls(Manner::Refuses);
    assert_eq!(tiered.tenant_nearby(&id("acme")).await.unwrap().unwrap().revision, 1);
    assert!(tiered.reach().unwrap().is_reached(), "it never was away");
    truth.calls(Manner::Answers);
    let change = timeout(Duration::from_secs(30), told.recv()).await.expect("word of what is newer");
    assert_eq!(change, Some(crate::stores::StoreChange::Tenant { id: id("acme"), revision: 2 }));
    tiered.close().await;
}
