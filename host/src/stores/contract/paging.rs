//! Pages and their cursors.

use std::sync::Arc;

use serde_json::json;

use super::{StoreError, at, fields, fill, ids, people, question, walk};
use crate::stores::{Find, FindError, ModelFields, Store};

/// Whether a condition holds for a document's number, or rank.
type Holds = fn(usize) -> bool;

/// A change to a question's JSON.
type Change = fn(&mut serde_json::Value);

fn unchanged(_: &mut serde_json::Value) {}

fn declared() -> ModelFields {
    fields("", "even group rank")
}

/// Thirty documents in three groups, with each rank three times.
async fn thirty(store: &dyn Store) {
    for number in 0..30 {
        let body = json!({ "group": number % 3, "rank": format!("r{}", number / 3), "even": number % 2 == 0 });
        fill(store, &people(), &declared(), &[(&format!("{:02}", (number * 11) % 30), body)]).await;
    }
}

pub(super) async fn limits(store: Arc<dyn Store>) {
    for number in 0..205 {
        fill(&*store, &people(), &declared(), &[(&format!("{number:03}"), json!({ "group": 1 }))]).await;
    }
    for (limit, expected) in [(0, 50), (1, 1), (200, 200), (201, 200), (usize::MAX, 200)] {
        let page = store.find(&people(), &declared(), &Find { limit, ..Find::default() }).await.unwrap();
        assert_eq!(page.documents.len(), expected, "limit {limit}");
        assert!(page.next.is_some());
    }
    let five = question(json!({ "range": { "field": "group", "from": 1 }, "limit": 205 }));
    let page = store.find(&people(), &declared(), &five).await.unwrap();
    let rest = store.find(&people(), &declared(), &Find { after: page.next, limit: 5, ..five }).await.unwrap();
    assert_eq!(
        (ids(&rest), rest.next.clone()),
        (vec!["200", "201", "202", "203", "204"], None),
        "exactly full is the last"
    );
}

pub(super) async fn ties_are_neither_lost_nor_repeated(store: Arc<dyn Store>) {
    thirty(&*store).await;
    for descending in [false, true] {
        let find = question(json!({ "order_by": "group", "descending": descending }));
        let all = walk(&*store, &declared(), find.clone(), 200).await;
        assert_eq!(all.len(), 30);
        for limit in [1, 2, 7, 10, 29, 30] {
            assert_eq!(walk(&*store, &declared(), find.clone(), limit).await, all, "{limit} at a time");
        }
        let mut sorted = all.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 30);
    }
    let up = walk(&*store, &declared(), question(json!({ "order_by": "group" })), 4).await;
    let mut down = walk(&*store, &declared(), question(json!({ "order_by": "group", "descending": true })), 4).await;
    down.reverse();
    assert_eq!(up, down);
}

pub(super) async fn inserts_between_pages_disturb_nothing(store: Arc<dyn Store>) {
    thirty(&*store).await;
    for descending in [false, true] {
        let mut find = question(json!({ "order_by": "group", "descending": descending, "limit": 4 }));
        let before = walk(&*store, &declared(), find.clone(), 200).await;
        let (mut seen, mut round) = (Vec::new(), 0);
        loop {
            let page = store.find(&people(), &declared(), &find).await.unwrap();
            seen.extend(page.documents.iter().map(|document| document.id.clone()));
            find.after = page.next;
            if find.after.is_none() {
                break;
            }
            // Before, between and behind what has been read, ids that tie with it included.
            for (group, place) in [(-1, "new"), (0, "00a"), (1, "14a"), (2, "29a"), (9, "new")] {
                let id = format!("{place}-{group}-{descending}-{round}");
                fill(&*store, &people(), &declared(), &[(&id, json!({ "group": group }))]).await;
            }
            // What the cursor points at may go.
            if round == 1 {
                let last = seen.last().unwrap();
                let revision = store.get(&people(), last).await.unwrap().unwrap().revision;
                store.delete(&people(), last, revision).await.unwrap();
            }
            round += 1;
            assert!(round < 200, "the pages never end");
        }
        let old: Vec<&String> = seen.iter().filter(|id| before.contains(id)).collect();
        assert_eq!(old, before.iter().collect::<Vec<_>>());
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "nothing came twice");
    }
}

pub(super) async fn cursors_belong_to_their_question(store: Arc<dyn Store>) {
    thirty(&*store).await;
    let asked = json!({
        "equal": [["even", true], ["group", 1]],
        "range": { "field": "rank", "from": "r1" },
        "order_by": "rank",
        "limit": 1,
    });
    let page = store.find(&people(), &declared(), &question(asked.clone())).await.unwrap();
    let cursor = page.next.unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "fits into a URL");
    let with = |cursor: &str, change: Change| {
        let mut changed = asked.clone();
        changed["after"] = json!(cursor);
        change(&mut changed);
        question(changed)
    };
    for (change, is_same) in [
        (unchanged as Change, true),
        (|asked| asked["limit"] = json!(7), true),
        (|asked| asked["equal"] = json!([["group", 1.0], ["even", true]]), true),
        (|asked| asked["equal"] = json!([["even", true]]), false),
        (|asked| asked["equal"][1][1] = json!(2), false),
        (|asked| asked["range"]["from"] = json!("r2"), false),
        (|asked| asked["range"] = json!(null), false),
        (|asked| asked["descending"] = json!(true), false),
        (|asked| asked["order_by"] = json!(null), false),
    ] {
        let asked = with(&cursor, change);
        let outcome = store.find(&people(), &declared(), &asked).await;
        let is_foreign = matches!(outcome, Err(StoreError::Find(FindError::Cursor)));
        assert_eq!(!is_foreign, is_same, "{asked:?}");
    }
    for place in [at("other", "hr-core", "Person"), at("acme", "hr-core", "Team")] {
        let foreign = store.find(&place, &declared(), &with(&cursor, unchanged)).await;
        assert!(matches!(foreign, Err(StoreError::Find(FindError::Cursor))));
    }
    let cut = &cursor[..cursor.len() / 3];
    for wrong in ["", "x", "ä", "AAAA", "no cursor", cut, &format!("{cursor}="), &"A".repeat(10_000)] {
        let refused = store.find(&people(), &declared(), &with(wrong, unchanged)).await;
        assert!(matches!(refused, Err(StoreError::Find(FindError::Cursor))), "{wrong}");
    }
}

/// Every sort of question, compared with what a search through all documents by hand gives.
pub(super) async fn every_question_pages_through_the_same(store: Arc<dyn Store>) {
    thirty(&*store).await;
    let id = |number: usize| format!("{:02}", (number * 11) % 30);
    let rank = |number: usize| number / 3;
    let equalities: [(_, Holds); 3] = [
        (json!([]), |_| true),
        (json!([["even", true]]), |number| number % 2 == 0),
        (json!([["even", false], ["group", 1]]), |number| number % 2 == 1 && number % 3 == 1),
    ];
    let ranges: [(_, Holds); 3] = [
        (json!(null), |_| true),
        (json!({ "field": "rank", "from": "r2", "to": "r7" }), |rank| (2..7).contains(&rank)),
        (json!({ "field": "rank", "prefix": "r3" }), |rank| rank == 3),
    ];
    for (equal, is_equal) in &equalities {
        for (range, is_inside) in &ranges {
            for order_by in [None, Some("rank")] {
                let matching = (0..30).filter(|number| is_equal(*number) && is_inside(rank(*number)));
                let key = |number: usize| (order_by.map(|_| rank(number)), id(number));
                let mut expected: Vec<_> = matching.map(key).collect();
                expected.sort();
                let mut expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
                for descending in [false, true] {
                    let json =
                        json!({ "equal": equal, "range": range, "order_by": order_by, "descending": descending });
                    for limit in [2, 5, 200] {
                        let found = walk(&*store, &declared(), question(json.clone()), limit).await;
                        assert_eq!(found, expected, "{json}, {limit} at a time");
                    }
                    expected.reverse();
                }
            }
        }
    }
}
