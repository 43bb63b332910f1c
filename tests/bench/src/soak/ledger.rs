//! Which version may have given an answer. What is known: when each file was put in its place, and what was answered
//! before. A tenant runs one version at a time, and its versions follow each other in the order of the files, but that
//! it may go back from one that panicked to the one before. So an answer is impossible when
//!
//! - it is by a version whose file was not there yet when it was received, or that never starts;
//! - it is by an older version, and was asked for after an answer by a newer one had been received;
//! - it is by the version before one that panics, was asked for after an answer by that one, and nothing had panicked.
//!
//! That takes no word of the host's. Pure; answers are told in the order in which they were received.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::versions::Mood;
use crate::line::Times;

/// How many of the problems are told in words.
const TOLD: usize = 10;

/// How many reigns of a tenant are remembered: far more than one request can outlast.
const REMEMBERED: usize = 64;

/// A version in force, by its place in the order. Twice the version's number; one more where a tenant has gone back
/// from this version to the one before.
type Reign = usize;

/// One version.
#[derive(Debug)]
pub(super) struct Version {
    mood: Mood,
    /// Just before its file was renamed; nothing of it is possible earlier.
    pub(super) placed: Instant,
    /// The first answer by it that anybody got.
    pub(super) first: Option<Instant>,
    /// By when so many tenants had their first answer by it, in order.
    pub(super) reached: Vec<Instant>,
    /// When the first request of those that panicked was sent.
    panicked: Option<Instant>,
    /// Whether the host has said that it can't be used.
    pub(super) refused: bool,
}

impl Version {
    /// When so many tenants had an answer by it; `None` where they never had.
    pub(super) fn nth(&self, tenants: usize) -> Option<Instant> {
        self.reached.get(tenants.checked_sub(1)?).copied()
    }
}

/// What one tenant was answered by a version that panics.
#[derive(Debug, Default)]
struct Bad {
    answers: u64,
    panics: u64,
}

/// What one tenant was answered.
#[derive(Debug, Default)]
struct Tenant {
    /// What was in force, in order, each with the first answer by it.
    reigns: Vec<(Reign, Instant)>,
    bad: BTreeMap<usize, Bad>,
}

impl Tenant {
    /// Whether something later was seen before a request was sent.
    fn is_overtaken(&self, reign: Reign, sent: Instant) -> bool {
        self.reigns.iter().rev().take_while(|(later, _)| *later > reign).any(|(_, first)| *first < sent)
    }

    /// Notes an answer; says whether it is the first of its reign.
    fn note(&mut self, reign: Reign, received: Instant) -> bool {
        let at = self.reigns.partition_point(|(earlier, _)| *earlier < reign);
        if self.reigns.get(at).is_some_and(|(found, _)| *found == reign) {
            return false;
        }
        self.reigns.insert(at, (reign, received));
        if self.reigns.len() > REMEMBERED {
            self.reigns.remove(0);
        }
        true
    }
}

/// Everything that was asked and answered.
#[derive(Debug)]
pub(super) struct Ledger {
    panics_at: u32,
    versions: Vec<Version>,
    tenants: Vec<Tenant>,
    /// Tenants that seem to have gone back from a version before its panic was heard of; with the time of the answer.
    unexplained: Vec<(usize, usize, Instant)>,
    pub(super) requests: u64,
    pub(super) streams: u64,
    /// Without an answer.
    pub(super) lost: u64,
    /// With an impossible one.
    pub(super) wrong: u64,
    pub(super) panics: u64,
    /// Some of what was lost or wrong, in words.
    pub(super) told: Vec<String>,
}

impl Ledger {
    pub(super) fn new(tenants: usize, panics_at: u32) -> Self {
        Self {
            panics_at,
            versions: Vec::new(),
            tenants: std::iter::repeat_with(Tenant::default).take(tenants).collect(),
            unexplained: Vec::new(),
            requests: 0,
            streams: 0,
            lost: 0,
            wrong: 0,
            panics: 0,
            told: Vec::new(),
        }
    }

    /// Says that the next version's file is about to be put in its place; returns the number of the version.
    pub(super) fn place(&mut self, mood: Mood, now: Instant) -> usize {
        let (first, panicked) = (None, None);
        self.versions.push(Version { mood, placed: now, first, reached: Vec::new(), panicked, refused: false });
        self.versions.len() - 1
    }

    /// How many versions there were.
    pub(super) fn count(&self) -> usize {
        self.versions.len()
    }

    pub(super) fn version(&self, version: usize) -> &Version {
        &self.versions[version]
    }

    /// All versions so far, of a mood.
    pub(super) fn of(&self, mood: Mood) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(move |version| version.mood == mood)
    }

    /// Says that the host has refused a version.
    pub(super) fn refuse(&mut self, version: usize) {
        if let Some(version) = self.versions.get_mut(version) {
            version.refused = true;
        }
    }

    /// How many tenants have gone back from a version.
    pub(super) fn back_from(&self, version: usize) -> usize {
        self.tenants.iter().filter(|tenant| tenant.reigns.iter().any(|(reign, _)| *reign == 2 * version + 1)).count()
    }

    /// A good answer by a version.
    pub(super) fn answered(&mut self, tenant: usize, version: usize, times: Times) {
        if self.versions.get(version).is_some_and(|known| known.mood == Mood::Panics) {
            self.tenants[tenant].bad.entry(version).or_default().answers += 1;
        }
        self.streamed(tenant, version, times);
    }

    /// A stream by a version, which counts for nothing where it panics.
    pub(super) fn streamed(&mut self, tenant: usize, version: usize, times: Times) {
        let may_run = |known: &Version| known.placed <= times.received && known.mood != Mood::Refuses;
        if !self.versions.get(version).is_some_and(may_run) {
            self.impossible(tenant, times, &format!("an answer by version {version}, which can't be in force"));
            return;
        }
        let left_for = self.left_for(version);
        let of = &mut self.tenants[tenant];
        if !of.is_overtaken(2 * version, times.sent) {
            if of.note(2 * version, times.received) {
                let known = &mut self.versions[version];
                known.first.get_or_insert(times.received);
                known.reached.push(times.received);
            }
            return;
        }
        let Some(from) = left_for.filter(|from| !of.is_overtaken(2 * from + 1, times.sent)) else {
            self.impossible(tenant, times, &format!("an answer by version {version} after one by a newer version"));
            return;
        };
        if of.note(2 * from + 1, times.received) {
            self.unexplained.push((tenant, from, times.received));
        }
    }

    /// The version that panics from which one goes back to this one.
    fn left_for(&self, version: usize) -> Option<usize> {
        let mut after = self.versions.iter().enumerate().skip(version + 1);
        let (next, found) = after.find(|(_, next)| next.mood != Mood::Refuses)?;
        (found.mood == Mood::Panics).then_some(next)
    }

    /// An answer that says that the request panicked.
    pub(super) fn panicked(&mut self, tenant: usize, times: Times) {
        self.panics += 1;
        let of = &self.tenants[tenant];
        let may_be = |(version, it): &(usize, &Version)| {
            it.mood == Mood::Panics && it.placed <= times.received && !of.is_overtaken(2 * version, times.sent)
        };
        let Some(version) = self.versions.iter().enumerate().rev().find(may_be).map(|(version, _)| version) else {
            self.impossible(tenant, times, "a panic while no version that panics was in force");
            return;
        };
        self.tenants[tenant].bad.entry(version).or_default().panics += 1;
        let panicked = &mut self.versions[version].panicked;
        *panicked = Some(panicked.map_or(times.sent, |first| first.min(times.sent)));
    }

    /// An answer that nothing explains.
    pub(super) fn impossible(&mut self, tenant: usize, times: Times, what: &str) {
        self.wrong += 1;
        self.tell(tenant, times, what);
    }

    /// A version that was not taken up in time.
    pub(super) fn missed(&mut self, version: usize) {
        self.wrong += 1;
        let Version { mood, reached, refused, .. } = &self.versions[version];
        let what =
            format!("version {version} ({mood:?}) was not taken up: {} tenants, refused: {refused}", reached.len());
        self.told.push(what);
    }

    /// No answer.
    pub(super) fn lost(&mut self, tenant: usize, times: Times, why: &str) {
        self.lost += 1;
        self.tell(tenant, times, why);
    }

    fn tell(&mut self, tenant: usize, times: Times, what: &str) {
        if self.told.len() < TOLD {
            let (version, lasted) = (self.versions.len().saturating_sub(1), times.received - times.sent);
            let since = self
                .versions
                .last()
                .map_or(Duration::ZERO, |last| times.received.saturating_duration_since(last.placed));
            self.told.push(format!(
                "tenant {tenant}, {lasted:?} after it was sent, {since:?} after version {version} was put in place: {what}"
            ));
        }
    }

    /// When nothing more comes: what is still not explained is wrong, and so are more panics than requests allow.
    pub(super) fn close(&mut self) {
        for (tenant, version, received) in std::mem::take(&mut self.unexplained) {
            if self.versions[version].panicked.is_none_or(|sent| sent > received) {
                let times = Times { sent: received, received };
                self.impossible(tenant, times, &format!("gone back from version {version}, which had not panicked"));
            }
        }
        let mut too_many = 0;
        for tenant in &self.tenants {
            for bad in tenant.bad.values() {
                let possible = (bad.answers + bad.panics) / u64::from(self.panics_at);
                too_many += bad.panics.saturating_sub(possible);
            }
        }
        if too_many > 0 {
            self.wrong += too_many;
            self.told.push(format!("{too_many} panics more than the requests allow"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with one tenant and versions that were placed at the full seconds.
    struct Case {
        start: Instant,
        ledger: Ledger,
    }

    impl Case {
        fn new(moods: &[Mood]) -> Self {
            let start = Instant::now();
            let mut ledger = Ledger::new(1, 2);
            for (second, mood) in moods.iter().enumerate() {
                ledger.place(*mood, start + Duration::from_secs(second as u64));
            }
            Self { start, ledger }
        }

        fn times(&self, sent: f64, received: f64) -> Times {
            let at = |seconds| self.start + Duration::from_secs_f64(seconds);
            Times { sent: at(sent), received: at(received) }
        }

        fn answered(&mut self, version: usize, sent: f64, received: f64) -> u64 {
            let times = self.times(sent, received);
            self.ledger.answered(0, version, times);
            self.ledger.wrong
        }

        fn panicked(&mut self, sent: f64, received: f64) {
            let times = self.times(sent, received);
            self.ledger.panicked(0, times);
        }

        fn close(mut self) -> u64 {
            self.ledger.close();
            self.ledger.wrong
        }
    }

    #[test]
    fn what_was_asked_before_the_move_may_be_answered_by_either() {
        let mut case = Case::new(&[Mood::Calm, Mood::Calm]);
        assert_eq!(case.answered(0, 0.1, 0.2), 0);
        assert_eq!(case.answered(0, 1.1, 1.2), 0, "the file is there, the tenant has not moved");
        assert_eq!(case.answered(1, 1.3, 1.4), 0);
        assert_eq!(case.answered(0, 1.35, 1.5), 0, "asked for before an answer by the new one was there");
        assert_eq!(case.ledger.version(1).reached.len(), 1);
        assert_eq!(case.answered(0, 1.45, 1.6), 1, "the old one after the new one");
        assert_eq!(case.close(), 1);
    }

    #[test]
    fn a_version_can_not_answer_before_its_file_is_there_nor_one_that_never_starts() {
        let mut case = Case::new(&[Mood::Calm, Mood::Calm, Mood::Refuses]);
        assert_eq!(case.answered(1, 0.5, 0.9), 1);
        assert_eq!(case.answered(2, 2.5, 2.9), 2);
        assert_eq!(case.answered(9, 2.5, 2.9), 3);
    }

    #[test]
    fn a_tenant_goes_back_after_a_panic_and_only_then() {
        let moods = [Mood::Calm, Mood::Refuses, Mood::Panics, Mood::Calm];
        let mut case = Case::new(&moods);
        case.answered(2, 2.1, 2.2);
        assert_eq!(case.ledger.back_from(2), 0);
        // The answer of the one before may be there sooner than the panic's.
        case.answered(0, 2.5, 2.6);
        case.panicked(2.3, 2.7);
        assert_eq!(case.ledger.back_from(2), 1);
        assert_eq!(case.answered(0, 2.7, 2.8), 0);
        assert_eq!(case.answered(3, 3.1, 3.2), 0);
        assert_eq!(case.answered(2, 2.55, 3.3), 0, "it was still there when this was asked for");
        assert_eq!(case.answered(2, 2.9, 3.4), 1, "the one that was left");
        assert_eq!(case.answered(0, 3.3, 3.5), 2, "back, and then moved on");
        assert_eq!(case.close(), 2);

        let mut case = Case::new(&moods);
        case.answered(2, 2.1, 2.2);
        case.answered(0, 2.5, 2.6);
        assert_eq!(case.close(), 1, "nothing had panicked");
    }

    #[test]
    fn there_can_not_be_more_panics_than_requests_allow() {
        let mut case = Case::new(&[Mood::Calm, Mood::Panics]);
        case.panicked(0.5, 0.6);
        assert_eq!(case.ledger.wrong, 1, "nothing that panics is there yet");
        case.answered(1, 1.1, 1.2);
        case.panicked(1.1, 1.3);
        assert_eq!(case.ledger.wrong, 1);
        // The second panic would take two requests more.
        case.panicked(1.4, 1.5);
        assert_eq!(case.close(), 2);
    }
}
