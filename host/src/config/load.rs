//! Lays the layers over each other: defaults, file, environment, flags; the later one wins.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigErrors, ConfigProblem, Place},
    read::read_file,
    rules,
    settings::Config,
    value::{parse_address, parse_filter},
};

/// Where configuration comes from. Nothing is taken from the process itself, so tests need no process of their own.
pub struct Layers<'a> {
    /// Where `tenon.toml` is looked for when nobody names a file: the working directory.
    pub folder: &'a Path,
    /// The file named on the command line.
    pub file: Option<&'a Path>,
    /// The environment: `|name| std::env::var_os(name)`. An empty value counts as absent.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// What the command line says beside the file.
    pub flags: Flags,
}

/// What the command line can set; `None` and `false` set nothing.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--plugins`.
    pub plugins: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `--dev`.
    pub dev: bool,
}

impl Config {
    /// Reads all layers and checks the result.
    ///
    /// The file is the one named on the command line, else by `TENON_CONFIG`, else `tenon.toml` in
    /// `layers.folder`; only the last may be absent. Relative paths in the file begin at its folder, those of
    /// environment and flags at the working directory.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in any layer. Rules between values are checked once each value alone is good.
    pub fn load(layers: Layers<'_>) -> Result<Self, ConfigErrors> {
        let mut config = Self::default();
        let env = |name: &str| (layers.env)(name).filter(|value| !value.is_empty());
        let mut problems = load_file(&mut config, &layers, env("TENON_CONFIG"));

        for (name, target) in [("TENON_PLUGINS", &mut config.plugins), ("TENON_DATA", &mut config.data)] {
            if let Some(value) = env(name) {
                *target = value.into();
            }
        }
        let listeners = [("TENON_LISTEN", &mut config.listen), ("TENON_ADMIN_LISTEN", &mut config.admin_listen)];
        for (name, target) in listeners {
            override_text(&mut problems, name, env(name), target, parse_address);
        }
        override_text(&mut problems, "TENON_LOG", env("TENON_LOG"), &mut config.log.filter, parse_filter);

        let Flags { plugins, data, listen, admin_listen, dev } = layers.flags;
        config.plugins = plugins.unwrap_or(config.plugins);
        config.data = data.unwrap_or(config.data);
        config.listen = listen.unwrap_or(config.listen);
        config.admin_listen = admin_listen.unwrap_or(config.admin_listen);
        config.dev |= dev;

        // Rules over values of which some were refused would complain about defaults that nobody chose.
        if problems.is_empty() {
            problems = rules::check(&config);
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }
}

fn load_file(config: &mut Config, layers: &Layers<'_>, from_env: Option<OsString>) -> Vec<ConfigProblem> {
    let named = layers.file.map(Path::to_owned).or(from_env.map(PathBuf::from));
    let may_be_absent = named.is_none();
    let file = named.unwrap_or_else(|| layers.folder.join("tenon.toml"));
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            config.source = Some(file.clone());
            read_file(config, &file, &text)
        }
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let message = format!("the configuration can't be read: {error}");
            vec![ConfigProblem { place: Place::WholeFile(file), message, hint: None }]
        }
    }
}

fn override_text<T>(
    problems: &mut Vec<ConfigProblem>,
    name: &'static str,
    value: Option<OsString>,
    target: &mut T,
    parse: impl FnOnce(&str) -> Result<T, String>,
) {
    let Some(value) = value else { return };
    let parsed = match value.to_str() {
        Some(text) => parse(text),
        None => Err("is not UTF-8".into()),
    };
    match parsed {
        Ok(parsed) => *target = parsed,
        Err(message) => problems.push(ConfigProblem { place: Place::Environment(name), message, hint: None }),
    }
}
