//! The store in MongoDB, while its server is killed and comes back.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tenon_host::stores::{
    ChangeListener, CollectionKey, Find, FlagSets, Marks, ModelFields, MongoSettings, MongoStore, Store, StoreChange,
    StoreError,
};
use tokio::runtime::Runtime;

use crate::harness::{MongoServer, RedisServer, Setup, until};

fn people() -> CollectionKey {
    CollectionKey { tenant: "acme".parse().unwrap(), module: "hr-core".parse().unwrap(), model: "Person".to_owned() }
}

fn by_name() -> ModelFields {
    ModelFields { unique: Vec::new(), index: vec!["name".to_owned()] }
}

fn is_away<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

/// A quick answer is promised; the rest is for a machine with other work.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_was_acknowledged_outlives_the_server_and_the_store_comes_back_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = MongoServer::start("a killed server of MongoDB's protocol", folder.path()) else { return };
    let runtime = Runtime::new().unwrap();
    let store = Arc::new(MongoStore::open(&server.uri("tenon"), MongoSettings::default()).unwrap());
    until("the store answers", || runtime.block_on(store.ping()).is_ok());

    // One writer goes on until the server is gone.
    let writer = runtime.spawn({
        let store = Arc::clone(&store);
        async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let id = format!("{number:05}");
                match store.insert(&people(), &by_name(), &id, br#"{"name":"x"}"#.to_vec()).await {
                    Ok(_) => acknowledged.push(id),
                    // A busy machine may be late with an answer; after the first few writes it is the kill.
                    Err(_) if acknowledged.len() < 20 => {}
                    Err(problem) => {
                        assert!(matches!(problem, StoreError::Unavailable(_)), "{problem:?}");
                        break;
                    }
                }
            }
            acknowledged
        }
    });
    until("some were written", || runtime.block_on(store.get(&people(), "00030")).is_ok_and(|found| found.is_some()));
    server.kill();
    let acknowledged = runtime.block_on(writer).unwrap();
    let id = "acme".parse().unwrap();
    let begun = Instant::now();
    assert!(is_away(runtime.block_on(store.get(&people(), "00000"))));
    assert!(is_away(runtime.block_on(store.put(&people(), &by_name(), "00000", b"{}".to_vec(), 1))));
    assert!(is_away(runtime.block_on(store.tenant(&id))));
    assert!(is_away(runtime.block_on(store.marks())));
    assert!(begun.elapsed() < 4 * MongoSettings::default().answer_within + SOON, "{:?}", begun.elapsed());

    server.restart();
    until("the store answers again", || runtime.block_on(store.ping()).is_ok());
    for id in &acknowledged {
        let found = until_found(&runtime, &store, id);
        assert_eq!(found, b"{\"name\":\"x\"}", "{id}");
    }
    // What was not acknowledged is there whole, with its entries, or not at all.
    let (mut by_id, mut in_order) = (Vec::new(), Vec::new());
    for (ids, order_by) in [(&mut by_id, None), (&mut in_order, Some("name".to_owned()))] {
        let mut find = Find { order_by, limit: 200, ..Find::default() };
        loop {
            let page = runtime.block_on(store.find(&people(), &by_name(), &find)).unwrap();
            ids.extend(page.documents.into_iter().map(|document| document.id));
            find.after = page.next;
            if find.after.is_none() {
                break;
            }
        }
    }
    assert_eq!(by_id, in_order);
    assert!(by_id.len() >= acknowledged.len());
}

fn until_found(runtime: &Runtime, store: &MongoStore, id: &str) -> Vec<u8> {
    crate::harness::until_some("a document is read", || runtime.block_on(store.get(&people(), id)).ok())
        .expect("it was acknowledged")
        .body
}

#[test]
fn changes_go_on_being_told_of_once_the_server_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = MongoServer::start("changes over a restart of the server", folder.path()) else { return };
    let runtime = Runtime::new().unwrap();
    let stores = [(); 2].map(|()| MongoStore::open(&server.uri("tenon"), MongoSettings::default()).unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener: ChangeListener = {
        let told = Arc::clone(&told);
        Arc::new(move |change| told.lock().unwrap().push(change))
    };
    let _watching = stores[1].watch(listener).unwrap();
    let is_told = |wanted: &StoreChange| told.lock().unwrap().contains(wanted);
    until("the stream is open", || is_told(&StoreChange::Everything));
    let write = |expected| runtime.block_on(stores[0].put_definitions(Some("{}".to_owned()), expected));
    until("definitions are written", || write(0).is_ok());
    until("they are told of", || is_told(&StoreChange::Definitions));

    server.kill();
    until("the store is away", || write(1).is_err());
    told.lock().unwrap().clear();
    server.restart();
    until("the store is back", || runtime.block_on(stores[0].ping()).is_ok());
    // Whether the write before the kill was made is open; this one is.
    let revision = runtime.block_on(stores[0].definitions()).unwrap().unwrap().revision;
    until("definitions are written again", || write(revision).is_ok());
    until("they are told of", || is_told(&StoreChange::Definitions) || is_told(&StoreChange::Everything));
}

const NOTES: &str = "/fixtures/answers/notes";

#[test]
fn hosts_that_are_told_so_share_a_database_and_say_when_it_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = MongoServer::start("hosts on a MongoDB store", folder.path()) else { return };
    let file = folder.path().join("uri");
    std::fs::write(&file, server.uri("platform") + "\n").unwrap();
    let config = format!("[store]\nkind = \"mongodb\"\nuri-file = \"{}\"\n", file.display());
    let hosts = [(); 2].map(|()| Setup::with(&["answers"]).config(&config).start());
    hosts[0].tenant("acme", &["answers"]);
    hosts[0].of("acme", "POST", NOTES).json(&json!({ "text": "from the first" })).send().expect(201);
    assert_eq!(hosts[1].get("acme", NOTES).expect(200), json!(["from the first"]));
    assert!(!hosts[0].setup().data().join("tenon.db").exists());

    server.kill();
    let late = || hosts[1].of("acme", "POST", NOTES).json(&json!({ "text": "late" })).send();
    late().refuses(503, "STORE_UNAVAILABLE", "The store is unavailable");
    server.restart();
    until("writes are taken again", || late().status == 201);
    let notes = hosts[0].get("acme", NOTES).expect(200);
    assert_eq!(notes.as_array().unwrap().first(), Some(&json!("from the first")), "{notes}");
    for host in hosts {
        host.stop();
    }
}

#[test]
fn a_store_may_be_there_before_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = MongoServer::start("a server that comes after its store", folder.path()) else { return };
    server.kill();
    let runtime = Runtime::new().unwrap();
    let store = MongoStore::open(&server.uri("tenon"), MongoSettings::default()).unwrap();
    assert!(is_away(runtime.block_on(store.ping())));
    server.restart();
    until("the store answers", || runtime.block_on(store.ping()).is_ok());
}

#[test]
fn a_server_of_redis_protocol_can_be_killed_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = RedisServer::start("a server of Redis's protocol", folder.path()) else { return };
    let address = server.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let answers = || {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.write_all(b"PING\r\n").ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    };
    assert_eq!(answers().as_ref(), Some(b"+PONG\r\n"));
    server.kill();
    assert_eq!(answers(), None);
    server.restart();
    until("it answers again", || answers().is_some());
}
