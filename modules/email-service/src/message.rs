//! What a message is: as a client asks for it, as it is stored, as it is shown.

use std::str::FromStr;

use jiff::Timestamp;
use lettre::{Address, message::Mailbox};
use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::template::Rendered;

/// Source: RFC 5322, section 2.1.1, has 998 for a line; a subject that long is nobody's intention.
pub(crate) const MAX_SUBJECT_CHARS: usize = 250;
/// Of each part. A choice: attachments are not this module's business, and many servers end at 10 MiB.
pub(crate) const MAX_PART_CHARS: usize = 200_000;
const MAX_KEY_CHARS: usize = 200;
const MAX_ADDRESS_CHARS: usize = 320;
/// Source: RFC 5321, section 4.5.3.1, less the angle brackets of a path.
const MAX_EMAIL_BYTES: usize = 254;

/// The body of `POST /messages`. Everything is optional here, so that all that is wrong is told at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageBody {
    to: Option<String>,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    template: Option<String>,
    data: Option<Map<String, Value>>,
    key: Option<String>,
}

/// What a message is to say.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    Ready(Rendered),
    /// A template's name, and what goes into its placeholders.
    Template(String, Map<String, Value>),
}

/// A request that was checked, but for its template.
#[derive(Debug, PartialEq)]
pub(crate) struct NewMessage {
    pub(crate) to: String,
    pub(crate) content: Content,
    pub(crate) key: Option<String>,
}

impl MessageBody {
    /// Trims and checks the fields.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(self, is_html_on: bool) -> Result<NewMessage> {
        let mut problems = Problems::default();
        let to = problems.required_line("to", self.to.as_deref(), MAX_ADDRESS_CHARS);
        if !to.is_empty()
            && let Err(why) = mailbox(&to)
        {
            problems.add("to", why);
        }
        let key = problems.optional_line("key", self.key.as_deref(), MAX_KEY_CHARS);
        let content = if let Some(name) = self.template {
            for (field, is_there) in
                [("subject", self.subject.is_some()), ("text", self.text.is_some()), ("html", self.html.is_some())]
            {
                if is_there {
                    problems.add(field, "comes from the template, and must be left out");
                }
            }
            Content::Template(name, self.data.unwrap_or_default())
        } else {
            if self.data.is_some() {
                problems.add("data", "is for a template, and `template` is left out");
            }
            if self.html.is_some() && !is_html_on {
                problems.add("html", "can't be sent: the tenant's feature `html` is off");
            }
            Content::Ready(Rendered {
                subject: problems.required_line("subject", self.subject.as_deref(), MAX_SUBJECT_CHARS),
                text: problems
                    .optional_prose("text", self.text.as_deref(), MAX_PART_CHARS)
                    .or_else(|| {
                        problems.add("text", if self.text.is_none() { "is required" } else { "must not be empty" });
                        None
                    })
                    .unwrap_or_default(),
                html: problems.optional_prose("html", self.html.as_deref(), MAX_PART_CHARS),
            })
        };
        problems.settle()?;
        Ok(NewMessage { to, content, key })
    }
}

/// Reads `ann@example.com` or `Ann Lee <ann@example.com>`; the whole text, and one address.
///
/// lettre's own parser of this form stops at what it does not understand and forgets the rest, so only its check of the
/// address itself is used.
///
/// # Errors
///
/// What is wrong, as a fragment that reads on from a field's name.
pub(crate) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let text = text.trim();
    let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address),
        None => ("", text),
    };
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    if name.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | '"' | '\\')) {
        return Err("must have a plain name before the address".to_owned());
    }
    if address.len() > MAX_EMAIL_BYTES || address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must have an address of at most 254 bytes without spaces".to_owned());
    }
    let address = Address::from_str(address).map_err(|error| format!("is no e-mail address: {error}"))?;
    Ok(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address))
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// To be handed over.
    Queued,
    /// The server has taken it.
    Sent,
    /// The server refused it for good, or the tries were used up.
    Failed,
}

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// A message as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMessage {
    pub(crate) status: Status,
    /// As asked for.
    pub(crate) to: String,
    /// The address folded, for searching.
    to_key: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) html: Option<String>,
    /// Unique in the tenant where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    pub(crate) queued_at: i64,
    /// When the next try may begin.
    pub(crate) next_try: i64,
    /// How often a try was begun.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// How many of them failed since it was put into the queue the last time.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Begun to be handed over at this time, and nothing is known of the outcome yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handing_over: Option<i64>,
    /// How often that stayed unknown: so many more copies the receiver may have got.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) uncertain: u32,
    /// `Message-ID`, from the first hand-over on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<String>,
    /// Why it waits, where that is not for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// What the server said when it took the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply: Option<String>,
    /// When it was sent or had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl StoredMessage {
    /// A message that is queued now.
    pub(crate) fn new(
        to: String,
        content: Rendered,
        (key, template): (Option<String>, Option<String>),
        created_by: Option<String>,
        now: i64,
    ) -> Self {
        let Rendered { subject, text, html } = content;
        let to_key = to_key(&to);
        Self {
            status: Status::Queued,
            to,
            to_key,
            subject,
            text,
            html,
            key,
            template,
            created_by,
            queued_at: now,
            next_try: now,
            attempts: 0,
            failures: 0,
            handing_over: None,
            uncertain: 0,
            message_id: None,
            reason: None,
            last_error: None,
            reply: None,
            ended_at: None,
        }
    }

    /// Back into the queue, with all tries before it.
    pub(crate) fn queue_again(&mut self, now: i64) {
        (self.status, self.failures, self.next_try, self.ended_at) = (Status::Queued, 0, now, None);
    }
}

/// The address of a receiver, folded.
pub(crate) fn to_key(to: &str) -> String {
    mailbox(to).map_or_else(|_| to.trim().to_lowercase(), |mailbox| mailbox.email.to_string().to_lowercase())
}

/// A message as a client sees it in a listing.
#[derive(Debug, Serialize)]
pub(crate) struct MessageView<'a> {
    id: &'a str,
    status: Status,
    to: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    attempts: u32,
    /// How many copies beyond one the receiver may have got.
    uncertain: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    queued_at: String,
    /// Only while it is queued and does not wait for settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    revision: u64,
}

/// With what it says.
#[derive(Debug, Serialize)]
pub(crate) struct WholeMessage<'a> {
    #[serde(flatten)]
    view: MessageView<'a>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a str>,
}

/// What a client sees of a stored message in a listing.
pub(crate) fn view<'a>(id: &'a str, revision: u64, stored: &'a StoredMessage) -> MessageView<'a> {
    let waits_for_server = stored.status == Status::Queued && stored.reason.is_none();
    MessageView {
        id,
        status: stored.status,
        to: &stored.to,
        subject: &stored.subject,
        key: stored.key.as_deref(),
        template: stored.template.as_deref(),
        created_by: stored.created_by.as_deref(),
        attempts: stored.attempts,
        uncertain: stored.uncertain,
        reason: stored.reason.as_deref(),
        last_error: stored.last_error.as_deref(),
        reply: stored.reply.as_deref(),
        message_id: stored.message_id.as_deref(),
        queued_at: rfc3339(stored.queued_at),
        next_try: waits_for_server.then(|| rfc3339(stored.next_try)),
        ended_at: stored.ended_at.map(rfc3339),
        revision,
    }
}

/// What a client sees of one message.
pub(crate) fn whole<'a>(id: &'a str, revision: u64, stored: &'a StoredMessage) -> WholeMessage<'a> {
    WholeMessage { view: view(id, revision, stored), text: &stored.text, html: stored.html.as_deref() }
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(millis: i64) -> String {
    // A clock so wrong that it has no date is shown as the number it is.
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn check(body: Value) -> Result<NewMessage, String> {
        let body: MessageBody = from_value(body).map_err(|error| error.to_string())?;
        body.check(true).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(check(json!({})).unwrap_err(), "`to` is required; `subject` is required; `text` is required");
        assert_eq!(
            check(json!({"to": "ann", "subject": "a\nBcc: b@c.d", "text": " ", "data": {}, "key": "k\u{0}"})),
            Err("`to` is no e-mail address: Missing domain or user; \
                 `key` must be one line without control characters; \
                 `data` is for a template, and `template` is left out; \
                 `subject` must be one line without control characters; `text` must not be empty"
                .to_owned())
        );
        assert_eq!(
            check(json!({"to": "a@b.c", "template": "hi", "subject": "s", "html": "h"})).unwrap_err(),
            "`subject` comes from the template, and must be left out; \
             `html` comes from the template, and must be left out"
        );
        assert!(check(json!({"to": "a@b.c", "cc": "x"})).unwrap_err().contains("unknown field `cc`"));
    }

    #[test]
    fn html_needs_the_feature() {
        let body: MessageBody =
            from_value(json!({"to": "a@b.c", "subject": "s", "text": "t", "html": "<p>t"})).unwrap();
        let error = body.check(false).unwrap_err().to_string();
        assert_eq!(error, "`html` can't be sent: the tenant's feature `html` is off");
    }

    #[test]
    fn one_receiver_and_no_header_beside_it() {
        for (text, name, address) in [
            ("ann@example.com", None, "ann@example.com"),
            (" Ann Lee <ann@example.com> ", Some("Ann Lee"), "ann@example.com"),
            ("\"Lee, Ann\" <ann@example.com>", Some("Lee, Ann"), "ann@example.com"),
            ("<ann@example.com>", None, "ann@example.com"),
            ("jürgen@bücher.example", None, "jürgen@bücher.example"),
        ] {
            let found = mailbox(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((found.name.as_deref(), found.email.to_string().as_str()), (name, address));
        }
        for text in [
            "",
            "ann",
            "a@b.c, d@e.f",
            "a@b.c d@e.f",
            "a@b.c\r\nBcc: d@e.f",
            "Ann\r\nBcc: d@e.f <a@b.c>",
            "Ann <x@y.z> <a@b.c>",
            "a@b.c>",
            "a@b.c\r\nRCPT TO:<d@e.f>",
            "<a@b.c> SIZE=1",
            "a@b",
            &format!("a@{}.example", "b".repeat(300)),
        ] {
            let found = mailbox(text);
            assert!(found.is_err() || text == "a@b", "{text:?}: {found:?}");
        }
    }

    #[test]
    fn a_message_waits_for_the_server_or_for_settings() {
        let content = Rendered { subject: "s".to_owned(), text: "t".to_owned(), html: None };
        let mut stored = StoredMessage::new("Ann <Ann@B.c>".to_owned(), content, (None, None), None, 0);
        assert_eq!(stored.to_key, "ann@b.c");
        let shown = |stored: &StoredMessage| serde_json::to_value(whole("m1", 1, stored)).unwrap();
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            shown(&stored),
            json!({
                "id": "m1", "status": "queued", "to": "Ann <Ann@B.c>", "subject": "s", "text": "t", "attempts": 0,
                "uncertain": 0, "queued_at": time, "next_try": time, "revision": 1,
            })
        );
        stored.reason = Some("no server".to_owned());
        assert_eq!((&shown(&stored)["reason"], shown(&stored).get("next_try")), (&json!("no server"), None));
    }
}
