//! The store that tests of modules run on answers as the real one does: the same questions are put to both.

use std::sync::LazyLock;

use module_api::{
    prelude::*,
    testing::{TestHost, Value, json},
};
use proptest::prelude::*;
use serde::Deserialize;
use tenon_host::stores::{CollectionKey, Find, ModelFields, SqliteStore, Store, StoreError as HostError};
use tokio::runtime::Runtime;

const MANIFEST: &str = r#"
name = "twin"
[models.Thing]
unique = ["email"]
index = ["age", "name"]
[routes]
base = "/twin"
[[routes.endpoints]]
path = "/"
method = "POST"
auth = false
"#;

#[derive(Debug, Clone, Deserialize, serde::Serialize)]
enum Op {
    Get(String),
    Insert(String, Value),
    Put(String, Value, u64),
    Delete(String, u64),
    /// In the shape that `Query` serializes to.
    Find(Value),
}

/// Carries out what it is sent and answers with what came of it.
struct Twin {
    things: Collection<Value>,
}

impl Module for Twin {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { things: tenant.collection("Thing")? })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.post("/", Self::act);
    }
}

fn query_of(asked: &Value) -> Query {
    let mut query = Query::new().limit(asked["limit"].as_u64().unwrap() as usize);
    let set = |query: Query, field: &str, value: &Value, how: fn(Query, &str, module_api::Value) -> Query| {
        let value: module_api::Value = match value {
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| number.as_f64().unwrap().into(), module_api::Value::from)
            }
            Value::String(text) => text.as_str().into(),
            _ => return query,
        };
        how(query, field, value)
    };
    for pair in asked["equal"].as_array().unwrap() {
        query = set(query, pair[0].as_str().unwrap(), &pair[1], |query, field, value| query.equal(field, value));
    }
    if let Some(field) = asked["range"]["field"].as_str() {
        query = set(query, field, &asked["range"]["from"], |query, field, value| query.from(field, value));
        query = set(query, field, &asked["range"]["to"], |query, field, value| query.below(field, value));
        if let Some(prefix) = asked["range"]["prefix"].as_str() {
            query = query.prefix(field, prefix);
        }
    }
    if let Some(field) = asked["order_by"].as_str() {
        query = query.order_by(field);
    }
    if asked["descending"] == true { query.descending() } else { query }
}

impl Twin {
    async fn act(&self, request: Request) -> Result<Response> {
        let outcome = match request.json()? {
            Op::Get(id) => self.things.get(&id).await.map(|found| json!(found.map(|it| (it.revision, it.value)))),
            Op::Insert(id, value) => self.things.insert(&id, &value).await.map(|revision| json!(revision)),
            Op::Put(id, value, expected) => {
                self.things.put(&id, &value, expected).await.map(|revision| json!(revision))
            }
            Op::Delete(id, expected) => self.things.delete(&id, expected).await.map(|()| json!("gone")),
            Op::Find(asked) => self.pages(query_of(&asked)).await.map(|pages| json!(pages)),
        };
        Response::json(&outcome.unwrap_or_else(|error| match error {
            StoreError::Exists => json!("exists"),
            StoreError::Missing => json!("missing"),
            StoreError::Revision => json!("revision"),
            StoreError::NotUnique { field } => json!(["not unique", field]),
            StoreError::Misuse(text) => json!(["misuse", text]),
            other => json!(other.to_string()),
        }))
    }

    async fn pages(&self, query: Query) -> Result<Vec<Vec<String>>, StoreError> {
        let (mut pages, mut query) = (Vec::new(), query);
        loop {
            let page = self.things.find(&query).await?;
            pages.push(page.documents.into_iter().map(|it| it.id).collect());
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(pages),
            }
        }
    }
}

/// What the host's own store says to the same.
async fn really(store: &SqliteStore, at: &CollectionKey, fields: &ModelFields, op: Op) -> Value {
    let body = |value: Value| value.to_string().into_bytes();
    let outcome = match op {
        Op::Get(id) => store
            .get(at, &id)
            .await
            .map(|found| json!(found.map(|it| (it.revision, serde_json::from_slice::<Value>(&it.body).unwrap())))),
        Op::Insert(id, value) => store.insert(at, fields, &id, body(value)).await.map(|revision| json!(revision)),
        Op::Put(id, value, expected) => {
            store.put(at, fields, &id, body(value), expected).await.map(|revision| json!(revision))
        }
        Op::Delete(id, expected) => store.delete(at, &id, expected).await.map(|()| json!("gone")),
        Op::Find(asked) => {
            let mut find: Find = serde_json::from_value(asked).unwrap();
            let mut pages = Vec::new();
            loop {
                match store.find(at, fields, &find).await {
                    Err(error) => break Err(error),
                    Ok(page) => {
                        pages.push(page.documents.into_iter().map(|it| it.id).collect::<Vec<_>>());
                        find.after = page.next;
                    }
                }
                if find.after.is_none() {
                    break Ok(json!(pages));
                }
            }
        }
    };
    outcome.unwrap_or_else(|error| match error {
        HostError::Exists(_) => json!("exists"),
        HostError::Missing(_) => json!("missing"),
        HostError::Revision { .. } => json!("revision"),
        HostError::NotUnique { field } => json!(["not unique", field]),
        other => json!(["misuse", other.to_string()]),
    })
}

// Boxed: the types of strategies grow with their parts, and would not fit on a test's stack.
fn scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        (-2..3_i64).prop_map(|number| json!(number)),
        prop_oneof![Just(i64::MAX), Just(i64::MAX - 1), Just(1 << 53), Just((1 << 53) + 1)].prop_map(|it| json!(it)),
        prop_oneof![Just(-0.0), Just(1.0), Just(1.5), Just(9_007_199_254_740_992.0)].prop_map(|it| json!(it)),
        any::<bool>().prop_map(|it| json!(it)),
        prop_oneof![Just(""), Just("a"), Just("ab"), Just("b"), Just("\u{e9}"), Just("\u{ffff}"), Just("\u{10000}")]
            .prop_map(|text| json!(text)),
    ]
    .boxed()
}

fn document() -> BoxedStrategy<Value> {
    let any = || prop_oneof![4 => scalar(), 1 => Just(Value::Null), 1 => Just(json!([1])), 1 => Just(json!({"a": 1}))];
    (proptest::option::of(any()), proptest::option::of(any()), proptest::option::of(any()))
        .prop_map(|(email, age, name)| {
            let fields = [("email", email), ("age", age), ("name", name), ("other", Some(json!(1)))];
            let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(there.collect())
        })
        .boxed()
}

fn field() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just("age"), 5 => Just("name"), 5 => Just("email"), 1 => Just("other")]
}

fn range() -> BoxedStrategy<Value> {
    let bounds = || proptest::option::of(scalar());
    let prefix = proptest::option::weighted(0.3, prop_oneof![Just(""), Just("a"), Just("\u{e9}")]);
    (field(), bounds(), bounds(), prefix)
        .prop_map(|(field, from, to, prefix)| {
            let parts = [("from", from), ("to", to), ("prefix", prefix.map(|it| json!(it)))];
            let mut range: serde_json::Map<String, Value> =
                parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            // A query of module-api has a range only with one of its parts.
            if range.is_empty() {
                range.insert("prefix".to_owned(), json!("a"));
            }
            range.insert("field".to_owned(), json!(field));
            Value::Object(range)
        })
        .boxed()
}

fn op() -> impl Strategy<Value = Op> {
    let id = || prop_oneof![10 => "[a-d]", 1 => Just(String::new()), 1 => Just("x".repeat(257))].boxed();
    let find = (
        proptest::collection::vec((field(), scalar()), 0..2),
        proptest::option::of(range()),
        proptest::option::of(field()),
        any::<bool>(),
        1..4_u64,
    )
        .prop_map(|(equal, range, order_by, descending, limit)| {
            let mut find = json!({"equal": equal, "descending": descending, "limit": limit});
            find["range"] = range.unwrap_or(Value::Null);
            find["order_by"] = json!(order_by);
            Op::Find(find)
        })
        .boxed();
    prop_oneof![
        1 => id().prop_map(Op::Get),
        6 => (id(), document()).prop_map(|(id, value)| Op::Insert(id, value)),
        4 => (id(), document(), 1..3_u64).prop_map(|(id, value, revision)| Op::Put(id, value, revision)),
        1 => (id(), 1..3_u64).prop_map(|(id, revision)| Op::Delete(id, revision)),
        6 => find,
    ]
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_answer_alike(ops in proptest::collection::vec(op(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).unwrap();
        let at =
            CollectionKey { tenant: "t".parse().unwrap(), module: "twin".parse().unwrap(), model: "Thing".to_owned() };
        let fields = ModelFields { unique: vec!["email".into()], index: vec!["age".into(), "name".into()] };
        let host = TestHost::<Twin>::with_manifest(MANIFEST);
        for (number, op) in ops.into_iter().enumerate() {
            let ours: Value = host.post("/", &op).expect(200).json();
            let theirs = RUNTIME.block_on(really(&store, &at, &fields, op.clone()));
            prop_assert_eq!(ours, theirs, "step {}: {:?}", number, op);
        }
    }
}
