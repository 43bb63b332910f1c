//! What is written to the disk, and what becomes of it where that can't be.

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::{
    Logged, Tiered,
    faulty::{Faulty, Manner},
    id, kept, until,
};
use crate::stores::{FlagSets, Store, StoreChange, contract};

#[tokio::test]
async fn what_can_not_be_written_is_written_later_and_until_then_said_to_be_old() {
    let (logged, _guard) = Logged::start();
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    until("all was copied", async || tiered.figures().last_good.unwrap().copied_at.is_some()).await;
    let disk = rusqlite::Connection::open(folder.path().join("last-good/tenon.db")).unwrap();
    for table in ["tenants", "definitions"] {
        disk.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_elsewhere")).unwrap();
    }
    let broken_at = Timestamp::now().as_millisecond();
    tiered.create_tenant(contract::tenant("acme")).await.unwrap();
    tiered.put_definitions(Some("{}".to_owned()), 0).await.unwrap();
    tiered.definitions().await.unwrap();
    until("it could not be written", async || logged.lines(&["was not kept"]) > 0).await;
    until("time goes by", async || Timestamp::now().as_millisecond() > broken_at + 50).await;
    tiered.look().await;
    truth.calls(Manner::Refuses);
    truth.pings(Manner::Refuses);
    let reach = tiered.reach().unwrap();
    until("the store is away", async || !reach.is_reached()).await;
    assert!(reach.behind_since().unwrap() <= broken_at + 50, "what was written since is not on the disk");
    for table in ["tenants", "definitions"] {
        disk.execute_batch(&format!("ALTER TABLE {table}_elsewhere RENAME TO {table}")).unwrap();
    }
    until("it is written", async || {
        on_disk.tenant(&id("acme")).await.is_ok_and(|found| found.is_some())
            && on_disk.definitions().await.is_ok_and(|found| found.is_some())
    })
    .await;
    tiered.close().await;
}

#[tokio::test]
async fn marks_that_can_not_be_read_keep_no_tenant_from_being_copied() {
    let (logged, _guard) = Logged::start();
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    truth.create_tenant(contract::tenant("acme")).await.unwrap();
    truth.has_bad_marks.store(true, Ordering::Relaxed);
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    until("the tenant is copied", async || on_disk.tenant(&id("acme")).await.unwrap().is_some()).await;
    until("it was tried again", async || truth.pages.load(Ordering::Relaxed) > 1).await;
    assert_eq!(logged.lines(&["WARN", "were not copied", "a mark can't be read"]), 1);
    assert_eq!(tiered.figures().last_good.unwrap().copied_at, None);
    truth.has_bad_marks.store(false, Ordering::Relaxed);
    until("all was copied", async || tiered.figures().last_good.unwrap().copied_at.is_some()).await;
    tiered.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tenants_are_not_read_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Faulty::open(folder.path());
    let tiered = Tiered::start(Arc::clone(&truth) as _, None, Some(kept(folder.path())), &Handle::current());
    let on_disk = tiered.inner.last_good.as_ref().unwrap().kept();
    until("all was copied", async || tiered.figures().last_good.unwrap().copied_at.is_some()).await;
    for number in 0..20 {
        let name = format!("t-{number}");
        truth.create_tenant(contract::tenant(&name)).await.unwrap();
        truth.tell(StoreChange::Everything);
        truth.tell(StoreChange::Tenant { id: id(&name), revision: 1 });
        until("what was told of is on the disk", async || on_disk.tenant(&id(&name)).await.unwrap().is_some()).await;
    }
    assert_eq!(truth.pages.load(Ordering::Relaxed), 1, "the first copy");
    tiered.close().await;
}
