//! What is generated builds, passes its own tests and needs no correction by rustfmt or clippy. Cargo works offline
//! in the project's own target folder, where most of what is needed lies ready.

use std::{path::Path, process::Command};

use super::*;
use crate::{process::run_to_end, workspace::Profile};

fn name() -> Name {
    Name::parse("say-hello", &[]).unwrap()
}

/// A cargo command for a folder elsewhere.
fn cargo(workspace: &Workspace, folder: &Path, arguments: &[&str]) {
    let mut command: Command = workspace.cargo(arguments.iter().copied());
    let target = workspace.built(Profile::Dev).parent().unwrap().to_owned();
    command.current_dir(folder).env("CARGO_TARGET_DIR", target).env_remove("CARGO_MANIFEST_DIR");
    run_to_end(&mut command).unwrap();
}

pub(super) fn check_all(workspace: &Workspace, folder: &Path) {
    cargo(workspace, folder, &["fmt", "--check"]);
    cargo(workspace, folder, &["test", "--offline", "--quiet"]);
    cargo(workspace, folder, &["clippy", "--offline", "--quiet", "--all-targets", "--", "--deny", "warnings"]);
}

/// Lays a module into a workspace like this one, with nothing else in it.
pub(super) fn in_a_workspace(
    workspace: &Workspace,
    name: &str,
    files: &[(&str, String)],
    check: fn(&Workspace, &Path),
) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(workspace.root().join("Cargo.toml")).unwrap();
    let mut root: toml::Table = toml::from_str(&text).unwrap();
    root["workspace"]["members"] = vec!["modules/*"].into();
    for (crate_name, home) in [("module-api", "module-api"), ("tenon-host", "host")] {
        let path = workspace.root().join(home).to_str().unwrap().to_owned();
        root["workspace"]["dependencies"][crate_name]["path"] = path.into();
    }
    fs::write(folder.path().join("Cargo.toml"), root.to_string()).unwrap();
    for file in ["Cargo.lock", "rustfmt.toml", "clippy.toml"] {
        fs::copy(workspace.root().join(file), folder.path().join(file)).unwrap();
    }
    let home = folder.path().join("modules").join(name);
    write_all(&home, files).unwrap();
    check(workspace, &home);
}

#[test]
fn a_module_of_the_project_passes_its_tests() {
    let workspace = Workspace::find().unwrap();
    let files = files(&name(), Home::Workspace, Path::new("unused")).unwrap();
    in_a_workspace(&workspace, "say-hello", &files, check_all);
}

#[test]
fn a_module_in_a_repository_of_its_own_passes_its_tests() {
    let workspace = Workspace::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("say-hello");
    new_command(&workspace, "say-hello", Some(home.clone())).unwrap();
    for file in ["README.md", ".gitignore", "Cargo.lock"] {
        assert!(home.join(file).is_file(), "{file}");
    }
    check_all(&workspace, &home);
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.toml"), "mine").unwrap();
    let failure = write_all(folder.path(), &files(&name(), Home::Workspace, Path::new("m")).unwrap()).unwrap_err();
    assert!(failure.to_string().ends_with("is there already, and nothing in it is overwritten"), "{failure}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let workspace = Workspace::find().unwrap();
    assert!(new_command(&workspace, "tasks", None).unwrap_err().to_string().contains("is taken"));
}

#[test]
fn every_place_is_filled_in() {
    for home in [Home::Workspace, Home::OwnRepository] {
        for (path, text) in files(&name(), home, Path::new("m")).unwrap() {
            assert!(!text.contains('@'), "{path}");
        }
    }
}
