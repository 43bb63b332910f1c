//! What every store must do, as tests: one list, run against each implementation. Refuses to know any of them.
//!
//! A store's own test calls [`all`] with a function that makes an empty one:
//!
//! ```text
//! contract::all(async || {
//!     let folder = tempfile::tempdir().unwrap();
//!     let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path()).unwrap());
//!     (store, folder)
//! })
//! .await;
//! ```

#![expect(clippy::unwrap_used, reason = "a failed expectation is what these functions are for")]

mod definitions;
mod deliveries;
mod documents;
mod find;
mod marks;
mod moving;
mod paging;
mod races;
mod reindex;
mod tenants;
mod unique;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{
    ApiKey, CollectionKey, Cors, DocumentPage, Find, KeyHash, ModelFields, Store, StoreError, TenantDocument,
    TenantStatus,
};

/// How long one test may take: long enough for a slow disk or a busy server, short enough to be waited for.
const DEADLINE: Duration = Duration::from_secs(180);

type Test = fn(Arc<dyn Store>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! list {
    ($($room:ident: $($name:ident)*;)*) => {
        const TESTS: &[(&str, Test)] =
            &[$($((concat!(stringify!($room), "::", stringify!($name)), |store| Box::pin($room::$name(store)))),*),*];
    };
}

list! {
    tenants: created_is_found_as_it_was replaced_by_revision_only deleted_by_revision_only revisions_outlive_a_tenant
        deleted_only_without_documents purged_with_documents_of_no_one_else paged_in_bytewise_order
        revisions_are_told_together begin_with_nothing;
    documents: inserted_replaced_deleted refused_by_revision_or_absence kept_byte_for_byte only_objects_are_stored
        ids_have_limits collections_do_not_mix large_bodies_are_kept larger_ones_are_refused answers;
    unique: kept_on_insert kept_on_put freed_by_delete_and_change not_for_missing_null_or_lists by_value_and_type
        within_one_collection refused_writes_change_nothing long_texts_are_refused;
    find: everything_by_id by_equalities by_range by_prefix by_order_and_direction by_equality_range_and_order
        by_range_in_order_of_ids texts_bytewise numbers_by_value types_apart only_scalars_are_found
        changed_and_deleted_are_not_found undeclared_fields_are_refused contradictions_are_refused
        collections_do_not_mix;
    paging: limits ties_are_neither_lost_nor_repeated inserts_between_pages_disturb_nothing
        cursors_belong_to_their_question every_question_pages_through_the_same;
    reindex: new_fields_can_be_searched dropped_fields_can_not violations_change_nothing new_unique_fields_hold
        uniqueness_can_be_given_up nothing_to_do takeover_between_versions writers_go_on_meanwhile;
    deliveries: events_come_whole_and_in_order nothing_is_kept_without_a_subscriber a_failure_keeps_its_place
        the_dead_are_listed_retried_and_discarded no_more_wait_than_may wake_ups_have_one_time
        a_wake_up_set_while_it_is_handled_comes_again a_wake_up_that_is_taken_back_while_it_is_handled_is_over
        a_dead_wake_up_gives_way_to_a_new_one one_claimer_wins
        what_runs_out_is_taken_over_and_the_old_claim_is_good_for_nothing a_tenant_gets_its_share
        what_full_tenants_have_due_hides_nobody tenants_and_modules_do_not_mix they_go_with_their_tenant;
    definitions: are_kept_as_written are_replaced_by_revision_only go_on_after_they_were_taken_away
        do_not_go_with_a_tenant;
    moving: everything_is_read_as_it_was_written again_is_harmless_and_a_cut_one_is_begun_anew
        times_that_are_kept_less_finely_make_no_difference what_is_there_is_left_as_it_is
        what_a_cut_one_left_does_not_come_back what_a_cut_one_left_is_nobodys pages_have_a_bound
        what_can_not_be_stored_is_listed what_no_store_would_have_taken_is_refused;
    marks: are_found_in_order_and_replaced are_cleared_for_one_or_for_all go_with_their_tenant;
    races: one_put_of_a_revision_wins one_insert_of_an_id_wins one_insert_of_a_unique_value_wins
        one_creation_of_a_tenant_wins one_write_of_definitions_wins a_dropped_write_is_whole_or_absent;
}

/// Runs every test against a store of its own, all of them even where some fail. `make` returns an empty store, and
/// something that is dropped after it (its folder, its database).
///
/// # Panics
///
/// Where a test fails; names them all.
pub async fn all<K>(make: impl AsyncFn() -> (Arc<dyn Store>, K)) {
    let mut failed = Vec::new();
    for (name, test) in TESTS {
        let (store, kept) = make().await;
        let outcome = tokio::time::timeout(DEADLINE, tokio::spawn(test(store))).await;
        match outcome {
            Ok(Ok(())) => println!("{name}: ok"),
            Ok(Err(_)) => failed.push((*name).to_owned()),
            Err(_) => failed.push(format!("{name} (took too long)")),
        }
        drop(kept);
    }
    assert!(failed.is_empty(), "of {} tests {} failed: {}", TESTS.len(), failed.len(), failed.join(", "));
}

/// A collection.
fn at(tenant: &str, module: &str, model: &str) -> CollectionKey {
    CollectionKey { tenant: tenant.parse().unwrap(), module: module.parse().unwrap(), model: model.to_owned() }
}

/// The collection that most tests use.
fn people() -> CollectionKey {
    at("acme", "hr-core", "Person")
}

/// Fields, from names separated by spaces.
fn fields(unique: &str, index: &str) -> ModelFields {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    ModelFields { unique: names(unique), index: names(index) }
}

/// A tenant in which nothing is left at its default but the revision.
pub fn tenant(id: &str) -> TenantDocument {
    TenantDocument {
        id: id.parse().unwrap(),
        name: "Acme".to_owned(),
        status: TenantStatus::Suspended,
        enabled_modules: Vec::new(),
        feature_flags: BTreeMap::from([("theme".to_owned(), "dark".into())]),
        settings: BTreeMap::from([("tasks".to_owned(), serde_json::json!({ "limit": 3 }))]),
        cors: Cors::new(vec!["https://app.example".to_owned()], Some(600), true).ok().map(Box::new),
        api_keys: vec![ApiKey {
            id: "k1".to_owned(),
            name: "shop".to_owned(),
            hash: KeyHash([7; 32]),
            scopes: vec!["flags:read".to_owned()],
            created_at: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            created_by: Some("admin".to_owned()),
            expires_at: None,
            unknown: serde_json::Map::new(),
        }],
        revision: 0,
        updated_at: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
        unknown: serde_json::Map::from_iter([("plan".to_owned(), serde_json::json!({ "seats": [1, 2] }))]),
    }
}

/// A question, from its JSON.
fn question(json: serde_json::Value) -> Find {
    serde_json::from_value(json).unwrap()
}

/// The ids on a page.
fn ids(page: &DocumentPage) -> Vec<&str> {
    page.documents.iter().map(|document| document.id.as_str()).collect()
}

/// Inserts documents, by id and JSON.
async fn fill(store: &dyn Store, at: &CollectionKey, fields: &ModelFields, documents: &[(&str, serde_json::Value)]) {
    for (id, body) in documents {
        store.insert(at, fields, id, body.to_string().into_bytes()).await.unwrap();
    }
}

/// Asks, and compares the ids that come, in their order, with those expected.
async fn check(store: &dyn Store, fields: &ModelFields, json: serde_json::Value, expected: &[&str]) {
    let page = store.find(&people(), fields, &question(json.clone())).await.unwrap();
    assert_eq!(ids(&page), expected, "{json}");
}

/// All ids of a question, page by page of this size.
async fn walk(store: &dyn Store, fields: &ModelFields, mut find: Find, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    find.limit = limit;
    loop {
        let page = store.find(&people(), fields, &find).await.unwrap();
        assert!(page.documents.len() <= limit, "{find:?}");
        all.extend(page.documents.into_iter().map(|document| document.id));
        find.after = page.next;
        if find.after.is_none() {
            return all;
        }
    }
}
