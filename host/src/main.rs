//! The program `tenon`: everything is in the library, so that the host can be embedded.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenon_host::loader::share_arenas();
    tenon_host::cli::run()
}
