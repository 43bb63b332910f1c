//! Row `hosts`: three host processes on one MongoDB and one Redis. How long a write at one takes until the others show it,
//! with Redis and without; what clients see while both backends are away; what is lost when hosts and MongoDB are killed.

mod arrival;
mod kills;
mod outage;
mod site;

use std::{path::Path, time::Duration};

use self::{arrival::Arrivals, site::Site};
use super::Effort;
use crate::{
    failure::{Doing, Failure, Result},
    interrupt,
    report::{Goal, Line, Report},
};

const ROW: &str = "hosts";

/// How long both backends are away.
const OUTAGE: Duration = Duration::from_secs(60);
const QUICK_OUTAGE: Duration = Duration::from_secs(5);

/// Measures it; both backends are away for `outage`, or as long as the effort says.
pub(crate) fn hosts(effort: Effort, outage: Option<Duration>, report: &mut Report) -> Result<()> {
    let servers = site::server_words()?;
    let folder = super::folder()?;
    measure(effort, outage, folder.path(), &servers, report).map_err(|failure| {
        if interrupt::check().is_err() {
            return failure;
        }
        Failure::new(format!("{failure}\nhint: the logs of hosts and servers are in `{}`", folder.keep().display()))
    })
}

fn measure(
    effort: Effort,
    outage: Option<Duration>,
    folder: &Path,
    servers: &[String; 2],
    report: &mut Report,
) -> Result<()> {
    let (writes, few, kills, usual) = match effort {
        Effort::Full => (1_000, 20, 20, OUTAGE),
        Effort::Quick => (100, 5, 4, QUICK_OUTAGE),
    };
    let outage = outage.unwrap_or(usual);
    eprintln!("hosts: starting two servers and three hosts");
    let mut site = Site::start(folder, servers)?;

    let mut add = |line: Line, goal: Option<Goal>| {
        report.lines.push(match goal {
            Some(goal) => line.with_goal(goal),
            None => line,
        });
    };
    let mut next = 1;
    let arrivals = arrival::measure("hosts: with Redis", &site, next..next + writes)?;
    next += writes;
    for (what, milliseconds, goal) in told(&arrivals) {
        let what = format!("{writes} writes at one host, seen at two others: {what}");
        add(Line::of_figure(ROW, what, milliseconds, "ms"), goal.then_some(Goal::AtMost(100.0)));
    }

    site.redis.kill();
    let arrivals = arrival::measure("hosts: without Redis", &site, next..next + few)?;
    next += few;
    let what = format!("{few} writes with Redis killed");
    let (acknowledged, sent) = (arrivals.acknowledged.most(), arrivals.sent.most());
    let line = Line::of_figure(ROW, format!("{what}: from the answer, at most"), acknowledged.as_secs_f64(), "s");
    add(line, Some(Goal::AtMost(5.0)));
    add(Line::of_figure(ROW, format!("{what}: from the sending, at most"), sent.as_secs_f64(), "s"), None);
    site.redis.restart().doing("start Redis again")?;
    site.until_the_cache_is_there()?;

    let seen = outage::measure(&mut site, outage, next - 1)?;
    let what = format!("both backends killed for {} s", outage.as_secs_f64());
    for (figure, value, unit, goal) in [
        ("requests without documents", seen.sent as f64, "", None),
        ("failed among them", seen.failed as f64, "", Some(Goal::AtMost(0.0))),
        ("collection calls", seen.calls as f64, "", None),
        ("answered STORE_UNAVAILABLE", seen.refused as f64, "", Some(Goal::AtLeast(seen.calls as f64))),
        ("the longest collection call", seen.longest.as_secs_f64(), "s", Some(Goal::AtMost(1.0))),
        ("back, until everything works", seen.recovered.as_secs_f64(), "s", None),
    ] {
        add(Line::of_figure(ROW, format!("{what}: {figure}"), value, unit), goal);
    }

    let written = kills::measure(&mut site, kills)?;
    for (what, kept) in [("documents", written.documents), ("tenants", written.tenants)] {
        let what = format!("{kills} kills of a host or MongoDB: {what}");
        add(Line::of_figure(ROW, format!("{what} acknowledged"), kept.acknowledged as f64, ""), None);
        add(Line::of_figure(ROW, format!("{what} lost"), kept.lost as f64, ""), Some(Goal::AtMost(0.0)));
    }
    report.notes.extend(seen.told.into_iter().map(|failure| format!("while both backends were away: {failure}")));
    Ok(())
}

/// The figures of many writes in ms, and whether each has a goal.
fn told(arrivals: &Arrivals) -> Vec<(String, f64, bool)> {
    let mut told = Vec::new();
    for (from, times) in [("answer", &arrivals.acknowledged), ("sending", &arrivals.sent)] {
        for (what, per_mille) in [("median", 500), ("99th percentile", 990)] {
            let time = times.per_mille(per_mille).unwrap_or_default();
            told.push((format!("from the {from}, {what}"), time.as_secs_f64() * 1e3, per_mille == 990));
        }
        told.push((format!("from the {from}, at most"), times.most().as_secs_f64() * 1e3, false));
    }
    told
}
