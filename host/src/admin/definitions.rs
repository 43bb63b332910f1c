//! Flags defined for all tenants, as the store keeps them: shown, replaced, taken away, as a whole and one by one. Where a
//! file defines them they are only shown.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    change_wire::etag,
    extract::{self, BODY_WAIT, IfMatch, OfFlag},
    refusal::Refusal,
    state::{Admin, Shared},
};
use crate::{
    flags::{self, DefinitionErrors, Definitions, MAX_FILE_BYTES},
    problem::Problem,
    stores::StoreError,
};

/// What stands for a set where none is stored.
const NOTHING: &str = "{\"flags\":{}}\n";

/// How often a change without `If-Match` is tried again because somebody else's came between. A guess.
const TRIES: usize = 8;

/// What came of a change of the definitions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionsAnswer {
    /// The revision of the set afterwards; 0 where there is none.
    pub(super) revision: u64,
    /// How many flags it has.
    pub(super) flags: usize,
    /// Whether it is another one than before.
    pub(super) changed: bool,
    /// Whether all tenants of this host have it already. Else it is stored, and follows within seconds.
    pub(super) in_force: bool,
    /// Flags whose type is another one than a module declares. Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["flag `bulk-import` is defined as a string, and module tasks declares a boolean: it is off for that module"]))]
    pub(super) warnings: Vec<String>,
}

impl IntoResponse for DefinitionsAnswer {
    fn into_response(self) -> Response {
        ([(header::ETAG, etag(self.revision))], Json(self)).into_response()
    }
}

/// A switch over all tenants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateChange {
    state: StateWord,
}

/// Whether a flag is switched on at all.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum StateWord {
    /// Its rule and its variants hold.
    Enabled,
    /// It is off, whatever rules and modules say.
    Disabled,
}

impl StateWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
        }
    }
}

/// A body as it was written, of at most as many bytes as a set may have.
pub(super) struct Text(String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _state: &S) -> Result<Self, Refusal> {
        let read = tokio::time::timeout(BODY_WAIT, to_bytes(request.into_body(), MAX_FILE_BYTES)).await;
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if extract::is_too_large(&error) => {
                return Err(Problem::body_too_large(MAX_FILE_BYTES).into());
            }
            Ok(Err(_)) => return Err(Problem::request_invalid("The body could not be read").into()),
            Err(_) => return Err(Problem::request_invalid("The body did not come in time").into()),
        };
        let text = String::from_utf8(body.into());
        Ok(Self(text.map_err(|_| Problem::request_invalid("The body is not UTF-8"))?))
    }
}

/// JSON that goes out as it was written.
fn as_written(text: String, tag: HeaderValue) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json), (header::ETAG, tag)], text).into_response()
}

/// The set that is there, and its tag.
async fn current(admin: &Admin) -> Result<(String, HeaderValue), Refusal> {
    if let Some(file) = &admin.definitions {
        let revision = admin.tenancy.definitions().revision().to_owned();
        let tag = HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_| etag(0));
        return Ok((file.text().as_ref().to_owned(), tag));
    }
    let found = admin.store.definitions_nearby().await?;
    Ok(found.map_or_else(|| (NOTHING.to_owned(), etag(0)), |found| (found.text.to_string(), etag(found.revision))))
}

/// Shows the flags that are defined for all tenants, as they were written; an empty set with revision 0 where there are
/// none.
///
/// Where they are a file's, the content that is in force.
#[utoipa::path(get, path = "/admin/v1/flag-definitions", tag = "flags", operation_id = "showFlagDefinitions",
    responses((status = 200, description = "The set, in flagd's format; `ETag` is its revision", body = Value)))]
pub(super) async fn show(State(admin): State<Shared>) -> Result<Response, Refusal> {
    let (text, tag) = current(&admin).await?;
    Ok(as_written(text, tag))
}

/// Shows one flag of those that are defined for all tenants, as it was written.
#[utoipa::path(get, path = "/admin/v1/flag-definitions/{flag}", tag = "flags", operation_id = "showFlagDefinition",
    params(("flag" = String, Path, description = "Key of the flag")),
    responses((status = 200, description = "The flag; `ETag` is the revision of the set", body = Value)))]
pub(super) async fn show_flag(State(admin): State<Shared>, OfFlag(flag): OfFlag) -> Result<Response, Refusal> {
    let (text, tag) = current(&admin).await?;
    let found = flags::flag_in(&text, &flag).map_err(refused)?.ok_or_else(|| Problem::flag_not_defined(&flag))?;
    Ok(as_written(found, tag))
}

/// Replaces all flags that are defined for all tenants. With the answer every tenant of this host has them.
#[utoipa::path(put, path = "/admin/v1/flag-definitions", tag = "flags", operation_id = "replaceFlagDefinitions",
    params(("If-Match" = Option<String>, Header, description = "ETag of the set that the change is based on")),
    request_body(content = Value, description = "The set, in flagd's format; at most 4 MiB"),
    responses((status = 200, description = "Replaced", body = DefinitionsAnswer)))]
pub(super) async fn replace(
    State(admin): State<Shared>,
    if_match: IfMatch,
    Text(text): Text,
) -> Result<DefinitionsAnswer, Refusal> {
    change(&admin, if_match, move |_| Ok(Some(text.clone()))).await
}

/// Takes all flags that are defined for all tenants away.
#[utoipa::path(delete, path = "/admin/v1/flag-definitions", tag = "flags", operation_id = "deleteFlagDefinitions",
    params(("If-Match" = Option<String>, Header, description = "ETag of the set that the change is based on")),
    responses((status = 200, description = "Taken away", body = DefinitionsAnswer)))]
pub(super) async fn delete(State(admin): State<Shared>, if_match: IfMatch) -> Result<DefinitionsAnswer, Refusal> {
    change(&admin, if_match, |_| Ok(None)).await
}

/// Defines one flag for all tenants, or replaces its definition; the rest of the set stays as it is.
#[utoipa::path(put, path = "/admin/v1/flag-definitions/{flag}", tag = "flags", operation_id = "replaceFlagDefinition",
    params(("flag" = String, Path, description = "Key of the flag"),
        ("If-Match" = Option<String>, Header, description = "ETag of the set that the change is based on")),
    request_body(content = Value, description = "The flag, in flagd's format"),
    responses((status = 200, description = "Defined", body = DefinitionsAnswer)))]
pub(super) async fn replace_flag(
    State(admin): State<Shared>,
    OfFlag(flag): OfFlag,
    if_match: IfMatch,
    Text(definition): Text,
) -> Result<DefinitionsAnswer, Refusal> {
    change(&admin, if_match, move |set| Ok(Some(flags::with_flag(set, &flag, &definition).map_err(refused)?))).await
}

/// Switches one flag on or off for all tenants; its rule and its variants stay as they are.
#[utoipa::path(patch, path = "/admin/v1/flag-definitions/{flag}", tag = "flags", operation_id = "switchFlagDefinition",
    params(("flag" = String, Path, description = "Key of the flag"),
        ("If-Match" = Option<String>, Header, description = "ETag of the set that the change is based on")),
    request_body(content = StateChange, example = json!({ "state": "DISABLED" })),
    responses((status = 200, description = "Switched", body = DefinitionsAnswer)))]
pub(super) async fn switch(
    State(admin): State<Shared>,
    OfFlag(flag): OfFlag,
    if_match: IfMatch,
    extract::Json(StateChange { state }): extract::Json<StateChange>,
) -> Result<DefinitionsAnswer, Refusal> {
    change(&admin, if_match, move |set| {
        let changed = flags::with_state(set, &flag, state.as_str()).map_err(refused)?;
        Ok(Some(changed.ok_or_else(|| Problem::flag_not_defined(&flag))?))
    })
    .await
}

/// Takes the definition of one flag away; the rest of the set stays as it is.
#[utoipa::path(delete, path = "/admin/v1/flag-definitions/{flag}", tag = "flags", operation_id = "deleteFlagDefinition",
    params(("flag" = String, Path, description = "Key of the flag"),
        ("If-Match" = Option<String>, Header, description = "ETag of the set that the change is based on")),
    responses((status = 200, description = "Taken away", body = DefinitionsAnswer)))]
pub(super) async fn delete_flag(
    State(admin): State<Shared>,
    OfFlag(flag): OfFlag,
    if_match: IfMatch,
) -> Result<DefinitionsAnswer, Refusal> {
    change(&admin, if_match, move |set| {
        let changed = flags::without_flag(set, &flag).map_err(refused)?;
        Ok(Some(changed.ok_or_else(|| Problem::flag_not_defined(&flag))?))
    })
    .await
}

fn refused(errors: DefinitionErrors) -> Refusal {
    Problem::flag_invalid(errors.problems()).into()
}

/// Changes the set that is there as `edit` says, which may be asked again with a newer one: `None` takes the set away.
async fn change(
    admin: &Admin,
    if_match: IfMatch,
    edit: impl Fn(&str) -> Result<Option<String>, Refusal> + Send + Sync + 'static,
) -> Result<DefinitionsAnswer, Refusal> {
    if admin.definitions.is_some() {
        return Err(Problem::flags_in_file().into());
    }
    let edit = Arc::new(edit);
    let mut tries = TRIES;
    let answer = loop {
        let found = admin.store.definitions().await?;
        let expected = found.as_ref().map_or(0, |found| found.revision);
        if if_match.optional().is_some_and(|revision| revision != expected) {
            return Err(Problem::precondition_failed(expected).into());
        }
        let (edit, before) = (Arc::clone(&edit), found.map(|found| found.text));
        // Reading thousands of rules takes a while.
        let editing = tokio::task::spawn_blocking(move || {
            let text = edit(before.as_deref().unwrap_or(NOTHING))?;
            let parsed = text.as_ref().map(|text| Definitions::parse(text.as_bytes()).map_err(refused)).transpose()?;
            Ok::<_, Refusal>((text.as_deref() != before.as_deref(), text, parsed.unwrap_or_default()))
        });
        let (changed, text, definitions) = editing.await.map_err(|_| Problem::internal())??;
        let (flags, warnings) = (definitions.len(), admin.tenancy.unlike_modules(&definitions));
        if !changed {
            break DefinitionsAnswer { revision: expected, flags, changed, in_force: true, warnings };
        }
        let is_set = text.is_some();
        let now = match admin.store.put_definitions(text, expected).await {
            Ok(revision) => {
                let revision = if is_set { revision } else { 0 };
                break DefinitionsAnswer { revision, flags, changed, in_force: true, warnings };
            }
            Err(StoreError::Revision { found, .. }) => found,
            Err(StoreError::Missing(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        tries -= 1;
        if tries == 0 || if_match.optional().is_some() {
            return Err(Problem::precondition_failed(now).into());
        }
    };
    let in_force = admin.tenancy.follow_definitions().await;
    Ok(DefinitionsAnswer { in_force, ..answer })
}
