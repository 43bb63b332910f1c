//! `tenon serve`: the configuration, the log, the host.

use std::{
    error::Error,
    io::{self, Write},
    path::Path,
};

use listenfd::ListenFd;

use super::{args::Serve, exit, output::Output};
use crate::{
    app::{self, Host, Listeners},
    config::{Config, Flags, Layers, LogFormat},
    telemetry::{LogStyle, start_log},
};

/// Runs a host until a signal; returns the exit code.
pub(super) fn serve(serve: Serve) -> u8 {
    // First of all: it takes names out of the environment, which is safe while there is one thread.
    let listeners = match passed_in() {
        Ok(listeners) => listeners,
        Err(error) => return failed(&error),
    };
    let (only_check, safe) = (serve.check_config, serve.safe);
    let loaded = Config::load(Layers {
        folder: Path::new("."),
        file: serve.config.as_deref(),
        env: &|name| std::env::var_os(name),
        flags: Flags {
            plugins: serve.plugins,
            data: serve.data,
            listen: serve.listen,
            admin_listen: serve.admin_listen,
            dev: serve.dev,
        },
    });
    let config = match loaded {
        Ok(config) => config,
        Err(errors) => {
            for problem in errors.problems() {
                let _ = writeln!(io::stderr(), "error: {problem}");
            }
            return exit::USAGE;
        }
    };
    if only_check {
        let problems = app::check_files(&config);
        for problem in &problems {
            let _ = writeln!(io::stderr(), "error: {problem}");
        }
        if !problems.is_empty() {
            return exit::USAGE;
        }
        let source = config.source.as_ref().map_or("defaults".to_owned(), |file| format!("`{}`", file.display()));
        return Output::default().remark(format!("the configuration is good: {source}")).print();
    }
    let style = match config.log.format {
        LogFormat::Text => LogStyle::Text,
        LogFormat::Json => LogStyle::Json,
    };
    if let Err(error) = start_log(style, &config.log.filter) {
        return failed(&error);
    }
    match app::serve(Host::builder().config(config).safe(safe).listeners(listeners), announce) {
        Ok(()) => exit::OK,
        Err(error) => failed(&error),
    }
}

/// The sockets that whoever started the process has opened for it (systemd's socket activation): the first is for
/// tenants, the second, where there is one, for operators.
fn passed_in() -> io::Result<Listeners> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 2 {
        let why =
            format!("{} sockets were passed in: the first is for tenants, the second for operators", sockets.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(Listeners { tenants: sockets.take_tcp_listener(0)?, operators: sockets.take_tcp_listener(1)? })
}

/// Data, hence on stdout whatever the log's filter: with port 0 nobody else knows where the host listens.
fn announce(host: &Host) {
    let (tenants, operators, token) = (host.address(), host.admin_address(), host.admin_token_path().display());
    let mut out = io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(out, "tenants: http://{tenants}\noperators: http://{operators} (token: {token})");
    let _ = out.flush();
}

fn failed(error: &dyn Error) -> u8 {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
    exit::OTHER
}
