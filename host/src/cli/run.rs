//! From the process's arguments to its exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::{
    args::{Command, Remote, Tenon},
    check,
    client::Client,
    dead_letters, definitions, enabling, exit,
    failure::Failure,
    flags, keys, marks, modules, moving,
    output::{Output, finish},
    reload, report, serve, settings, tenants,
};

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let command = match Tenon::try_parse() {
        Ok(tenon) => tenon.command,
        Err(error) => {
            let _ = error.print();
            // Help and version are no errors to clap either.
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    ExitCode::from(match command {
        Command::Serve(serve) => serve::serve(serve),
        Command::Check(check) => finish(Ok(check::check(&check))),
        Command::Modules { what, remote } => ask(&remote, |host, json| modules::run(host, json, what)),
        Command::Tenants { what, remote } => ask(&remote, |host, json| tenants::run(host, json, what)),
        Command::Enable(enable) => ask(&enable.remote, |host, json| enabling::enable(host, json, &enable)),
        Command::Disable(disable) => ask(&disable.remote, |host, json| enabling::disable(host, json, &disable)),
        Command::Flags { what, remote } => ask(&remote, |host, json| flags::run(host, json, what)),
        Command::Definitions { what, remote } => ask(&remote, |host, json| definitions::run(host, json, what)),
        Command::Keys { what, remote } => ask(&remote, |host, json| keys::run(host, json, what)),
        Command::Settings { what, remote } => ask(&remote, |host, json| settings::run(host, json, what)),
        Command::DeadLetters { what, remote } => ask(&remote, |host, json| dead_letters::run(host, json, what)),
        Command::Invalidate(what) => {
            ask(&what.remote, |host, json| tenants::invalidate(host, json, what.tenant.as_deref()))
        }
        Command::Reload(what) => ask(&what.remote, |host, json| reload::reload(host, json, &what)),
        Command::Rollback(what) => ask(&what.remote, |host, json| marks::roll_back(host, json, &what)),
        Command::Quarantine { what, remote } => ask(&remote, |host, json| marks::run(host, json, what)),
        Command::Export(what) => ask(&what.remote, |host, _| moving::export(host, &what)),
        Command::Import(what) => ask(&what.remote, |host, json| moving::import(host, json, &what)),
        Command::Stats(remote) => ask(&remote, report::stats),
        Command::Status(remote) => ask(&remote, report::status),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Tenon::command(), "tenon", &mut script);
            Output::text(String::from_utf8_lossy(&script)).print()
        }
    })
}

fn ask(remote: &Remote, command: impl FnOnce(&Client, bool) -> Result<Output, Failure>) -> u8 {
    finish(Client::new(remote).and_then(|host| {
        let output = command(&host, remote.json)?;
        Ok(of_age(&host, output))
    }))
}

/// Says where what was answered may be old.
pub(super) fn of_age(host: &Client, output: Output) -> Output {
    match host.seconds_behind() {
        None => output,
        Some(seconds) => output.remark(format!("warning: what the host knows may be {seconds} s behind the store")),
    }
}
