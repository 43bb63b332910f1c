//! Row `stampede`: 10,000 who look at once for one tenant that is not in memory, and how often the store is read.

use std::{sync::Arc, time::Instant};

use tenon_host::{app::Host, config::RuntimeMode, names::TenantId, stores::SqliteStore};

use super::{Effort, progress};
use crate::{
    counting_store::CountingStore,
    failure::{Doing, Failure, Result},
    report::{Goal, Line, Report},
    stats::Spread,
    tenants::{self, tenant_name},
};

const ROW: &str = "stampede";
const LOOKS: usize = 10_000;

pub(crate) fn stampede(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    let rounds = effort.rounds(20);
    let config = tenants::config(folder.path(), RuntimeMode::PerCore, 1);
    tenants::store(&config.data, "echo", rounds)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    let store = Arc::new(CountingStore::new(SqliteStore::open(&config.data).doing("open a store")?));
    let (mut reads, mut times) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let host = Host::builder().config(config).store(Arc::clone(&store) as _).start().await;
        let host = host.doing("start the host")?;
        let measured = async {
            for round in 0..rounds {
                progress("stampede", round, rounds)?;
                let id: TenantId = tenant_name(round).parse().doing("name a tenant")?;
                let (before, begun) = (store.reads(), Instant::now());
                // Nobody is answered before all have asked, so that all are misses.
                store.hold();
                let asked = futures_util::future::join_all((0..LOOKS).map(|_| host.tenants().load(&id)));
                let (found, ()) = tokio::join!(asked, async { store.release() });
                times.push(begun.elapsed().as_secs_f64() * 1e3);
                reads.push((store.reads() - before) as f64);
                if found.iter().any(std::result::Result::is_err) {
                    return Err(Failure::new("a tenant was not found"));
                }
            }
            Ok(())
        };
        let measured = measured.await;
        host.shutdown().await;
        measured
    })?;
    let most = reads.iter().copied().fold(0.0, f64::max);
    let what = format!("{LOOKS} misses of one tenant at once: reads of the store, at worst");
    report.lines.push(Line::of_figure(ROW, what, most, "").with_goal(Goal::AtMost(1.0)));
    if let Some(spread) = Spread::of(times) {
        report.lines.push(Line::of_spread(ROW, format!("{LOOKS} misses: until all are answered"), spread, "ms"));
    }
    Ok(())
}
