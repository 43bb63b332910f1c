//! Everything that the store holds, read out and written into another: both as streams, of which the host keeps a page
//! at a time, and of an import the tenants' documents until it has seen the end.

use std::{io, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::BODY_WAIT,
    lines::{Reading, Writing},
    refusal::{Refusal, chain},
    state::Shared,
};
use crate::{
    flags::Definitions,
    problem::Problem,
    stores::{Exporter, Importer, Record, StoreChange, StoredDefinitions},
};

/// The most bytes of one line. A document, escaped, and what is around it; a guess that is generous.
const LINE_BYTES: usize = 64 << 20;

/// What came of an import.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportAnswer {
    /// How many records were written.
    pub(super) written: u64,
    /// How many were there already, the same.
    pub(super) there: u64,
    /// What was not written.
    pub(super) refused: Vec<RefusedItem>,
}

/// Something that was not written, as something else is there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedItem {
    /// Which tenant; left out where it is the flag definitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant_id: Option<String>,
    pub(super) reason: String,
}

/// Where an export stands.
enum Step {
    /// What was read before the answer began.
    First(String, Exporter, Writing),
    Pages(Exporter, Writing),
    Over,
}

/// Reads out everything: tenants, flag definitions, marks, documents of modules, events and wake-ups.
///
/// Lines of JSON; the last one says `end`. What is written meanwhile is in it or not; each line is whole.
#[utoipa::path(get, path = "/admin/v1/export", tag = "host", operation_id = "export",
    responses((status = 200, description = "Everything", body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export(State(admin): State<Shared>) -> Result<Response, Refusal> {
    let (mut exporter, mut writing) = (Exporter::new(Arc::clone(&admin.store)), Writing::default());
    // Before the answer begins: a store that is away can still be told of.
    let records = exporter.page().await?.unwrap_or_default();
    let text = Writing::head().and_then(|head| writing.records(head, records));
    let text = text.map_err(|why| {
        tracing::error!("an export can't be written: {why}");
        Problem::internal()
    })?;
    let first = Step::First(text, exporter, writing);
    let pieces = stream::try_unfold(first, |step| async move {
        match step {
            Step::Over => Ok(None),
            Step::First(text, exporter, writing) => Ok(Some((Bytes::from(text), Step::Pages(exporter, writing)))),
            Step::Pages(mut exporter, mut writing) => {
                // The end of the stream without its last line says to whoever reads that it is not whole.
                let page =
                    exporter.page().await.inspect_err(|error| tracing::error!("an export ends: {}", chain(error)));
                let Some(records) = page.map_err(io::Error::other)? else {
                    let end = writing.end(exporter.unreadable().to_vec()).map_err(io::Error::other)?;
                    return Ok::<_, io::Error>(Some((Bytes::from(end), Step::Over)));
                };
                let text = writing.records(String::new(), records).map_err(io::Error::other)?;
                Ok(Some((Bytes::from(text), Step::Pages(exporter, writing))))
            }
        }
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

/// Writes everything that was read out of another store.
///
/// A tenant that is there already is left as it is, and refused where anything of it differs; so importing again does no
/// harm. Nothing is visible before the last line has come.
#[utoipa::path(post, path = "/admin/v1/import", tag = "host", operation_id = "import",
    request_body(content = String, content_type = "application/x-ndjson", description = "What `export` answered"),
    responses((status = 200, description = "Imported, but for what is `refused`", body = ImportAnswer)))]
pub(super) async fn import(State(admin): State<Shared>, request: Request) -> Result<Json<ImportAnswer>, Refusal> {
    let invalid = |why: String| Refusal::from(Problem::request_invalid(format!("The export can't be read: {why}")));
    let (mut body, mut rest) = (request.into_body(), Vec::new());
    let (mut reading, mut importer) = (Reading::default(), Importer::new(Arc::clone(&admin.store)));
    loop {
        let piece = tokio::time::timeout(BODY_WAIT, body.frame()).await;
        let piece = piece.map_err(|_| Problem::request_invalid("The body did not come in time"))?;
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|_| Problem::request_invalid("The body could not be read"))?;
        let Ok(bytes) = piece.into_data() else { continue };
        let mut from = rest.len();
        rest.extend_from_slice(&bytes);
        let mut begin = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let end = from + length;
            if let Some(record) = reading.line(&rest[begin..end]).map_err(invalid)? {
                match unreadable_definitions(&record).await? {
                    Some(why) => importer.refuse_definitions(why),
                    None => importer.take(record).await?,
                }
            }
            (begin, from) = (end + 1, end + 1);
        }
        rest.drain(..begin);
        if rest.len() > LINE_BYTES {
            return Err(Problem::body_too_large(LINE_BYTES).into());
        }
    }
    if !rest.is_empty() {
        return Err(invalid("its last line is cut off".to_owned()));
    }
    reading.end().map_err(invalid)?;
    let report = importer.finish().await?;
    admin.tenancy.heard(StoreChange::Everything);
    admin.tenancy.follow_definitions().await;
    let mut refused: Vec<RefusedItem> = Vec::new();
    refused.extend(report.definitions_refused.map(|reason| RefusedItem { tenant_id: None, reason }));
    refused.extend(
        report.refused.into_iter().map(|(tenant, reason)| RefusedItem { tenant_id: Some(tenant.to_string()), reason }),
    );
    tracing::info!(written = report.written, there = report.there, refused = refused.len(), "an export was imported");
    Ok(Json(ImportAnswer { written: report.written, there: report.there, refused }))
}

/// Why definitions of flags can't be read; `None` of any other record.
async fn unreadable_definitions(record: &Record) -> Result<Option<String>, Refusal> {
    let Record::Definitions(StoredDefinitions { text, .. }) = record else { return Ok(None) };
    let text = Arc::clone(text);
    // Reading thousands of rules takes a while.
    let reading = tokio::task::spawn_blocking(move || Definitions::parse(text.as_bytes()).err());
    let errors = reading.await.map_err(|_| Problem::internal())?;
    Ok(errors.map(|errors| errors.to_string()))
}
