//! Keeps what is on the disk up to date: what was read is written there, what was heard of is read, and after a time in
//! which something may have been missed all tenants are compared.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Inner, LastGood,
    last_good::{InHand, Wanted},
};
use crate::{
    names::TenantId,
    stores::{StoreChange, StoreError, said::Said},
};

/// How many tenants are read and written at once.
const PAGE: usize = 200;

/// How long what did not come about waits for the next try.
const RETRY: Duration = Duration::from_secs(1);

/// The least time between two comparisons of all tenants, each of which reads all of them. A guess: whoever loses the
/// store again and again is not to read it all the time.
const COPY_EVERY: Duration = Duration::from_secs(30);

/// Hosts that lose the store together don't read all of it together: by up to so much later.
const SPREAD: Duration = Duration::from_secs(5);

/// When all is to be compared.
#[derive(Default)]
struct Turn {
    /// Not before. At once at the start.
    not_before: Option<Instant>,
    failures: u32,
    /// What was said of failures.
    said: Said,
}

impl Turn {
    fn wait(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    fn succeeded(&mut self) {
        let spread = SPREAD.mul_f64(RandomState::new().hash_one(0) as f64 / u64::MAX as f64);
        *self = Self { not_before: Some(Instant::now() + COPY_EVERY + spread), ..Self::default() };
    }

    /// The longer the more often, as each try may read much before it fails.
    fn failed(&mut self, error: &StoreError) {
        let wait = RETRY.saturating_mul(1 << self.failures.min(10)).min(COPY_EVERY);
        self.not_before = Some(Instant::now() + wait);
        self.failures += 1;
        say("tenants were not copied for a time without the store", error, &mut self.said);
    }
}

/// Keeps the copy up to date.
pub(super) async fn follow(inner: Arc<Inner>) {
    let Some(last_good) = &inner.last_good else { return };
    let mut turn = Turn::default();
    let mut said = Said::default();
    loop {
        let began = Timestamp::now().as_millisecond();
        let is_reached = inner.reach.is_reached();
        if is_reached && turn.wait().is_zero() && last_good.take_everything() {
            match copy_all(&inner, last_good).await {
                Ok(()) => {
                    last_good.copied(Timestamp::now().as_millisecond());
                    turn.succeeded();
                }
                Err(error) => {
                    last_good.note(StoreChange::Everything);
                    turn.failed(&error);
                }
            }
        }
        let (left, written) = write(&inner, last_good, last_good.take()).await;
        match &written {
            Ok(()) => said = Said::default(),
            Err(error) => say("what is for a time without the store was not kept", error, &mut said),
        }
        let is_left = left.is_some();
        last_good.put_back(left);
        if is_left {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        if is_reached {
            last_good.up_to(began);
        }
        let wait = match last_good.is_everything_wanted() {
            // Until the store is back.
            true if !inner.reach.is_reached() => RETRY,
            true => turn.wait(),
            false => Duration::MAX,
        };
        let _ = tokio::time::timeout(wait, last_good.news()).await;
    }
}

/// Once for each reason; whoever tries again every second says little more than that.
fn say(what: &str, error: &StoreError, said: &mut Said) {
    let error = error.with_causes();
    if said.is_new(&error) {
        tracing::warn!(error, "{what}");
    } else {
        tracing::debug!(error, "{what}");
    }
}

/// Writes what is in hand; returns what can't be read or written now, and why it can't be written.
async fn write(inner: &Inner, last_good: &LastGood, in_hand: InHand) -> (InHand, Result<(), StoreError>) {
    let mut left = InHand::default();
    let (mut documents, mut gone) = (Vec::new(), Vec::new());
    for (id, wanted) in in_hand.tenants {
        let Wanted { newest, read } = wanted;
        let found = match read {
            None => Ok(newest.clone()),
            Some(_) => inner.ask(inner.truth.tenant(&id)).await,
        };
        match found {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => gone.push(id),
            Err(error) => {
                // What was known before is better than nothing.
                documents.extend(newest);
                if !matches!(error, StoreError::Tenant(_)) {
                    left.tenants.insert(id, Wanted { newest: None, read });
                }
            }
        }
    }
    let kept = last_good.kept();
    let mut outcome = Ok(());
    if (!documents.is_empty() || !gone.is_empty())
        && let Err(error) = kept.adopt(documents.clone(), gone.clone()).await
    {
        for document in documents {
            left.tenants.entry(document.id.clone()).or_default().keep(document);
        }
        for id in gone {
            left.tenants.entry(id).or_default().want(0);
        }
        outcome = Err(error);
    }
    if in_hand.read_marks {
        match inner.ask(inner.truth.marks()).await {
            Ok(marks) => last_good.keep_marks(&marks),
            Err(_) => left.read_marks = true,
        }
    }
    if let Some(marks) = in_hand.marks
        && let Err(error) = kept.adopt_marks(marks.to_vec()).await
    {
        left.marks = Some(marks);
        outcome = Err(error);
    }
    if let Some(definitions) = in_hand.definitions
        && let Err(error) = kept.adopt_definitions(Option::clone(&definitions)).await
    {
        left.definitions = Some(definitions);
        outcome = Err(error);
    }
    (left, outcome)
}

/// Reads all tenants, page by page, and writes those that differ. Those that are gone from the store go here too. Marks or
/// definitions that can't be read don't keep the tenants from being copied.
async fn copy_all(inner: &Inner, last_good: &LastGood) -> Result<(), StoreError> {
    let reading = last_good.begin_reading();
    let found = inner.ask(inner.truth.definitions()).await;
    let definitions = found.map(|found| last_good.keep_definitions(&found, reading));
    let marks = inner.ask(inner.truth.marks()).await.map(|marks| last_good.keep_marks(&marks));
    let mut after: Option<TenantId> = None;
    loop {
        let page = inner.ask(inner.truth.tenants(after.as_ref(), PAGE)).await?;
        let until = page.tenants.last().map(|tenant| tenant.id.clone()).filter(|_| page.more);
        // What can't be understood there stays as it was here.
        let unreadable = page.unreadable.iter().filter_map(|it| it.tenant.as_deref()?.parse().ok()).collect();
        last_good.kept().adopt_page(after, until.clone(), page.tenants, unreadable).await?;
        match until {
            Some(until) => after = Some(until),
            None => return definitions.and(marks),
        }
    }
}
