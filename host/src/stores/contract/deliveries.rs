//! Events and wake-ups: kept in order, handed to one at a time, fenced.

use std::sync::Arc;

use super::{fields, tenant};
use crate::{
    names::{ModuleName, TenantId},
    stores::{
        Claim, ClaimRequest, CollectionKey, Delivered, Delivery, DocumentWrite, NewEvent, Setback, Store, StoreError,
        TenantData,
    },
};

const NOW: i64 = 1_000_000;

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn module(text: &str) -> ModuleName {
    text.parse().unwrap()
}

fn event(of: &str, name: &str, at: i64, subscribers: &[&str]) -> NewEvent {
    NewEvent {
        tenant: id(of),
        publisher: module("herald"),
        name: name.to_owned(),
        event_id: format!("{of}-{name}"),
        body: br#"{"a":1}"#.to_vec(),
        published_at: at,
        subscribers: subscribers.iter().map(|name| module(name)).collect(),
        most_waiting: u64::MAX,
    }
}

async fn claim_as(store: &Arc<dyn Store>, now: i64, until: i64, per_tenant: usize) -> Vec<Delivery> {
    store.claim_due(ClaimRequest { now, until, limit: 100, per_tenant }).await.unwrap()
}

async fn claim(store: &Arc<dyn Store>, now: i64) -> Vec<Delivery> {
    claim_as(store, now, now + 60, 100).await
}

async fn one(store: &Arc<dyn Store>, now: i64) -> Delivery {
    let mut claimed = claim(store, now).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

fn name_of(delivery: &Delivery) -> &str {
    match &delivery.what {
        Delivered::Event { name, .. } => name,
        Delivered::Wake { key } => key,
    }
}

fn is_lost<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::ClaimLost)), "{outcome:?}");
}

async fn wake(store: &Arc<dyn Store>, key: &str, at: i64) {
    store.set_wake(&id("acme"), &module("sleeper"), key, at, None).await.unwrap();
}

pub(super) async fn events_come_whole_and_in_order(store: Arc<dyn Store>) {
    assert_eq!(store.next_due().await.unwrap(), None);
    for (name, at) in [("first", NOW), ("second", NOW - 5), ("third", NOW + 5)] {
        store.publish(event("acme", name, at, &["tasks", "clinic"]), None).await.unwrap();
    }
    assert_eq!(store.backlog().await.unwrap().waiting, 6);
    // One of each subscriber, the oldest.
    let claimed = claim(&store, NOW).await;
    assert_eq!(claimed.iter().map(name_of).collect::<Vec<_>>(), ["first", "first"]);
    let mut to: Vec<_> = claimed.iter().map(|delivery| delivery.module.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["clinic", "tasks"]);
    assert_eq!((claimed[0].tenant.as_str(), claimed[0].failures), ("acme", 0));
    let whole = Delivered::Event {
        publisher: module("herald"),
        name: "first".to_owned(),
        event_id: "acme-first".to_owned(),
        body: br#"{"a":1}"#.to_vec(),
        published_at: NOW,
    };
    assert_eq!(claimed[0].what, whole);
    assert!(claim(&store, NOW + 59).await.is_empty(), "what waits behind is not due");
    // One subscriber goes on without the other.
    store.finish(claimed[0].claim).await.unwrap();
    let second = one(&store, NOW).await;
    assert_eq!((name_of(&second), &second.module), ("second", &claimed[0].module));
    store.finish(second.claim).await.unwrap();
    assert_eq!(name_of(&one(&store, NOW + 5).await), "third");
}

pub(super) async fn nothing_is_kept_without_a_subscriber(store: Arc<dyn Store>) {
    store.publish(event("acme", "unheard", NOW, &[]), None).await.unwrap();
    assert_eq!((store.backlog().await.unwrap().waiting, claim(&store, NOW).await.len()), (0, 0));
}

pub(super) async fn a_failure_keeps_its_place(store: Arc<dyn Store>) {
    for name in ["first", "second"] {
        store.publish(event("acme", name, NOW, &["tasks"]), None).await.unwrap();
    }
    let first = one(&store, NOW).await;
    store.set_back(first.claim, Setback::Failed(NOW + 10), "no").await.unwrap();
    assert!(claim(&store, NOW + 9).await.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(NOW + 10));
    let again = one(&store, NOW + 10).await;
    assert_eq!((name_of(&again), again.failures), ("first", 1));
    store.set_back(again.claim, Setback::Postponed(NOW + 20), "busy").await.unwrap();
    assert_eq!(one(&store, NOW + 20).await.failures, 1, "what could not be tried does not count");
}

pub(super) async fn the_dead_are_listed_retried_and_discarded(store: Arc<dyn Store>) {
    for name in ["first", "second", "third"] {
        store.publish(event("acme", name, NOW, &["tasks"]), None).await.unwrap();
    }
    let first = one(&store, NOW).await;
    store.set_back(first.claim, Setback::Dead(NOW + 1), "it never worked").await.unwrap();
    is_lost(store.finish(first.claim).await);
    let second = one(&store, NOW).await;
    assert_eq!(name_of(&second), "second", "the rest goes on");
    let dead = store.dead_letters(None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].failures, dead[0].died_at, dead[0].error.as_str()), (1, NOW + 1, "it never worked"));
    assert_eq!((&dead[0].what, dead[0].tenant.as_str(), dead[0].module.as_str()), (&first.what, "acme", "tasks"));
    assert!(store.dead_letters(Some(dead[0].id), 10).await.unwrap().is_empty());
    let backlog = store.backlog().await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead), (2, 1));

    assert!(store.retry_dead(dead[0].id, NOW + 2).await.unwrap());
    assert!(!store.retry_dead(dead[0].id, NOW + 2).await.unwrap(), "it is not dead any more");
    assert!(claim(&store, NOW + 2).await.is_empty(), "two of one queue are never handled at once");
    store.finish(second.claim).await.unwrap();
    let retried = one(&store, NOW + 2).await;
    assert_eq!((name_of(&retried), retried.failures), ("first", 0));
    store.set_back(retried.claim, Setback::Dead(NOW + 3), "again").await.unwrap();
    assert!(store.discard_dead(dead[0].id).await.unwrap());
    assert!(!store.discard_dead(dead[0].id).await.unwrap());
    assert!(store.dead_letters(None, 10).await.unwrap().is_empty());
    assert_eq!(name_of(&one(&store, NOW + 3).await), "third");
}

pub(super) async fn no_more_wait_than_may(store: Arc<dyn Store>) {
    let publish = |name: &str, most_waiting: u64, subscribers: &[&str]| {
        let event = NewEvent { most_waiting, ..event("acme", name, NOW, subscribers) };
        let store = Arc::clone(&store);
        async move { store.publish(event, None).await }
    };
    let refused = |outcome: Result<(), StoreError>| match outcome {
        Err(StoreError::TooManyWaiting { waiting, most }) => (waiting, most),
        other => panic!("{other:?}"),
    };
    publish("a", 3, &["tasks"]).await.unwrap();
    assert_eq!(refused(publish("b", 3, &["tasks", "clinic", "mail"]).await), (1, 3), "all or none");
    publish("b", 3, &["tasks", "clinic"]).await.unwrap();
    assert_eq!(refused(publish("c", 3, &["tasks"]).await), (3, 3));
    publish("c", 3, &[]).await.unwrap();
    // Others have their own, and wake-ups are none.
    store.publish(NewEvent { most_waiting: 1, ..event("other", "x", NOW, &["tasks"]) }, None).await.unwrap();
    let foreign = NewEvent { publisher: module("crier"), most_waiting: 1, ..event("acme", "x", NOW, &["mail"]) };
    store.publish(foreign, None).await.unwrap();
    wake(&store, "a", NOW + 1_000).await;

    // What was handled, or was given up, does not wait any more; what is retried does again.
    let mut claimed = claim(&store, NOW).await;
    claimed.retain(|it| it.tenant.as_str() == "acme" && it.module.as_str() == "tasks");
    let first = claimed.remove(0);
    store.set_back(first.claim, Setback::Dead(NOW + 1), "no").await.unwrap();
    publish("d", 3, &["tasks"]).await.unwrap();
    assert_eq!(refused(publish("e", 3, &["tasks"]).await), (3, 3));
    let dead = store.dead_letters(None, 1).await.unwrap();
    assert!(store.retry_dead(dead[0].id, NOW + 2).await.unwrap());
    assert_eq!(refused(publish("e", 4, &["tasks"]).await), (4, 4));
    let mut claimed = claim(&store, NOW + 2).await;
    claimed.retain(|it| it.module.as_str() == "tasks");
    store.finish(claimed.remove(0).claim).await.unwrap();
    publish("e", 4, &["tasks"]).await.unwrap();
}

pub(super) async fn wake_ups_have_one_time(store: Arc<dyn Store>) {
    wake(&store, "a", NOW + 10).await;
    wake(&store, "b", NOW + 5).await;
    assert_eq!(store.next_due().await.unwrap(), Some(NOW + 5));
    wake(&store, "a", NOW + 1).await;
    let first = one(&store, NOW + 1).await;
    assert_eq!((name_of(&first), first.module.as_str()), ("a", "sleeper"));
    store.finish(first.claim).await.unwrap();
    let (acme, sleeper) = (id("acme"), module("sleeper"));
    store.cancel_wake(&acme, &sleeper, "b", None).await.unwrap();
    store.cancel_wake(&acme, &sleeper, "never", None).await.unwrap();
    assert!(claim(&store, NOW + 100).await.is_empty());
    assert_eq!(store.backlog().await.unwrap().waiting, 0);
}

pub(super) async fn a_wake_up_set_while_it_is_handled_comes_again(store: Arc<dyn Store>) {
    wake(&store, "a", NOW).await;
    let first = one(&store, NOW).await;
    let (acme, sleeper) = (id("acme"), module("sleeper"));
    store.set_wake(&acme, &sleeper, "a", NOW + 30, Some(first.claim)).await.unwrap();
    assert!(claim(&store, NOW + 50).await.is_empty(), "it is still being handled");
    store.finish(first.claim).await.unwrap();
    assert!(claim(&store, NOW + 29).await.is_empty());
    let second = one(&store, NOW + 30).await;
    // One that fails and was set again is new: its failures don't count.
    store.set_wake(&acme, &sleeper, "a", NOW + 40, Some(second.claim)).await.unwrap();
    store.set_back(second.claim, Setback::Dead(NOW + 31), "no").await.unwrap();
    assert!(store.dead_letters(None, 1).await.unwrap().is_empty());
    let third = one(&store, NOW + 40).await;
    assert_eq!(third.failures, 0);
    // Cancelled while it is handled, it is not repeated.
    store.set_wake(&acme, &sleeper, "a", NOW + 50, Some(third.claim)).await.unwrap();
    store.cancel_wake(&acme, &sleeper, "a", Some(third.claim)).await.unwrap();
    store.finish(third.claim).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().waiting, 0);
}

pub(super) async fn a_wake_up_that_is_taken_back_while_it_is_handled_is_over(store: Arc<dyn Store>) {
    let (acme, sleeper) = (id("acme"), module("sleeper"));
    for setback in [Setback::Failed(NOW + 1), Setback::Postponed(NOW + 1), Setback::Dead(NOW + 1)] {
        wake(&store, "a", NOW).await;
        let handled = one(&store, NOW).await;
        store.cancel_wake(&acme, &sleeper, "a", None).await.unwrap();
        store.set_back(handled.claim, setback, "no").await.unwrap();
        let backlog = store.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.dead), (0, 0), "{setback:?}");
    }
    // Whoever handled it is gone.
    wake(&store, "a", NOW).await;
    one(&store, NOW).await;
    store.cancel_wake(&acme, &sleeper, "a", None).await.unwrap();
    assert!(claim(&store, NOW + 100).await.is_empty());
    assert_eq!(store.backlog().await.unwrap().waiting, 0);
    // What is set afterwards is a new one.
    wake(&store, "a", NOW).await;
    let handled = one(&store, NOW).await;
    store.cancel_wake(&acme, &sleeper, "a", None).await.unwrap();
    wake(&store, "a", NOW + 7).await;
    store.set_back(handled.claim, Setback::Failed(NOW + 1), "no").await.unwrap();
    assert_eq!(one(&store, NOW + 7).await.failures, 0);
    // Also where whoever handled the other is gone by then.
    store.cancel_wake(&acme, &sleeper, "a", None).await.unwrap();
    wake(&store, "a", NOW + 500).await;
    assert!(claim(&store, NOW + 499).await.is_empty());
    assert_eq!(one(&store, NOW + 500).await.failures, 0);
}

pub(super) async fn a_dead_wake_up_gives_way_to_a_new_one(store: Arc<dyn Store>) {
    wake(&store, "a", NOW).await;
    let first = one(&store, NOW).await;
    store.set_back(first.claim, Setback::Dead(NOW), "no").await.unwrap();
    wake(&store, "a", NOW + 5).await;
    let dead = store.dead_letters(None, 10).await.unwrap();
    assert!(store.retry_dead(dead[0].id, NOW).await.unwrap());
    assert!(store.dead_letters(None, 10).await.unwrap().is_empty());
    assert_eq!(store.backlog().await.unwrap().waiting, 1);
}

pub(super) async fn one_claimer_wins(store: Arc<dyn Store>) {
    for number in 0..40 {
        wake(&store, &number.to_string(), NOW).await;
    }
    let claimers = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { claim(&store, NOW).await })
    });
    let mut keys = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        keys.extend(claimer.await.unwrap().iter().map(|delivery| name_of(delivery).to_owned()));
    }
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((all, keys.len()), (40, 40));
}

pub(super) async fn what_runs_out_is_taken_over_and_the_old_claim_is_good_for_nothing(store: Arc<dyn Store>) {
    wake(&store, "a", NOW).await;
    let old = one(&store, NOW).await.claim;
    store.renew(old, NOW + 200).await.unwrap();
    assert!(claim(&store, NOW + 199).await.is_empty(), "a renewed claim holds");
    assert_eq!(store.next_due().await.unwrap(), Some(NOW + 200));
    let taken_over = one(&store, NOW + 200).await;
    assert_eq!(taken_over.failures, 1, "that nobody said what came of it is a failure");
    let new = taken_over.claim;
    assert!(new.fence > old.fence && new.delivery == old.delivery);
    let at = CollectionKey { tenant: id("acme"), module: module("sleeper"), model: "Note".to_owned() };
    let fields = fields("", "");
    let write = || DocumentWrite::Insert { id: "x".to_owned(), body: b"{}".to_vec() };
    is_lost(store.renew(old, NOW + 999).await);
    is_lost(store.finish(old).await);
    is_lost(store.set_back(old, Setback::Dead(NOW), "").await);
    is_lost(store.write_under(old, &at, &fields, write()).await);
    is_lost(store.publish(event("acme", "x", NOW, &["tasks"]), Some(old)).await);
    is_lost(store.set_wake(&id("acme"), &module("sleeper"), "b", NOW, Some(old)).await);
    is_lost(store.cancel_wake(&id("acme"), &module("sleeper"), "a", Some(old)).await);
    assert_eq!(store.get(&at, "x").await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap().waiting, 1);

    assert_eq!(store.write_under(new, &at, &fields, write()).await.unwrap(), 1);
    let put = DocumentWrite::Put { id: "x".to_owned(), body: br#"{"b":1}"#.to_vec(), expected: 1 };
    assert_eq!(store.write_under(new, &at, &fields, put).await.unwrap(), 2);
    let stale = DocumentWrite::Delete { id: "x".to_owned(), expected: 1 };
    assert!(matches!(store.write_under(new, &at, &fields, stale).await, Err(StoreError::Revision { .. })));
    let gone = DocumentWrite::Delete { id: "x".to_owned(), expected: 2 };
    assert_eq!(store.write_under(new, &at, &fields, gone).await.unwrap(), 0);
    store.finish(new).await.unwrap();
    is_lost(store.finish(new).await);
    is_lost(store.renew(Claim { delivery: 999_999, fence: 1 }, NOW).await);
}

pub(super) async fn a_tenant_gets_its_share(store: Arc<dyn Store>) {
    for number in 0..10 {
        wake(&store, &number.to_string(), NOW - 100).await;
    }
    store.set_wake(&id("other"), &module("sleeper"), "late", NOW, None).await.unwrap();
    let claimed = claim_as(&store, NOW, NOW + 60, 3).await;
    assert_eq!(claimed.iter().filter(|delivery| delivery.tenant.as_str() == "acme").count(), 3);
    assert_eq!(claimed.len(), 4);
    assert!(claim_as(&store, NOW, NOW + 60, 3).await.is_empty(), "what is at work counts");
    let ended = claimed.iter().find(|delivery| delivery.tenant.as_str() == "acme").unwrap();
    store.finish(ended.claim).await.unwrap();
    assert_eq!(claim_as(&store, NOW, NOW + 60, 3).await.len(), 1);
    let few = store.claim_due(ClaimRequest { now: NOW + 60, until: NOW + 120, limit: 2, per_tenant: 100 }).await;
    assert_eq!(few.unwrap().len(), 2);
}

pub(super) async fn tenants_and_modules_do_not_mix(store: Arc<dyn Store>) {
    let (acme, other) = (id("acme"), id("other"));
    for (tenant, of) in [(&acme, "sleeper"), (&acme, "second"), (&other, "sleeper")] {
        store.set_wake(tenant, &module(of), "key", NOW, None).await.unwrap();
    }
    store.cancel_wake(&acme, &module("sleeper"), "key", None).await.unwrap();
    let claimed = claim(&store, NOW).await;
    let mut left: Vec<_> = claimed.iter().map(|it| (it.tenant.as_str(), it.module.as_str())).collect();
    left.sort_unstable();
    assert_eq!(left, [("acme", "second"), ("other", "sleeper")]);
}

pub(super) async fn they_go_with_their_tenant(store: Arc<dyn Store>) {
    for name in ["acme", "other"] {
        store.create_tenant(tenant(name)).await.unwrap();
        store.publish(event(name, "x", NOW, &["tasks"]), None).await.unwrap();
        store.set_wake(&id(name), &module("sleeper"), "key", NOW, None).await.unwrap();
    }
    let claimed = claim(&store, NOW).await;
    let revision = store.tenant(&id("acme")).await.unwrap().unwrap().revision;
    store.delete_tenant(&id("acme"), revision, TenantData::Refuse).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().waiting, 2);
    for delivery in claimed {
        let finished = store.finish(delivery.claim).await;
        if delivery.tenant.as_str() == "acme" { is_lost(finished) } else { finished.unwrap() }
    }
}

pub(super) async fn what_full_tenants_have_due_hides_nobody(store: Arc<dyn Store>) {
    for (of, keys, at) in [("first", 7, NOW - 9), ("second", 5, NOW - 8), ("third", 2, NOW - 7), ("fourth", 1, NOW)] {
        for key in 0..keys {
            store.set_wake(&id(of), &module("sleeper"), &format!("{key}"), at + key, None).await.unwrap();
        }
    }
    let tenants = |claimed: &[Delivery]| claimed.iter().map(|it| it.tenant.to_string()).collect::<Vec<_>>();
    let claimed = claim_as(&store, NOW, NOW + 60, 2).await;
    let mut found = tenants(&claimed);
    found.sort_unstable();
    assert_eq!(found, ["first", "first", "fourth", "second", "second", "third", "third"]);
    store.finish(claimed.iter().find(|it| it.tenant.as_str() == "second").unwrap().claim).await.unwrap();
    assert_eq!(tenants(&claim_as(&store, NOW, NOW + 60, 2).await), ["second"], "what is at work counts");
    assert!(claim_as(&store, NOW, NOW + 60, 0).await.is_empty());
}
