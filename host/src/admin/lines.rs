//! All that a store holds, as lines of JSON: a head, a line for each record, and an end with their number, so that a file
//! that was cut off is seen to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::stores::{
    CollectionKey, Delivered, Mark, MarkKind, ModelFields, MovedDelivery, Record, Stands, StoredDefinitions,
    StoredDocument, TenantDocument,
};

/// Of the lines as they are written now. Other ones are refused.
const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Line {
    /// The first.
    TenonExport(Head),
    Definitions(DefinitionsLine),
    Mark(MarkLine),
    Collection(CollectionLine),
    Document(DocumentLine),
    Delivery(DeliveryLine),
    /// As stored, with what other programs put there.
    Tenant(Map<String, Value>),
    /// The last.
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
}

/// How many lines of each sort there were.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    counts: BTreeMap<String, u64>,
    /// Tenants that were left out, as their documents can't be understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionsLine {
    revision: u64,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarkLine {
    module: String,
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    kind: KindWord,
    version: String,
    reason: String,
    marked_at: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindWord {
    Bad,
    Quarantined,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CollectionLine {
    tenant: String,
    module: String,
    model: String,
    unique: Vec<String>,
    index: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DocumentLine {
    tenant: String,
    module: String,
    model: String,
    id: String,
    revision: u64,
    /// A text, so that it comes back byte for byte.
    body: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryLine {
    tenant: String,
    module: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wake: Option<String>,
    failures: u32,
    /// This and all times: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    died_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventPart {
    publisher: String,
    name: String,
    id: String,
    body: String,
    published_at: i64,
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "a body is not UTF-8".to_owned())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{}`: {error}", text.escape_debug()))
}

impl Line {
    fn of(record: Record) -> Result<Self, String> {
        Ok(match record {
            Record::Definitions(StoredDefinitions { revision, text, updated_at }) => {
                Self::Definitions(DefinitionsLine { revision, text: text.to_string(), updated_at })
            }
            Record::Mark(mark) => Self::Mark(MarkLine {
                module: mark.module.to_string(),
                hash: mark.hash,
                tenant: mark.tenant.map(|tenant| tenant.to_string()),
                kind: match mark.kind {
                    MarkKind::Bad => KindWord::Bad,
                    MarkKind::Quarantined => KindWord::Quarantined,
                },
                version: mark.version,
                reason: mark.reason,
                marked_at: mark.marked_at,
            }),
            Record::Collection(CollectionKey { tenant, module, model }, ModelFields { unique, index }) => {
                let (tenant, module) = (tenant.to_string(), module.to_string());
                Self::Collection(CollectionLine { tenant, module, model, unique, index })
            }
            Record::Document(CollectionKey { tenant, module, model }, StoredDocument { id, revision, body }) => {
                let (tenant, module, body) = (tenant.to_string(), module.to_string(), text(body)?);
                Self::Document(DocumentLine { tenant, module, model, id, revision, body })
            }
            Record::Delivery(MovedDelivery { tenant, module, what, failures, stands }) => {
                let (event, wake) = match what {
                    Delivered::Wake { key } => (None, Some(key)),
                    Delivered::Event { publisher, name, event_id, body, published_at } => {
                        let (publisher, body) = (publisher.to_string(), text(body)?);
                        (Some(EventPart { publisher, name, id: event_id, body, published_at }), None)
                    }
                };
                let (due, died_at, error) = match stands {
                    Stands::Waiting(due) => (due, None, None),
                    Stands::Dead { at, error } => (None, Some(at), Some(error)),
                };
                let (tenant, module) = (tenant.to_string(), module.to_string());
                Self::Delivery(DeliveryLine { tenant, module, event, wake, failures, due, died_at, error })
            }
            Record::Tenant(document) => Self::Tenant(document.to_json()),
        })
    }

    fn record(self) -> Result<Record, String> {
        let at = |tenant: &str, module: &str, model: String| {
            Ok::<_, String>(CollectionKey { tenant: parsed(tenant)?, module: parsed(module)?, model })
        };
        Ok(match self {
            Self::TenonExport(_) | Self::End(_) => return Err("it stands in the middle".to_owned()),
            Self::Definitions(DefinitionsLine { revision, text, updated_at }) => {
                Record::Definitions(StoredDefinitions { revision, text: text.into(), updated_at })
            }
            Self::Mark(line) => Record::Mark(Mark {
                module: parsed(&line.module)?,
                hash: line.hash,
                tenant: line.tenant.as_deref().map(parsed).transpose()?,
                kind: match line.kind {
                    KindWord::Bad => MarkKind::Bad,
                    KindWord::Quarantined => MarkKind::Quarantined,
                },
                version: line.version,
                reason: line.reason,
                marked_at: line.marked_at,
            }),
            Self::Collection(CollectionLine { tenant, module, model, unique, index }) => {
                Record::Collection(at(&tenant, &module, model)?, ModelFields { unique, index })
            }
            Self::Document(DocumentLine { tenant, module, model, id, revision, body }) => {
                let document = StoredDocument { id, revision, body: body.into_bytes() };
                Record::Document(at(&tenant, &module, model)?, document)
            }
            Self::Delivery(line) => {
                let what = match (line.event, line.wake) {
                    (Some(event), None) => Delivered::Event {
                        publisher: parsed(&event.publisher)?,
                        name: event.name,
                        event_id: event.id,
                        body: event.body.into_bytes(),
                        published_at: event.published_at,
                    },
                    (None, Some(key)) => Delivered::Wake { key },
                    _ => return Err("a delivery is an event or a wake-up".to_owned()),
                };
                let stands = match line.died_at {
                    Some(at) => Stands::Dead { at, error: line.error.unwrap_or_default() },
                    None => Stands::Waiting(line.due),
                };
                let (tenant, module) = (parsed(&line.tenant)?, parsed(&line.module)?);
                Record::Delivery(MovedDelivery { tenant, module, what, failures: line.failures, stands })
            }
            Self::Tenant(json) => {
                Record::Tenant(TenantDocument::from_json(json).map_err(|error| error.to_string())?.into())
            }
        })
    }

    fn sort(&self) -> Option<&'static str> {
        Some(match self {
            Self::TenonExport(_) | Self::End(_) => return None,
            Self::Definitions(_) => "definitions",
            Self::Mark(_) => "marks",
            Self::Collection(_) => "collections",
            Self::Document(_) => "documents",
            Self::Delivery(_) => "deliveries",
            Self::Tenant(_) => "tenants",
        })
    }
}

/// Writes lines, and counts.
#[derive(Debug, Default)]
pub(super) struct Writing {
    counts: BTreeMap<String, u64>,
}

impl Writing {
    pub(super) fn head() -> Result<String, String> {
        as_line(&Line::TenonExport(Head { version: VERSION }))
    }

    /// Lines behind what is there.
    pub(super) fn records(&mut self, mut text: String, records: Vec<Record>) -> Result<String, String> {
        for record in records {
            let line = Line::of(record)?;
            count(&mut self.counts, &line);
            text.push_str(&as_line(&line)?);
        }
        Ok(text)
    }

    pub(super) fn end(self, unreadable: Vec<String>) -> Result<String, String> {
        as_line(&Line::End(End { counts: self.counts, unreadable }))
    }
}

/// Reads lines, and looks whether all are there.
#[derive(Debug, Default)]
pub(super) struct Reading {
    number: u64,
    counts: BTreeMap<String, u64>,
    is_over: bool,
}

impl Reading {
    /// The record of a line; `None` of the first and the last.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Record>, String> {
        self.number += 1;
        let number = self.number;
        let place = |why: String| format!("line {number}: {why}");
        if self.is_over {
            return Err(place("it stands behind the end".to_owned()));
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| match number {
            1 => NO_EXPORT.to_owned(),
            _ => place(without_place(&error)),
        })?;
        match line {
            Line::TenonExport(Head { version: VERSION }) if number == 1 => Ok(None),
            Line::TenonExport(Head { version }) if number == 1 => {
                Err(place(format!("version {version} is not known, only {VERSION} is")))
            }
            _ if number == 1 => Err(NO_EXPORT.to_owned()),
            Line::End(end) if end.counts == self.counts => {
                self.is_over = true;
                Ok(None)
            }
            Line::End(end) => Err(place(format!("lines are missing: {}", differing(&end.counts, &self.counts)))),
            line => {
                count(&mut self.counts, &line);
                line.record().map(Some).map_err(place)
            }
        }
    }

    /// Whether the last line was there.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.number {
            _ if self.is_over => Ok(()),
            0 => Err("it is empty".to_owned()),
            number => Err(format!("it is cut off behind line {number}")),
        }
    }
}

/// What is said of a file that is something else.
const NO_EXPORT: &str = "this is no export of Tenon, whose first line names it and its version";

/// What is wrong, without the place within the line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Which sorts of lines are not as many as the last line says.
fn differing(said: &BTreeMap<String, u64>, counted: &BTreeMap<String, u64>) -> String {
    let sorts: std::collections::BTreeSet<_> = said.keys().chain(counted.keys()).collect();
    let of = |counts: &BTreeMap<String, u64>, sort: &str| counts.get(sort).copied().unwrap_or(0);
    let differ = sorts.into_iter().filter(|sort| of(said, sort) != of(counted, sort));
    let told: Vec<_> =
        differ.map(|sort| format!("{} of {} {sort} are there", of(counted, sort), of(said, sort))).collect();
    told.join(", ")
}

fn count(counts: &mut BTreeMap<String, u64>, line: &Line) {
    if let Some(sort) = line.sort() {
        *counts.entry(sort.to_owned()).or_default() += 1;
    }
}

fn as_line(line: &Line) -> Result<String, String> {
    serde_json::to_string(line).map(|line| line + "\n").map_err(|error| error.to_string())
}
