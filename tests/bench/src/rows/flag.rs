//! Row `flag`: one flag check in process, for a program that has the host in it, and as a module's handle does it. How
//! often a check allocates is counted apart.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tenon_host::{
    app::{Flags, Host},
    config::RuntimeMode,
    flags::{EvaluationContext, unix_seconds},
    names::{ModuleName, TenantId},
};
use tokio::runtime::Runtime;

use super::{Effort, progress};
use crate::{
    counted::{self, Count, Counter, Subject},
    failure::{Doing, Failure, Result},
    flag_file, machine,
    report::{Goal, Line, Report},
    stats::Spread,
    tenants,
};

const ROW: &str = "flag";
const TENANT: &str = "bench";
const OVERRIDDEN: &str = "of-the-tenant";
/// Enough that reading the clock weighs nothing.
const BATCH: usize = 256;

/// The ways to a flag's value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Check {
    Override,
    Static,
    Default,
    Module,
    Targeted,
    Rollout,
}

impl Check {
    const ALL: [Self; 6] = [Self::Override, Self::Static, Self::Default, Self::Module, Self::Targeted, Self::Rollout];

    fn what(self) -> &'static str {
        match self {
            Self::Override => "Host::flags, the tenant's own value",
            Self::Static => "Host::flags, a definition without a rule",
            Self::Default => "Host::flags, a definition's default below a rule",
            Self::Module => "a module's handle, a definition without a rule",
            Self::Targeted => "for a user, a rule of two conditions",
            Self::Rollout => "for a user, a roll-out by percentage",
        }
    }

    fn goal(self) -> Option<Goal> {
        match self {
            Self::Override | Self::Static | Self::Default | Self::Module => Some(Goal::AtMost(100.0)),
            Self::Targeted => None,
            Self::Rollout => Some(Goal::AtMost(300.0)),
        }
    }

    /// Whether nothing may be allocated.
    fn is_fixed(self) -> bool {
        !matches!(self, Self::Targeted | Self::Rollout)
    }
}

/// A host with one tenant and the benchmarks' flags.
struct Flagged {
    host: Host,
    flags: Flags,
    tenant: TenantId,
    module: ModuleName,
    user: EvaluationContext,
    names: [String; 3],
    runtime: Runtime,
    _folder: TempDir,
}

impl Flagged {
    fn start() -> Result<Self> {
        let folder = super::folder()?;
        let data = folder.path().join("data");
        flag_file::write(folder.path())?;
        let mut document = tenants::document(TENANT, &[])?;
        document.feature_flags.insert(OVERRIDDEN.to_owned(), true.into());
        let tenant = document.id.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
        runtime.block_on(tenants::store_documents(&data, [document]))?;
        let config = tenants::config(folder.path(), RuntimeMode::PerCore, 1);
        let host = runtime.block_on(tenants::start_host(config))?;
        runtime.block_on(host.tenants().load(&tenant)).doing("read the tenant")?;
        let user = EvaluationContext::of_client(&tenant, flag_file::user(0), unix_seconds()).doing("make a context")?;
        // All of them come to `on` where they have a default.
        let names = ["static", "targeted", "rollout"].map(|kind| flag_file::name(kind, 4));
        let module = "echo".parse().doing("name a module")?;
        Ok(Self { flags: host.flags(), host, tenant, module, user, names, runtime, _folder: folder })
    }

    /// One check; whether the flag is on.
    async fn check(&self, check: Check) -> Option<bool> {
        let [fixed, targeted, rollout] = &self.names;
        let of_host = async |name: &str| self.flags.is_feature_enabled(&self.tenant, name).await.ok();
        match check {
            Check::Override => of_host(OVERRIDDEN).await,
            Check::Static => of_host(fixed).await,
            Check::Default => of_host(targeted).await,
            Check::Module => self.host.tenants().snapshot(self.tenant.as_str())?.flags.is_enabled(&self.module, fixed),
            Check::Targeted => self.evaluate(targeted),
            Check::Rollout => self.evaluate(rollout),
        }
    }

    fn evaluate(&self, name: &str) -> Option<bool> {
        let snapshot = self.host.tenants().snapshot(self.tenant.as_str())?;
        snapshot.flags.evaluate(name, &self.user)?.value?.as_bool()
    }

    fn verify(&self) -> Result<()> {
        for check in Check::ALL {
            match self.runtime.block_on(self.check(check)) {
                Some(true) => {}
                Some(false) if !check.is_fixed() => {}
                other => {
                    return Err(Failure::new(format!("{}: expected a flag that is on, found {other:?}", check.what())));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn flag(effort: Effort, report: &mut Report) -> Result<()> {
    let flagged = Flagged::start()?;
    flagged.verify()?;
    let core = machine::cores()?.last().copied();
    let rounds = effort.rounds(2800);
    let measuring = || {
        core.map_or(Ok(()), machine::pin)?;
        let mut times: [Vec<f64>; Check::ALL.len()] = Default::default();
        for round in 0..rounds {
            if round % 400 == 0 {
                progress("flag", round, rounds)?;
            }
            for (check, times) in Check::ALL.into_iter().zip(&mut times) {
                times.push(each(flagged.runtime.block_on(time(&flagged, check))));
            }
        }
        Ok(times)
    };
    let measured = std::thread::scope(|scope| scope.spawn(measuring).join());
    let times: [Vec<f64>; Check::ALL.len()] = measured.map_err(|_| Failure::new("the measuring thread panicked"))??;
    for (check, times) in Check::ALL.into_iter().zip(times) {
        let Some(spread) = Spread::of(times) else { continue };
        let line = Line::of_spread(ROW, check.what(), spread, "ns");
        report.lines.push(match check.goal() {
            Some(goal) => line.with_goal(goal),
            None => line,
        });
    }
    flagged.runtime.block_on(flagged.host.shutdown());
    for (count, check) in counted::ask(Subject::Flag, effort)?.into_iter().zip(Check::ALL) {
        let line = Line::of_figure(ROW, count.what, count.value, "");
        report.lines.push(if check.is_fixed() { line.with_goal(Goal::AtMost(0.0)) } else { line });
    }
    Ok(())
}

async fn time(flagged: &Flagged, check: Check) -> Duration {
    let begun = Instant::now();
    for _ in 0..BATCH {
        black_box(flagged.check(black_box(check)).await);
    }
    begun.elapsed()
}

fn each(all: Duration) -> f64 {
    all.as_secs_f64() * 1e9 / BATCH as f64
}

/// How often each check allocates.
pub(crate) fn count(effort: Effort, counter: Counter) -> Result<Vec<Count>> {
    let flagged = Flagged::start()?;
    flagged.verify()?;
    let mut counts = Vec::new();
    for check in Check::ALL {
        // The host's other threads allocate now and then: what a batch without them needs is what a check needs.
        let mut least = f64::INFINITY;
        for _ in 0..effort.rounds(200) {
            let before = counter.allocations();
            flagged.runtime.block_on(time(&flagged, check));
            least = least.min(counter.allocations() - before);
        }
        counts.push(Count::new(format!("{}: allocations", check.what()), least / BATCH as f64));
    }
    flagged.runtime.block_on(flagged.host.shutdown());
    Ok(counts)
}
