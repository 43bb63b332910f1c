//! The arguments of the commands about flags.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, builder::NonEmptyStringValueParser};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Flags {
    /// List a tenant's flags, their values and who decided them.
    List {
        /// The tenant's id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tenant: String,
    },
    /// Print the value of one flag.
    Get {
        #[command(flatten)]
        of: TenantAndFlag,
    },
    /// Set flags for a tenant, all or none. A value that is not JSON is taken as a text.
    Set {
        /// The tenant's id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tenant: String,
        /// Names and values, as in `advanced-reporting=true`.
        #[arg(required = true, value_name = "FLAG=VALUE")]
        assignments: Vec<String>,
    },
    /// Take the tenant's own value of a flag back.
    Unset {
        #[command(flatten)]
        of: TenantAndFlag,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TenantAndFlag {
    /// The tenant's id.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(in crate::cli) tenant: String,
    /// The flag's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(in crate::cli) flag: String,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Definitions {
    /// Print all definitions as they were written, or one flag's.
    Show {
        /// The flag's key.
        flag: Option<String>,
    },
    /// Replace all definitions. They are checked before anything is written.
    Set {
        /// A file in flagd's format; `-` for stdin.
        file: PathBuf,
        #[command(flatten)]
        based: IfRevision,
    },
    /// Define one flag, or replace its definition; the others stay as they are.
    SetFlag {
        /// The flag's key.
        flag: String,
        /// A file with the flag's definition; `-` for stdin.
        file: PathBuf,
        #[command(flatten)]
        based: IfRevision,
    },
    /// Switch a flag on again for all tenants: its rule and its variants hold.
    Enable {
        /// The flag's key.
        flag: String,
        #[command(flatten)]
        based: IfRevision,
    },
    /// Switch a flag off for all tenants, whatever its rule and modules say.
    Disable {
        /// The flag's key.
        flag: String,
        #[command(flatten)]
        based: IfRevision,
    },
    /// Take the definition of a flag away, or with `--all` every one.
    #[command(group(ArgGroup::new("which").required(true).args(["flag", "all"])))]
    Remove {
        /// The flag's key.
        flag: Option<String>,
        /// Every definition.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        based: IfRevision,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IfRevision {
    /// Refuse where the definitions have another revision than this one, as `show` tells it.
    #[arg(long = "if-revision", value_name = "N")]
    pub(in crate::cli) revision: Option<u64>,
}
