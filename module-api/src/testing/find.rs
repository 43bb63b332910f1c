//! Answers a query as a real store does: declared fields only, at most one range, an order, pages by cursor.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{key::Key, manifest::Fields, store::Stored};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// A query as [`crate::Query`] writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    equal: Vec<(String, Value)>,
    range: Option<AskedRange>,
    order_by: Option<String>,
    descending: bool,
    limit: usize,
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRange {
    field: String,
    from: Option<Value>,
    to: Option<Value>,
    prefix: Option<String>,
}

/// A query that was checked.
#[derive(Hash)]
struct Question {
    equal: Vec<(String, Key)>,
    range: Option<Range>,
    order_by: Option<String>,
    descending: bool,
}

#[derive(Hash)]
struct Range {
    field: String,
    from: Option<Key>,
    to: Option<Key>,
    prefix: Option<String>,
}

/// A place in the order of a question. What a cursor holds, beside a mark of the question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position {
    key: Option<Key>,
    id: String,
}

/// The ids of a page, and the cursor of the next one.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) ids: Vec<String>,
    pub(super) next: Option<String>,
}

/// Answers a query about the documents of a model.
///
/// # Errors
///
/// Why the question is wrong, a lower-case fragment.
pub(super) fn find(
    model: &str,
    fields: &Fields,
    documents: &BTreeMap<String, Stored>,
    query: &[u8],
) -> Result<Found, String> {
    let asked: Asked = serde_json::from_slice(query).map_err(|error| format!("the query can't be read: {error}"))?;
    let limit = if asked.limit == 0 { DEFAULT_LIMIT } else { asked.limit.min(MAX_LIMIT) };
    let after = asked.after.clone();
    let question = Question::check(asked, &fields.searchable())?;
    let mark = question.mark(model);
    let after = after.map(|cursor| question.read_cursor(mark, &cursor)).transpose()?;

    let mut positions: Vec<Position> = documents
        .iter()
        .filter(|(_, stored)| question.holds(stored))
        .filter_map(|(id, stored)| {
            let key = match &question.order_by {
                Some(field) => Some(stored.keys.get(field)?.clone()),
                None => None,
            };
            Some(Position { key, id: id.clone() })
        })
        .collect();
    positions.sort();
    if question.descending {
        positions.reverse();
    }
    let follows = |position: &Position| match &after {
        Some(after) if question.descending => position < after,
        Some(after) => position > after,
        None => true,
    };
    positions.retain(follows);
    let has_more = positions.len() > limit;
    positions.truncate(limit);
    let next = positions.last().filter(|_| has_more).map(|last| cursor(mark, last));
    Ok(Found { ids: positions.into_iter().map(|position| position.id).collect(), next })
}

impl Question {
    fn check(asked: Asked, indexed: &[&str]) -> Result<Self, String> {
        let is_indexed = |field: &str| {
            let known = if indexed.is_empty() { "none".to_owned() } else { indexed.join(", ") };
            let refusal = || format!("field `{field}` is not indexed; indexed are: {known}");
            indexed.contains(&field).then_some(()).ok_or_else(refusal)
        };
        let key = |field: &str, value: &Value| {
            Key::of(value)
                .ok_or_else(|| format!("field `{field}` is compared with {value}, which can't be searched for"))
        };
        let mut equal = Vec::new();
        for (field, value) in asked.equal {
            is_indexed(&field)?;
            let value = key(&field, &value)?;
            equal.push((field, value));
        }
        equal.sort();
        let range = match asked.range {
            None => None,
            Some(AskedRange { field, from, to, prefix }) => {
                is_indexed(&field)?;
                let bound = |bound: Option<Value>| bound.map(|value| key(&field, &value)).transpose();
                let (from, to) = (bound(from)?, bound(to)?);
                if prefix.is_some() && (from.is_some() || to.is_some()) {
                    return Err(format!("the range over field `{field}` has bounds and a prefix"));
                }
                if from.iter().zip(&to).any(|(from, to)| !from.has_type_of(to)) {
                    return Err(format!("the bounds of the range over field `{field}` have different types"));
                }
                Some(Range { field, from, to, prefix })
            }
        };
        if let Some(order_by) = &asked.order_by {
            is_indexed(order_by)?;
            if let Some(range) = range.as_ref().filter(|range| range.field != *order_by) {
                let text = format!("the range is over field `{}` and the order by field `{order_by}`", range.field);
                return Err(text);
            }
        }
        Ok(Self { equal, range, order_by: asked.order_by, descending: asked.descending })
    }

    fn holds(&self, stored: &Stored) -> bool {
        self.equal.iter().all(|(field, wanted)| stored.keys.get(field) == Some(wanted))
            && self.range.as_ref().is_none_or(|range| stored.keys.get(&range.field).is_some_and(|key| range.has(key)))
    }

    /// All that decides which documents come in which order; the limit may change from page to page.
    fn mark(&self, model: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (model, self).hash(&mut hasher);
        hasher.finish()
    }

    fn read_cursor(&self, mark: u64, text: &str) -> Result<Position, String> {
        let position = read_hex(text)
            .and_then(|bytes| serde_json::from_slice::<(u64, Position)>(&bytes).ok())
            .filter(|(known, position)| *known == mark && position.key.is_some() == self.order_by.is_some())
            .map(|(_, position)| position);
        position.ok_or_else(|| "the cursor is not one of this query's".to_owned())
    }
}

impl Range {
    fn has(&self, key: &Key) -> bool {
        self.from.as_ref().is_none_or(|from| key.has_type_of(from) && key >= from)
            && self.to.as_ref().is_none_or(|to| key.has_type_of(to) && key < to)
            && self.prefix.as_ref().is_none_or(|prefix| key.begins_with(prefix))
    }
}

fn cursor(mark: u64, position: &Position) -> String {
    // Texts and numbers always serialize.
    let bytes = serde_json::to_vec(&(mark, position)).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
