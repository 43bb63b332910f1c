//! Flag definitions as one document. Taken away, they leave it behind, without a text.

use bson::{DateTime, Document, doc};
use jiff::Timestamp;

use super::{
    StoreError,
    failure::{is_duplicate, unfit},
    schema::DEFINITIONS,
    server::Server,
    tenants::{from_whole, whole},
};
use crate::stores::{StoredDefinitions, definitions::next_revision};

const ONLY: &str = "flags";

pub(super) async fn definitions(server: &Server) -> Result<Option<StoredDefinitions>, StoreError> {
    let Some(found) = read(server).await? else { return Ok(None) };
    let Ok(text) = found.get_str("text") else { return Ok(None) };
    let updated_at = found.get_datetime("updatedAt").ok();
    let updated_at = updated_at.and_then(|time| Timestamp::from_millisecond(time.timestamp_millis()).ok());
    Ok(Some(StoredDefinitions { revision: revision_of(&found)?, text: text.into(), updated_at }))
}

pub(super) async fn put(server: &Server, text: Option<&str>, expected: u64) -> Result<u64, StoreError> {
    loop {
        let found = read(server).await?;
        let before =
            found.as_ref().map(|found| Ok::<_, StoreError>((revision_of(found)?, found.get_str("text").is_ok())));
        let before = before.transpose()?;
        let revision = next_revision(before, text, expected)?;
        let written = doc! { "revision": whole(revision), "text": text, "updatedAt": DateTime::now() };
        let collection = server.collection(DEFINITIONS);
        let is_written = match before {
            Some((before, _)) => {
                let filter = doc! { "_id": ONLY, "revision": whole(before) };
                collection.update_one(filter, doc! { "$set": written }).await?.matched_count > 0
            }
            None => {
                let mut first = doc! { "_id": ONLY };
                first.extend(written);
                match collection.insert_one(first).await.map_err(StoreError::from) {
                    Err(problem) if is_duplicate(&problem) => false,
                    outcome => outcome.map(|_| true)?,
                }
            }
        };
        // Where it is not, somebody else's write is there by now, and has another revision.
        if is_written {
            return Ok(revision);
        }
    }
}

async fn read(server: &Server) -> Result<Option<Document>, StoreError> {
    Ok(server.collection(DEFINITIONS).find_one(doc! { "_id": ONLY }).await?)
}

fn revision_of(found: &Document) -> Result<u64, StoreError> {
    Ok(from_whole(found.get_i64("revision").map_err(unfit)?))
}
