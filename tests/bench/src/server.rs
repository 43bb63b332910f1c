//! Servers in processes of their own: starts them, asks how much processor time they used, ends them. The same
//! program is the server when it is started with `--serve`.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tenon_host::config::RuntimeMode;
use tokio::net::TcpListener;

use crate::{
    failure::{Doing, Failure, Result},
    machine::{self, CpuTime},
    peer, tenants,
};

/// For how long a server may take to leave orderly before it is killed.
const LEAVE: Duration = Duration::from_secs(5);

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The peer on tokio's usual runtime.
    Axum,
    /// The peer on a current-thread runtime.
    AxumCurrentThread,
    /// The host, mode `per-core`.
    PerCore,
    /// The host, mode `work-stealing`.
    WorkStealing,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Axum => "axum",
            Self::AxumCurrentThread => "axum, current-thread runtime",
            Self::PerCore => "host, per-core",
            Self::WorkStealing => "host, work-stealing",
        })
    }
}

impl Kind {
    fn argument(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A running server. Ended and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server with so many workers, on one core or on all, and waits until it listens. A host keeps its
    /// files below `folder`, which is made.
    pub(crate) fn start(kind: Kind, workers: usize, core: Option<usize>, folder: &Path) -> Result<Self> {
        if matches!(kind, Kind::PerCore | Kind::WorkStealing) {
            tenants::prepare(folder)?;
        }
        Self::start_prepared(kind, workers, core, folder)
    }

    /// The same on folders that are there.
    pub(crate) fn start_prepared(kind: Kind, workers: usize, core: Option<usize>, folder: &Path) -> Result<Self> {
        let program = std::env::current_exe().doing("find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["--serve", &kind.argument(), "--workers", &workers.to_string(), "--folder"]).arg(folder);
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().doing(format_args!("start the server `{kind}`"))?;
        let mut server = Self { child, kind, address: ([127, 0, 0, 1], 0).into() };
        let mut line = String::new();
        if let Some(stdout) = server.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).doing(format_args!("hear from the server `{kind}`"))?;
        }
        server.address = line.trim().parse().map_err(|_| Failure::new(format!("the server `{kind}` did not start")))?;
        Ok(server)
    }

    /// Processor time used so far.
    pub(crate) fn time(&self) -> Result<CpuTime> {
        machine::process_time(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input tells it to leave; it does so too when this program is killed.
        drop(self.child.stdin.take());
        let deadline = Instant::now() + LEAVE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Is a server: prints the address, then serves until the standard input ends.
pub(crate) fn serve(kind: Kind, workers: usize, core: Option<usize>, folder: &Path) -> Result<()> {
    if let Some(core) = core {
        machine::pin(core)?;
    }
    let mut builder = match kind {
        Kind::Axum => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.worker_threads(workers).enable_all().build().doing("make a runtime")?;
    let mode = match kind {
        Kind::Axum | Kind::AxumCurrentThread => {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).doing("bind a port")?;
            println!("{}", listener.local_addr().doing("ask for the port")?);
            let serving = runtime.spawn(peer::serve(listener));
            runtime.block_on(input_ended(serving));
            return Ok(());
        }
        Kind::PerCore => RuntimeMode::PerCore,
        Kind::WorkStealing => RuntimeMode::WorkStealing,
    };
    runtime.block_on(async {
        let mut config = tenants::config(folder, mode, workers);
        // There is nothing to drain but connections that the load has given up.
        config.tenancy.drain_deadline = Duration::from_secs(1);
        let host = tenants::start_host(config).await?;
        println!("{}", host.address());
        input_ended(std::future::pending::<()>()).await;
        host.shutdown().await;
        Ok(())
    })
}

/// Completes at the end of the standard input, or when `serving` does.
async fn input_ended(serving: impl Future) {
    let (done, ended) = tokio::sync::oneshot::channel();
    // A thread rather than tokio's stdin: that one would keep the runtime from ending.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = done.send(());
    });
    tokio::select! {
        _ = ended => {}
        _ = serving => {}
    }
}
