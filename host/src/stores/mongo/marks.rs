//! Marks as documents, each with a key of all that tells it from others.

use bson::{Document, doc};
use futures_util::TryStreamExt;

use super::{
    StoreError,
    failure::{is_duplicate, unfit},
    schema::MARKS,
    server::Server,
};
use crate::{
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind},
};

const BAD: &str = "bad";
const QUARANTINED: &str = "quarantined";

pub(super) async fn marks(server: &Server) -> Result<Vec<Mark>, StoreError> {
    let found: Vec<Document> = server.collection(MARKS).find(doc! {}).await?.try_collect().await?;
    let mut marks = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    // A mark for all, which has no tenant, comes first.
    marks.sort_by(|a, b| {
        let key =
            |mark: &Mark| (mark.module.to_string(), mark.hash.clone(), mark.tenant.clone().map(|id| id.to_string()));
        key(a).cmp(&key(b)).then(a.kind.cmp(&b.kind))
    });
    Ok(marks)
}

pub(super) async fn set(server: &Server, mark: &Mark) -> Result<(), StoreError> {
    let kind = match mark.kind {
        MarkKind::Bad => BAD,
        MarkKind::Quarantined => QUARANTINED,
    };
    let tenant = mark.tenant.as_ref().map(TenantId::as_str);
    let id = format!("{}/{}/{}/{kind}", mark.module, mark.hash, tenant.unwrap_or_default());
    let document = doc! {
        "_id": &id, "module": mark.module.as_str(), "hash": &mark.hash, "tenant": tenant, "kind": kind,
        "version": &mark.version, "reason": &mark.reason, "markedAt": mark.marked_at,
    };
    loop {
        let write = server.collection(MARKS).replace_one(doc! { "_id": &id }, &document).upsert(true);
        match write.await.map_err(StoreError::from) {
            // Somebody else was the first to set it.
            Err(problem) if is_duplicate(&problem) => {}
            outcome => return outcome.map(drop),
        }
    }
}

pub(super) async fn clear(server: &Server, module: &ModuleName, tenant: Option<&TenantId>) -> Result<u64, StoreError> {
    let mut filter = doc! { "module": module.as_str() };
    if let Some(tenant) = tenant {
        filter.insert("tenant", tenant.as_str());
    }
    Ok(server.collection(MARKS).delete_many(filter).await?.deleted_count)
}

fn read(found: &Document) -> Result<Mark, StoreError> {
    let text = |name: &str| found.get_str(name).map_err(unfit);
    let tenant = found.get_str("tenant").ok().map(|tenant| tenant.parse().map_err(unfit)).transpose()?;
    Ok(Mark {
        module: text("module")?.parse().map_err(unfit)?,
        hash: text("hash")?.to_owned(),
        tenant,
        kind: match text("kind")? {
            BAD => MarkKind::Bad,
            QUARANTINED => MarkKind::Quarantined,
            other => return Err(unfit(format!("mark of kind {other}"))),
        },
        version: text("version")?.to_owned(),
        reason: text("reason")?.to_owned(),
        marked_at: found.get_i64("markedAt").map_err(unfit)?,
    })
}
