//! Takes a message from the queue when its wake-up comes, and writes down what came of it.
//!
//! The host gives a wake-up to one host at a time, and refuses writes of one that lost it. So a message is handed over
//! by whoever has just written that it does so; whoever finds that written and no outcome knows that another was ended
//! in between, hands it over again, and says so on the message.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use futures_util::future::{Either, select};
use module_api::prelude::*;

use crate::{
    EmailService, WRITE_ATTEMPTS,
    message::{Status, StoredMessage, mailbox},
    schedule::pause,
    settings::{MailSettings, Server},
    smtp::{self, Letter, Trouble},
};

/// The wake-up that looks at all that waits, after the settings were changed. No id of a message is like it.
pub(crate) const SETTINGS_CHANGED: &str = "settings-changed";

/// What waits for settings looks for them this often, in case nobody told. A choice.
const LOOK_AGAIN: Duration = Duration::from_secs(900);

/// Beyond the time that the network has: for threads that are busy. A guess.
const GRACE: Duration = Duration::from_secs(2);

/// How long a hand-over without an outcome is taken for one that is going on.
const GOING_ON_MILLIS: i64 = 60_000;

/// Page of the store's greatest size.
const PAGE: usize = 200;

/// What a try came to.
enum Outcome {
    Sent(String),
    Failed(Trouble),
}

impl StoredMessage {
    /// Whether somebody is handing it over right now.
    pub(crate) fn is_being_handed_over(&self, now: i64) -> bool {
        self.handing_over.is_some_and(|since| now.saturating_sub(since) < GOING_ON_MILLIS)
    }

    /// Counts a hand-over whose outcome nobody wrote down; says whether there was one.
    fn settle_unknown(&mut self) -> bool {
        let is_unknown = self.handing_over.take().is_some();
        if is_unknown {
            self.uncertain += 1;
            self.last_error = Some("a host ended while it handed the message over; it may have arrived".to_owned());
        }
        is_unknown
    }

    /// Writes an outcome down.
    fn settle(&mut self, outcome: &Outcome, (attempts, first): (u32, Duration), now: i64) {
        self.handing_over = None;
        self.reason = None;
        let (text, is_over) = match outcome {
            Outcome::Sent(reply) => {
                (self.status, self.reply, self.ended_at) = (Status::Sent, Some(reply.clone()), Some(now));
                self.last_error = None;
                return;
            }
            Outcome::Failed(Trouble::Refused(text)) => (text.clone(), true),
            Outcome::Failed(Trouble::Passing(text)) => (text.clone(), false),
            Outcome::Failed(Trouble::Unknown(text)) => {
                self.uncertain += 1;
                (format!("no answer came after the message was sent; it may have arrived: {text}"), false)
            }
        };
        self.last_error = Some(text);
        self.failures += 1;
        if is_over || self.failures >= attempts {
            (self.status, self.ended_at) = (Status::Failed, Some(now));
        } else {
            let pause = i64::try_from(pause(first, self.failures).as_millis()).unwrap_or(i64::MAX);
            self.next_try = now.saturating_add(pause);
        }
    }
}

fn time_of(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl EmailService {
    /// Sees to it that a message is looked at.
    pub(crate) async fn wake(&self, id: &str, millis: i64) -> Result<()> {
        Ok(self.tenant.wake_at(id, time_of(millis)).await?)
    }

    /// As [`Self::wake`], from inside the message's own wake-up. What others have set meanwhile was just overwritten: if
    /// they moved the next try forward, this one gives way.
    async fn wake_later(&self, id: &str, millis: i64) -> Result<()> {
        self.wake(id, millis).await?;
        match self.messages.get(id).await? {
            Some(found) if found.value.next_try < millis => self.wake(id, found.value.next_try).await,
            _ => Ok(()),
        }
    }

    /// Tries to hand a message over, where it is due.
    pub(crate) async fn deliver(&self, id: &str) -> Result<()> {
        let Some(found) = self.messages.get(id).await? else { return Ok(()) };
        let now = self.tenant.now_millis();
        if found.value.status != Status::Queued {
            return Ok(());
        }
        if found.value.next_try > now {
            return self.wake_later(id, found.value.next_try).await;
        }
        let settings = MailSettings::of(&self.tenant)?;
        let plan = (settings.attempts(), settings.retry());
        let server = match settings.server() {
            Ok(server) => server,
            Err(reason) => return self.wait(id, &reason).await,
        };
        match self.attempt(id, found, server).await? {
            None => Ok(()),
            Some((outcome, is_handed_over)) => self.record(id, &outcome, plan, is_handed_over).await,
        }
    }

    /// One try. `None` where the message is not this one's business any more; else the outcome, and whether the try is
    /// counted in the document already.
    async fn attempt(
        &self,
        id: &str,
        found: Document<StoredMessage>,
        server: Server,
    ) -> Result<Option<(Outcome, bool)>> {
        let Document { mut value, revision, .. } = found;
        let message_id = value.message_id.clone().unwrap_or_else(|| message_id(id, &server));
        let to = match mailbox(&value.to) {
            Ok(to) => to,
            Err(why) => return Ok(Some((Outcome::Failed(Trouble::Refused(format!("`to` {why}"))), false))),
        };
        let letter = Letter {
            to,
            subject: value.subject.clone(),
            text: value.text.clone(),
            html: value.html.clone(),
            message_id: message_id.clone(),
            date: time_of(value.queued_at),
        };
        // Half of the time for each half of the conversation.
        let limit = server.timeout / 2;
        let begun = self.within(limit, move || smtp::begin(&server, letter, limit)).await?;
        let ready = match begun {
            Some(Ok(ready)) => ready,
            Some(Err(trouble)) => return Ok(Some((Outcome::Failed(trouble), false))),
            None => {
                let text = "the server took too long, or its name could not be looked up".to_owned();
                return Ok(Some((Outcome::Failed(Trouble::Passing(text)), false)));
            }
        };
        if value.settle_unknown() {
            self.tell_unknown(id, &value);
        }
        value.attempts += 1;
        value.message_id = Some(message_id);
        value.handing_over = Some(self.tenant.now_millis());
        match self.messages.put(id, &value, revision).await {
            Ok(_) => {}
            // Taken back, or queued anew: nothing was handed over yet.
            Err(StoreError::Missing) => return Ok(None),
            Err(StoreError::Revision) => {
                self.wake(id, self.tenant.now_millis()).await?;
                return Ok(None);
            }
            Err(other) => return Err(other.into()),
        }
        Ok(Some(match self.within(limit, move || smtp::hand_over(ready, limit)).await? {
            Some(Ok((reply, connection))) => {
                let tenant = self.tenant.clone();
                // Beside the outcome, which is not to wait for it. It may not happen at all.
                let _ = self.tenant.spawn(async move {
                    let _ = tenant.blocking(move || smtp::leave(connection)).await;
                });
                (Outcome::Sent(reply), true)
            }
            Some(Err(trouble)) => (Outcome::Failed(trouble), true),
            None => (Outcome::Failed(Trouble::Unknown("the server took too long".to_owned())), true),
        }))
    }

    /// Runs what blocks; `None` where it does not end in time, which it has by its own measure too.
    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let work = pin!(self.tenant.blocking(work));
        let time = pin!(self.tenant.sleep(limit + GRACE));
        match select(work, time).await {
            Either::Left((done, _)) => Ok(Some(done?)),
            Either::Right(_) => Ok(None),
        }
    }

    /// Writes an outcome down, and sets the next wake-up.
    async fn record(&self, id: &str, outcome: &Outcome, plan: (u32, Duration), is_counted: bool) -> Result<()> {
        let now = self.tenant.now_millis();
        let written = self.change(id, |message| {
            if !is_counted {
                message.attempts += 1;
                if message.settle_unknown() {
                    self.tell_unknown(id, message);
                }
            }
            message.settle(outcome, plan, now);
        });
        let Some(message) = written.await? else { return Ok(()) };
        let (to, error) = (&*message.to, message.last_error.as_deref().unwrap_or_default());
        match message.status {
            Status::Sent => tracing::info!(id, "a message was sent"),
            Status::Failed => tracing::warn!(id, to, attempts = message.attempts, error, "a message failed"),
            Status::Queued => {
                tracing::info!(id, attempts = message.attempts, error, "a message was not sent yet");
                self.wake_later(id, message.next_try).await?;
            }
        }
        Ok(())
    }

    fn tell_unknown(&self, id: &str, message: &StoredMessage) {
        let (to, uncertain) = (&*message.to, message.uncertain);
        tracing::warn!(id, to, uncertain, "a message is handed over again: nothing is known of the last time");
    }

    /// Leaves a message in the queue until there are settings for it.
    async fn wait(&self, id: &str, reason: &str) -> Result<()> {
        let is_told =
            |message: &StoredMessage| message.reason.as_deref() == Some(reason) && message.handing_over.is_none();
        let known = self.messages.get(id).await?.is_some_and(|found| is_told(&found.value));
        if !known {
            self.change(id, |message| {
                if message.settle_unknown() {
                    self.tell_unknown(id, message);
                }
                message.reason = Some(reason.to_owned());
            })
            .await?;
        }
        let later = i64::try_from(LOOK_AGAIN.as_millis()).unwrap_or(i64::MAX);
        let now = self.tenant.now_millis();
        self.wake(id, now.saturating_add(later)).await?;
        // Settings that came meanwhile have set a wake-up, which was just overwritten.
        let is_ready = MailSettings::of(&self.tenant)?.server().is_ok();
        if is_ready { self.wake(id, now).await } else { Ok(()) }
    }

    /// Changes a message that is still queued, whoever else writes it; `None` where it is not.
    async fn change(&self, id: &str, apply: impl Fn(&mut StoredMessage)) -> Result<Option<StoredMessage>> {
        for _ in 0..WRITE_ATTEMPTS {
            let Some(mut found) = self.messages.get(id).await? else { return Ok(None) };
            if found.value.status != Status::Queued {
                return Ok(None);
            }
            apply(&mut found.value);
            match self.messages.put(id, &found.value, found.revision).await {
                Ok(_) => return Ok(Some(found.value)),
                Err(StoreError::Revision) => {}
                Err(StoreError::Missing) => return Ok(None),
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::internal(format!("others keep writing message {id}")))
    }

    /// After new settings: all that waits is due now.
    pub(crate) async fn hurry(&self) -> Result<()> {
        let mut query = Query::new().equal("status", Status::Queued.as_str()).limit(PAGE);
        loop {
            let page = self.messages.find(&query).await?;
            let now = self.tenant.now_millis();
            for mut found in page.documents {
                if found.value.handing_over.is_none() && found.value.next_try > now {
                    found.value.next_try = now;
                    match self.messages.put(&found.id, &found.value, found.revision).await {
                        // Somebody is at it.
                        Ok(_) | Err(StoreError::Revision | StoreError::Missing) => {}
                        Err(other) => return Err(other.into()),
                    }
                }
                self.wake(&found.id, now).await?;
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(()),
            }
        }
    }
}

/// The same at each try, so that receivers can tell a repetition.
fn message_id(id: &str, server: &Server) -> String {
    let domain = server.from.email.domain();
    format!("<{id}@{}>", if domain.is_ascii() { domain } else { "localhost" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Rendered;

    const PLAN: (u32, Duration) = (3, Duration::from_secs(60));

    fn message() -> StoredMessage {
        let content = Rendered { subject: "s".to_owned(), text: "t".to_owned(), html: None };
        StoredMessage::new("a@b.c".to_owned(), content, (None, None), None, 1_000)
    }

    fn failed(trouble: fn(String) -> Trouble) -> Outcome {
        Outcome::Failed(trouble("why".to_owned()))
    }

    #[test]
    fn passing_trouble_is_waited_out_until_the_tries_are_used_up() {
        let mut stored = message();
        let mut seen = Vec::new();
        for now in [1_000, 61_000, 361_000] {
            stored.settle(&failed(Trouble::Passing), PLAN, now);
            seen.push((stored.status, stored.next_try));
        }
        assert_eq!(seen, [(Status::Queued, 61_000), (Status::Queued, 361_000), (Status::Failed, 361_000)]);
        assert_eq!((stored.last_error.as_deref(), stored.uncertain), (Some("why"), 0));
        stored.queue_again(400_000);
        assert_eq!((stored.status, stored.failures, stored.next_try), (Status::Queued, 0, 400_000));
    }

    #[test]
    fn what_is_refused_is_over_at_once() {
        let mut stored = message();
        stored.settle(&failed(Trouble::Refused), PLAN, 2_000);
        assert_eq!((stored.status, stored.ended_at, stored.failures), (Status::Failed, Some(2_000), 1));
    }

    #[test]
    fn a_hand_over_without_an_outcome_is_counted_once() {
        let mut stored = message();
        stored.handing_over = Some(1_000);
        assert!(stored.is_being_handed_over(60_999) && !stored.is_being_handed_over(61_000));
        assert!(stored.settle_unknown() && !stored.settle_unknown());
        assert_eq!(stored.uncertain, 1);
        stored.handing_over = Some(2_000);
        stored.settle(&failed(Trouble::Unknown), PLAN, 3_000);
        assert_eq!((stored.uncertain, stored.handing_over, stored.status), (2, None, Status::Queued));
        stored.settle(&Outcome::Sent("250 ok".to_owned()), PLAN, 4_000);
        assert_eq!((stored.status, stored.uncertain, stored.last_error.as_deref()), (Status::Sent, 2, None));
    }
}
