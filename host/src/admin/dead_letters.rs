//! Events and wake-ups that were given up: listed, tried again, discarded.

use axum::extract::{Path as InPath, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{extract::InQuery, refusal::Refusal, state::Shared};
use crate::{
    problem::Problem,
    stores::{DeadLetter, Delivered},
};

/// The most on one page.
const PAGE: usize = 100;

/// Dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetterList {
    pub(super) dead_letters: Vec<DeadLetterItem>,
    /// For `after`, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<i64>,
}

/// An event or a wake-up that was given up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetterItem {
    pub(super) id: i64,
    pub(super) tenant_id: String,
    /// Which module did not handle it.
    pub(super) module: String,
    #[schema(example = "event hr-core:employee.deleted")]
    pub(super) what: String,
    /// How often it was tried.
    pub(super) failures: u32,
    /// RFC 3339.
    pub(super) died_at: String,
    /// What the last try failed of.
    pub(super) error: String,
}

impl DeadLetterItem {
    pub(super) fn new(letter: DeadLetter) -> Self {
        let what = match &letter.what {
            Delivered::Event { publisher, name, .. } => format!("event {publisher}:{name}"),
            Delivered::Wake { key } => format!("wake-up {key}"),
        };
        let died_at = jiff::Timestamp::from_millisecond(letter.died_at).unwrap_or_default();
        Self {
            id: letter.id,
            tenant_id: letter.tenant.to_string(),
            module: letter.module.to_string(),
            what,
            failures: letter.failures,
            died_at: died_at.to_string(),
            error: letter.error,
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only those with a greater number.
    after: Option<i64>,
}

/// Lists dead letters in the order of their numbers, 100 at a time.
#[utoipa::path(get, path = "/admin/v1/dead-letters", tag = "host", operation_id = "listDeadLetters",
    params(Page),
    responses((status = 200, description = "Dead letters", body = DeadLetterList)))]
pub(super) async fn list(
    State(admin): State<Shared>,
    InQuery(page): InQuery<Page>,
) -> Result<axum::Json<DeadLetterList>, Refusal> {
    let letters = admin.store.dead_letters(page.after, PAGE + 1).await?;
    let has_more = letters.len() > PAGE;
    let dead_letters: Vec<_> = letters.into_iter().take(PAGE).map(DeadLetterItem::new).collect();
    let next = dead_letters.last().filter(|_| has_more).map(|last| last.id);
    Ok(axum::Json(DeadLetterList { dead_letters, next }))
}

/// Delivers a dead letter again, as if it had never failed.
#[utoipa::path(post, path = "/admin/v1/dead-letters/{id}/retry", tag = "host", operation_id = "retryDeadLetter",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "It is due now", body = DeadLetterDone)))]
pub(super) async fn retry(
    State(admin): State<Shared>,
    InPath(id): InPath<String>,
) -> Result<axum::Json<DeadLetterDone>, Refusal> {
    let now = jiff::Timestamp::now().as_millisecond();
    let found = match id.parse() {
        Ok(number) => admin.store.retry_dead(number, now).await?,
        Err(_) => false,
    };
    admin.tenancy.look_for_deliveries();
    done(found, id)
}

/// Deletes a dead letter.
#[utoipa::path(delete, path = "/admin/v1/dead-letters/{id}", tag = "host", operation_id = "discardDeadLetter",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "It is gone", body = DeadLetterDone)))]
pub(super) async fn discard(
    State(admin): State<Shared>,
    InPath(id): InPath<String>,
) -> Result<axum::Json<DeadLetterDone>, Refusal> {
    let found = match id.parse() {
        Ok(number) => admin.store.discard_dead(number).await?,
        Err(_) => false,
    };
    done(found, id)
}

/// What was asked is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetterDone {
    /// Its number.
    #[schema(example = "7")]
    pub(super) id: String,
}

fn done(found: bool, id: String) -> Result<axum::Json<DeadLetterDone>, Refusal> {
    if found { Ok(axum::Json(DeadLetterDone { id })) } else { Err(Problem::dead_letter_not_found(&id).into()) }
}
