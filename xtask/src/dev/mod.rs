//! A host that serves the modules of this project, and takes each in anew when its source is saved.
//!
//! Compiling is cargo's business and replacing is the host's: what stands between is here. What can't be compiled
//! changes nothing; the host goes on with what it has.

mod changes;
mod service;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    failure::{Failure, Result},
    modules::{self, Laid, Selection},
    run::Started,
    workspace::{Profile, Workspace},
};

use self::{
    changes::{Changed, Changes},
    service::{Service, Taken},
};

/// Whose modules they are; another tenant than that of `cargo xtask run`, which shows how one without modules fares.
const TENANT: &str = "dev";

/// How often the end of the host is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `cargo xtask dev`: until the host ends or is told to stop.
pub(crate) fn dev(workspace: Workspace, plugins: Option<PathBuf>, data: Option<PathBuf>) -> Result<ExitCode> {
    let mut workspace = workspace;
    // Before the first build, so that what is saved during it is not missed.
    let changes = Changes::watch(&workspace.root().join("modules"))?;
    let mut started = Started::begin(&workspace, plugins, data)?;
    changes.wait(Duration::ZERO)?;
    make_tenant(&workspace, &started)?;
    let service = Service { workspace: &workspace, started: &started, tenant: TENANT };
    for module in workspace.modules() {
        if let Err(why) = service.enable(&module.name)? {
            eprintln!("{}: {why}", module.name);
        }
    }
    println!("{}", introduction(&workspace, &started));
    loop {
        if let Some(code) = started.host.look_whether_ended()? {
            return Ok(code);
        }
        let changed = changes.wait(LOOK_EVERY)?;
        if changed.is_empty() {
            continue;
        }
        if changed.keys().any(|name| workspace.modules().iter().all(|module| module.name != *name)) {
            // A half-written module is no reason to stop: the rest of it will be another change.
            match Workspace::find() {
                Ok(found) => workspace = found,
                Err(failure) => {
                    eprintln!("error: {failure}");
                    continue;
                }
            }
        }
        // A Ctrl-C ends the compiler too; the loop's next round then ends the rest.
        if let Err(failure) = take_in(&workspace, &started, &changed) {
            eprintln!("error: {failure}");
        }
    }
}

/// Builds what was changed and lays it before the host.
fn take_in(workspace: &Workspace, started: &Started, changed: &Changed) -> Result<()> {
    let begun = Instant::now();
    // Always the same selection: with another one, cargo would compile dependencies with other features, anew.
    let selection = Selection::ModulesAndHost;
    let (libraries, failed) = modules::build_what_compiles(workspace, Profile::Dev, workspace.modules(), selection)?;
    let compiled_in = begun.elapsed();
    let service = Service { workspace, started, tenant: TENANT };
    let mut was_laid = false;
    for library in &libraries {
        let put_away = service.put_away()?;
        let (_, laid) = modules::lay(library, started.plugins())?;
        if laid == Laid::Unchanged {
            continue;
        }
        was_laid = true;
        let saved = changed.get(&library.name).or(changed.values().max());
        let age = |saved: &SystemTime| SystemTime::now().duration_since(*saved).unwrap_or_default();
        let in_place = saved.map(age).unwrap_or_default();
        let taken = match laid {
            Laid::New => service.wait_for_first(&library.name)?,
            Laid::Replaced | Laid::Unchanged => service.wait_for_replaced(&library.name, put_away)?,
        };
        let outcome = match taken {
            Taken::InService => format!("in service at {}", seconds(saved.map(age).unwrap_or_default())),
            Taken::Refused(why) => format!("not taken: {why}"),
        };
        // Counted from the moment of saving.
        println!(
            "{}: in place at {} (cargo took {}), {outcome}",
            library.name,
            seconds(in_place),
            seconds(compiled_in)
        );
    }
    match failed {
        Some(failure) => Err(Failure::new(format!(
            "{failure}\nhint: what was not compiled is not replaced; save again to try again"
        ))),
        None if !was_laid => {
            println!(
                "{}: compiled, and the library is the same",
                changed.keys().cloned().collect::<Vec<_>>().join(", ")
            );
            Ok(())
        }
        None => Ok(()),
    }
}

fn make_tenant(workspace: &Workspace, started: &Started) -> Result<()> {
    if started.ask(workspace, &["tenants", "show", TENANT])?.status.success() {
        return Ok(());
    }
    let made = started.ask(workspace, &["tenants", "create", TENANT])?;
    if made.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    Err(Failure::new(format!("tenant `{TENANT}` can't be made: {why}")))
}

fn introduction(workspace: &Workspace, started: &Started) -> String {
    let names: Vec<&str> = workspace.modules().iter().map(|module| module.name.as_str()).collect();
    format!(
        "\nThe host serves {} to tenant `{TENANT}` at {}. Ask it as anybody you like:\n\n  \
         curl -H 'X-Tenant-Id: {TENANT}' -H 'X-Dev-User: ada' -H 'X-Dev-Roles: Admin' {}/api/v1/...\n\n\
         Save a file under modules/ and the module is built and replaced. Ctrl-C stops the host.\n",
        names.join(", "),
        started.url(),
        started.url(),
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
