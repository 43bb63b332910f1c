//! Servers that a test may kill and start again: one that speaks MongoDB's protocol, and one that speaks Redis's. How
//! they are started stands in variables, which `cargo xtask test` sets.

use std::path::Path;

use e2e::Server;

/// `None`, and says that `what` is skipped, where the variable is missing.
fn start(what: &str, variable: &str, folder: &Path) -> Option<Server> {
    let Ok(words) = std::env::var(variable) else {
        println!("SKIPPED: {what}: {variable} does not say how to start a server; `cargo xtask test` brings one");
        return None;
    };
    Some(Server::start(&words, folder).expect("a server starts"))
}

macro_rules! servers {
    ($($(#[$about:meta])* $name:ident: $variable:literal;)*) => {
        $(
            $(#[$about])*
            pub(crate) struct $name(Server);

            impl $name {
                /// Starts one with its data and log below a folder, on a port of its own. `None`, and says that `what` is
                /// skipped, where there is no such server on this machine.
                pub(crate) fn start(what: &str, folder: &Path) -> Option<Self> {
                    start(what, $variable, folder).map(Self)
                }

                /// Ends it as `kill -9` does. What it had written stays.
                pub(crate) fn kill(&mut self) {
                    self.0.kill();
                }

                /// Starts it again at the same address, with what it had written; kills it first where it runs.
                pub(crate) fn restart(&mut self) {
                    self.0.restart().expect("a server starts again");
                }
            }
        )*
    };
}

servers! {
    /// Speaks MongoDB's protocol.
    MongoServer: "TENON_TEST_MONGODB_SERVER";
    /// Speaks Redis's; keeps nothing over a restart.
    RedisServer: "TENON_TEST_REDIS_SERVER";
}

impl MongoServer {
    /// As [`MongoServer::kill`], for whoever only borrows it; it is reaped with its next start, or its end.
    pub(crate) fn signal_kill(&self) {
        self.0.signal_kill();
    }

    /// Where a database of this name is.
    pub(crate) fn uri(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}", self.0.port())
    }
}

impl RedisServer {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.0.port())
    }
}
