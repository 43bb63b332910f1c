//! Builds modules and lays them into a plugins folder, in such a way that a running host never sees half a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use serde::Deserialize;

use crate::{
    failure::{Doing, Failure, Result},
    process,
    workspace::{Module, Profile, Workspace},
};

/// A built library of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    /// The module's name.
    pub(crate) name: String,
    /// Where cargo put it.
    pub(crate) file: PathBuf,
}

/// What laying a file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Laid {
    /// There was no such file.
    New,
    /// Another one was there.
    Replaced,
    /// The same bytes were there; the file was not touched, so a watching host is not woken for nothing.
    Unchanged,
}

/// What cargo is asked to build in the call that builds modules. Cargo compiles a dependency again for each set of
/// features that a selection asks for, so what is needed together is built together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The modules alone.
    Modules,
    /// And the host.
    ModulesAndHost,
    /// All that tests need; nothing is compiled where they have been built.
    AllTargets,
}

/// `cargo xtask build`.
pub(crate) fn build_command(
    workspace: &Workspace,
    profile: Profile,
    plugins: Option<PathBuf>,
    wanted: &[String],
) -> Result<ExitCode> {
    let modules = choose(workspace.modules(), wanted)?;
    let plugins = plugins.unwrap_or_else(|| workspace.root().join("plugins"));
    for library in build(workspace, profile, &modules, Selection::Modules)? {
        let (target, laid) = lay(&library, &plugins)?;
        let what = match laid {
            Laid::New => "new",
            Laid::Replaced => "replaced",
            Laid::Unchanged => "unchanged",
        };
        println!("{} ({what}, from {})", workspace.shown(&target), workspace.shown(&library.file));
    }
    Ok(ExitCode::SUCCESS)
}

/// The modules that are asked for, all where none is named.
///
/// # Errors
///
/// Names every unknown one, and all known ones.
pub(crate) fn choose(known: &[Module], wanted: &[String]) -> Result<Vec<Module>> {
    let unknown: Vec<&str> =
        wanted.iter().map(String::as_str).filter(|name| known.iter().all(|module| module.name != *name)).collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = known.iter().map(|module| module.name.as_str()).collect();
        return Err(Failure::new(format!(
            "no module `{}` under modules/\nhint: there are {}",
            unknown.join("`, `"),
            names.join(", ")
        )));
    }
    Ok(known.iter().filter(|module| wanted.is_empty() || wanted.contains(&module.name)).cloned().collect())
}

/// Builds these modules with one call of cargo and says where the libraries are.
pub(crate) fn build(
    workspace: &Workspace,
    profile: Profile,
    modules: &[Module],
    selection: Selection,
) -> Result<Vec<Library>> {
    if modules.is_empty() && selection == Selection::Modules {
        return Ok(Vec::new());
    }
    let (found, failed) = run_cargo_build(workspace, profile, modules, selection, &[])?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    match modules.iter().find(|module| found.iter().all(|library| library.name != module.name)) {
        Some(module) => Err(Failure::new(format!("cargo built `{}` but named no library of it", module.name))),
        None => Ok(found),
    }
}

/// As [`build`], but what can't be compiled keeps nothing else from being built; the second is why not all was.
pub(crate) fn build_what_compiles(
    workspace: &Workspace,
    profile: Profile,
    modules: &[Module],
    selection: Selection,
) -> Result<(Vec<Library>, Option<Failure>)> {
    run_cargo_build(workspace, profile, modules, selection, &["--keep-going", "--quiet"])
}

fn run_cargo_build(
    workspace: &Workspace,
    profile: Profile,
    modules: &[Module],
    selection: Selection,
    further: &[&str],
) -> Result<(Vec<Library>, Option<Failure>)> {
    let mut command = workspace.cargo(["build", "--message-format=json-render-diagnostics"]);
    command.args(profile.cargo_arguments()).args(further);
    match selection {
        Selection::AllTargets => {
            command.args(["--workspace", "--all-targets"]);
        }
        Selection::Modules | Selection::ModulesAndHost => {
            let host = (selection == Selection::ModulesAndHost).then_some("tenon-host");
            for package in modules.iter().map(|module| module.name.as_str()).chain(host) {
                command.args(["--package", package]);
            }
        }
    }
    let name = process::shown(&command);
    let output = command.stderr(Stdio::inherit()).output().doing(|| format!("start `{name}`"))?;
    let failed = (!output.status.success()).then(|| Failure::new(format!("`{name}` ended with {}", output.status)));
    let messages = String::from_utf8(output.stdout).doing(|| format!("read the output of `{name}`"))?;
    Ok((libraries(&messages, modules)?, failed))
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    filenames: Option<Vec<PathBuf>>,
}

#[derive(Deserialize)]
struct MessageTarget {
    crate_types: Vec<String>,
}

/// Reads cargo's messages, one JSON object a line, for the library of each module. Cargo names the files, so a
/// target folder or platform of the developer's own choice needs no guessing.
fn libraries(messages: &str, modules: &[Module]) -> Result<Vec<Library>> {
    let mut found = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).doing(|| format!("read cargo's message `{line}`"))?;
        let is_cdylib = message.target.is_some_and(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
        if message.reason != "compiler-artifact" || !is_cdylib {
            continue;
        }
        let module = modules.iter().find(|module| Some(&module.manifest) == message.manifest_path.as_ref());
        let file = message
            .filenames
            .into_iter()
            .flatten()
            .find(|file| file.extension().is_some_and(|end| end == std::env::consts::DLL_EXTENSION));
        if let (Some(module), Some(file)) = (module, file) {
            found.push(Library { name: module.name.clone(), file });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Copies a library to `FOLDER/NAME.so`: written beside under a name that no host takes for a module, then renamed.
pub(crate) fn lay(library: &Library, folder: &Path) -> Result<(PathBuf, Laid)> {
    let ending = std::env::consts::DLL_EXTENSION;
    let target = folder.join(format!("{}.{ending}", library.name));
    let beside = folder.join(format!(".{}.{ending}.{}", library.name, std::process::id()));
    let laid = place(&library.file, &beside, &target);
    let laid = laid.doing(|| format!("lay `{}` at `{}`", library.file.display(), target.display()))?;
    Ok((target, laid))
}

fn place(source: &Path, beside: &Path, target: &Path) -> io::Result<Laid> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = fs::read(source)?;
    let laid = match fs::read(target) {
        Ok(old) if old == new => return Ok(Laid::Unchanged),
        Ok(_) => Laid::Replaced,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Laid::New,
        Err(error) => return Err(error),
    };
    let renamed = fs::write(beside, new).and_then(|()| fs::rename(beside, target));
    if renamed.is_err() {
        // What could not be laid is not left lying around; the reason that matters is the first one.
        let _ = fs::remove_file(beside);
    }
    renamed.map(|()| laid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Module {
        Module { name: name.to_owned(), manifest: format!("/p/modules/{name}/Cargo.toml").into() }
    }

    #[test]
    fn unknown_modules_are_all_named_with_the_known_ones() {
        let known = [module("hr-core"), module("tasks")];
        let failure = choose(&known, &["task".into(), "tasks".into(), "hr".into()]).unwrap_err();
        assert_eq!(failure.to_string(), "no module `task`, `hr` under modules/\nhint: there are hr-core, tasks",);
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &["tasks".into()]).unwrap(), known[1..]);
    }

    #[test]
    fn cargo_says_where_a_library_is() {
        let ending = std::env::consts::DLL_EXTENSION;
        let line = |manifest: &str, kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":{{"crate_types":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        let messages = [
            line("/p/module-api/Cargo.toml", "lib", "/t/libmodule_api.rlib"),
            line("/p/modules/hr-core/Cargo.toml", "cdylib", &format!("/t/libhr_core.{ending}")),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let found = libraries(&messages, &[module("hr-core")]).unwrap();
        assert_eq!(found, [Library { name: "hr-core".into(), file: format!("/t/libhr_core.{ending}").into() }]);
        assert_eq!(libraries(&messages, &[module("tasks")]).unwrap(), []);
    }

    #[test]
    fn a_library_is_laid_replaced_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library { name: "hr-core".into(), file: folder.path().join("libhr_core.so") };
        let plugins = folder.path().join("plugins");
        for (bytes, expected) in [("one", Laid::New), ("one", Laid::Unchanged), ("two", Laid::Replaced)] {
            fs::write(&library.file, bytes).unwrap();
            let (target, laid) = lay(&library, &plugins).unwrap();
            assert_eq!(laid, expected);
            assert_eq!(fs::read_to_string(target).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1, "nothing is left beside");
    }
}
