//! `tenon stats` and `tenon status`.

use std::fmt::Write;

use super::{
    answers::{Rejected, Stats, Status, Used},
    client::Client,
    dead_letters,
    failure::Failure,
    marks,
    output::Output,
    table::Table,
};

/// Shows figures.
pub(super) fn stats(host: &Client, json: bool) -> Result<Output, Failure> {
    let answer = host.get("/admin/v1/stats")?;
    if json { Ok(Output::json(&answer)) } else { Ok(Output::text(figures(&host.view(&answer)?))) }
}

/// Shows how it is going.
pub(super) fn status(host: &Client, json: bool) -> Result<Output, Failure> {
    let answer = host.get("/admin/v1/status")?;
    if json { Ok(Output::json(&answer)) } else { Ok(Output::text(condition(&host.view(&answer)?))) }
}

pub(super) fn figures(stats: &Stats) -> String {
    let Stats { registry, tenants, libraries, .. } = stats;
    let mut table = Table::new(&[]);
    let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
    fact("uptime", duration(stats.uptime_seconds));
    fact(
        "registry",
        format!("{} modules, {} versions, {} files kept out", registry.modules, registry.versions, registry.rejected),
    );
    fact("tenants", format!("{} in memory", tenants.in_memory));
    fact("instances", format!("{} in service, {} on their way out", tenants.instances, tenants.retiring));
    fact("requests cut", format!("{} at the end of a drain", tenants.cut_requests));
    fact(
        "libraries",
        format!("{} live, {} closing, {} unloaded", libraries.live, libraries.closing, libraries.unloaded),
    );
    fact("resident", format!("{} libraries, {} KiB", libraries.resident, libraries.resident_bytes.div_ceil(1024)));
    fact("forgotten", format!("{} thread-local values", libraries.forgotten_entries));
    let mut text = table.to_string();
    in_use(&mut text, &stats.modules);
    text
}

pub(super) fn condition(status: &Status) -> String {
    let mut table = Table::new(&[]);
    let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
    fact("state", if status.dev { format!("{}, in dev mode", status.state) } else { status.state.clone() });
    let versions = format!("{}, module-api {}", status.version, status.module_api);
    fact("host", format!("tenon {versions}, up {}", duration(status.uptime_seconds)));
    let store = match (&status.store.available, &status.store.reason) {
        (true, _) => "available".to_owned(),
        (false, reason) => format!("unavailable: {}", reason.as_deref().unwrap_or("no reason given")),
    };
    let behind = status.store.behind_seconds.map(|seconds| format!("; what is known may be {seconds} s behind it"));
    fact("store", store + behind.as_deref().unwrap_or_default());
    if let Some(shared) = status.store.tiers.as_ref().and_then(|tiers| tiers.shared.as_ref()) {
        let away = "unavailable; first looks at tenants go to the store";
        fact("cache", if shared.available { "available" } else { away }.to_owned());
    }
    fact("registry", format!("{} modules", status.modules));
    fact("tenants", format!("{} in memory, {} instances", status.tenants_in_memory, status.instances));
    let unloading = if status.can_unload { "" } else { "; they can't be unloaded on this machine" };
    fact("libraries", format!("{} mapped{unloading}", status.libraries));
    if let Some(it) = &status.flag_definitions {
        let old = if it.problems.is_empty() { "" } else { "; it has changed and can't be used" };
        let by = it.file.as_deref().unwrap_or("the store");
        let revision = it.store_revision.map_or_else(|| it.revision.clone(), |revision| revision.to_string());
        fact("flags", format!("{} defined by {by} (revision {revision}){old}", it.flags));
    }
    if let Some(deliveries) = &status.deliveries {
        let due = format!("{} events and wake-ups waiting, {} given up", deliveries.waiting, deliveries.dead);
        fact("deliveries", due);
    }
    let mut text = table.to_string();
    in_use(&mut text, &status.in_use);

    let mut stuck = Table::new(&["TENANT", "MODULE", "THREAD", "SINCE", "FOR"]);
    for item in &status.stuck {
        let lasted = duration(item.seconds);
        stuck.row([item.tenant_id.clone(), item.module.clone(), item.thread.clone(), item.since.clone(), lasted]);
    }
    let mut definitions = Table::new(&["PROBLEM"]);
    for problem in status.flag_definitions.iter().flat_map(|it| &it.problems) {
        definitions.row([problem.clone()]);
    }
    section(&mut text, "Flag definitions: what was there before is in force", &definitions);
    section(&mut text, "Stuck: does not give its thread back, nobody else is let in", &stuck);

    let mut failing = Table::new(&["TENANT", "MODULE", "VERSION", "CODE", "REASON"]);
    for item in &status.failing {
        let version = item.version.clone().unwrap_or_default();
        failing.row([item.tenant_id.clone(), item.module.clone(), version, item.code.clone(), item.reason.clone()]);
    }
    section(&mut text, "Enabled, but not running", &failing);
    if status.failing_total > status.failing.len() {
        let _ = writeln!(text, "and {} more", status.failing_total - status.failing.len());
    }

    section(&mut text, "Given up: see `tenon dead-letters`", &dead_letters::table(&status.dead_letters));

    section(&mut text, "Held back: see `tenon quarantine`", &marks::table(&status.marks));

    let mut blocked = Table::new(&["MODULE", "VERSION", "CODE", "REASON"]);
    for item in &status.blocked {
        blocked.row([item.module.clone(), item.version.clone(), item.code.clone(), item.text.clone()]);
    }
    section(&mut text, "Blocked: no tenant could run these", &blocked);
    kept_out(&mut text, &status.rejected);
    leaving(&mut text, &status.leaving);

    let mut resident = Table::new(&["MODULE", "VERSION", "GENERATION", "KIB", "REASON"]);
    for item in &status.resident {
        let (generation, kib) = (item.generation.to_string(), item.bytes.div_ceil(1024).to_string());
        resident.row([item.module.clone(), item.version.clone(), generation, kib, item.reason.clone()]);
    }
    section(&mut text, "Out of use, but still mapped", &resident);
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    if !table.is_empty() {
        let _ = write!(text, "\n{title}\n{table}");
    }
}

fn in_use(text: &mut String, used: &[Used]) {
    let mut table = Table::new(&["MODULE", "VERSION", "TENANTS", "INSTANCES", "REQUESTS"]);
    for item in used {
        let [tenants, instances, requests] =
            [item.tenants, item.instances, item.requests].map(|figure| figure.to_string());
        table.row([item.module.clone(), item.version.clone(), tenants, instances, requests]);
    }
    section(text, "In use", &table);
}

/// Files of the plugins folder that are no candidates.
pub(super) fn kept_out(text: &mut String, rejected: &[Rejected]) {
    let mut table = Table::new(&["FILE", "CODE", "REASON"]);
    for item in rejected {
        table.row([item.path.clone(), item.code.clone(), item.problems.join("; ")]);
    }
    section(text, "Kept out", &table);
}

/// Files that are open or used and no longer in the folder.
pub(super) fn leaving(text: &mut String, used: &[Used]) {
    let mut table = Table::new(&["MODULE", "VERSION", "TENANTS", "INSTANCES"]);
    for item in used {
        table.row([item.module.clone(), item.version.clone(), item.tenants.to_string(), item.instances.to_string()]);
    }
    section(text, "No longer in the plugins folder, but still open", &table);
}

/// The two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (1.., _, _) => format!("{days} d {} h", hours % 24),
        (_, 1.., _) => format!("{hours} h {} min", minutes % 60),
        (_, _, 1..) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{seconds} s"),
    }
}
