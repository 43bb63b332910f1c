//! Starts a module: a crate that builds, passes its tests and answers requests, for its author to change.
//!
//! What is written is in `template/`, with `@name@` and the like in the place of what differs. It never touches a
//! file that is there.

mod name;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Deserialize;

use crate::{
    failure::{Doing, Failure, Result},
    workspace::Workspace,
};

use self::name::Name;

/// Where a module is to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Under `modules/` of this project, which takes in whatever lies there.
    Workspace,
    /// In a repository of its own.
    OwnRepository,
}

/// `cargo xtask new`.
pub(crate) fn new_command(workspace: &Workspace, name: &str, out: Option<PathBuf>) -> Result<ExitCode> {
    // A crate elsewhere is not in this project's lock file, so it may have any name but those of its own crates.
    let taken = if out.is_none() { locked(workspace.root())? } else { vec!["module-api".into(), "serde".into()] };
    let name = Name::parse(name, &taken)?;
    let (home, folder) = match out {
        Some(out) => (Home::OwnRepository, std::path::absolute(&out).doing(|| format!("find `{}`", out.display()))?),
        None => (Home::Workspace, workspace.root().join("modules").join(name.as_str())),
    };
    let module_api = workspace.root().join("module-api");
    write_all(&folder, &files(&name, home, &module_api)?)?;
    if home == Home::OwnRepository {
        // The versions that this checkout was tested with; cargo drops what the module doesn't need.
        let (from, to) = (workspace.root().join("Cargo.lock"), folder.join("Cargo.lock"));
        fs::copy(&from, &to).doing(|| format!("copy `{}` to `{}`", from.display(), to.display()))?;
    }
    print!("{}", next_steps(&name, home, &workspace.shown(&folder).to_string(), &module_api));
    Ok(ExitCode::SUCCESS)
}

/// The names of all crates in a lock file.
fn locked(root: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
    }
    let file = root.join("Cargo.lock");
    let reading = || format!("read `{}`", file.display());
    let text = fs::read_to_string(&file).doing(reading)?;
    let lock: Lock = toml::from_str(&text).doing(reading)?;
    Ok(lock.package.into_iter().map(|package| package.name).collect())
}

/// The files of a module: path below its folder, and text.
fn files(name: &Name, home: Home, module_api: &Path) -> Result<Vec<(&'static str, String)>> {
    let path = module_api.to_str().ok_or_else(|| {
        Failure::new(format!("`{}` is not UTF-8, so no Cargo.toml can name it", module_api.display()))
    })?;
    let filled = |template: &str| {
        template
            .replace("@name@", name.as_str())
            .replace("@crate@", &name.crate_name())
            .replace("@Type@", &name.type_name())
            .replace("@display@", &name.display())
            .replace("@prefix@", std::env::consts::DLL_PREFIX)
            .replace("@suffix@", std::env::consts::DLL_SUFFIX)
            .replace("@module_api@", &toml::Value::from(path).to_string())
    };
    let cargo_toml = match home {
        Home::Workspace => include_str!("template/member.toml.in"),
        Home::OwnRepository => include_str!("template/own.toml.in"),
    };
    let mut files = vec![
        ("Cargo.toml", filled(cargo_toml)),
        ("module.toml", filled(include_str!("template/module.toml.in"))),
        ("src/lib.rs", filled(include_str!("template/lib.rs.in"))),
        ("src/tests.rs", filled(include_str!("template/tests.rs.in"))),
    ];
    if home == Home::OwnRepository {
        files.push(("README.md", filled(include_str!("template/README.md.in"))));
        files.push((".gitignore", filled(include_str!("template/gitignore.in"))));
        files.push(("rustfmt.toml", include_str!("../../../rustfmt.toml").to_owned()));
    }
    Ok(files)
}

/// Writes files into a folder that must be absent or empty.
fn write_all(folder: &Path, files: &[(&str, String)]) -> Result<()> {
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Failure::new(format!("failed to read `{}`: {error}", folder.display()))),
    };
    if !is_free {
        return Err(Failure::new(format!("`{}` is there already, and nothing in it is overwritten", folder.display())));
    }
    for (path, text) in files {
        let file = folder.join(path);
        let writing = || format!("write `{}`", file.display());
        fs::create_dir_all(file.parent().unwrap_or(folder)).doing(writing)?;
        fs::File::create_new(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .doing(writing)?;
    }
    Ok(())
}

fn next_steps(name: &Name, home: Home, folder: &str, module_api: &Path) -> String {
    let name = name.as_str();
    match home {
        Home::Workspace => format!(
            "{folder} is there. Next:\n\n  \
             cargo test -p {name}       its tests, on a host in memory\n  \
             cargo xtask dev            a host that serves it, and takes it in anew whenever a file is saved\n\n\
             and then, from another terminal:\n\n  \
             curl -H 'X-Tenant-Id: dev' 'http://127.0.0.1:8080/api/v1/{name}/hello?name=Ada'\n\n\
             Start with {folder}/src/lib.rs; docs/module-development.md goes on from there.\n"
        ),
        Home::OwnRepository => format!(
            "{folder} is there. Its Cargo.toml takes module-api from this checkout:\n\n  {}\n\n\
             Next, in that folder:\n\n  \
             cargo test                 its tests, on a host in memory\n  \
             cargo build --release      the library\n\n\
             README.md says how it gets onto a host.\n",
            module_api.display()
        ),
    }
}

#[cfg(test)]
mod guide;
#[cfg(test)]
mod tests;
