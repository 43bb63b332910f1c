//! From a folder to a [`Catalog`]: finds the module files and reads them on a few threads, those that did not
//! change since the last time not again.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    candidate::{Candidate, Rejected},
    listing::Catalog,
};
use crate::manifest::{FileIdentity, ModuleFileError};

/// Below this number of files per thread, starting one costs more than it saves (measured: a file takes about
/// 30 µs, a thread about as much).
const FILES_PER_THREAD: usize = 16;

/// Reading is mostly system calls; more threads than this gained nothing.
const MAX_THREADS: usize = 4;

/// Why there is no catalog at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The folder itself can't be listed. What is wrong with one file never is.
    #[error("list plugins folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What became of one file, kept so that an unchanged file need not be read again.
#[derive(Debug, Clone)]
pub(super) struct ScannedFile {
    pub(super) path: Arc<Path>,
    pub(super) seen: Seen,
    pub(super) outcome: Result<Arc<Candidate>, Arc<Rejected>>,
}

/// Which file was read.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// The candidate's.
    Candidates,
    /// That of a rejected file.
    Rejected(Box<FileIdentity>),
    /// It has to be read again next time.
    Unknown,
}

impl ScannedFile {
    fn is(&self, found: &FileIdentity) -> bool {
        match (&self.seen, &self.outcome) {
            (Seen::Candidates, Ok(candidate)) => candidate.identity == *found,
            (Seen::Rejected(identity), _) => **identity == *found,
            _ => false,
        }
    }

    /// Reads a file; `None` if it is gone.
    pub(super) fn read(path: PathBuf) -> Option<Self> {
        // Taken before reading: a change in between is then seen by the next scan.
        let before = fs::metadata(&path).ok().map(|metadata| FileIdentity::of(&metadata));
        match Candidate::read(&path) {
            Ok(candidate) => {
                let path = Arc::clone(&candidate.path);
                Some(Self { path, seen: Seen::Candidates, outcome: Ok(Arc::new(candidate)) })
            }
            Err(ModuleFileError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let before = before.filter(|_| !error.retryable());
                let seen = before.map_or(Seen::Unknown, |identity| Seen::Rejected(Box::new(identity)));
                let outcome = Err(Arc::new(Rejected::unreadable(&path, &error)));
                Some(Self { path: path.into(), seen, outcome })
            }
        }
    }
}

/// Reads every file of a folder whose name ends in `.so` and does not begin with a dot; folders, pipes and
/// the like are passed over, links to files are followed. `running` says which candidates run already: they
/// stay where two claim one version or one route, else the first by path does.
///
/// # Errors
///
/// Only if the folder itself can't be listed.
pub fn scan(folder: &Path, running: &dyn Fn(&Candidate) -> bool) -> Result<Catalog, ScanError> {
    rescan(&Catalog::default(), folder, &|_| true, running)
}

/// As [`scan`], but a file whose path, inode, size and time of change are those it had in `old` is not read
/// again, unless it has a candidate that `known` denies.
///
/// # Errors
///
/// Only if the folder itself can't be listed.
pub fn rescan(
    old: &Catalog,
    folder: &Path,
    known: &(dyn Fn(&Candidate) -> bool + Sync),
    running: &dyn Fn(&Candidate) -> bool,
) -> Result<Catalog, ScanError> {
    let paths = module_paths(folder).map_err(|source| ScanError::Folder { path: folder.to_owned(), source })?;
    let before: HashMap<&Path, &ScannedFile> = old.files().iter().map(|file| (&*file.path, file)).collect();
    let unchanged = |path: &Path| {
        let file = before.get(path).filter(|file| file.outcome.as_ref().map_or(true, |it| known(it)))?;
        let found = FileIdentity::of(&fs::metadata(path).ok()?);
        file.is(&found).then(|| (*file).clone())
    };
    let files = read_all(paths, &|path| unchanged(&path).or_else(|| ScannedFile::read(path)));
    Ok(Catalog::of_files(files, running))
}

/// The paths of a folder's module files, sorted.
fn module_paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !name.ends_with(b".so") || name.starts_with(b".") {
            continue;
        }
        let kind = entry.file_type()?;
        let is_file = if kind.is_symlink() {
            // What a link leads to may be out of reach; reading it will tell.
            fs::metadata(entry.path()).map_or(true, |metadata| metadata.is_file())
        } else {
            kind.is_file()
        };
        if is_file {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Applies `read` to all paths on as many threads as pay, and gives the results in the order of the paths.
fn read_all(paths: Vec<PathBuf>, read: &(dyn Fn(PathBuf) -> Option<ScannedFile> + Sync)) -> Vec<ScannedFile> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (paths.len() / FILES_PER_THREAD).min(cores).clamp(1, MAX_THREADS);
    if threads == 1 {
        return paths.into_iter().filter_map(read).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((place, path)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            paths.get(place).map(|path| (place, path))
        } {
            done.extend(read(path.clone()).map(|file| (place, file)));
        }
        done
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            // A panic while reading is a bug of ours; it must not turn into files that are silently missing.
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, file)| file).collect()
}
