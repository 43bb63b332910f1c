//! A store that others share, with hiccups.

use super::*;
use crate::stores::{
    Reach, StoreChange,
    tiers::{
        Tiered,
        tests::faulty::{Faulty, Manner},
    },
};

/// The truth behind a host's tenants, which are compared with it only when there is a reason to.
fn stage_before(folder: &std::path::Path) -> (Arc<Faulty>, Tenancy) {
    let truth = Faulty::open(folder);
    let tiered = Tiered::start(truth.clone(), None, None, &tokio::runtime::Handle::current());
    (truth, start(folder, Arc::new(tiered), 1 << 20))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As another host would.
async fn rename(truth: &Faulty, id: &TenantId) -> u64 {
    let mut document = (*truth.store.tenant(id).await.unwrap().unwrap()).clone();
    document.name = "renamed".to_owned();
    truth.store.replace_tenant(document).await.unwrap().revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_heard_of_is_read_again_where_the_store_did_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, tenancy) = stage_before(folder.path());
    let acme = id("acme");
    in_time(tenancy.create(NewTenant { id: acme.clone(), name: None })).await.unwrap();
    let revision = rename(&truth, &acme).await;
    truth.calls(Manner::Refuses);
    let before = truth.begun.load(std::sync::atomic::Ordering::Relaxed);
    truth.tell(StoreChange::Tenant { id: acme.clone(), revision });
    // Once as it was heard of, and once more as that was in vain.
    until("two reads", || truth.begun.load(std::sync::atomic::Ordering::Relaxed) >= before + 2).await;
    truth.calls(Manner::Answers);
    until("the new revision", || tenancy.snapshot("acme").unwrap().revision() == revision).await;
    assert_eq!(tenancy.snapshot("acme").unwrap().document().name, "renamed");
    in_time(tenancy.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_is_compared_until_a_comparison_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, tenancy) = stage_before(folder.path());
    let acme = id("acme");
    in_time(tenancy.create(NewTenant { id: acme.clone(), name: None })).await.unwrap();
    truth.pings(Manner::Refuses);
    truth.calls(Manner::Refuses);
    let reach: Arc<Reach> = Arc::clone(tenancy.reach().unwrap());
    until("that it is away", || !reach.is_reached()).await;
    let revision = rename(&truth, &acme).await;
    // It is back, and does not answer what is asked first.
    truth.pings(Manner::Answers);
    until("that it is back", || reach.is_reached()).await;
    let before = truth.begun.load(std::sync::atomic::Ordering::Relaxed);
    until("a question in vain", || truth.begun.load(std::sync::atomic::Ordering::Relaxed) > before).await;
    assert!(tenancy.seconds_behind().is_some());
    truth.calls(Manner::Answers);
    until("that nothing is behind", || tenancy.seconds_behind().is_none()).await;
    until("the new revision", || tenancy.snapshot("acme").unwrap().revision() == revision).await;
    in_time(tenancy.shutdown()).await;
}
