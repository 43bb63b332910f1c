//! What every store must do, done by this one; and what it does beyond.

use std::sync::Arc;

use own_store::{JournaledStore, read_journal};
use tenon_host::stores::{Store, contract};

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_store_must() {
    contract::all(async || {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(JournaledStore::open(folder.path()).unwrap());
        (store, folder)
    })
    .await;
}

#[tokio::test]
async fn a_change_is_in_the_journal_once_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = JournaledStore::open(folder.path()).unwrap();
    let document = contract::tenant("acme");
    let created = store.create_tenant(document).await.unwrap();
    store.replace_tenant((*created).clone()).await.unwrap();
    store.replace_tenant((*created).clone()).await.unwrap_err();
    let lines = read_journal(folder.path()).unwrap();
    let told: Vec<_> =
        lines.iter().map(|line| (line["what"].as_str().unwrap(), line["revision"].as_u64().unwrap())).collect();
    assert_eq!(told, [("created", 1), ("changed", 2)]);
}
