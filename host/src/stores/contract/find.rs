//! Questions and the documents that come, on one page.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{StoreError, at, check, fields, fill, ids, people, question};
use crate::stores::{FieldRange, Find, FindError, ModelFields, Scalar, Store};

fn declared() -> ModelFields {
    fields("number", "age name status")
}

/// Five people, inserted out of order.
async fn five(store: &dyn Store) {
    let documents = [
        ("d", json!({ "number": 4, "name": "Dora", "age": 40, "status": "open" })),
        ("a", json!({ "number": 1, "name": "Anna", "age": 30, "status": "open" })),
        ("c", json!({ "number": 3, "name": "Anton", "age": 30, "status": "done" })),
        ("e", json!({ "number": 5, "name": "Ev" })),
        ("b", json!({ "number": 2, "name": "Ben", "age": 25.5, "status": "open" })),
    ];
    fill(store, &people(), &declared(), &documents).await;
}

pub(super) async fn everything_by_id(store: Arc<dyn Store>) {
    check(&*store, &declared(), json!({}), &[]).await;
    five(&*store).await;
    check(&*store, &declared(), json!({}), &["a", "b", "c", "d", "e"]).await;
    check(&*store, &fields("", ""), json!({ "descending": true }), &["e", "d", "c", "b", "a"]).await;
    let page = store.find(&people(), &declared(), &Find::default()).await.unwrap();
    let one = store.get(&people(), "a").await.unwrap().unwrap();
    assert_eq!(page.documents[0], one);
    assert_eq!(page.next, None);
}

pub(super) async fn by_equalities(store: Arc<dyn Store>) {
    five(&*store).await;
    for (equal, expected) in [
        (json!([["status", "open"]]), &["a", "b", "d"][..]),
        (json!([["status", "open"], ["age", 30]]), &["a"]),
        (json!([["age", 30.0], ["status", "done"], ["name", "Anton"]]), &["c"]),
        (json!([["number", 5]]), &["e"]),
        (json!([["status", "ope"]]), &[]),
        (json!([["status", "open"], ["status", "done"]]), &[]),
        (json!([["status", "open"], ["status", "open"]]), &["a", "b", "d"]),
    ] {
        check(&*store, &declared(), json!({ "equal": equal }), expected).await;
        let reversed: Vec<&str> = expected.iter().rev().copied().collect();
        check(&*store, &declared(), json!({ "equal": equal, "descending": true }), &reversed).await;
    }
}

pub(super) async fn by_range(store: Arc<dyn Store>) {
    five(&*store).await;
    for (range, expected) in [
        (json!({ "from": 30 }), &["a", "c", "d"][..]),
        (json!({ "to": 30 }), &["b"]),
        (json!({ "from": 25.5, "to": 40 }), &["b", "a", "c"]),
        (json!({ "from": 25.6, "to": 40.1 }), &["a", "c", "d"]),
        (json!({ "from": 40, "to": 30 }), &[]),
        (json!({ "from": 30, "to": 30 }), &[]),
        (json!({}), &["b", "a", "c", "d"]),
    ] {
        let mut range = range;
        range["field"] = json!("age");
        check(&*store, &declared(), json!({ "range": range, "order_by": "age" }), expected).await;
    }
    check(
        &*store,
        &declared(),
        json!({ "range": { "field": "name", "from": "Anton", "to": "Dora" }, "order_by": "name" }),
        &["c", "b"],
    )
    .await;
}

pub(super) async fn by_prefix(store: Arc<dyn Store>) {
    five(&*store).await;
    let odd = [
        ("u", json!({ "name": "Ä\u{10ffff}x" })),
        ("v", json!({ "name": "Ä\u{10ffff}" })),
        ("w", json!({ "name": "Ö%" })),
    ];
    fill(&*store, &people(), &declared(), &odd).await;
    for (prefix, expected) in [
        ("An", &["a", "c"][..]),
        ("Ant", &["c"]),
        ("an", &[]),
        ("", &["a", "c", "b", "d", "e", "v", "u", "w"]),
        ("Ä\u{10ffff}", &["v", "u"]),
        ("%", &[]),
        ("Ö%", &["w"]),
        ("Anna?", &[]),
    ] {
        let range = json!({ "field": "name", "prefix": prefix });
        check(&*store, &declared(), json!({ "range": range, "order_by": "name" }), expected).await;
    }
}

pub(super) async fn by_order_and_direction(store: Arc<dyn Store>) {
    five(&*store).await;
    check(&*store, &declared(), json!({ "order_by": "number" }), &["a", "b", "c", "d", "e"]).await;
    check(&*store, &declared(), json!({ "order_by": "name" }), &["a", "c", "b", "d", "e"]).await;
    check(&*store, &declared(), json!({ "order_by": "age" }), &["b", "a", "c", "d"]).await;
    check(&*store, &declared(), json!({ "order_by": "age", "descending": true }), &["d", "c", "a", "b"]).await;
}

pub(super) async fn by_equality_range_and_order(store: Arc<dyn Store>) {
    five(&*store).await;
    let equal = json!([["status", "open"]]);
    let range = json!({ "field": "age", "from": 26 });
    check(&*store, &declared(), json!({ "equal": equal, "order_by": "age" }), &["b", "a", "d"]).await;
    check(&*store, &declared(), json!({ "equal": equal, "order_by": "name", "descending": true }), &["d", "b", "a"])
        .await;
    check(&*store, &declared(), json!({ "equal": equal, "order_by": "age", "range": range }), &["a", "d"]).await;
    check(
        &*store,
        &declared(),
        json!({ "equal": equal, "order_by": "age", "range": range, "descending": true }),
        &["d", "a"],
    )
    .await;
    check(&*store, &declared(), json!({ "equal": [["age", 30]], "order_by": "age", "range": range }), &["a", "c"])
        .await;
    check(
        &*store,
        &declared(),
        json!({ "equal": [["age", 30]], "range": { "field": "name", "prefix": "Ant" } }),
        &["c"],
    )
    .await;
}

pub(super) async fn by_range_in_order_of_ids(store: Arc<dyn Store>) {
    five(&*store).await;
    let range = json!({ "field": "name", "from": "Anton" });
    check(&*store, &declared(), json!({ "range": range }), &["b", "c", "d", "e"]).await;
    check(&*store, &declared(), json!({ "range": range, "descending": true }), &["e", "d", "c", "b"]).await;
    check(&*store, &declared(), json!({ "range": range, "equal": [["status", "open"]] }), &["b", "d"]).await;
}

pub(super) async fn texts_bytewise(store: Arc<dyn Store>) {
    let ordered = ["", " ", "A", "B", "Z", "Za", "a", "b", "z", "zz", "é", "ä\u{301}", "\u{ff5e}", "\u{1f600}"];
    let mut sorted = ordered;
    sorted.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    for (number, text) in ordered.iter().enumerate().rev() {
        let body = json!({ "name": text }).to_string().into_bytes();
        store.insert(&people(), &declared(), &format!("{number:02}"), body).await.unwrap();
    }
    let page = store.find(&people(), &declared(), &question(json!({ "order_by": "name" }))).await.unwrap();
    let names: Vec<String> = page
        .documents
        .iter()
        .map(|document| serde_json::from_slice::<Value>(&document.body).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, sorted);
}

pub(super) async fn numbers_by_value(store: Arc<dyn Store>) {
    let ordered = [
        json!(-1e300),
        json!(i64::MIN),
        json!(-9_007_199_254_740_993_i64),
        json!(-9_007_199_254_740_992_i64),
        json!(-1.5),
        json!(-1),
        json!(0),
        json!(5e-324),
        json!(0.5),
        json!(1),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_994.0),
        json!(i64::MAX - 1),
        json!(i64::MAX),
        json!(9_223_372_036_854_775_808.0),
        json!(1e300),
    ];
    let name = |number: usize| format!("{:02}", (number * 7) % ordered.len());
    for (number, age) in ordered.iter().enumerate() {
        let body = json!({ "age": age }).to_string().into_bytes();
        store.insert(&people(), &declared(), &name(number), body).await.unwrap();
    }
    let expected: Vec<String> = (0..ordered.len()).map(name).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&*store, &declared(), json!({ "order_by": "age" }), &expected).await;
    for (number, age) in ordered.iter().enumerate() {
        check(&*store, &declared(), json!({ "equal": [["age", age]] }), &expected[number..=number]).await;
        let from = json!({ "order_by": "age", "range": { "field": "age", "from": age } });
        check(&*store, &declared(), from, &expected[number..]).await;
    }
}

pub(super) async fn types_apart(store: Arc<dyn Store>) {
    let documents = [
        ("text", json!({ "age": "1" })),
        ("true", json!({ "age": true })),
        ("number", json!({ "age": 1 })),
        ("false", json!({ "age": false })),
        ("null", json!({ "age": null })),
    ];
    fill(&*store, &people(), &declared(), &documents).await;
    let equal = |value: Value| json!({ "equal": [["age", value]] });
    check(&*store, &declared(), equal(json!(1)), &["number"]).await;
    check(&*store, &declared(), equal(json!("1")), &["text"]).await;
    check(&*store, &declared(), equal(json!(true)), &["true"]).await;
    let range = |range: Value| json!({ "range": range });
    check(&*store, &declared(), range(json!({ "field": "age", "from": -1e308 })), &["number"]).await;
    check(&*store, &declared(), range(json!({ "field": "age", "to": 1e308 })), &["number"]).await;
    check(&*store, &declared(), range(json!({ "field": "age", "from": "" })), &["text"]).await;
    check(&*store, &declared(), range(json!({ "field": "age", "to": "z" })), &["text"]).await;
    check(&*store, &declared(), range(json!({ "field": "age", "prefix": "" })), &["text"]).await;
    check(&*store, &declared(), range(json!({ "field": "age", "from": false })), &["false", "true"]).await;
    check(&*store, &declared(), json!({ "order_by": "age" }), &["false", "true", "number", "text"]).await;
}

pub(super) async fn only_scalars_are_found(store: Arc<dyn Store>) {
    let documents = [
        ("list", json!({ "name": ["x"] })),
        ("object", json!({ "name": { "name": "x" } })),
        ("deep", json!({ "other": { "name": "x" } })),
        ("null", json!({ "name": null })),
        ("text", json!({ "name": "x" })),
    ];
    fill(&*store, &people(), &declared(), &documents).await;
    check(&*store, &declared(), json!({ "equal": [["name", "x"]] }), &["text"]).await;
    check(&*store, &declared(), json!({ "order_by": "name" }), &["text"]).await;
    check(&*store, &declared(), json!({}), &["deep", "list", "null", "object", "text"]).await;
}

pub(super) async fn changed_and_deleted_are_not_found(store: Arc<dyn Store>) {
    five(&*store).await;
    let put = json!({ "number": 1, "name": "Zoe", "status": "open" }).to_string().into_bytes();
    store.put(&people(), &declared(), "a", put, 1).await.unwrap();
    store.delete(&people(), "b", 1).await.unwrap();
    check(&*store, &declared(), json!({ "equal": [["name", "Anna"]] }), &[]).await;
    check(&*store, &declared(), json!({ "equal": [["name", "Zoe"]] }), &["a"]).await;
    check(&*store, &declared(), json!({ "equal": [["status", "open"]] }), &["a", "d"]).await;
    check(&*store, &declared(), json!({ "order_by": "age" }), &["c", "d"]).await;
    check(&*store, &declared(), json!({}), &["a", "c", "d", "e"]).await;
}

pub(super) async fn undeclared_fields_are_refused(store: Arc<dyn Store>) {
    five(&*store).await;
    for wrong in [
        json!({ "equal": [["age", 1], ["x", 1]] }),
        json!({ "order_by": "x" }),
        json!({ "range": { "field": "x", "from": 1 } }),
    ] {
        let refused = store.find(&people(), &declared(), &question(wrong)).await.unwrap_err();
        assert_eq!(refused.to_string(), "field `x` is not indexed; indexed are: age, name, number, status");
        assert!(matches!(refused, StoreError::Find(FindError::NotIndexed { field, .. }) if field == "x"));
    }
    let undeclared = store.find(&people(), &fields("", ""), &question(json!({ "order_by": "age" }))).await;
    assert!(matches!(undeclared, Err(StoreError::Find(FindError::NotIndexed { .. }))), "indexed, but not declared");
}

pub(super) async fn contradictions_are_refused(store: Arc<dyn Store>) {
    let mut wrong = vec![
        question(json!({ "order_by": "name", "range": { "field": "age", "from": 1 } })),
        question(json!({ "range": { "field": "name", "from": "a", "prefix": "a" } })),
        question(json!({ "range": { "field": "name", "to": "a", "prefix": "a" } })),
        question(json!({ "range": { "field": "age", "from": 1, "to": "2" } })),
        question(json!({ "range": { "field": "age", "from": true, "to": 2 } })),
    ];
    for number in [f64::NAN, f64::INFINITY] {
        let from = Some(Scalar::Float(number));
        let range = FieldRange { field: "age".into(), from, to: None, prefix: None };
        wrong.push(Find { range: Some(range), ..Find::default() });
        wrong.push(Find { equal: vec![("age".into(), Scalar::Float(number))], ..Find::default() });
    }
    for wrong in wrong {
        let refused = store.find(&people(), &declared(), &wrong).await;
        assert!(matches!(refused, Err(StoreError::Find(FindError::Contradiction(_)))), "{wrong:?}");
    }
    // Bounds of one type, though of two kinds of number.
    check(&*store, &declared(), json!({ "range": { "field": "age", "from": 1, "to": 2.5 } }), &[]).await;
}

pub(super) async fn collections_do_not_mix(store: Arc<dyn Store>) {
    let places =
        [people(), at("acme2", "hr-core", "Person"), at("acme", "hr", "Person"), at("acme", "hr-core", "Team")];
    for (number, place) in places.iter().enumerate() {
        let id = number.to_string();
        fill(&*store, place, &declared(), &[(&id, json!({ "name": "x", "age": 1 }))]).await;
    }
    for (number, place) in places.iter().enumerate() {
        for asked in [
            json!({}),
            json!({ "equal": [["name", "x"]] }),
            json!({ "equal": [["name", "x"], ["age", 1]], "order_by": "age" }),
            json!({ "order_by": "name" }),
            json!({ "range": { "field": "age", "from": 0 } }),
        ] {
            let page = store.find(place, &declared(), &question(asked)).await.unwrap();
            assert_eq!(ids(&page), [number.to_string()]);
        }
    }
}
