//! What came of the soak, as lines of the report.

use std::time::{Duration, Instant};

use super::{asking::Books, host::Memory, ledger::Version, versions::Mood};
use crate::{
    report::{Goal, Line, Report},
    stats::{Latencies, Spread},
};

/// What was counted and measured.
pub(super) struct Figures<'a> {
    pub(super) books: &'a Books,
    pub(super) tenants: usize,
    /// Requests a second.
    pub(super) peak: f64,
    pub(super) rate: f64,
    /// How long files were replaced.
    pub(super) lasted: Duration,
    /// Libraries that are out of use and still mapped.
    pub(super) mapped: usize,
    pub(super) before: Memory,
    pub(super) after: Memory,
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn count(row: &'static str, what: impl Into<String>, number: u64) -> Line {
    Line::of_figure(row, what, number as f64, "")
}

impl Figures<'_> {
    /// Why the soak has failed; `None` where it has not.
    pub(super) fn problems(&self) -> Option<String> {
        let ledger = &self.books.ledger;
        if ledger.lost == 0 && ledger.wrong == 0 && self.mapped == 0 {
            return None;
        }
        let mut text = format!("{} lost, {} wrong, {} still mapped", ledger.lost, ledger.wrong, self.mapped);
        for told in &ledger.told {
            text.push_str("\n  ");
            text.push_str(told);
        }
        Some(text)
    }

    pub(super) fn report(&self, machine: String) -> Report {
        let mut report = Report { machine, ..Report::default() };
        self.answers(&mut report.lines);
        self.reloads(&mut report.lines);
        self.latencies(&mut report.lines);
        let (before, after) = (self.before, self.after);
        let memory = |what: &str, megabytes: f64| Line::of_figure("memory", what, megabytes, "MB");
        report.lines.extend([
            count("memory", "generations still mapped", self.mapped as u64).with_goal(Goal::AtMost(0.0)),
            memory("at the start", before.all),
            memory("at the end", after.all),
            memory("growth", after.all - before.all).with_goal(Goal::AtMost(5.0)),
            memory("growth without pages of files", after.anonymous - before.anonymous),
        ]);
        self.notes(&mut report.notes);
        report
    }

    fn answers(&self, lines: &mut Vec<Line>) {
        let ledger = &self.books.ledger;
        lines.extend([
            Line::of_figure("answers", format!("peak, {} tenants", self.tenants), self.peak, "req/s"),
            Line::of_figure("answers", "asked for", self.rate, "req/s"),
            count("answers", "requests", ledger.requests),
            count("answers", "streams among them", ledger.streams),
            count("answers", "lost", ledger.lost).with_goal(Goal::AtMost(0.0)),
            count("answers", "wrong", ledger.wrong).with_goal(Goal::AtMost(0.0)),
            count("answers", "declared panics", ledger.panics),
        ]);
    }

    fn reloads(&self, lines: &mut Vec<Line>) {
        let ledger = &self.books.ledger;
        // The first version was there from the start.
        let moved = [Mood::Calm, Mood::Slow, Mood::Panics]
            .into_iter()
            .flat_map(|mood| ledger.of(mood))
            .filter(|version| version.first.is_some())
            .count()
            .saturating_sub(1);
        let refused = ledger.of(Mood::Refuses).filter(|version| version.refused).count();
        let files = count("reloads", "files replaced", ledger.count() as u64 - 1);
        // 1,000 in five minutes.
        let wanted = 1_000.0 / 300.0 * self.lasted.as_secs_f64();
        lines.extend([
            files,
            count("reloads", "put in force", moved as u64).with_goal(Goal::AtLeast(wanted.floor())),
            count("reloads", "refused, as they should be", refused as u64),
        ]);
        let since = |version: &Version, at: Option<Instant>| at.map(|at| millis(at.duration_since(version.placed)));
        let good = || ledger.of(Mood::Calm).skip(1);
        let first = good().filter_map(|version| since(version, version.first));
        let all = good().filter_map(|version| since(version, version.nth(self.tenants)));
        spread(lines, "reloads", "file replaced to first answer by the new code", first, Some(150.0));
        spread(lines, "reloads", "file replaced to all tenants answering by it", all, Some(2_000.0));
        let others = ledger.of(Mood::Slow).filter_map(|version| since(version, version.nth(self.tenants - 1)));
        spread(lines, "reloads", "the same for all but one whose initialize takes 1 s", others, Some(2_000.0));
        let swaps = self.books.swaps.iter().map(|swap| millis(*swap));
        spread(lines, "reloads", "the swap itself", swaps, Some(2.0));
    }

    fn latencies(&self, lines: &mut Vec<Line>) {
        let windows = &self.books.windows;
        let of = |latencies: &Latencies, per_mille| latencies.per_mille(per_mille).map(|it| it.as_secs_f64() * 1e6);
        for (what, latencies) in [("far from swaps", &windows.far), ("within 25 ms of a swap", &windows.near)] {
            for (name, per_mille) in [("p50", 500), ("p99", 990)] {
                let figure = of(latencies, per_mille);
                lines.extend(figure.map(|it| Line::of_figure("latency", format!("{name} {what}"), it, "us")));
            }
        }
        if let (Some(near), Some(far)) = (of(&windows.near, 990), of(&windows.far, 990)) {
            let ratio = Line::of_figure("latency", "p99 near over far", near / far, "x");
            lines.push(ratio.with_goal(Goal::AtMost(2.0)));
        }
        for (what, latencies) in [("longest, far", &windows.far), ("longest, near", &windows.near)] {
            lines.push(Line::of_figure("latency", what, millis(latencies.most()), "ms"));
        }
    }

    fn notes(&self, notes: &mut Vec<String>) {
        if cfg!(debug_assertions) {
            notes.push("a debug build: times and memory mean nothing".to_owned());
        }
        notes.push(format!(
            "a request was sent up to {:.1} ms after it was due, mostly because its connection still waited",
            millis(self.books.late)
        ));
        if self.books.ledger.panics == 0 && self.books.ledger.of(Mood::Panics).next().is_some() {
            notes.push("no tenant had enough requests to come to the one that panics".to_owned());
        }
    }
}

/// Median with 99th percentile.
fn spread(
    lines: &mut Vec<Line>,
    row: &'static str,
    what: &str,
    numbers: impl Iterator<Item = f64>,
    at_most: Option<f64>,
) {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let Some(found) = Spread::of(numbers.iter().copied()) else { return };
    let line = Line::of_spread(row, format!("{what}, median"), found, "ms");
    lines.push(match at_most {
        Some(limit) => line.with_goal(Goal::AtMost(limit)),
        None => line,
    });
    let at = (numbers.len() * 99).div_ceil(100).max(1) - 1;
    lines.push(Line::of_figure(row, format!("{what}, p99"), numbers[at], "ms"));
}
