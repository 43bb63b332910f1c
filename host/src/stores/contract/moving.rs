//! Everything is written as it was elsewhere, and read again; nothing that is there is written over.

use std::sync::Arc;

use super::{fields, people, tenant};
use crate::stores::{
    ClaimRequest, Delivered, EnabledModule, Exporter, ImportReport, Importer, Isolation, Mark, MarkKind, MovedDelivery,
    Record, Stands, Store, StoreError, StoredDefinitions, StoredDocument, TenantDocument,
};

fn document(id: &str, revision: u64, body: &str) -> Record {
    Record::Document(people(), StoredDocument { id: id.to_owned(), revision, body: body.as_bytes().to_vec() })
}

fn event(id: &str, stands: Stands) -> Record {
    let what = Delivered::Event {
        publisher: "hr-core".parse().unwrap(),
        name: "hired".to_owned(),
        event_id: id.to_owned(),
        body: b"{ \"n\": 1.50 }".to_vec(),
        published_at: 5,
    };
    delivery(what, 0, stands)
}

fn delivery(what: Delivered, failures: u32, stands: Stands) -> Record {
    let (tenant, module) = ("acme".parse().unwrap(), "tasks".parse().unwrap());
    Record::Delivery(MovedDelivery { tenant, module, what, failures, stands })
}

/// In the order in which they are read.
fn everything() -> Vec<Record> {
    vec![
        Record::Definitions(StoredDefinitions {
            revision: 7,
            text: "{\"flags\": {} }\n".into(),
            updated_at: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
        }),
        Record::Mark(Mark {
            module: "tasks".parse().unwrap(),
            hash: "ab".repeat(32),
            tenant: None,
            kind: MarkKind::Bad,
            version: "1.2.0".to_owned(),
            reason: "it panicked".to_owned(),
            marked_at: 3,
        }),
        Record::Collection(people(), fields("email", "name")),
        document("1", 5, "{ \"email\":\"a@x\", \"name\": \"A\", \"n\": 1.50 }\n"),
        document("2", 1, "{\"email\":\"b@x\",\"name\":\"B\"}"),
        event("e1", Stands::Waiting(Some(5))),
        event("e2", Stands::Waiting(None)),
        delivery(Delivered::Wake { key: "later".to_owned() }, 2, Stands::Waiting(Some(9))),
        delivery(Delivered::Wake { key: "lost".to_owned() }, 8, Stands::Dead { at: 4, error: "no".to_owned() }),
        Record::Tenant(Arc::new(TenantDocument { revision: 9, ..tenant("acme") })),
    ]
}

async fn import(store: &Arc<dyn Store>, records: Vec<Record>) -> ImportReport {
    let mut importer = Importer::new(Arc::clone(store));
    for record in records {
        importer.take(record).await.unwrap();
    }
    importer.finish().await.unwrap()
}

async fn export(store: &Arc<dyn Store>) -> Vec<Record> {
    let (mut exporter, mut all) = (Exporter::new(Arc::clone(store)), Vec::new());
    while let Some(records) = exporter.page().await.unwrap() {
        all.extend(records);
    }
    assert!(exporter.unreadable().is_empty());
    all
}

async fn claimed(store: &Arc<dyn Store>) -> Vec<Delivered> {
    let request = ClaimRequest { now: 100, until: 200, limit: 10, per_tenant: 10 };
    store.claim_due(request).await.unwrap().into_iter().map(|delivery| delivery.what).collect()
}

pub(super) async fn everything_is_read_as_it_was_written(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let all = everything();
    let mut importer = Importer::new(Arc::clone(&store));
    for record in all.clone() {
        importer.take(record).await.unwrap();
    }
    let id = "acme".parse().unwrap();
    assert_eq!(store.tenant(&id).await.unwrap(), None, "not before everything of it is there");
    assert_eq!(claimed(&store).await, [], "nobody gets what would be for nobody");
    assert_eq!(store.definitions().await.unwrap(), None);
    let report = importer.finish().await.unwrap();
    assert_eq!((report.written, report.there, report.refused.len()), (10, 0, 0));
    assert_eq!(export(&store).await, all);

    let found = super::question(serde_json::json!({ "equal": [["name", "B"]] }));
    let page = store.find(&people(), &fields("email", "name"), &found).await.unwrap();
    assert_eq!(super::ids(&page), ["2"]);
    let taken = store.insert(&people(), &fields("email", "name"), "3", br#"{"email":"a@x"}"#.to_vec()).await;
    assert!(matches!(taken, Err(StoreError::NotUnique { field }) if field == "email"));
    let keys: Vec<String> = claimed(&store)
        .await
        .into_iter()
        .map(|what| match what {
            Delivered::Event { event_id, .. } => event_id,
            Delivered::Wake { key } => key,
        })
        .collect();
    assert_eq!(keys, ["e1", "later"], "of a queue the first, and what is due");
}

pub(super) async fn again_is_harmless_and_a_cut_one_is_begun_anew(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let all = everything();
    let mut cut = Importer::new(Arc::clone(&store));
    for record in all[..7].iter().cloned() {
        cut.take(record).await.unwrap();
    }
    drop(cut);
    let report = import(&store, all.clone()).await;
    assert_eq!((report.written, report.there, report.refused.len()), (10, 0, 0));
    assert_eq!(export(&store).await, all);
    let report = import(&store, all.clone()).await;
    // A mark takes the place of the same one.
    assert_eq!((report.written, report.there, report.refused.len()), (1, 9, 0));
    assert_eq!(export(&store).await, all);
}

pub(super) async fn times_that_are_kept_less_finely_make_no_difference(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let mut enabling = tenant("acme");
    enabling.enabled_modules = vec![EnabledModule {
        module: "tasks".parse().unwrap(),
        version: "*".parse().unwrap(),
        isolation: Isolation::Shared,
        enabled_at: Some("2026-01-02T03:04:05.678901234Z".parse().unwrap()),
        enabled_by: None,
        unknown: serde_json::Map::new(),
    }];
    enabling.revision = 3;
    let records = |enabling: &TenantDocument| vec![Record::Tenant(Arc::new(enabling.clone()))];
    assert_eq!(import(&store, records(&enabling)).await.written, 1);
    let report = import(&store, records(&enabling)).await;
    assert_eq!((report.written, report.there, report.refused.len()), (0, 1, 0));
    // A millisecond is another time.
    enabling.enabled_modules[0].enabled_at = Some("2026-01-02T03:04:05.679Z".parse().unwrap());
    assert_eq!(import(&store, records(&enabling)).await.refused.len(), 1);
}

pub(super) async fn what_is_there_is_left_as_it_is(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    import(&store, everything()).await;
    let body = br#"{"email":"c@x"}"#.to_vec();
    store.put(&people(), &fields("email", "name"), "2", body, 1).await.unwrap();
    store.put_definitions(Some("{}".to_owned()), 7).await.unwrap();
    let now = export(&store).await;
    let report = import(&store, everything()).await;
    let why = "it is there already, and document `2` of Person differs";
    assert_eq!(report.refused.into_iter().collect::<Vec<_>>(), [("acme".parse().unwrap(), why.to_owned())]);
    assert_eq!(report.definitions_refused.as_deref(), Some("another set of flags is there already and differs"));
    assert_eq!(export(&store).await, now);
}

/// Begins an import and leaves it there, behind so many records.
async fn cut(store: &Arc<dyn Store>, records: &[Record]) {
    let mut cut = Importer::new(Arc::clone(store));
    for record in records.iter().cloned() {
        cut.take(record).await.unwrap();
    }
}

/// The source goes on between an import that was cut off and the next one.
pub(super) async fn what_a_cut_one_left_does_not_come_back(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let mut all = everything();
    cut(&store, &all[..9]).await;
    // A document is changed, another one deleted, the fields are others, an event was delivered.
    all[2] = Record::Collection(people(), fields("", "name"));
    all[3] = document("1", 6, "{\"email\":\"b@x\",\"name\":\"C\"}");
    all.remove(5);
    all.remove(4);
    all[4] = event("e2", Stands::Waiting(Some(5)));
    let report = import(&store, all.clone()).await;
    assert_eq!((report.written, report.there, report.refused.len()), (8, 0, 0));
    assert_eq!(export(&store).await, all);
}

pub(super) async fn what_a_cut_one_left_is_nobodys(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    cut(&store, &everything()[..9]).await;
    let (id, module) = ("acme".parse().unwrap(), "tasks".parse().unwrap());
    store.create_tenant(tenant("acme")).await.unwrap();
    assert_eq!(store.get(&people(), "1").await.unwrap(), None);
    assert!(store.dead_letters(None, 10).await.unwrap().is_empty());
    store.set_wake(&id, &module, "later", 50, None).await.unwrap();
    assert_eq!(claimed(&store).await, [Delivered::Wake { key: "later".to_owned() }]);
}

pub(super) async fn pages_have_a_bound(store: Arc<dyn Store>) {
    let Some(moving) = store.moving() else { return };
    let text = "x".repeat(3 << 20);
    for id in ["1", "2", "3", "4", "5"] {
        let body = format!("{{\"text\":\"{text}\"}}").into_bytes();
        store.insert(&people(), &fields("", ""), id, body.clone()).await.unwrap();
        let event = crate::stores::NewEvent {
            tenant: "acme".parse().unwrap(),
            publisher: "hr-core".parse().unwrap(),
            name: "hired".to_owned(),
            event_id: id.to_owned(),
            body,
            published_at: 5,
            subscribers: vec!["tasks".parse().unwrap()],
            most_waiting: 10,
        };
        store.publish(event, None).await.unwrap();
    }
    let documents = moving.documents(&people(), None, 100).await.unwrap();
    assert_eq!(documents.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let events = moving.deliveries(0, 100).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(moving.deliveries(events[1].0, 1).await.unwrap().len(), 1);
    assert_eq!(export(&store).await.len(), 11, "all come, page by page");
}

pub(super) async fn what_can_not_be_stored_is_listed(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let large = document("3", 1, &format!("{{\"text\":\"{}\"}}", "x".repeat(8 << 20)));
    let mut all = everything();
    all.insert(5, large);
    all.insert(5, document("4", 1, "[]"));
    all.push(Record::Tenant(Arc::new(tenant("other"))));
    let report = import(&store, all).await;
    assert_eq!(report.refused.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["acme"]);
    assert_eq!(store.tenant(&"acme".parse().unwrap()).await.unwrap(), None);
    assert!(store.tenant(&"other".parse().unwrap()).await.unwrap().is_some());
    let only_large = vec![document("3", 1, &format!("{{\"text\":\"{}\"}}", "x".repeat(8 << 20)))];
    let report = import(&store, only_large).await;
    let why = "a document has at most 8388608 bytes, this one has 8388619";
    assert_eq!(report.refused.into_values().collect::<Vec<_>>(), [why]);
}

pub(super) async fn what_no_store_would_have_taken_is_refused(store: Arc<dyn Store>) {
    if store.moving().is_none() {
        return;
    }
    let mut deep = serde_json::json!(1);
    for _ in 0..65 {
        deep = serde_json::json!([deep]);
    }
    let deep_flag = TenantDocument { feature_flags: [("deep".to_owned(), deep)].into(), revision: 1, ..tenant("acme") };
    let tenant = |revision: u64| Record::Tenant(Arc::new(TenantDocument { revision, ..tenant("acme") }));
    for (wrong, why) in [
        (document("", 1, "{}"), "a document id has 1 to 256 bytes and no NUL"),
        (document(&"x".repeat(257), 1, "{}"), "a document id has 1 to 256 bytes and no NUL"),
        (document("1", 0, "{}"), "document `1` of Person: revision 0 is not between 1 and 9007199254740992"),
        (document("1", u64::MAX, "{}"), "document `1` of Person: revision 18446744073709551615 is not between 1"),
        (tenant((1 << 53) + 1), "revision 9007199254740993 is not between 0 and 9007199254740992"),
        (Record::Tenant(Arc::new(deep_flag)), "of a value more than 64 arrays and objects are inside each other"),
    ] {
        let report = import(&store, vec![wrong, tenant(3)]).await;
        let refused: Vec<(String, String)> =
            report.refused.into_iter().map(|(id, why)| (id.to_string(), why)).collect();
        assert!(refused.len() == 1 && refused[0].0 == "acme" && refused[0].1.starts_with(why), "{refused:?}");
        assert_eq!(store.tenant(&"acme".parse().unwrap()).await.unwrap(), None, "{why}");
    }
    let definitions = StoredDefinitions { revision: 1 << 60, text: "{}".into(), updated_at: None };
    let report = import(&store, vec![Record::Definitions(definitions), tenant(1 << 53)]).await;
    assert!(report.definitions_refused.is_some() && report.refused.is_empty());
    let kept = store.tenant(&"acme".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(kept.revision, 1 << 53);
}
