//! The supervisor through its handle, without any module: who is answered, and that nothing is left behind.

mod away;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    flags::{Definitions, Reason, unix_seconds},
    loader::{Loader, LoaderSettings},
    stores::{SqliteStore, Store, TenantData},
};

struct Stage {
    tenancy: Tenancy,
    folder: tempfile::TempDir,
}

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn stage() -> Stage {
    stage_with(64 << 20)
}

fn stage_with(memory_budget: usize) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path()).unwrap());
    Stage { tenancy: start(folder.path(), store, memory_budget), folder }
}

fn start(folder: &std::path::Path, store: Arc<dyn Store>, memory_budget: usize) -> Tenancy {
    let second = Duration::from_secs(1);
    let settings = TenancySettings {
        reload: ReloadSettings::default(),
        archive: Arc::default(),
        safe: false,
        initialize: 10 * second,
        retire: RetireTimes { drain: second, cut: second, cleanup: second },
        idle: 60 * second,
        linger: second,
        sweep_every: Duration::ZERO,
        compare_every: Duration::ZERO,
        definitions_in_store: false,
        memory_budget,
        retry_after: second,
        start_concurrency: 1,
        deliveries: DeliverySettings::default(),
        secrets: crate::settings::Secrets::default(),
    };
    let limits = ModuleLimits { concurrency: 4, body_bytes: 1024, deadline: second };
    let tenancy = Tenancy::start(
        settings,
        store,
        Loader::start(LoaderSettings::below(folder)).unwrap(),
        Arc::new(Catalog::default()),
        tokio::runtime::Handle::current(),
        Box::new(move |_| limits),
    );
    tenancy.unwrap()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_do_not_exist_leave_nothing_behind() {
    let Stage { tenancy, folder: _folder } = stage();
    for number in 0..100 {
        let unknown = id(&format!("unknown-{number}"));
        let (one, other) = in_time(async { tokio::join!(tenancy.load(&unknown), tenancy.load(&unknown)) }).await;
        assert_eq!(one.unwrap_err(), TenancyError::TenantNotFound(unknown.clone()));
        assert_eq!(other.unwrap_err(), TenancyError::TenantNotFound(unknown.clone()));
        let deleted = in_time(tenancy.delete(&unknown, None, TenantData::Purge)).await;
        assert_eq!(deleted.unwrap_err(), TenancyError::TenantNotFound(unknown));
    }
    assert_eq!(in_time(tenancy.remembered()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_tenant_never_gets_the_error_of_somebody_elses_change() {
    let Stage { tenancy, folder: _folder } = stage();
    for number in 0..50 {
        let acme = id(&format!("acme-{number}"));
        in_time(tenancy.create(NewTenant { id: acme.clone(), name: None })).await.unwrap();
        // Withdrawn, so that the next request reads it again.
        in_time(tenancy.catalog_changed(Arc::new(Catalog::default()))).await;
        let change = Change::Enable {
            module: "nothing".parse().unwrap(),
            version: None,
            isolation: None,
            dependencies: Dependencies::Require,
        };
        let changed = tenancy.change(&acme, change, None, "operator", Mode::Commit);
        let (changed, loaded) = in_time(async { tokio::join!(changed, tenancy.load(&acme)) }).await;
        assert_eq!(changed.unwrap_err().code(), "MODULE_NOT_FOUND");
        assert_eq!(loaded.unwrap().id(), &acme);
        let deleted = tenancy.delete(&acme, Some(99), TenantData::Purge);
        let (deleted, loaded) = in_time(async { tokio::join!(deleted, tenancy.load(&acme)) }).await;
        assert_eq!(deleted.unwrap_err().code(), "PRECONDITION_FAILED");
        assert_eq!(loaded.unwrap().id(), &acme);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_ask_for_the_end_are_told_and_later_ones_are_refused() {
    let Stage { tenancy, folder: _folder } = stage();
    let acme = id("acme");
    let created = tenancy.create(NewTenant { id: acme.clone(), name: None });
    let (created, (), ()) = in_time(async { tokio::join!(created, tenancy.shutdown(), tenancy.shutdown()) }).await;
    // It had begun before, so it counts; the tenant is out of service all the same.
    assert_eq!(created.unwrap().revision, 1);
    assert_eq!(tenancy.stats().tenants, 0);
    assert_eq!(in_time(tenancy.load(&acme)).await.unwrap_err(), TenancyError::ShuttingDown);
    in_time(tenancy.shutdown()).await;
}

async fn define(tenancy: &Tenancy, flags: serde_json::Value) {
    let file = serde_json::json!({ "flags": flags }).to_string();
    let definitions = Arc::new(Definitions::parse(file.as_bytes()).unwrap());
    let tenancy = tenancy.clone();
    in_time(tokio::task::spawn_blocking(move || tenancy.define_blocking(definitions))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_reach_tenants_in_memory_and_those_that_come_later() {
    let Stage { tenancy, folder: _folder } = stage();
    let (acme, later) = (id("acme"), id("later"));
    in_time(tenancy.create(NewTenant { id: acme.clone(), name: None })).await.unwrap();
    let before = tenancy.snapshot("acme").unwrap();
    assert_eq!(before.flags.get("new"), None);
    let rule = serde_json::json!({ "==": [{ "var": "tenantId" }, "acme"] });
    let variants = serde_json::json!({ "true": true, "false": false });
    define(&tenancy, serde_json::json!({ "new": { "state": "ENABLED", "variants": variants, "targeting": rule } }))
        .await;
    let after = tenancy.snapshot("acme").unwrap();
    assert!(after.flags.is_feature_enabled("new") && !before.flags.is_feature_enabled("new"));
    assert_eq!((before.revision(), before.document()), (after.revision(), after.document()));
    in_time(tenancy.create(NewTenant { id: later, name: None })).await.unwrap();
    assert_eq!(tenancy.snapshot("later").unwrap().flags.get("new").unwrap().reason, Reason::TargetingMatch);
    assert!(!tenancy.snapshot("later").unwrap().flags.is_feature_enabled("new"));
    // A rule that does not read the time is not asked again.
    in_time(tenancy.time_is_up()).await;
    assert!(Arc::ptr_eq(&after, &tenancy.snapshot("acme").unwrap()));
    define(&tenancy, serde_json::json!({})).await;
    assert_eq!(tenancy.snapshot("acme").unwrap().flags.get("new"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_read_the_time_are_asked_again() {
    let Stage { tenancy, folder: _folder } = stage();
    in_time(tenancy.create(NewTenant { id: id("acme"), name: None })).await.unwrap();
    let soon = unix_seconds() + 2;
    let rule = serde_json::json!({ ">=": [{ "var": "$flagd.timestamp" }, soon] });
    let variants = serde_json::json!({ "true": true, "false": false });
    define(&tenancy, serde_json::json!({ "new": { "state": "ENABLED", "variants": variants, "targeting": rule } }))
        .await;
    let is_on = || tenancy.snapshot("acme").unwrap().flags.is_feature_enabled("new");
    assert!(!is_on());
    in_time(async {
        while !is_on() {
            tenancy.time_is_up().await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(unix_seconds() >= soon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_made_up_revision_is_looked_for_seldom() {
    let Stage { tenancy, folder: _folder } = stage();
    let acme = id("acme");
    in_time(tenancy.create(NewTenant { id: acme.clone(), name: None })).await.unwrap();
    let mut listening = tenancy.listen(&acme, 1, 1).unwrap();
    let begun = tokio::time::Instant::now();
    let mut told = 0;
    for round in 0..200 {
        let waiting = tenancy.catch_up(&acme, 1).unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_millis(if round == 199 { 2_000 } else { 1 });
        let found = in_time(tenancy.load_since(&waiting, u64::MAX, deadline)).await.unwrap();
        assert_eq!(found.id(), &acme);
        // Each reading tells whoever listens.
        told += u128::from(tokio::time::timeout(Duration::ZERO, listening.changed()).await.is_ok());
    }
    let most = begun.elapsed().as_millis() / 500 + 1;
    assert!((1..=most).contains(&told), "{told} of {most}");
    // One that has been there for a while is found at once, and so is one that the store has meanwhile.
    let document = tenancy.snapshot("acme").unwrap().revision();
    let waiting = tenancy.catch_up(&acme, 1).unwrap();
    let now = tokio::time::Instant::now();
    assert_eq!(in_time(tenancy.load_since(&waiting, document, now)).await.unwrap().revision(), document);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_and_who_listens_are_counted_apart() {
    let Stage { tenancy, folder: _folder } = stage();
    let (acme, other) = (id("acme"), id("other"));
    let _waiting = tenancy.catch_up(&acme, 1).unwrap();
    assert!(tenancy.catch_up(&acme, 1).is_none());
    let _listening = tenancy.listen(&acme, 1, 2).unwrap();
    assert_eq!(tenancy.listen(&acme, 1, 2).unwrap_err(), TooManyListen::OfTenant);
    let second = tenancy.listen(&other, 1, 2).unwrap();
    assert_eq!(tenancy.listen(&id("third"), 1, 2).unwrap_err(), TooManyListen::OfAll);
    drop(second);
    assert!(tenancy.listen(&id("third"), 1, 2).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_nobody_asks_for_make_room_and_are_read_again() {
    let Stage { tenancy, folder: _folder } = stage_with(32 << 10);
    in_time(tenancy.create(NewTenant { id: id("heard"), name: None })).await.unwrap();
    let _listening = tenancy.listen(&id("heard"), 1, 1).unwrap();
    for number in 0..500 {
        let new = NewTenant { id: id(&format!("t-{number}")), name: None };
        in_time(tenancy.create(new)).await.unwrap();
        // In use throughout.
        in_time(tenancy.load(&id("t-0"))).await.unwrap();
    }
    let before = tenancy.memory();
    assert!(before.bytes <= before.budget && before.evicted > 300, "{before:?}");
    assert_eq!(before.evicted, 501 - tenancy.stats().tenants as u64);
    assert!(tenancy.snapshot("t-0").is_some(), "what is in use stays");
    assert!(tenancy.snapshot("heard").is_some(), "whoever listens is not made to read it again and again");
    let gone = (1..500).map(|number| id(&format!("t-{number}"))).find(|id| tenancy.snapshot(id.as_str()).is_none());
    in_time(tenancy.load(&gone.unwrap())).await.unwrap();
    let after = tenancy.memory();
    assert_eq!(after.misses, before.misses + 1);
    assert!(after.hits > 499, "{after:?}");

    // What was read is read again when somebody says that it may be wrong.
    let first = in_time(tenancy.load(&id("t-0"))).await.unwrap();
    in_time(tenancy.invalidate(Some(id("t-0")))).await;
    assert!(tenancy.snapshot("t-0").is_none());
    assert!(!Arc::ptr_eq(&first, &in_time(tenancy.load(&id("t-0"))).await.unwrap()));
    in_time(tenancy.invalidate(None)).await;
    assert_eq!((tenancy.stats().tenants, tenancy.memory().bytes), (0, 0));
}
