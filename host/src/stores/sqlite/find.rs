//! Answering questions. The ids of a page come out of the index alone; only the page's own documents are read.

use rusqlite::{Connection, params_from_iter, types::ToSqlOutput};

use super::{StoreError, documents};
use crate::stores::{
    CollectionKey, DocumentPage,
    entries::searchable,
    question::{Bounds, Position, Question},
};

/// A page ends early, with a cursor, once its documents have this many bytes: 200 of the largest permitted size would
/// be hundreds of megabytes for one request. A guess that no page of ordinary documents meets.
const PAGE_BYTES: usize = 8 << 20;

/// With fewer matches than this, a question whose order is not the index's is answered by sorting them. With more,
/// walking along the order and skipping what doesn't match finds a page soon enough. A guess.
const SORTABLE: i64 = 1000;

/// One page.
pub(super) fn find(
    connection: &Connection,
    at: &CollectionKey,
    question: &Question,
) -> Result<DocumentPage, StoreError> {
    // One transaction, so that ids and documents are of the same moment.
    let transaction = connection.unchecked_transaction()?;
    let Some(indexed) = documents::indexed(&transaction, at)? else { return Ok(DocumentPage::default()) };
    question.check_indexed(&searchable(&indexed.fields))?;

    let walk = choose(&transaction, at, question)?;
    let (sql, values) = page_of_ids(at, question, walk);
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows =
        statement.query_map(params_from_iter(values), |row| Ok(Position { id: row.get(0)?, value: row.get(1)? }))?;
    let mut positions = rows.collect::<Result<Vec<_>, _>>()?;
    let mut more = positions.len() > question.limit;
    positions.truncate(question.limit);

    let mut page = DocumentPage::default();
    let mut bytes = 0;
    let mut last = None;
    for position in positions {
        if bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        if let Some(document) = documents::get(&transaction, at, &position.id)? {
            bytes += document.body.len();
            page.documents.push(document);
        }
        last = Some(position);
    }
    page.next = last.filter(|_| more).map(|position| question.cursor(&position));
    Ok(page)
}

/// Along what the documents are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// All documents, by id.
    Ids,
    /// The values of the field to order by, those in the range where there is one.
    Order,
    /// The documents that satisfy this equality, by id.
    Equal(usize),
    /// The documents in the range.
    Range,
}

/// Takes the condition with the fewest matches where they are few, else the walk that is in the order asked for.
fn choose(connection: &Connection, at: &CollectionKey, question: &Question) -> Result<Walk, StoreError> {
    let ordered = match (&question.order_by, question.equal.is_empty()) {
        (Some(_), _) => Walk::Order,
        (None, false) => Walk::Equal(0),
        (None, true) => Walk::Ids,
    };
    let range = question.range.as_ref().filter(|_| question.order_by.is_none());
    let conditions = question.equal.len() + usize::from(range.is_some());
    if conditions == 0 || (conditions == 1 && ordered == Walk::Equal(0)) {
        return Ok(ordered);
    }
    let mut fewest = (SORTABLE, ordered);
    let walks = (0..question.equal.len()).map(Walk::Equal).chain(range.map(|_| Walk::Range));
    for walk in walks {
        let mut query = Query::new(at);
        query.add(walk, question);
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {SORTABLE})", query.matches());
        let mut statement = connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(query.values), |row| row.get(0))?;
        if count < fewest.0 {
            fewest = (count, walk);
        }
    }
    Ok(fewest.1)
}

/// The statement for the ids of a page, and one more, with the values they are ordered by.
fn page_of_ids<'a>(at: &'a CollectionKey, question: &'a Question, walk: Walk) -> (String, Vec<ToSqlOutput<'a>>) {
    let mut query = Query::new(at);
    let id = query.add(walk, question);
    let equal = (0..question.equal.len()).map(Walk::Equal);
    let order = question.order_by.iter().map(|_| Walk::Order);
    let range = question.range.iter().filter(|_| question.order_by.is_none()).map(|_| Walk::Range);
    for other in equal.chain(order).chain(range).filter(|other| *other != walk) {
        let document = query.add(other, question);
        query.conditions.push(format!("{document} = {id}"));
    }
    let value = if question.order_by.is_some() { "o.value" } else { "NULL" };
    let (above, direction) = if question.descending { ("<", "DESC") } else { (">", "ASC") };
    if let Some(after) = &question.after {
        let last_id = query.bind(after.id.as_str());
        let condition = match &after.value {
            Some(last) => format!("({value}, {id}) {above} ({}, {last_id})", query.bind(last.as_slice())),
            None => format!("{id} {above} {last_id}"),
        };
        query.conditions.push(condition);
    }
    let by_value = if question.order_by.is_some() { format!("{value} {direction}, ") } else { String::new() };
    let limit = query.bind(question.limit as i64 + 1);
    let matches = query.matches();
    let sql = format!("SELECT {id}, {value} FROM {matches} ORDER BY {by_value}{id} {direction} LIMIT {limit}");
    (sql, query.values)
}

/// A statement that is being written. Its text has only words of ours; all that was asked is bound.
struct Query<'a> {
    values: Vec<ToSqlOutput<'a>>,
    tables: Vec<String>,
    conditions: Vec<String>,
}

impl<'a> Query<'a> {
    /// The first three values are the collection, and every table is held to them.
    fn new(at: &'a CollectionKey) -> Self {
        let values = vec![at.tenant.as_str().into(), at.module.as_str().into(), at.model.as_str().into()];
        Self { values, tables: Vec::new(), conditions: Vec::new() }
    }

    fn bind(&mut self, value: impl Into<ToSqlOutput<'a>>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Joins what a walk goes along; returns the column with the document's id.
    fn add(&mut self, walk: Walk, question: &'a Question) -> String {
        let name = match walk {
            Walk::Ids => "d".to_owned(),
            Walk::Order => "o".to_owned(),
            Walk::Equal(index) => format!("e{index}"),
            Walk::Range => "r".to_owned(),
        };
        let (table, id) = if walk == Walk::Ids { ("documents", "id") } else { ("entries", "document") };
        // Else SQLite may prefer an index that yields the wanted order, through all the collection's entries.
        let is_first = self.tables.is_empty() && walk != Walk::Ids;
        let by = if is_first { " INDEXED BY entries_by_value" } else { "" };
        self.tables.push(format!("{table} AS {name}{by}"));
        self.conditions.push(format!("{name}.tenant = ?1 AND {name}.module = ?2 AND {name}.model = ?3"));
        let mut hold = |column: &str, operator: &str, value: ToSqlOutput<'a>| {
            let value = self.bind(value);
            self.conditions.push(format!("{name}.{column} {operator} {value}"));
        };
        if let Walk::Equal(index) = walk {
            let (field, value) = &question.equal[index];
            hold("field", "=", field.as_str().into());
            hold("value", "=", value.as_slice().into());
        }
        if let (Walk::Order, Some(field)) = (walk, &question.order_by) {
            hold("field", "=", field.as_str().into());
        }
        if let (Walk::Order | Walk::Range, Some(Bounds { field, from, to })) = (walk, &question.range) {
            if walk == Walk::Range {
                hold("field", "=", field.as_str().into());
            }
            // Where a cursor stands inside the range, it is the narrower bound; given both, SQLite takes the other one
            // and walks through all earlier pages again.
            let has_cursor = walk == Walk::Order && question.after.is_some();
            if !has_cursor || question.descending {
                hold("value", ">=", from.as_slice().into());
            }
            if !has_cursor || !question.descending {
                hold("value", "<", to.as_slice().into());
            }
        }
        format!("{name}.{id}")
    }

    /// What stands behind `FROM`. `CROSS JOIN` keeps SQLite from going along another table than the first.
    fn matches(&self) -> String {
        format!("{} WHERE {}", self.tables.join(" CROSS JOIN "), self.conditions.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{FieldRange, Find, ModelFields, Scalar, sqlite::schema};

    /// The plan of a question, as SQLite tells it.
    fn plan(find: Find, walk: Walk) -> String {
        let connection = Connection::open_in_memory().unwrap();
        schema::migrate(&connection).unwrap();
        let at = CollectionKey { tenant: "t".parse().unwrap(), module: "m".parse().unwrap(), model: "M".to_owned() };
        let fields = ModelFields { unique: vec![], index: vec!["a".into(), "b".into(), "c".into()] };
        let mut question = Question::check(&at, &fields, &find).unwrap();
        let value = question.order_by.as_ref().map(|_| vec![3, 9]);
        question.after = Some(Position { value, id: "x".into() });
        let (sql, values) = page_of_ids(&at, &question, walk);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n").replace("tenant=? AND module=? AND model=?", "key=?")
    }

    #[test]
    fn every_walk_uses_an_index_and_only_the_short_ones_sort() {
        let equal = vec![("a".to_owned(), Scalar::Int(1)), ("b".to_owned(), Scalar::Int(2))];
        let range = Some(FieldRange { field: "c".into(), from: Some(Scalar::Int(1)), to: None, prefix: None });
        let order_by = Some("c".to_owned());
        let all = |order_by| Find { equal: equal.clone(), range: range.clone(), order_by, ..Find::default() };
        insta::assert_snapshot!(
            plan(Find::default(), Walk::Ids),
            @"SEARCH d USING COVERING INDEX sqlite_autoindex_documents_1 (key=? AND id>?)"
        );
        insta::assert_snapshot!(plan(all(order_by.clone()), Walk::Order), @r"
        SEARCH o USING COVERING INDEX entries_by_value (key=? AND field=? AND (value,document)>(?,?) AND value<?)
        SEARCH e0 USING PRIMARY KEY (key=? AND document=? AND field=?)
        SEARCH e1 USING PRIMARY KEY (key=? AND document=? AND field=?)
        ");
        let down = Find { order_by: order_by.clone(), descending: true, ..Find::default() };
        insta::assert_snapshot!(
            plan(down, Walk::Order),
            @"SEARCH o USING COVERING INDEX entries_by_value (key=? AND field=? AND (value,document)<(?,?))"
        );
        insta::assert_snapshot!(plan(all(order_by), Walk::Equal(1)), @r"
        SEARCH e1 USING COVERING INDEX entries_by_value (key=? AND field=? AND value=?)
        SEARCH e0 USING PRIMARY KEY (key=? AND document=? AND field=?)
        SEARCH o USING PRIMARY KEY (key=? AND document=? AND field=?)
        USE TEMP B-TREE FOR ORDER BY
        ");
        insta::assert_snapshot!(plan(all(None), Walk::Equal(0)), @r"
        SEARCH e0 USING COVERING INDEX entries_by_value (key=? AND field=? AND value=? AND document>?)
        SEARCH e1 USING PRIMARY KEY (key=? AND document=? AND field=?)
        SEARCH r USING PRIMARY KEY (key=? AND document=? AND field=?)
        ");
        insta::assert_snapshot!(plan(all(None), Walk::Range), @r"
        SEARCH r USING COVERING INDEX entries_by_value (key=? AND field=? AND value>? AND value<?)
        SEARCH e0 USING PRIMARY KEY (key=? AND document=? AND field=?)
        SEARCH e1 USING PRIMARY KEY (key=? AND document=? AND field=?)
        USE TEMP B-TREE FOR ORDER BY
        ");
        insta::assert_snapshot!(plan(Find { range: range.clone(), ..Find::default() }, Walk::Ids), @r"
        SEARCH d USING COVERING INDEX sqlite_autoindex_documents_1 (key=? AND id>?)
        SEARCH r USING PRIMARY KEY (key=? AND document=? AND field=?)
        ");
    }
}
