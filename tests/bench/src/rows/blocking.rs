//! Part of row `gateway`: what other requests feel when one of them blocks its worker for 100 ms each second, in
//! both runtime modes. With requests at a fixed pace: clients that wait for a blocked server would send less just
//! when it matters.

use std::time::Duration;

use super::{Effort, progress};
use crate::{
    failure::Result,
    load::{self, Pace},
    report::{Line, Report},
    server::{Kind, Server},
    stats::{Latencies, Spread},
};

const ROW: &str = "gateway";

/// 2,000 requests a second, far from what the machine can do: waiting is then the blocked worker's doing.
const PACE: Pace = Pace {
    connections: 32,
    every: Duration::from_millis(16),
    lasting: Duration::from_secs(4),
    block_every: Some(Duration::from_secs(1)),
};

struct Measured {
    server: Server,
    p99: Vec<f64>,
    calm_p99: Vec<f64>,
    all: Latencies,
}

pub(crate) fn neighbours(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    let mut servers = Vec::new();
    for kind in [Kind::PerCore, Kind::WorkStealing] {
        let server = Server::start(kind, 2, None, &folder.path().join(kind.to_string()))?;
        load::warm_up(server.address)?;
        servers.push(Measured { server, p99: Vec::new(), calm_p99: Vec::new(), all: Latencies::default() });
    }
    let rounds = effort.rounds(7);
    for round in 0..rounds {
        progress("gateway, a handler that blocks", round, rounds)?;
        for it in &mut servers {
            let calm = load::paced(it.server.address, Pace { block_every: None, ..PACE })?;
            let disturbed = load::paced(it.server.address, PACE)?;
            let millis = |latencies: &Latencies| latencies.per_mille(990).map(|time| time.as_secs_f64() * 1e3);
            it.calm_p99.extend(millis(&calm));
            it.p99.extend(millis(&disturbed));
            it.all.merge(&disturbed);
        }
    }
    for it in &servers {
        let setting = format!("two workers, 2,000 req/s: {}", it.server.kind);
        if let Some(spread) = Spread::of(it.calm_p99.iter().copied()) {
            report.lines.push(Line::of_spread(ROW, format!("{setting}, p99 while nobody blocks"), spread, "ms"));
        }
        if let Some(spread) = Spread::of(it.p99.iter().copied()) {
            let what = format!("{setting}, p99 while one blocks 100 ms each second");
            report.lines.push(Line::of_spread(ROW, what, spread, "ms"));
        }
        let worst = it.all.most().as_secs_f64() * 1e3;
        report.lines.push(Line::of_figure(ROW, format!("{setting}, worst while one blocks"), worst, "ms"));
    }
    Ok(())
}
