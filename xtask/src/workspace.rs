//! Where the project lies and what cargo knows of it. It asks `cargo metadata` and never guesses from folder names.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{
    failure::{Doing, Failure, Result},
    process::run_to_end,
};

/// The project as cargo sees it.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    modules: Vec<Module>,
}

/// A module of the project: a package under `modules/` that compiles to a cdylib.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// The package's name, which is the module's.
    pub(crate) name: String,
    /// The path of its Cargo.toml, as cargo prints it with each file that it built.
    pub(crate) manifest: PathBuf,
}

/// How code is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Optimised.
    Release,
}

impl Profile {
    /// [`Profile::Release`] where the flag was given.
    pub(crate) fn from_release_flag(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    /// The folder below the target folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    /// What cargo is told.
    pub(crate) fn cargo_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Workspace {
    /// Finds the project that this program belongs to.
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run` and `cargo test`: still right after the folder was moved or copied, when what was
        // compiled in is not.
        let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let mut command = Command::new(cargo_program());
        command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(package);
        let text = output_of(&mut command)?;
        let metadata = serde_json::from_str(&text).doing(|| "read what cargo metadata says".to_owned())?;
        Ok(Self::from_metadata(metadata))
    }

    fn from_metadata(metadata: Metadata) -> Self {
        let home = metadata.workspace_root.join("modules");
        let is_module = |package: &Package| {
            package.manifest_path.starts_with(&home)
                && package.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
        };
        let mut modules: Vec<Module> = metadata
            .packages
            .into_iter()
            .filter(is_module)
            .map(|package| Module { name: package.name, manifest: package.manifest_path })
            .collect();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Self { root: metadata.workspace_root, target: metadata.target_directory, modules }
    }

    /// The folder of the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything goes that is made.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where cargo puts what this profile builds.
    pub(crate) fn built(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.folder())
    }

    /// The modules of the project, by name.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// A path as a person in the root folder would type it.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// A cargo command in the root folder.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// Runs a cargo command with its output going where this program's goes; fails when it fails.
    pub(crate) fn run_cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
        run_to_end(&mut self.cargo(arguments))
    }
}

/// The cargo that started this program, or the first on the path.
fn cargo_program() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command and returns what it wrote on stdout; its stderr goes where this program's goes.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let name = crate::process::shown(command);
    let output = command.stderr(std::process::Stdio::inherit()).output().doing(|| format!("start `{name}`"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("`{name}` ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).doing(|| format!("read the output of `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cdylib_packages_under_modules_are_modules() {
        let package = |name: &str, folder: &str, kind: &str| Package {
            name: name.to_owned(),
            manifest_path: format!("/p/{folder}/{name}/Cargo.toml").into(),
            targets: vec![Target { crate_types: vec![kind.to_owned()] }],
        };
        let found = Workspace::from_metadata(Metadata {
            packages: vec![
                package("tasks", "modules", "cdylib"),
                package("shared", "modules", "lib"),
                package("abi-fixture", "tests", "cdylib"),
                package("hr-core", "modules", "cdylib"),
            ],
            workspace_root: "/p".into(),
            target_directory: "/p/target".into(),
        });
        let names: Vec<&str> = found.modules().iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["hr-core", "tasks"]);
    }

    #[test]
    fn this_project_is_found() {
        let found = Workspace::find().unwrap();
        assert!(found.root().join("xtask/Cargo.toml").is_file());
        assert!(found.modules().iter().any(|module| module.name == "tasks"));
    }
}
