//! Row `memory`: what a module in the registry, a tenant in memory and an instance take of the host's memory. Counted in
//! a program of its own; what modules take themselves is not among it but for the resident memory.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tenon_host::{
    app::Host,
    catalog,
    config::RuntimeMode,
    names::{ModuleName, TenantId},
    stores::TenantDocument,
    tenancy::{Lent, Tenancy},
};
use tokio::runtime::Runtime;

use super::{Effort, discovery, progress};
use crate::{
    counted::{self, Count, Counter, Subject},
    failure::{Doing, Failure, Result},
    interrupt,
    report::{Goal, Line, Report},
    tenants::{self, built_beside},
};

const ROW: &str = "memory";
const TENANTS: usize = 10_000;
/// One and the same module under four names, all as long as its own.
const MODULES: [&str; 4] = ["ech0", "ech1", "ech2", "ech3"];
/// How many are asked for at once.
const AT_ONCE: usize = 500;
/// The manifest of which the registry has 999.
const MANIFEST: &str = include_str!("../../../../modules/tasks/module.toml");

/// What is counted, the unit and the goal.
const FIGURES: [(&str, &str, Option<f64>); 9] = [
    ("a module in the registry", "B", None),
    ("a module in the registry, beside its manifest's text", "B", Some(1000.0)),
    ("an idle tenant without modules", "B", Some(300.0)),
    ("an idle tenant with four modules, none in service", "B", Some(300.0)),
    ("an instance, beside the module's own", "B", Some(1000.0)),
    ("tenants with four instances each: in use", "MB", None),
    ("tenants with four instances each: resident, all of the process", "MB", Some(100.0)),
    ("before the host: resident", "MB", None),
    ("an idle tenant with four modules, as `tenon enable` leaves it", "B", Some(300.0)),
];

pub(crate) fn memory(effort: Effort, report: &mut Report) -> Result<()> {
    let counts = counted::ask(Subject::Memory, effort)?;
    for (what, unit, goal) in FIGURES {
        let found = counts.iter().find(|count| count.what == what);
        let value = found.ok_or_else(|| Failure::new(format!("not counted: {what}")))?.value;
        let line = Line::of_figure(ROW, what, value, unit);
        report.lines.push(match goal {
            Some(most) => line.with_goal(Goal::AtMost(most)),
            None => line,
        });
    }
    report.notes.push(format!("memory: {} tenants, 1,000 modules", tenants_of(effort)));
    Ok(())
}

fn tenants_of(effort: Effort) -> usize {
    match effort {
        Effort::Full => TENANTS,
        Effort::Quick => TENANTS / 10,
    }
}

pub(crate) fn count(effort: Effort, counter: Counter) -> Result<Vec<Count>> {
    let number = tenants_of(effort);
    // The one with resident memory first: allocators keep what was freed.
    let mut values = [0.0; FIGURES.len()];
    // As `tenon` does.
    tenon_host::loader::share_arenas();
    values[7] = resident()?;
    let modules = MODULES.map(|name| name.parse::<ModuleName>());
    let modules = modules.into_iter().collect::<std::result::Result<Vec<_>, _>>().doing("name a module")?;
    let before = counter.live();
    let full = Loaded::start(number, &modules, counter, |_| {})?;
    values[3] = full.each;
    let loaded = counter.live();
    full.activate()?;
    settle(counter);
    values[4] = (counter.live() - loaded) / (number * MODULES.len()) as f64;
    values[5] = (counter.live() - before) / 1e6;
    values[6] = resident()?;
    full.stop();
    let bare = Loaded::start(number, &[], counter, |_| {})?;
    values[2] = bare.each;
    bare.stop();
    let enabled = Loaded::start(number, &modules, counter, enabled_by_hand)?;
    values[8] = enabled.each;
    enabled.stop();
    values[0] = registry(counter)?;
    values[1] = values[0] - MANIFEST.len() as f64;
    Ok(FIGURES.iter().zip(values).map(|((what, ..), value)| Count::new(*what, value)).collect())
}

/// What an operator leaves who enables one module after the other.
fn enabled_by_hand(document: &mut TenantDocument) {
    for enabled in &mut document.enabled_modules {
        let now = jiff::Timestamp::now();
        (enabled.enabled_at, enabled.enabled_by) = (Some(now), Some("admin-token".to_owned()));
        document.updated_at = Some(now);
    }
}

/// What one of 1,000 modules takes in the registry.
fn registry(counter: Counter) -> Result<f64> {
    let folder = super::folder()?;
    discovery::fill(folder.path())?;
    // The first one makes what is made once.
    drop(catalog::scan(folder.path(), &|_| false).doing("read the folder")?);
    let before = counter.live();
    let catalog = catalog::scan(folder.path(), &|_| false).doing("read the folder")?;
    let each = (counter.live() - before) / discovery::FILES as f64;
    if catalog.all().count() == discovery::FILES { Ok(each) } else { Err(Failure::new("modules are missing")) }
}

/// A host with tenants in memory.
struct Loaded {
    host: Host,
    ids: Vec<TenantId>,
    runtime: Runtime,
    /// What each tenant takes.
    each: f64,
    _folder: tempfile::TempDir,
}

impl Loaded {
    /// `edit` has the last word about each tenant's document.
    fn start(
        number: usize,
        modules: &[ModuleName],
        counter: Counter,
        edit: impl Fn(&mut TenantDocument),
    ) -> Result<Self> {
        let folder = super::folder()?;
        lay_modules(&folder.path().join("plugins"))?;
        let documents = (0..number).map(|index| tenants::document(&format!("tenant-{index:05}"), modules));
        let mut documents = documents.collect::<Result<Vec<_>>>()?;
        documents.iter_mut().for_each(edit);
        // Their own, so that those in memory don't share them.
        let ids = documents.iter().map(|it| it.id.as_str().parse()).collect::<std::result::Result<Vec<_>, _>>();
        let ids: Vec<TenantId> = ids.doing("name a tenant")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
        runtime.block_on(tenants::store_documents(&folder.path().join("data"), documents))?;
        let config = tenants::config(folder.path(), RuntimeMode::PerCore, 1);
        let host = runtime.block_on(tenants::start_host(config))?;
        settle(counter);
        let before = counter.live();
        runtime.block_on(async {
            for ids in ids.chunks(AT_ONCE) {
                interrupt::check()?;
                for loaded in join_all(ids.iter().map(|id| host.tenants().load(id))).await {
                    loaded.doing("read a tenant")?;
                }
            }
            Ok(())
        })?;
        settle(counter);
        let each = (counter.live() - before) / number as f64;
        Ok(Self { host, ids, runtime, each, _folder: folder })
    }

    /// Makes the instances of all.
    fn activate(&self) -> Result<()> {
        let tenancy = self.host.tenants();
        self.runtime.block_on(async {
            for (done, ids) in self.ids.chunks(AT_ONCE).enumerate() {
                progress("memory, instances", done * AT_ONCE, self.ids.len())?;
                for lent in join_all(ids.iter().map(|id| lease_all(tenancy, id))).await {
                    lent?;
                }
            }
            Ok(())
        })
    }

    fn stop(self) {
        self.runtime.block_on(self.host.shutdown());
    }
}

async fn lease_all(tenancy: &Tenancy, id: &TenantId) -> Result<()> {
    let snapshot = tenancy.snapshot(id.as_str()).ok_or_else(|| Failure::new("a tenant is not in memory any more"))?;
    if snapshot.table.modules().len() != MODULES.len() {
        return Err(Failure::new(format!(
            "expected four modules, found {}: {:?}",
            snapshot.table.modules().len(),
            snapshot.problems()
        )));
    }
    for slot in 0..MODULES.len() {
        let far = Instant::now() + Duration::from_secs(60);
        match tenancy.lease(&snapshot, slot, far).await {
            Ok(Lent::Lease(_)) => {}
            other => return Err(Failure::new(format!("a module has no instance: {other:?}"))),
        }
    }
    Ok(())
}

/// Lays the measured module into a folder, under each of its names.
fn lay_modules(plugins: &Path) -> Result<()> {
    fs::create_dir_all(plugins).doing(format_args!("make folder `{}`", plugins.display()))?;
    let path = built_beside("examples/libecho.so")?;
    let library =
        fs::read(&path).doing(format_args!("read `{}`", path.display())).and_then(discovery::without_debug)?;
    for name in MODULES {
        let mut renamed = library.clone();
        for line in ["name = \"echo\"", "base = \"/bench/echo\""] {
            let found = library.windows(line.len()).position(|bytes| bytes == line.as_bytes());
            let end = found.ok_or_else(|| Failure::new(format!("the manifest has no line `{line}`")))? + line.len() - 1;
            renamed[end - name.len()..end].copy_from_slice(name.as_bytes());
        }
        discovery::write_sparse(&plugins.join(format!("{name}.so")), &renamed)?;
    }
    Ok(())
}

/// Waits until nothing is allocated any more, for a while at the most.
fn settle(counter: Counter) {
    let (mut last, deadline) = (f64::NAN, Instant::now() + Duration::from_secs(5));
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        let now = counter.live();
        if now == last {
            return;
        }
        last = now;
    }
}

/// Resident memory of this process in MB; a million bytes each.
fn resident() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status").doing("read `/proc/self/status`")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    let kibibytes =
        kibibytes.ok_or_else(|| Failure::new("`/proc/self/status` does not say how much memory there is"))?;
    Ok(f64::from(kibibytes) * 1024.0 / 1e6)
}
