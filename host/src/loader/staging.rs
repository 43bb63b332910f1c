//! Private copies of modules' files. A file in the plugins folder is never opened itself: whoever writes over
//! it would change code that runs. The copy is hashed while it is written, and is what is checked and opened.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use super::error::LoadError;

/// Over all loaders of the process, so that no two copies have one name.
static SERIAL: AtomicU64 = AtomicU64::new(0);

const TEMPORARY: &str = "tmp";
const COPY: &str = "so";

/// The folder of copies, for this process alone.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
}

impl Staging {
    /// Makes the folder, readable by its owner only, and deletes what an earlier host left in it. That no
    /// other living host uses the same data folder is the store's matter.
    ///
    /// # Errors
    ///
    /// [`LoadError::Staging`], also where the folder is a symbolic link.
    pub(super) fn prepare(folder: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Staging { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        if !fs::symlink_metadata(folder).map_err(failed)?.is_dir() {
            return Err(failed(io::Error::other("it is a symbolic link")));
        }
        protect(folder).map_err(failed)?;
        // The process map shows resolved paths, and unloading is verified there.
        let folder = folder.canonicalize().map_err(failed)?;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == COPY || extension == TEMPORARY) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(Self { folder })
    }

    /// Copies a file.
    ///
    /// # Errors
    ///
    /// [`LoadError::Copy`].
    pub(super) fn copy(&self, source: &Path) -> Result<Staged, LoadError> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed) + 1;
        let mut staged =
            Staged { path: self.folder.join(format!("{serial}.{TEMPORARY}")), hash: String::new(), serial };
        let copied = copy_hashed(source, &staged.path).and_then(|hash| {
            let path = self.folder.join(format!("{hash}-{serial}.{COPY}"));
            fs::rename(&staged.path, &path)?;
            staged.path = path;
            staged.hash = hash;
            Ok(())
        });
        match copied {
            Ok(()) => Ok(staged),
            Err(error) => Err(LoadError::Copy { path: source.to_owned(), source: error }),
        }
    }
}

/// A private copy; deleted when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) path: PathBuf,
    /// SHA-256 of what was copied, in lower-case hexadecimal digits.
    pub(super) hash: String,
    pub(super) serial: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What can't be deleted now is deleted by the next host that starts here.
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a staged copy could not be deleted");
        }
    }
}

fn copy_hashed(source: &Path, target: &Path) -> io::Result<String> {
    let mut from = File::open(source)?;
    let mut to = File::create_new(target)?;
    let mut hasher = Sha256::new();
    // A guess that keeps system calls few and the memory small.
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(unix)]
fn protect(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn protect(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_own_name_each_time_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("module.so");
        fs::write(&source, b"abc").unwrap();
        let staging = Staging::prepare(&folder.path().join("staging")).unwrap();
        let (one, two) = (staging.copy(&source).unwrap(), staging.copy(&source).unwrap());
        assert_eq!(one.hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(one.hash, two.hash);
        assert_ne!(one.path, two.path);
        assert_eq!(fs::read(&one.path).unwrap(), b"abc");
        let path = one.path.clone();
        drop(one);
        assert!(!path.exists() && two.path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_private_and_emptied_of_an_earlier_hosts_copies() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staging");
        fs::create_dir(&path).unwrap();
        for left in ["aa-1.so", "2.tmp", "notes.txt"] {
            fs::write(path.join(left), b"x").unwrap();
        }
        Staging::prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::prepare(&folder.path().join("staging")).unwrap();
        let error = staging.copy(Path::new("/nowhere/x.so")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.so"));
        assert_eq!(error.code(), "MODULE_LOAD_FAILED");
        assert_eq!(fs::read_dir(&staging.folder).unwrap().count(), 0);
    }
}
