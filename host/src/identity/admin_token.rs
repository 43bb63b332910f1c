//! The operators' token: a secret that the host makes at first start and that commands read from the data folder.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// The operators' token. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

/// Why there is no operators' token.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The file can't be read.
    #[error("`{}` can't be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can't be made.
    #[error("`{}` can't be made", .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no randomness to give.
    #[error("no randomness for `{}`: {reason}", .path.display())]
    Randomness {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Users of this machine that are neither its owner nor in its group can open the file.
    #[error("`{}` is open to every user of this machine\nhint: chmod 600 '{}'", .path.display(), .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file is too short to be a secret, or no plain text.
    #[error("`{}` does not hold a token of at least 32 visible characters", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl AdminToken {
    /// Reads the token, or makes one where there is no file: 32 random bytes as base64url, mode 0600. Of several
    /// hosts that start at once on one folder, all get the same token. The folder must be there.
    ///
    /// # Errors
    ///
    /// The file can't be read or made, is open to everyone, or holds no token.
    pub fn load_or_create(path: &Path) -> Result<Self, AdminTokenError> {
        match Self::load(path) {
            Err(AdminTokenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(path)?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// Reads the token; white space around it is not part of it.
    ///
    /// # Errors
    ///
    /// The file can't be read, is open to everyone, or holds no token.
    pub fn load(path: &Path) -> Result<Self, AdminTokenError> {
        let content = fs::read_to_string(path).map_err(|source| AdminTokenError::Read { path: path.into(), source })?;
        if is_exposed(path) {
            return Err(AdminTokenError::Exposed { path: path.into() });
        }
        let token = content.trim();
        if token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError::Malformed { path: path.into() });
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether somebody presented this token. Takes the same time wherever the first difference is.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The token, for the client that sends it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn create(path: &Path) -> Result<(), AdminTokenError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| AdminTokenError::Randomness { path: path.into(), reason: error.to_string() })?;
        let token = URL_SAFE_NO_PAD.encode(secret);
        write_new(path, &token).map_err(|source| AdminTokenError::Create { path: path.into(), source })
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// Makes a file with its whole content, durably, or leaves the one that is there: it is written beside its place
/// and then linked, since a link, unlike a rename, never replaces what somebody else has made in between.
fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}-{:x}", std::process::id(), fraction_of_random()?));
    let beside = PathBuf::from(beside);
    let written = write_private(&beside, content).and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

/// Keeps the names of two threads of one process apart.
fn fraction_of_random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{content}")?;
    file.sync_all()
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    // A group may read it: that is how orchestrators hand secrets to a process without its user's id.
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_path: &Path) -> bool {
    false
}
