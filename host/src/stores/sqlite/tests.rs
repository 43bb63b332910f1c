//! What the embedded store promises beyond the contract: one host, a durable commit, an orderly end.

use std::{error::Error, path::Path, sync::Arc, task::Poll};

use rusqlite::Connection;

use super::*;
use crate::stores::contract;

fn people() -> CollectionKey {
    CollectionKey { tenant: "acme".parse().unwrap(), module: "hr-core".parse().unwrap(), model: "Person".to_owned() }
}

fn by_name() -> ModelFields {
    ModelFields { unique: Vec::new(), index: vec!["name".to_owned()] }
}

/// The reason why a folder can't be opened.
fn refusal(folder: &Path) -> String {
    let StoreError::Unavailable(source) = SqliteStore::open(folder).unwrap_err() else { panic!("another error") };
    assert!(source.downcast_ref::<OpenError>().is_some());
    source.to_string()
}

/// Polls once, so that the write is handed over, and drops what would have told of its end.
async fn hand_over<T>(mut write: StoreFuture<'_, T>) {
    let once = |context: &mut std::task::Context<'_>| {
        let _ = write.as_mut().poll(context);
        Poll::Ready(())
    };
    std::future::poll_fn(once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_contract() {
    contract::all(async || {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path()).unwrap());
        (store, folder)
    })
    .await;
}

#[tokio::test]
async fn the_settings_that_make_a_commit_durable_are_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let names = ["journal_mode", "synchronous", "foreign_keys", "busy_timeout", "fullfsync", "checkpoint_fullfsync"];
    let all = move |connection: &Connection| {
        let read =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        let line = |name: &&str| Ok(format!("{name} = {:?}", read(name)?));
        Ok(names.iter().map(line).collect::<Result<Vec<_>, StoreError>>()?.join("\n"))
    };
    insta::assert_snapshot!(store.write(all).await.unwrap(), @r#"
    journal_mode = Text("wal")
    synchronous = Integer(2)
    foreign_keys = Integer(1)
    busy_timeout = Integer(5000)
    fullfsync = Integer(1)
    checkpoint_fullfsync = Integer(1)
    "#);
    let refused = store.readers.read(|connection| Ok(connection.execute("DELETE FROM documents", [])?)).await;
    assert!(refused.is_err(), "readers can't write");
}

#[cfg(unix)]
#[test]
fn files_belong_to_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    let _store = SqliteStore::open(&data).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["tenon.db", "tenon.db-wal", "tenon.db-shm", "tenon.lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_folder_serves_one_host_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let expected = format!("`{}` is in use by another host (process {})", folder.path().display(), std::process::id());
    assert_eq!(refusal(folder.path()), expected);
    store.insert(&people(), &by_name(), "1", b"{}".to_vec()).await.unwrap();
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert!(store.get(&people(), "1").await.unwrap().is_some());
}

#[test]
fn foreign_newer_and_broken_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenon.db");
    drop(SqliteStore::open(folder.path()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = std::fs::read(&path).unwrap();
    assert_eq!(refusal(folder.path()), "`tenon.db` has schema version 99, this host knows versions up to 5");
    assert!(std::fs::read(&path).unwrap() == newer);

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (name)").unwrap();
    assert_eq!(refusal(folder.path()), "`tenon.db` is a database, but not one of Tenon's");

    std::fs::write(&path, "no database at all".repeat(100)).unwrap();
    assert_eq!(refusal(folder.path()), "`tenon.db` can't be read");

    std::fs::remove_file(&path).unwrap();
    let file = folder.path().join("tenon.lock");
    assert_eq!(refusal(&file), format!("`{}` can't be opened", file.display()));
}

#[tokio::test]
async fn closing_and_dropping_carry_out_what_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    for round in ["closed", "dropped"] {
        let store = SqliteStore::open(folder.path()).unwrap();
        for number in 0..100 {
            hand_over(store.insert(&people(), &by_name(), &format!("{round}-{number:03}"), b"{}".to_vec())).await;
        }
        if round == "closed" {
            store.close().await;
            let late = store.insert(&people(), &by_name(), "late", b"{}".to_vec()).await;
            assert!(matches!(late, Err(StoreError::Unavailable(_))));
            assert!(matches!(store.get(&people(), "late").await, Err(StoreError::Unavailable(_))));
            assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
            store.close().await;
            assert!(!folder.path().join("tenon.db-wal").exists(), "the log is folded into the file");
        }
    }
    let store = SqliteStore::open(folder.path()).unwrap();
    let find = Find { limit: 200, ..Find::default() };
    assert_eq!(store.find(&people(), &by_name(), &find).await.unwrap().documents.len(), 200);
}

/// A copy of the files at some moment is what a crash at that moment would have left.
#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    for number in 0..50 {
        store.insert(&people(), &by_name(), &format!("{number:03}"), br#"{"name":"x"}"#.to_vec()).await.unwrap();
        if number % 10 == 0 {
            let crashed = tempfile::tempdir().unwrap();
            for file in ["tenon.db", "tenon.db-wal"] {
                std::fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
            }
            // Cut off in the middle of the next write.
            let log = crashed.path().join("tenon.db-wal");
            let mut bytes = std::fs::read(&log).unwrap();
            bytes.extend_from_slice(&[7; 1000]);
            std::fs::write(&log, bytes).unwrap();
            let survivor = SqliteStore::open(crashed.path()).unwrap();
            let page = survivor.find(&people(), &by_name(), &Find::default()).await.unwrap();
            assert_eq!(page.documents.len(), number + 1);
        }
    }
}

#[tokio::test]
async fn one_failing_write_leaves_its_group_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let add = |id: &'static str| {
        store.write(move |connection| documents::insert(connection, &people(), &by_name(), id, b"{}", Vec::new()))
    };
    let half = store.write(|connection| -> Result<(), StoreError> {
        documents::insert(connection, &people(), &by_name(), "half", b"{}", Vec::new())?;
        Err(StoreError::DocumentId)
    });
    let panics = store.write(|connection| -> Result<(), StoreError> {
        documents::insert(connection, &people(), &by_name(), "panics", b"{}", Vec::new())?;
        panic!("as a test")
    });
    let (before, half, panics, after) = tokio::join!(add("before"), half, panics, add("after"));
    assert!(before.is_ok() && after.is_ok());
    assert!(matches!(half, Err(StoreError::DocumentId)));
    assert!(matches!(panics, Err(StoreError::Unavailable(_))));
    let page = store.find(&people(), &by_name(), &Find::default()).await.unwrap();
    assert_eq!(page.documents.iter().map(|each| each.id.as_str()).collect::<Vec<_>>(), ["after", "before"]);
}

#[tokio::test]
async fn a_lost_transaction_is_lost_for_all_who_were_in_it_and_for_no_one_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let (begun, wait) = std::sync::mpsc::channel::<()>();
    // Holds the thread up, so that the next three are one group.
    let holds = store.write(move |_| Ok(wait.recv().is_ok()));
    let add = |id: &'static str| {
        store.write(move |connection| documents::insert(connection, &people(), &by_name(), id, b"{}", Vec::new()))
    };
    let ends = store.write(|connection| Ok(connection.execute_batch("ROLLBACK")?));
    let release = async { begun.send(()).unwrap() };
    let (_, before, ends, after, ()) = tokio::join!(holds, add("before"), ends, add("after"), release);
    for lost in [before.map(drop), ends] {
        let problem = lost.unwrap_err();
        assert!(matches!(problem, StoreError::Unavailable(_)));
        assert_eq!(problem.source().unwrap().to_string(), "the commit failed");
    }
    assert_eq!(after.unwrap(), 1);
    assert_eq!(store.get(&people(), "before").await.unwrap(), None);
    assert!(store.get(&people(), "after").await.unwrap().is_some());
}

#[tokio::test]
async fn tenants_that_a_foreign_program_spoiled_are_listed_apart() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    let foreign = Connection::open(folder.path().join("tenon.db")).unwrap();
    for (id, document) in [("a", "{}"), ("b", r#"{"status":"odd"}"#), ("c", "no JSON"), ("d", r#"{"revision":"x"}"#)] {
        foreign.execute("INSERT INTO tenants VALUES (?1, 7, ?2)", [id, document]).unwrap();
    }
    drop(foreign);
    let store = SqliteStore::open(folder.path()).unwrap();
    let page = store.tenants(None, 2).await.unwrap();
    assert_eq!(
        page.tenants.iter().map(|each| (each.id.as_str(), each.revision)).collect::<Vec<_>>(),
        [("a", 7), ("d", 7)]
    );
    let problems: Vec<String> = page.unreadable.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"), @r#"
    tenant document "b" is invalid: `status`: must be `active` or `suspended`
    tenant document "c" is invalid: `document`: expected ident at line 1 column 2
    "#);
    let spoiled = store.tenant(&"b".parse().unwrap()).await;
    assert!(matches!(spoiled, Err(StoreError::Tenant(_))));
}

#[tokio::test]
async fn pages_of_large_documents_end_early_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let body = format!("{{\"name\":\"x\",\"text\":\"{}\"}}", "x".repeat(3 << 20)).into_bytes();
    for number in 0..7 {
        store.insert(&people(), &by_name(), &number.to_string(), body.clone()).await.unwrap();
    }
    let (mut sizes, mut find) = (Vec::new(), Find { order_by: Some("name".to_owned()), ..Find::default() });
    loop {
        let page = store.find(&people(), &by_name(), &find).await.unwrap();
        sizes.push(page.documents.len());
        find.after = page.next;
        if find.after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
}
