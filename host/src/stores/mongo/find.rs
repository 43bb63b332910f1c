//! Answering questions. First the ids of a page, in their order, then the page's own documents. The entries' index finds
//! what matches; an order by a field is then sorted by the server, which costs it a look at all that matches behind
//! the cursor. An order by id comes out of the index.

use std::collections::HashMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;

use super::{StoreError, documents, failure::unfit, key, schema::DOCUMENTS, server::Server};
use crate::stores::{
    CollectionKey, DocumentPage,
    entries::searchable,
    question::{Bounds, Position, Question},
    value,
};

/// A page ends early, with a cursor, once its documents have this many bytes: 200 of the largest permitted size would
/// be hundreds of megabytes for one request. A guess that no page of ordinary documents meets.
const PAGE_BYTES: i64 = 8 << 20;

/// One page.
pub(super) async fn find(server: &Server, at: &CollectionKey, question: &Question) -> Result<DocumentPage, StoreError> {
    let collection = key::of_collection(at);
    let Some(indexed) = documents::indexed(server, None, &collection).await? else {
        return Ok(DocumentPage::default());
    };
    question.check_indexed(&searchable(&indexed))?;

    let conditions = conditions(&collection, question);
    let mut listed = server.collection(DOCUMENTS).aggregate(page_of_ids(&collection, question, &conditions)).await?;
    let (mut places, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = listed.try_next().await? {
        if places.len() == question.limit || bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        bytes += row.get_i64("bytes").map_err(unfit)?;
        let id = row.get_str("_id").map_err(unfit)?.to_owned();
        let value = match (&question.order_by, row.get_str("key")) {
            (Some(field), Ok(entry)) => key::value_of(&collection, field, entry),
            _ => None,
        };
        places.push((id, value));
    }

    // One that has changed since, and does not match any more, is left out.
    let ids: Vec<&str> = places.iter().map(|(id, _)| id.as_str()).collect();
    let filter = doc! { "$and": [{ "_id": { "$in": ids } }, doc! { "$and": conditions }] };
    let found = server.collection(DOCUMENTS).find(filter).projection(doc! { "revision": 1, "body": 1 }).await?;
    let found: Vec<Document> = if places.is_empty() { Vec::new() } else { found.try_collect().await? };
    let mut found = found
        .into_iter()
        .map(|document| documents::read(&collection, document).map(|document| (document.id.clone(), document)))
        .collect::<Result<HashMap<_, _>, _>>()?;

    let mut page = DocumentPage::default();
    let mut last = None;
    for (key, value) in places {
        let id = key.strip_prefix(&collection).unwrap_or(&key).to_owned();
        page.documents.extend(found.remove(&id));
        last = Some(Position { value, id });
    }
    page.next = last.filter(|_| more).map(|position| question.cursor(&position));
    Ok(page)
}

/// What every document on any page of the question meets. Each condition on entries is on one entry: on an array, two
/// comparisons could be met by two of its members.
fn conditions(collection: &str, question: &Question) -> Vec<Document> {
    let mut all = vec![doc! { "_id": { "$gte": collection, "$lt": key::end_of(collection) } }];
    for (field, value) in &question.equal {
        all.push(doc! { "entries": key::entry(collection, field, value) });
    }
    if let Some(bounds) = bounds(question) {
        let (from, to) = entry_bounds(collection, &bounds);
        all.push(doc! { "entries": { "$elemMatch": { "$gte": from, "$lt": to } } });
    }
    all
}

/// The range; where there is none, all values of the field to order by.
fn bounds(question: &Question) -> Option<Bounds> {
    let of_all = |field: &String| {
        let (from, to) = value::bounds_of_all();
        Bounds { field: field.clone(), from, to }
    };
    question.range.clone().or_else(|| question.order_by.as_ref().map(of_all))
}

fn entry_bounds(collection: &str, Bounds { field, from, to }: &Bounds) -> (String, String) {
    (key::entry(collection, field, from), key::entry(collection, field, to))
}

/// The ids of a page, and one more, with the entries they are ordered by and the sizes of their documents.
fn page_of_ids(collection: &str, question: &Question, conditions: &[Document]) -> Vec<Document> {
    let direction = if question.descending { -1 } else { 1 };
    let beyond = if question.descending { "$lt" } else { "$gt" };
    let limit = question.limit as i64 + 1;
    let mut all = conditions.to_vec();
    let last_id = question.after.as_ref().map(|after| format!("{collection}{}", after.id));
    let (Some(field), Some(mut bounds)) = (&question.order_by, bounds(question)) else {
        all.extend(last_id.map(|last| doc! { "_id": { beyond: last } }));
        return vec![
            doc! { "$match": { "$and": all } },
            doc! { "$sort": { "_id": direction } },
            doc! { "$limit": limit },
            doc! { "$project": { "bytes": 1 } },
        ];
    };
    let last = question.after.as_ref().and_then(|after| after.value.as_deref());
    if let Some(last) = last {
        // The narrower bound keeps the server from going through all earlier pages again.
        if question.descending {
            let mut above = last.to_vec();
            above.push(0);
            bounds.to = above.min(bounds.to);
        } else {
            bounds.from = last.to_vec();
        }
        let (from, to) = entry_bounds(collection, &bounds);
        all.push(doc! { "entries": { "$elemMatch": { "$gte": from, "$lt": to } } });
    }
    let (from, to) = (key::of_field(collection, field), key::entry(collection, field, &value::bounds_of_all().1));
    let is_of_field = doc! { "$and": [{ "$gte": ["$$entry", from] }, { "$lt": ["$$entry", to] }] };
    let of_field = doc! { "$filter": { "input": "$entries", "as": "entry", "cond": is_of_field } };
    let mut stages = vec![
        doc! { "$match": { "$and": all } },
        doc! { "$project": { "bytes": 1, "key": { "$arrayElemAt": [of_field, 0] } } },
    ];
    if let (Some(last), Some(last_id)) = (last, last_id) {
        let last = Bson::from(key::entry(collection, field, last));
        let later = doc! { "key": { beyond: last.clone() } };
        stages.push(doc! { "$match": { "$or": [later, { "key": last, "_id": { beyond: last_id } }] } });
    }
    stages.push(doc! { "$sort": { "key": direction, "_id": direction } });
    stages.push(doc! { "$limit": limit });
    stages
}
