//! The commands and their arguments. What stands here is what `--help` shows.

mod flags;
mod moving;

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{NonEmptyStringValueParser, OsStringValueParser, PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;

pub(super) use flags::{Definitions, Flags, IfRevision};
pub(super) use moving::{Export, Import};

use crate::identity::{FLAGS_READ, KEY_SCOPES};

/// Where a host's operators' listener is unless configured.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8081";

/// A multi-tenant host for modules that are native libraries.
#[derive(Debug, Parser)]
#[command(name = "tenon", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Tenon {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a host until SIGTERM or SIGINT.
    Serve(Serve),
    /// Examine module files without running them; exit code 7 if anything is wrong.
    Check(Check),
    /// What could run.
    Modules {
        #[command(subcommand)]
        what: Modules,
        #[command(flatten)]
        remote: Remote,
    },
    /// Who may use what.
    Tenants {
        #[command(subcommand)]
        what: Tenants,
        #[command(flatten)]
        remote: Remote,
    },
    /// Enable a module for a tenant; it is opened and initialised before anything is written.
    Enable(Enable),
    /// Disable a module for a tenant; its documents stay.
    Disable(Disable),
    /// Features of a tenant.
    Flags {
        #[command(subcommand)]
        what: Flags,
        #[command(flatten)]
        remote: Remote,
    },
    /// Flags defined for all tenants, kept in the store.
    Definitions {
        #[command(subcommand)]
        what: Definitions,
        #[command(flatten)]
        remote: Remote,
    },
    /// API keys of a tenant, by which programs prove it.
    Keys {
        #[command(subcommand)]
        what: Keys,
        #[command(flatten)]
        remote: Remote,
    },
    /// What a tenant has set for a module.
    Settings {
        #[command(subcommand)]
        what: Settings,
        #[command(flatten)]
        remote: Remote,
    },
    /// Events and wake-ups that a module failed to handle too often.
    DeadLetters {
        #[command(subcommand)]
        what: DeadLetters,
        #[command(flatten)]
        remote: Remote,
    },
    /// Forget what is in memory of a tenant, or of all: it is read again from the store.
    Invalidate(Invalidate),
    /// Read the plugins folder now; with a module, renew its library and every tenant's instance.
    Reload(Reload),
    /// Leave the version of a module that runs for the one that ran before it.
    Rollback(Rollback),
    /// Versions that were left, and modules that were stopped.
    Quarantine {
        #[command(subcommand)]
        what: Quarantine,
        #[command(flatten)]
        remote: Remote,
    },
    /// Read everything out of a host's store into a file: tenants, definitions, documents, events and wake-ups.
    Export(Export),
    /// Write everything that was exported into a host's store; what is there already is left as it is.
    Import(Import),
    /// Figures of a running host.
    Stats(Remote),
    /// How a running host is doing, and all that needs a look.
    Status(Remote),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Which host to ask, and how to show the answer.
#[derive(Debug, Clone, Args)]
pub(super) struct Remote {
    /// The host's operators' listener.
    #[arg(
        long,
        env = "TENON_URL",
        default_value = DEFAULT_URL,
        hide_env_values = true,
        global = true,
        help_heading = "Host"
    )]
    pub(super) url: String,
    /// The file with the operators' token; else `$TENON_DATA/admin.token`, else `./data/admin.token`.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        env = "TENON_TOKEN_FILE",
        hide_env_values = true,
        global = true,
        help_heading = "Host"
    )]
    pub(super) token_file: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration; else `TENON_CONFIG`, else `./tenon.toml` if it is there.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The folder that modules are dropped into; `./plugins` unless configured.
    #[arg(long, value_name = "DIR")]
    pub(super) plugins: Option<PathBuf>,
    /// The folder of the store and the operators' token; `./data` unless configured.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Where tenants' requests come in; 127.0.0.1:8080 unless configured.
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// Where operators' requests come in; 127.0.0.1:8081 unless configured.
    #[arg(long, value_name = "ADDR")]
    pub(super) admin_listen: Option<SocketAddr>,
    /// Take users and roles from `X-Dev-User` and `X-Dev-Roles`; on loopback only.
    #[arg(long)]
    pub(super) dev: bool,
    /// Start with every module off; `tenon quarantine release` lets one run.
    #[arg(long)]
    pub(super) safe: bool,
    /// Read the configuration, say what is wrong with it, and end.
    #[arg(long)]
    pub(super) check_config: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Module files, or folders of them. Missing dependencies count only where a folder is given.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(super) paths: Vec<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Modules {
    /// List all modules, and the files that were kept out.
    List,
    /// Show a module with what its manifests declare.
    Show {
        /// Its name.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Show what a module needs, directly or through others.
    Tree {
        /// Its name.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Put modules into the order in which they are loaded.
    Order {
        /// Their names.
        #[arg(required = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Tenants {
    /// List all tenants.
    List,
    /// Make a tenant with no modules.
    Create {
        #[command(flatten)]
        tenant: TenantId,
        /// For people; the id where left out.
        #[arg(long)]
        name: Option<String>,
    },
    /// Show a tenant: its document, and what each of its modules is doing.
    Show(TenantId),
    /// Prove that each enabled module of a tenant runs.
    Load(TenantId),
    /// Refuse a tenant's requests and run nothing of it.
    Suspend(TenantId),
    /// Serve a suspended tenant again.
    Resume(TenantId),
    /// Show which web pages may read a tenant's answers, or say it.
    Cors {
        #[command(flatten)]
        tenant: TenantId,
        /// An origin as browsers send it, as in `https://app.example`, or `*`; once for each. All that were set before go.
        #[arg(long = "origin", value_name = "ORIGIN")]
        origins: Vec<String>,
        /// How long browsers may remember what they were told before a request.
        #[arg(long, value_name = "SECONDS", requires = "origins")]
        max_age: Option<u64>,
        /// Let pages send cookies and the like; not with `*`.
        #[arg(long, requires = "origins")]
        credentials: bool,
        /// Say nothing about origins any more.
        #[arg(long, conflicts_with_all = ["origins", "max_age", "credentials"])]
        clear: bool,
    },
    /// Delete a tenant; refused while modules have documents of it.
    Delete {
        #[command(flatten)]
        tenant: TenantId,
        /// Delete its documents as well.
        #[arg(long)]
        purge: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct TenantId {
    /// Its id.
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct TenantAndModule {
    /// The tenant's id.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) tenant: String,
    /// The module's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) module: String,
}

#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    pub(super) of: TenantAndModule,
    /// Which versions will do, as in Cargo: `^1.2`, `=1.4.0`, `*`.
    #[arg(long, value_name = "RANGE")]
    pub(super) version: Option<String>,
    /// Whether the tenant shares the library with others or has a copy of its own.
    #[arg(long)]
    pub(super) isolation: Option<Isolation>,
    /// Enable required modules as well.
    #[arg(long)]
    pub(super) with_dependencies: bool,
    /// Show what would happen.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Isolation {
    /// One library for all, with an instance for each.
    Shared,
    /// A copy of the library for this tenant alone.
    Library,
}

#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    pub(super) of: TenantAndModule,
    /// Disable modules that need it as well.
    #[arg(long)]
    pub(super) cascade: bool,
    /// Show what would happen.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List a tenant's keys, without their secrets.
    List {
        /// The tenant's id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tenant: String,
    },
    /// Make a key and print it, this once.
    Create {
        /// The tenant's id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tenant: String,
        /// For people: which program has it.
        #[arg(long)]
        name: String,
        /// What it may be used for; once for each.
        #[arg(long = "scope", value_name = "SCOPE", default_value = FLAGS_READ, value_parser = PossibleValuesParser::new(KEY_SCOPES.iter()))]
        scopes: Vec<String>,
        /// From when on it proves nothing, as in `2030-01-01T00:00:00Z`; else it does until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<String>,
    },
    /// Revoke a key.
    Revoke {
        /// The tenant's id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        tenant: String,
        /// The key's id, as `list` shows it.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Print a tenant's settings for a module, without secrets.
    Get {
        #[command(flatten)]
        of: TenantAndModule,
        /// One of them, as in `login.user`.
        key: Option<String>,
    },
    /// Change some, or with `--from-file` replace all. They must fit the module's schema.
    Set {
        #[command(flatten)]
        of: TenantAndModule,
        /// Keys and values, as in `server=mail.example.com login.user=ada`; a value that is not JSON is a text. Secrets
        /// are given by reference: `login.password=env:TENON_SECRET_MAIL` or `=file:mail`.
        #[arg(required_unless_present = "from_file", conflicts_with = "from_file", value_name = "KEY=VALUE")]
        assignments: Vec<String>,
        /// A file with a JSON object: all settings.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Take some away, or all where no key is given.
    Unset {
        #[command(flatten)]
        of: TenantAndModule,
        /// Keys, as in `login.user`.
        keys: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Invalidate {
    /// The tenant's id; all when it is left out.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) tenant: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Reload {
    /// The module's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) module: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The module's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) module: String,
    /// For this tenant only.
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// List them, with the reasons.
    List,
    /// Let a module's contents run again.
    Release {
        /// The module's name.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        module: String,
        /// For this tenant only.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them, with what the last try failed of.
    List,
    /// Deliver one again, as if it had never failed.
    Retry {
        /// Its number.
        id: String,
    },
    /// Delete one.
    Discard {
        /// Its number.
        id: String,
    },
}

/// A moment, as the host reads it.
fn time(text: &str) -> Result<String, String> {
    let read = text.parse::<jiff::Timestamp>();
    read.map(|_| text.to_owned()).map_err(|_| "a time is needed, as in `2030-01-01T00:00:00Z`".to_owned())
}
