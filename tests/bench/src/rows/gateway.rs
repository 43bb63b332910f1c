//! Row `gateway`: requests a second on one core, of the host in both runtime modes and of the same handler
//! compiled into axum. Servers take turns, round by round, and ratios are taken within a round.

use std::{path::Path, time::Duration};

use super::{Effort, progress};
use crate::{
    failure::{Failure, Result},
    load::{self, Round},
    machine::{self, CpuTime},
    report::{Goal, Line, Report},
    server::{Kind, Server},
    stats::{Latencies, Spread},
};

const ROW: &str = "gateway";
const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(1);

/// What was measured of one server.
struct Measured {
    server: Server,
    per_second: Vec<f64>,
    latencies: Latencies,
    answers: u64,
    time: CpuTime,
    wall: Duration,
    load_busy: Vec<f64>,
}

impl Measured {
    fn start(kind: Kind, workers: usize, core: Option<usize>, folder: &Path) -> Result<Self> {
        let server = Server::start(kind, workers, core, &folder.join(kind.to_string()))?;
        load::warm_up(server.address)?;
        Ok(Self {
            server,
            per_second: Vec::new(),
            latencies: Latencies::default(),
            answers: 0,
            time: CpuTime::default(),
            wall: Duration::ZERO,
            load_busy: Vec::new(),
        })
    }

    fn round(&mut self, lasting: Duration) -> Result<()> {
        let before = self.server.time()?;
        let Round { answers, wall, latencies, load_busy } = {
            let round = load::closed(self.server.address, load::requests(), CONNECTIONS, lasting)?;
            self.per_second.push(round.per_second());
            round
        };
        let after = self.server.time()?;
        self.time.user += after.user - before.user;
        self.time.system += after.system - before.system;
        self.latencies.merge(&latencies);
        self.answers += answers;
        self.wall += wall;
        self.load_busy.push(load_busy);
        Ok(())
    }

    fn busy(&self) -> f64 {
        (self.time.user + self.time.system).as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Runs all rounds, each server once in each; whoever begins changes from round to round.
fn rounds(servers: &mut [Measured], rounds: usize, what: &str) -> Result<()> {
    for round in 0..rounds {
        progress(what, round, rounds)?;
        for turn in 0..servers.len() {
            let index = (turn + round) % servers.len();
            servers[index].round(ROUND)?;
        }
    }
    Ok(())
}

/// Servers on one core, the load on another.
pub(crate) fn one_core(effort: Effort, report: &mut Report) -> Result<()> {
    let (servers_core, load_core) = machine::two_cores()?;
    let folder = super::folder()?;
    let kinds = [Kind::Axum, Kind::AxumCurrentThread, Kind::PerCore, Kind::WorkStealing];
    let servers = kinds.map(|kind| Measured::start(kind, 1, Some(servers_core), folder.path()));
    let mut servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    // On a thread of its own, so that this one stays where the system puts it.
    let loading = || {
        machine::pin(load_core)?;
        // A round that isn't counted: the first seconds of a server are not like the rest.
        servers
            .iter()
            .try_for_each(|it| load::closed(it.server.address, load::requests(), CONNECTIONS, ROUND / 2).map(drop))?;
        rounds(&mut servers, effort.rounds(20), "gateway, one core")
    };
    std::thread::scope(|scope| scope.spawn(loading).join()).map_err(|_| Failure::new("the load panicked"))??;
    let [axum, axum_current_thread, per_core, work_stealing] = &servers[..] else { return Ok(()) };
    for it in &servers {
        add_server(report, it, "one core");
    }
    let goal = Some(Goal::AtLeast(1.1));
    add_ratio(report, per_core, axum, "one core", goal);
    add_ratio(report, per_core, axum_current_thread, "one core", goal);
    add_ratio(report, work_stealing, axum, "one core", None);
    add_ratio(report, work_stealing, per_core, "one core", None);
    for it in &servers {
        let load_busy = Spread::of(it.load_busy.iter().copied()).map_or(0.0, |spread| spread.median);
        if it.busy() < 0.95 && load_busy > 0.95 {
            report.notes.push(format!(
                "`{}` used {:.0} % of its core while the load used {:.0} % of its own: the load was the bottleneck",
                it.server.kind,
                it.busy() * 100.0,
                load_busy * 100.0
            ));
        }
    }
    Ok(())
}

/// Two workers that the system puts where it likes, the load beside them on the same cores.
pub(crate) fn two_workers(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    let kinds = [Kind::Axum, Kind::PerCore, Kind::WorkStealing];
    let servers = kinds.map(|kind| Measured::start(kind, 2, None, folder.path()));
    let mut servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    rounds(&mut servers, effort.rounds(10), "gateway, two workers")?;
    let [axum, per_core, work_stealing] = &servers[..] else { return Ok(()) };
    for it in &servers {
        add_server(report, it, "two workers");
    }
    add_ratio(report, per_core, axum, "two workers", None);
    add_ratio(report, work_stealing, per_core, "two workers", None);
    let cores = machine::cores()?.len();
    report.notes.push(format!("with two workers the load shares the machine's {cores} cores with the server"));
    Ok(())
}

fn add_server(report: &mut Report, it: &Measured, setting: &str) {
    let kind = it.server.kind;
    if let Some(spread) = Spread::of(it.per_second.iter().copied()) {
        report.lines.push(Line::of_spread(ROW, format!("{setting}: {kind}"), spread, "req/s"));
    }
    if let Some(p99) = it.latencies.per_mille(990) {
        let what = format!("{setting}: {kind}, p99");
        report.lines.push(Line::of_figure(ROW, what, p99.as_secs_f64() * 1e3, "ms"));
    }
    for (name, time) in [("user", it.time.user), ("kernel", it.time.system)] {
        let each = time.as_secs_f64() * 1e6 / it.answers.max(1) as f64;
        report.lines.push(Line::of_figure(ROW, format!("{setting}: {kind}, {name} time of a request"), each, "us"));
    }
}

fn add_ratio(report: &mut Report, over: &Measured, under: &Measured, setting: &str, goal: Option<Goal>) {
    let Some(ratio) = Spread::of_ratios(&over.per_second, &under.per_second) else { return };
    let what = format!("{setting}: {} over {}", over.server.kind, under.server.kind);
    let line = Line::of_spread(ROW, what, ratio, "x");
    report.lines.push(match goal {
        Some(goal) => line.with_goal(goal),
        None => line,
    });
}
