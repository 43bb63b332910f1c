//! Days, ISO weeks and times as text.

use std::fmt;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// A day of the calendar, from year 1 to 9999. Its text is `YYYY-MM-DD`, whose bytes are in the order of the
/// days: that is what makes ranges of the store work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Day(Date);

impl Day {
    /// Reads exactly `YYYY-MM-DD`; `None` for another form or a day that isn't in the calendar.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let date: Date = text.parse().ok()?;
        // The parser takes other forms of ISO 8601 too, such as `20261122` or a date with a time.
        (date.year() > 0 && date.to_string() == text).then_some(Self(date))
    }

    /// The ISO week, such as `2026-W48`. Its year is that of the week's Thursday, so 2021-01-03 lies in
    /// `2020-W53`.
    ///
    /// Source: ISO 8601, week dates.
    pub(crate) fn iso_week(self) -> String {
        let week = self.0.iso_week_date();
        format!("{:04}-W{:02}", week.year(), week.week())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC, such as `2026-11-22T21:52:00.000Z`.
pub(crate) fn rfc3339(millis: i64) -> String {
    // A clock so wrong that it has no date is shown as the number it is.
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn only_real_days_in_one_form_are_read() {
        for good in ["2026-11-22", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(Day::parse(good).map(|day| day.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-04-31",
            "2026-00-10",
            "2026-1-1",
            "20261122",
            "22.11.2026",
            "2026-11-22T10:00",
            "2026-11-22 ",
            "+002026-11-22",
            "-000001-01-01",
            "0000-01-01",
            "2026-W48-1",
            "soon",
            "",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_stored_as_their_text() {
        assert_eq!(to_value(Day::parse("2026-11-02").unwrap()).unwrap(), json!("2026-11-02"));
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        for (day, week) in [
            ("2026-11-22", "2026-W47"),
            ("2026-11-23", "2026-W48"),
            ("2021-01-03", "2020-W53"),
            ("2021-01-04", "2021-W01"),
            ("2020-12-31", "2020-W53"),
            ("2018-12-31", "2019-W01"),
            ("2016-01-03", "2015-W53"),
            ("2023-01-01", "2022-W52"),
            ("2024-12-30", "2025-W01"),
            ("2000-01-01", "1999-W52"),
            ("0001-01-01", "0001-W01"),
            ("9999-12-31", "9999-W52"),
        ] {
            assert_eq!(Day::parse(day).unwrap().iso_week(), week, "{day}");
        }
    }

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MIN), i64::MIN.to_string());
    }
}
