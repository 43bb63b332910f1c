//! Secrets by reference: `env:NAME` is a variable of the host's environment, `file:NAME` a file below one folder. Only
//! what an operator has put there for this purpose can be referred to, not whatever the host could read.

use std::{
    env::VarError,
    fmt, fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::{FieldPath, schema::at_mut};

/// What the names of variables begin with that can be referred to.
const PREFIX: &str = "TENON_SECRET_";

/// The longest secret. A guess: a key with its certificates is smaller.
const MAX_BYTES: u64 = 64 << 10;

/// What a secret field holds instead of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Variable(String),
    File(PathBuf),
}

impl Reference {
    /// Reads a reference. The error does not repeat the text, which may be the secret itself.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(name) = text.strip_prefix("env:") {
            let rest = name.strip_prefix(PREFIX).unwrap_or_default();
            let is_name = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if is_name {
                Ok(Self::Variable(name.to_owned()))
            } else {
                Err("is secret: a variable's name begins with TENON_SECRET_ and has letters, digits and `_`")
            };
        }
        let Some(name) = text.strip_prefix("file:") else {
            return Err("is secret: give a reference, `env:TENON_SECRET_NAME` or `file:NAME`");
        };
        let path = Path::new(name);
        let is_below =
            path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)));
        if is_below {
            Ok(Self::File(path.to_owned()))
        } else {
            Err("is secret: a file is named below the folder for secrets, without `..` and not from the root")
        }
    }
}

/// Where secrets are kept.
#[derive(Clone, Default)]
pub struct Secrets {
    /// `None`: no file can be referred to.
    folder: Option<PathBuf>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({:?})", self.folder)
    }
}

impl Secrets {
    /// Files below this folder, and the variables of the environment that are meant to be referred to.
    pub fn below(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// The secret. A line end at a file's end is not part of it.
    fn get(&self, reference: &Reference) -> Result<String, String> {
        match reference {
            Reference::Variable(name) => match std::env::var(name) {
                Ok(secret) => Ok(secret),
                // The error's own text would repeat it.
                Err(VarError::NotUnicode(_)) => Err("its value is not UTF-8".to_owned()),
                Err(VarError::NotPresent) => Err("there is no such variable".to_owned()),
            },
            Reference::File(name) => self.read(name),
        }
    }

    fn read(&self, name: &Path) -> Result<String, String> {
        let folder = self.folder.as_deref().ok_or("this host has no folder for secrets")?;
        // Links may point elsewhere within the folder (that is how they are rotated), not out of it.
        let [folder, path] = [folder.to_owned(), folder.join(name)].map(fs::canonicalize);
        let (folder, path) = (folder.map_err(|error| error.to_string())?, path.map_err(|error| error.to_string())?);
        if !path.starts_with(&folder) {
            return Err("it lies outside the folder for secrets".to_owned());
        }
        let mut text = String::new();
        let file = fs::File::open(&path).map_err(|error| error.to_string())?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err("it is no file".to_owned());
        }
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        let kept = text.strip_suffix('\n').unwrap_or(&text);
        Ok(kept.strip_suffix('\r').unwrap_or(kept).to_owned())
    }
}

/// Puts secrets in the places of their references, for the module. What can't be had is left out; the places and
/// reasons are returned for the log.
pub fn resolve(settings: &mut Value, fields: &[FieldPath], secrets: &Secrets) -> Vec<String> {
    let mut missing = Vec::new();
    for path in fields {
        let Some(Value::String(text)) = at_mut(settings, path) else { continue };
        let found = Reference::read(text).map_err(str::to_owned).and_then(|reference| secrets.get(&reference));
        match found {
            Ok(secret) => *text = secret,
            Err(why) => {
                missing.push(format!("{}: {why}", path.join(".")));
                if let (Some(last), Some(parent)) = (path.last(), at_mut(settings, &path[..path.len() - 1]))
                    && let Value::Object(parent) = parent
                {
                    parent.remove(last);
                }
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_meant_to_be_referred_to_can_be() {
        for good in ["env:TENON_SECRET_A", "file:mail", "file:a/b"] {
            assert!(Reference::read(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hunter2",
            "env:",
            "env:PATH",
            "env:TENON_SECRET_",
            "env:TENON_SECRET_a=b",
            "file:",
            "file:/etc/passwd",
            "file:../x",
            "file:a/../../x",
            "file:.",
        ] {
            let why = Reference::read(bad).unwrap_err();
            assert!(bad.is_empty() || !why.contains(bad) || bad.len() < 6, "{bad}: {why}");
        }
    }

    #[test]
    fn files_are_read_from_below_the_folder_only() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("secrets");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("mail"), "hunter2\n").unwrap();
        fs::write(folder.join("large"), vec![b'x'; 65 << 10]).unwrap();
        fs::write(outer.path().join("outside"), "no").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outer.path().join("outside"), folder.join("link")).unwrap();
        let secrets = Secrets::below(&folder);
        let field = |name: &str| vec![name.to_owned()];
        let mut settings = json!({ "a": "file:mail", "b": "file:large", "c": "file:none", "d": "file:link", "e": 1,
            "f": "plain", "g": "env:TENON_SECRET_THAT_IS_NOT_SET" });
        let missing = resolve(&mut settings, &["a", "b", "c", "d", "e", "f", "g", "h"].map(field), &secrets);
        assert_eq!(settings, json!({ "a": "hunter2", "e": 1 }));
        assert_eq!(missing.len(), 5, "{missing:?}");
        // What was rotated is seen the next time.
        fs::write(folder.join("mail"), "hunter3").unwrap();
        let mut settings = json!({ "a": "file:mail" });
        assert!(resolve(&mut settings, &[field("a")], &secrets).is_empty());
        assert_eq!(settings["a"], "hunter3");
    }
}
