//! New code is watched for a while after a tenant has moved to it: what does worse than what ran before is left again.
//! Counts and limits only; the supervisor decides.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How new code proves itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReloadSettings {
    /// How long it is watched after a tenant has moved to it; zero watches nothing.
    pub probation: Duration,
    /// Before so many requests no rate is compared.
    pub min_requests: u64,
    /// By how much its share of failed requests may be above that of what ran before, from 0 to 1.
    pub failure_margin: f64,
    /// When more than this share of a module's tenants can't use a content, from 0 to 1, all leave it.
    pub failed_share: f64,
    /// After so many panics of one tenant's instances within the window, they are quarantined.
    pub panic_limit: usize,
    /// See `panic_limit`.
    pub panic_window: Duration,
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self {
            probation: Duration::from_secs(60),
            min_requests: 200,
            // Guesses: far enough from noise at 200 requests, near enough to be soon.
            failure_margin: 0.05,
            failed_share: 0.5,
            panic_limit: 10,
            panic_window: Duration::from_secs(60),
        }
    }
}

/// What one tenant's instances of one code came to. Written on failures and when an instance ends, not for each request.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Requests of instances that are gone.
    pub(super) requests_before: AtomicU64,
    /// Requests that ended with 500 or more by the module's fault, panics included.
    pub(super) failures: AtomicU64,
    /// Panics of handlers, hooks and tasks.
    pub(super) panics: AtomicU64,
}

/// What new code is measured by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Baseline {
    /// What ran before, such as `1.0.0`; `None` where nothing did.
    pub(super) version: Option<String>,
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) panics: u64,
}

impl Baseline {
    fn failure_rate(&self) -> f64 {
        rate(self.failures, self.requests)
    }
}

fn rate(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// A probation under way.
#[derive(Debug)]
pub(super) struct Probation {
    pub(super) baseline: Baseline,
    pub(super) began: Instant,
    /// Set by the first who found it past the limits: one report is enough.
    pub(super) tripped: AtomicBool,
}

impl Probation {
    pub(super) fn new(baseline: Baseline) -> Self {
        Self { baseline, began: Instant::now(), tripped: AtomicBool::new(false) }
    }

    /// Why the code is not good enough; `None` while it is. Looked at after each failure.
    pub(super) fn verdict(&self, requests: u64, record: &Record, settings: &ReloadSettings) -> Option<String> {
        let (failures, panics) = (record.failures.load(Ordering::Relaxed), record.panics.load(Ordering::Relaxed));
        let before = self.baseline.version.as_deref().unwrap_or("nothing");
        if panics > 0 && self.baseline.panics == 0 {
            return Some(format!("it panicked, which {before} did not"));
        }
        let counts = requests >= settings.min_requests;
        let (now, then) = (rate(failures, requests), self.baseline.failure_rate());
        if counts && now > then + settings.failure_margin {
            return Some(format!(
                "{failures} of {requests} requests failed ({:.1} %), {:.1} % with {before}",
                now * 100.0,
                then * 100.0
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(baseline: (u64, u64, u64), requests: u64, failures: u64, panics: u64) -> Option<String> {
        let (before, failed, panicked) = baseline;
        let version = Some("1.0.0".to_owned());
        let probation = Probation::new(Baseline { version, requests: before, failures: failed, panics: panicked });
        let record = Record::default();
        record.failures.store(failures, Ordering::Relaxed);
        record.panics.store(panics, Ordering::Relaxed);
        probation.verdict(requests, &record, &ReloadSettings::default())
    }

    #[test]
    fn a_panic_is_too_much_unless_the_old_code_panicked_too() {
        assert_eq!(verdict((1_000, 0, 0), 1, 1, 1).unwrap(), "it panicked, which 1.0.0 did not");
        assert_eq!(verdict((1_000, 5, 5), 1, 1, 1), None);
    }

    #[test]
    fn the_share_of_failures_counts_after_enough_requests_and_against_the_old_one() {
        assert_eq!(verdict((1_000, 0, 0), 199, 199, 0), None);
        let text = "20 of 200 requests failed (10.0 %), 1.0 % with 1.0.0";
        assert_eq!(verdict((1_000, 10, 0), 200, 20, 0).as_deref(), Some(text));
        assert_eq!(verdict((1_000, 10, 0), 200, 11, 0), None);
        assert_eq!(verdict((1_000, 500, 0), 200, 100, 0), None);
        // Nothing ran before: nothing is the measure.
        assert!(verdict((0, 0, 0), 200, 11, 0).is_some());
    }
}
