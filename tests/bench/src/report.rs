//! What is printed: a table for people, or the same as JSON for programs. Pure.

use std::fmt::Write;

use serde::Serialize;

use crate::stats::Spread;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// How a figure stands to its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Met,
    Missed,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) what: String,
    pub(crate) figure: f64,
    /// `req/s`, `ns`, `ms`, `us`, `s`, `B`, `MB`; `x` for ratios, nothing for what is counted.
    pub(crate) unit: &'static str,
    /// How far the rounds went, see [`Spread`]; `None` where the figure is not a median of rounds.
    pub(crate) range: Option<(f64, f64)>,
    /// `None` where the figure is there to explain others.
    pub(crate) goal: Option<Goal>,
}

impl Line {
    pub(crate) fn of_spread(row: &'static str, what: impl Into<String>, spread: Spread, unit: &'static str) -> Self {
        let range = Some((spread.low, spread.high));
        Self { row, what: what.into(), figure: spread.median, unit, range, goal: None }
    }

    pub(crate) fn of_figure(row: &'static str, what: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self { row, what: what.into(), figure, unit, range: None, goal: None }
    }

    pub(crate) fn with_goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn verdict(&self) -> Option<Verdict> {
        let met = match self.goal? {
            Goal::AtLeast(limit) => self.figure >= limit,
            Goal::AtMost(limit) => self.figure <= limit,
        };
        Some(if met { Verdict::Met } else { Verdict::Missed })
    }
}

/// What was measured, on what, and what to keep in mind about it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) notes: Vec<String>,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    machine: &'a str,
    rows: Vec<JsonLine<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct JsonLine<'a> {
    row: &'a str,
    what: &'a str,
    value: f64,
    unit: &'a str,
    low: Option<f64>,
    high: Option<f64>,
    goal: Option<Goal>,
    verdict: Option<Verdict>,
}

impl Report {
    /// One JSON object.
    pub(crate) fn to_json(&self) -> String {
        let rows = self.lines.iter().map(|line| JsonLine {
            row: line.row,
            what: &line.what,
            value: line.figure,
            unit: line.unit,
            low: line.range.map(|range| range.0),
            high: line.range.map(|range| range.1),
            goal: line.goal,
            verdict: line.verdict(),
        });
        let report = JsonReport { machine: &self.machine, rows: rows.collect(), notes: &self.notes };
        serde_json::to_string_pretty(&report).expect("texts and numbers can always be written as JSON")
    }

    /// A table with aligned columns, then the notes.
    pub(crate) fn to_table(&self) -> String {
        let mut cells = vec![["row", "what", "figure", "low .. high", "goal", ""].map(str::to_owned)];
        cells.extend(self.lines.iter().map(|line| {
            let goal = line.goal.map_or_else(String::new, |goal| match goal {
                Goal::AtLeast(limit) => format!(">= {}", number(limit, line.unit)),
                Goal::AtMost(limit) => format!("<= {}", number(limit, line.unit)),
            });
            let verdict = match line.verdict() {
                None => "",
                Some(Verdict::Met) => "met",
                Some(Verdict::Missed) => "MISSED",
            };
            let range = line.range.map_or_else(String::new, |(low, high)| {
                format!("{} .. {}", number(low, line.unit), number(high, line.unit))
            });
            let figure = format!("{} {}", number(line.figure, line.unit), line.unit);
            [line.row.to_owned(), line.what.clone(), figure, range, goal, verdict.to_owned()]
        }));
        let widths: [usize; 6] =
            std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        let mut text = format!("{}\n\n", self.machine);
        for row in &cells {
            let mut printed = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(printed, "{cell:width$}  ");
            }
            text.push_str(printed.trim_end());
            text.push('\n');
        }
        for note in &self.notes {
            let _ = write!(text, "\nnote: {note}");
        }
        text.push_str(if self.notes.is_empty() { "" } else { "\n" });
        text
    }
}

/// As many digits as the noise leaves meaning.
fn number(value: f64, unit: &str) -> String {
    match unit {
        "req/s" | "ns" | "B" | "" => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let spread = Spread { median: 1.125, low: 0.98, high: 1.3 };
        Report {
            machine: "2 cores".into(),
            lines: vec![
                Line::of_figure("gateway", "peer", 98_700.4, "req/s"),
                Line::of_spread("gateway", "host over peer", spread, "x").with_goal(Goal::AtLeast(1.1)),
                Line::of_figure("dispatch", "over a direct call", 151.0, "ns").with_goal(Goal::AtMost(150.0)),
            ],
            notes: vec!["noisy".into()],
        }
    }

    #[test]
    fn the_table_is_aligned_and_says_met_or_missed() {
        insta::assert_snapshot!(report().to_table(), @r"
        2 cores

        row       what                figure       low .. high   goal
        gateway   peer                98700 req/s
        gateway   host over peer      1.12 x       0.98 .. 1.30  >= 1.10  met
        dispatch  over a direct call  151 ns                     <= 150   MISSED

        note: noisy
        ");
    }

    #[test]
    fn json_has_the_same_in_full_precision() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
        assert_eq!(json["machine"], "2 cores");
        assert_eq!(
            json["rows"][1],
            serde_json::json!({
                "row": "gateway", "what": "host over peer", "value": 1.125, "unit": "x", "low": 0.98, "high": 1.3,
                "goal": { "at-least": 1.1 }, "verdict": "met"
            })
        );
        assert_eq!((&json["rows"][0]["goal"], &json["rows"][0]["verdict"]), (&().into(), &().into()));
        assert_eq!(json["rows"][2]["verdict"], "missed");
        assert_eq!(json["notes"][0], "noisy");
    }
}
