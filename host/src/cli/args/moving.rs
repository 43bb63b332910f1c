//! The arguments of the commands that move everything.

use std::path::PathBuf;

use clap::Args;

use super::Remote;

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The file, readable by its owner only; `-` for stdout.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) remote: Remote,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// What was exported; `-` for stdin.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) remote: Remote,
}
