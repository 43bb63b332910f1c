//! The program, the modules and the fixtures as they are now: cargo brings them up to date, once, and names them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde::Deserialize;

/// What was built.
#[derive(Debug)]
pub(crate) struct Artifacts {
    /// The program `tenon`.
    pub(crate) tenon: PathBuf,
    /// Other programs by name.
    programs: BTreeMap<String, PathBuf>,
    /// Libraries by the name of their crate or example.
    libraries: BTreeMap<String, PathBuf>,
}

impl Artifacts {
    /// A program beside `tenon`.
    ///
    /// # Panics
    ///
    /// Where cargo built none of that name.
    pub(crate) fn program(&self, name: &str) -> &Path {
        self.programs.get(name).unwrap_or_else(|| panic!("no program {name} among {:?}", self.programs.keys()))
    }

    /// The library of a module or fixture.
    ///
    /// # Panics
    ///
    /// Where cargo built none of that name.
    pub(crate) fn library(&self, name: &str) -> &Path {
        let found = self.libraries.get(&name.replace('-', "_"));
        found.unwrap_or_else(|| panic!("no library {name} among {:?}", self.libraries.keys()))
    }
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    filenames: Option<Vec<PathBuf>>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds once for all tests. Everything but tests is built together, so that nothing is left to do after
/// `cargo xtask test` built the workspace: with other selections dependencies have other features.
///
/// # Panics
///
/// Where cargo fails; its own words are on stderr.
pub(crate) fn artifacts() -> &'static Artifacts {
    // A failure is kept too: a build that fails for one test would fail for each.
    static BUILT: OnceLock<Result<Artifacts, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--workspace", "--lib", "--bins", "--examples"]);
        command.arg("--message-format=json-render-diagnostics");
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().expect("cargo starts");
        if !output.status.success() {
            return Err(format!("cargo build ended with {}; a test that ran earlier shows why", output.status));
        }
        Ok(read(&String::from_utf8(output.stdout).expect("cargo's messages are UTF-8")))
    });
    built.as_ref().unwrap_or_else(|why| panic!("{why}"))
}

fn read(messages: &str) -> Artifacts {
    let (mut tenon, mut programs, mut libraries) = (None, BTreeMap::new(), BTreeMap::new());
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).expect("a message of cargo's");
        let (Some(target), Some(files)) = (message.target, message.filenames) else { continue };
        if message.reason != "compiler-artifact" || message.profile.is_none_or(|profile| profile.test) {
            continue;
        }
        if target.name == "tenon" && target.kind.iter().any(|kind| kind == "bin") {
            tenon = message.executable;
        } else if let Some(executable) = message.executable {
            programs.insert(target.name, executable);
        } else if target.crate_types.iter().any(|kind| kind == "cdylib") {
            let library = files.into_iter().find(|file| file.extension().is_some_and(|end| end == "so"));
            libraries.extend(library.map(|file| (target.name.replace('-', "_"), file)));
        }
    }
    Artifacts { tenon: tenon.expect("cargo built `tenon`"), programs, libraries }
}
