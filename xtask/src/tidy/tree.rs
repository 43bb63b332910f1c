//! The text files of the project, read once for all rules. Folders that git ignores at the root, hidden ones that
//! git keeps to itself and cargo's caches are left out; a file that is no UTF-8 is not text.

use std::{fs, path::Path};

use crate::failure::{Doing, Result};

use super::code::Code;

/// All text files, by path.
pub(super) struct Tree {
    files: Vec<File>,
    /// Every path below the root, files and folders, also those that are no text.
    paths: std::collections::BTreeSet<String>,
}

/// A text file.
pub(super) struct File {
    /// Relative to the root folder, with `/`.
    pub(super) path: String,
    /// All of it.
    pub(super) text: String,
    /// What the compiler sees of it; only with Rust sources.
    pub(super) code: Option<Code>,
}

impl Tree {
    /// Reads the project.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
        let mut tree = Self { files: Vec::new(), paths: std::collections::BTreeSet::new() };
        tree.read_folder(root, "", &ignored)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, ignored: &[&str]) -> Result<()> {
        if folder.join("CACHEDIR.TAG").exists() {
            return Ok(());
        }
        for entry in fs::read_dir(folder).doing(|| format!("list `{}`", folder.display()))? {
            let entry = entry.doing(|| format!("list `{}`", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if name == ".git" || ignored.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type().doing(|| format!("look at `{path}`"))?;
            if kind.is_dir() {
                self.paths.insert(path.clone());
                self.read_folder(&entry.path(), &format!("{path}/"), ignored)?;
            } else if kind.is_file() {
                self.paths.insert(path.clone());
                let bytes = fs::read(entry.path()).doing(|| format!("read `{path}`"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(File::new(path, text));
                }
            }
        }
        Ok(())
    }

    /// All text files, by path.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust sources with what the compiler sees of them.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&File, &Code)> {
        self.files.iter().filter_map(|file| file.code.as_ref().map(|code| (file, code)))
    }

    /// Files whose name ends so.
    pub(super) fn ending_in(&self, ending: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.ends_with(ending))
    }

    /// The file at this path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// True where there is a file or folder at this path; the root is `""`.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// A tree of these files, for the tests of rules.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut paths = std::collections::BTreeSet::new();
        for (path, _) in files {
            paths.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
            paths.insert((*path).to_owned());
        }
        let files = files.iter().map(|(path, text)| File::new((*path).to_owned(), (*text).to_owned())).collect();
        Self { files, paths }
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = path.ends_with(".rs").then(|| Code::of(&text));
        Self { path, text, code }
    }

    /// The folder it lies in, `""` for the root.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Follows a relative path from a folder; `None` where it climbs above the root.
pub(super) fn follow(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_folders_caches_and_binaries_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(".gitignore", b"/plugins\n");
        write("plugins/a.toml", b"x");
        write("other/CACHEDIR.TAG", b"x");
        write(".git/config", b"x");
        write(".cargo/config.toml", b"x");
        write("src/plugins/a.rs", b"//! x");
        write("image.png", &[0xff, 0xfe]);
        let tree = Tree::read(root.path()).unwrap();
        let paths: Vec<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".cargo/config.toml", ".gitignore", "src/plugins/a.rs"]);
        assert!(tree.has("image.png") && tree.has("src/plugins") && tree.has("") && !tree.has("src/b.rs"));
    }

    #[test]
    fn paths_are_followed_and_never_above_the_root() {
        assert_eq!(follow("docs/a", "../b/./c.md").as_deref(), Some("docs/b/c.md"));
        assert_eq!(follow("docs", "..").as_deref(), Some(""));
        assert_eq!(follow("docs", "../../x"), None);
    }
}
