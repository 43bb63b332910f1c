//! Whether a host has taken a laid module into service, as its own tools tell.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::{
    failure::{Doing, Result},
    run::Started,
    workspace::Workspace,
};

/// How long a host may take to notice a file. It does so within milliseconds, but its machine may be busy compiling.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long a refusal may be about the file that was there before.
const DOUBT: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Asks a host about one of its tenants.
pub(super) struct Service<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) started: &'a Started,
    pub(super) tenant: &'a str,
}

/// What became of a file that was laid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Requests get to its code.
    InService,
    /// The host does not use it; why.
    Refused(String),
}

#[derive(Deserialize)]
struct Stats {
    libraries: Libraries,
}

#[derive(Deserialize)]
struct Libraries {
    unloaded: u64,
    resident: u64,
}

#[derive(Deserialize)]
struct Status {
    rejected: Vec<Rejected>,
    leaving: Vec<Leaving>,
}

#[derive(Deserialize)]
struct Rejected {
    path: String,
    code: String,
    problems: Vec<String>,
}

#[derive(Deserialize)]
struct Leaving {
    module: String,
}

impl Service<'_> {
    /// How many copies of code the host has put away so far.
    pub(super) fn put_away(&self) -> Result<u64> {
        let Stats { libraries } = self.json("stats")?;
        Ok(libraries.unloaded + libraries.resident)
    }

    /// Enables a module with all it needs, which makes the host prove that it runs.
    ///
    /// # Errors
    ///
    /// Why it does not; with the outer one, the question could not be asked.
    pub(super) fn enable(&self, module: &str) -> Result<std::result::Result<(), String>> {
        let output = self.started.ask(self.workspace, &["enable", self.tenant, module, "--with-dependencies"])?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Ok(Err(told.trim().trim_start_matches("error: ").replace('\n', ", ")))
    }

    /// Waits for a file that was not there before.
    pub(super) fn wait_for_first(&self, module: &str) -> Result<Taken> {
        self.wait(module, |_| Ok(true))
    }

    /// Waits for a file that replaced another, of which a copy was open. `put_away_before` is from before it was laid.
    pub(super) fn wait_for_replaced(&self, module: &str, put_away_before: u64) -> Result<Taken> {
        // The host starts the new code, publishes it, and then puts the old copy away: while it says nothing of an
        // old one, it has not seen the file yet.
        self.wait(module, |status| {
            let is_leaving = status.leaving.iter().any(|leaving| leaving.module == module);
            Ok(is_leaving || self.put_away()? > put_away_before)
        })
    }

    fn wait(&self, module: &str, has_noticed: impl Fn(&Status) -> Result<bool>) -> Result<Taken> {
        let file = format!("/{module}{}", std::env::consts::DLL_SUFFIX);
        let begun = Instant::now();
        loop {
            let status: Status = self.json("status")?;
            let rejected = status.rejected.iter().find(|rejected| rejected.path.ends_with(&file));
            let refusal = match rejected {
                Some(rejected) => Some(format!("{}: {}", rejected.code, rejected.problems.join("; "))),
                // In this order: where the host had noticed before, `enable` speaks of the new file.
                None => match (has_noticed(&status)?, self.enable(module)?) {
                    (true, Ok(())) => return Ok(Taken::InService),
                    (_, Err(why)) => Some(why),
                    (false, Ok(())) => None,
                },
            };
            match refusal {
                Some(why) if begun.elapsed() > DOUBT => return Ok(Taken::Refused(why)),
                None if begun.elapsed() > PATIENCE => {
                    return Ok(Taken::Refused(format!("it was not noticed within {} s", PATIENCE.as_secs())));
                }
                _ => std::thread::sleep(ASK_EVERY),
            }
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, command: &str) -> Result<T> {
        let output = self.started.ask(self.workspace, &[command, "--json"])?;
        serde_json::from_slice(&output.stdout).doing(|| format!("read what `tenon {command}` says"))
    }
}
