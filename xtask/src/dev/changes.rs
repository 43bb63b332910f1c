//! Which modules were changed, and when: file events under `modules/`, gathered until there are none for a moment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, SystemTime},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::failure::{Doing, Failure, Result};

/// An editor may write a file in several steps, and `cargo xtask new` several files. A guess that nobody notices.
const QUIET: Duration = Duration::from_millis(40);

/// What was changed: a module's folder name, and when its latest file was written.
pub(super) type Changed = BTreeMap<String, SystemTime>;

/// Watches the modules of a project.
pub(super) struct Changes {
    events: Receiver<notify::Result<Event>>,
    modules: PathBuf,
    // Events end with it.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Begins to watch a folder in which each module has a folder of its own.
    pub(super) fn watch(modules: &Path) -> Result<Self> {
        let watching = || format!("watch `{}`", modules.display());
        // Events name files by their real paths.
        let modules = modules.canonicalize().doing(watching)?;
        let (sender, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(sender).doing(watching)?;
        watcher.watch(&modules, RecursiveMode::Recursive).doing(watching)?;
        Ok(Self { events, modules, _watcher: watcher })
    }

    /// What was changed; empty where nothing was within the time.
    pub(super) fn wait(&self, time: Duration) -> Result<Changed> {
        let mut changed = Changed::new();
        let mut patience = time;
        loop {
            match self.events.recv_timeout(patience) {
                Ok(Ok(event)) => {
                    for (module, time) in event.paths.iter().filter_map(|path| self.change(&event.kind, path)) {
                        changed.entry(module).and_modify(|latest| *latest = time.max(*latest)).or_insert(time);
                    }
                    if !changed.is_empty() {
                        patience = QUIET;
                    }
                }
                Ok(Err(error)) => eprintln!("warning: a change may have been missed: {error}"),
                Err(RecvTimeoutError::Timeout) => return Ok(changed),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the watcher has ended")),
            }
        }
    }

    /// The module that an event is about, and when it happened.
    fn change(&self, kind: &EventKind, path: &Path) -> Option<(String, SystemTime)> {
        if matches!(kind, EventKind::Access(_)) {
            return None;
        }
        let module = module_of(path.strip_prefix(&self.modules).ok()?)?;
        // The file's own time is nearer to the author's keystroke than the event.
        let written = path.metadata().and_then(|data| data.modified());
        Some((module.to_owned(), written.unwrap_or_else(|_| SystemTime::now())))
    }
}

/// The module that a file below the folder of modules belongs to, where its library depends on it.
fn module_of(path: &Path) -> Option<&str> {
    let mut parts = path.iter().map(|part| part.to_str().unwrap_or_default());
    let module = parts.next()?;
    let matters = match parts.next()? {
        "src" => path.extension().is_some(),
        "Cargo.toml" | "module.toml" | "build.rs" => true,
        _ => false,
    };
    let name = path.file_name()?.to_str()?;
    let is_scratch = name.starts_with(['.', '#']) || name.ends_with(['~', '#']) || name.ends_with(".swp");
    (matters && !is_scratch).then_some(module)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    #[test]
    fn only_what_a_library_is_made_of_matters() {
        for (path, module) in [
            ("tasks/src/lib.rs", Some("tasks")),
            ("tasks/src/deep/er.rs", Some("tasks")),
            ("tasks/src/letter.html", Some("tasks")),
            ("tasks/module.toml", Some("tasks")),
            ("tasks/Cargo.toml", Some("tasks")),
            ("tasks/README.md", None),
            ("tasks/src/.lib.rs.swp", None),
            ("tasks/src/lib.rs~", None),
            ("tasks/src/.#lib.rs", None),
            ("tasks", None),
            ("notes.txt", None),
        ] {
            assert_eq!(module_of(Path::new(path)), module, "{path}");
        }
    }

    #[test]
    fn a_saved_file_is_seen_with_its_time_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for module in ["one", "two"] {
            fs::create_dir_all(folder.path().join(module).join("src")).unwrap();
        }
        let changes = Changes::watch(folder.path()).unwrap();
        fs::write(folder.path().join("two/notes.md"), "x").unwrap();
        let file = folder.path().join("one/src/lib.rs");
        fs::write(&file, "x").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut changed = Changed::new();
        while changed.is_empty() && Instant::now() < deadline {
            changed = changes.wait(Duration::from_millis(100)).unwrap();
        }
        let written = file.metadata().unwrap().modified().unwrap();
        assert_eq!(changed, Changed::from([("one".to_owned(), written)]));
        assert_eq!(changes.wait(Duration::ZERO).unwrap(), Changed::new());
    }
}
