//! Copies of contents that ran here, in a folder of the host's own: what a tenant can go back to when the file that it
//! came from is another one by now. Each is named by its hash; a file `HASH.good` beside it, by the time of its last
//! change, says when it last proved itself. None is ever opened where it lies.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::candidate::Candidate;

const COPY: &str = "so";
const GOOD: &str = "good";

/// Of contents that never proved themselves so many are kept of each module: one may be all that a tenant has to go
/// back to.
const UNPROVED: usize = 2;

/// Contents of modules, kept for going back to them.
#[derive(Debug, Default)]
pub struct Archive {
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    /// How many good contents are kept of each module.
    keep: usize,
    /// By hash.
    kept: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    candidate: Arc<Candidate>,
    since: SystemTime,
    good: Option<SystemTime>,
}

impl Archive {
    /// Opens the folder, which is made where it is missing, readable by its owner only; reads what an earlier host left.
    /// A file that can't be read is told of and left alone.
    ///
    /// # Errors
    ///
    /// Where the folder can't be made or listed.
    pub fn open(folder: &Path, keep: usize) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(hash) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            if path.extension().is_none_or(|extension| extension != COPY) {
                continue;
            }
            match Candidate::read(&path) {
                Ok(candidate) => {
                    candidate.learn_hash(&hash);
                    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
                    let since = changed(&path).unwrap_or(SystemTime::UNIX_EPOCH);
                    let good = changed(&folder.join(&hash).with_extension(GOOD));
                    kept.insert(hash, Kept { candidate: Arc::new(candidate), since, good });
                }
                Err(error) => {
                    let problems = error.problems().join("; ");
                    tracing::warn!(path = %path.display(), problems, "a kept version of a module can't be used");
                }
            }
        }
        Ok(Self { folder: Some(folder.to_owned()), keep, kept: Mutex::new(kept) })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a copy of a content that was opened: `staged` is a private file of this content, which nobody writes to.
    /// Nothing happens where it is kept already. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Where the copy can't be made.
    pub fn keep(&self, candidate: &Candidate, hash: &str, staged: &Path) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.locked().contains_key(hash) {
            return Ok(());
        }
        let path = folder.join(hash).with_extension(COPY);
        // A link costs no room while the private file is there; on another file system it is a copy, renamed when whole.
        if fs::hard_link(staged, &path).is_err() {
            let partial = folder.join(hash).with_extension("part");
            fs::copy(staged, &partial)?;
            fs::rename(&partial, &path)?;
        }
        let copy = Candidate { path: path.as_path().into(), ..candidate.clone() };
        copy.learn_hash(hash);
        let kept = Kept { candidate: Arc::new(copy), since: SystemTime::now(), good: None };
        self.locked().insert(hash.to_owned(), kept);
        self.prune(candidate.name.as_str());
        Ok(())
    }

    /// Notes that a content has proved itself. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Where that can't be written down; it is known until the host ends.
    pub fn proved(&self, hash: &str) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let module = {
            let mut kept = self.locked();
            let Some(found) = kept.get_mut(hash) else { return Ok(()) };
            found.good = Some(SystemTime::now());
            found.candidate.name.clone()
        };
        let written =
            File::create(folder.join(hash).with_extension(GOOD)).and_then(|file| file.set_modified(SystemTime::now()));
        self.prune(module.as_str());
        written
    }

    /// Whether a content has ever proved itself here.
    pub fn is_good(&self, hash: &str) -> bool {
        self.locked().get(hash).is_some_and(|kept| kept.good.is_some())
    }

    /// What is kept of a module: what proved itself last comes first, then what never did, the newest first.
    pub fn of(&self, module: &str) -> Vec<Arc<Candidate>> {
        let mut found: Vec<Kept> =
            self.locked().values().filter(|kept| kept.candidate.name.as_str() == module).cloned().collect();
        found.sort_by_key(|kept| std::cmp::Reverse((kept.good, kept.since)));
        found.into_iter().map(|kept| kept.candidate).collect()
    }

    /// The copy of a content.
    pub fn path_of(&self, hash: &str) -> Option<PathBuf> {
        self.locked().get(hash).map(|kept| kept.candidate.path.to_path_buf())
    }

    /// Deletes what is kept of a module beyond the numbers.
    fn prune(&self, module: &str) {
        let (mut good, mut unproved) = (0, 0);
        for candidate in self.of(module) {
            let Some(hash) = candidate.known_hash() else { continue };
            let (count, most) = if self.is_good(hash) { (&mut good, self.keep) } else { (&mut unproved, UNPROVED) };
            *count += 1;
            if *count <= most {
                continue;
            }
            self.locked().remove(hash);
            for path in [candidate.path.to_path_buf(), candidate.path.with_extension(GOOD)] {
                if let Err(error) = fs::remove_file(&path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "a kept version could not be deleted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::sample::Sample;

    fn module(folder: &Path, version: &str) -> (Candidate, String) {
        let path = folder.join(format!("{version}.so"));
        fs::write(&path, Sample::new(&format!("name = \"answers\"\nversion = \"{version}\"\n")).bytes()).unwrap();
        let candidate = Candidate::read(&path).unwrap();
        let hash = candidate.hash().unwrap().to_owned();
        (candidate, hash)
    }

    fn versions(archive: &Archive) -> Vec<String> {
        archive.of("answers").iter().map(|kept| kept.version.to_string()).collect()
    }

    #[test]
    fn the_last_good_ones_are_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("versions");
        let archive = Archive::open(&kept, 2).unwrap();
        let mut hashes = Vec::new();
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            let (candidate, hash) = module(folder.path(), version);
            archive.keep(&candidate, &hash, &candidate.path).unwrap();
            hashes.push(hash);
            if version != "1.3.0" {
                archive.proved(hashes.last().unwrap()).unwrap();
            }
        }
        assert_eq!(versions(&archive), ["1.2.0", "1.1.0", "1.3.0"]);
        assert!(!archive.is_good(&hashes[0]) && archive.is_good(&hashes[1]) && !archive.is_good(&hashes[3]));
        // An older one that proves itself again is the last good one.
        archive.proved(&hashes[1]).unwrap();
        drop(archive);
        fs::write(kept.join("damaged.so"), "no library").unwrap();
        let again = Archive::open(&kept, 2).unwrap();
        assert_eq!(versions(&again), ["1.1.0", "1.2.0", "1.3.0"]);
        assert_eq!(again.path_of(&hashes[2]), Some(kept.join(format!("{}.so", hashes[2]))));
        assert_eq!(again.of("answers")[0].known_hash(), Some(&*hashes[1]));
        assert!(again.of("other").is_empty());
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (candidate, hash) = module(folder.path(), "1.0.0");
        let archive = Archive::default();
        archive.keep(&candidate, &hash, &candidate.path).unwrap();
        archive.proved(&hash).unwrap();
        assert!(versions(&archive).is_empty() && archive.path_of(&hash).is_none());
    }

    #[test]
    fn the_hash_of_a_file_that_was_replaced_is_not_taken_for_the_candidates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.0.0.so");
        fs::write(&path, Sample::new("name = \"answers\"\nversion = \"1.0.0\"\n").bytes()).unwrap();
        let candidate = Candidate::read(&path).unwrap();
        fs::write(&path, "another").unwrap();
        assert!(candidate.hash().is_err() && candidate.known_hash().is_none());
    }
}
