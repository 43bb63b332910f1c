//! Opening the database: the folder, the lock that keeps it to one host, the settings that make a commit durable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::stores::moving::HELD_UNTIL;

/// How long a statement waits for a foreign program that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the embedded store can't be opened; the source of a
/// [`StoreError::Unavailable`](crate::stores::StoreError::Unavailable).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{}` is in use by another host (process {holder})", folder.display())]
    InUse {
        /// Where the database is.
        folder: PathBuf,
        /// The id of the process, or `unknown`.
        holder: String,
    },
    /// A newer version wrote it.
    #[error("`tenon.db` has schema version {found}, this host knows versions up to {known}")]
    Newer {
        /// The file's version.
        found: i32,
        /// The newest version that can be read.
        known: usize,
    },
    /// It is a database of another program.
    #[error("`tenon.db` is a database, but not one of Tenon's")]
    Foreign,
    /// The file system doesn't support the write-ahead log.
    #[error("`tenon.db` can't be set to journal mode `wal`, it stays at `{0}`")]
    NoWriteAheadLog(String),
    /// A file or folder can't be made or opened.
    #[error("`{}` can't be opened", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// SQLite can't read the file.
    #[error("`tenon.db` can't be read")]
    Sqlite(#[from] rusqlite::Error),
}

/// An open database: one connection for writing, some for reading, and the lock that comes last.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    /// Locked as long as it is open; the system unlocks it for a process that was killed.
    pub(super) lock: File,
}

/// Opens `<folder>/tenon.db`, makes both where missing, and brings the tables to the newest version.
pub(super) fn open(folder: &Path, readers: usize) -> Result<Opened, OpenError> {
    create_folder(folder).map_err(io_error(folder))?;
    let lock = lock(folder)?;
    let path = folder.join("tenon.db");
    create_private(&path, folder).map_err(io_error(&path))?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let writer = Connection::open_with_flags(&path, flags)?;
    set_up(&writer)?;
    // Before anything is changed: a refused file stays as it was.
    schema::check(&writer)?;
    let mode: String = writer.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog(mode));
    }
    // FULL and not NORMAL: NORMAL doesn't sync the log at each commit, and a power failure would take writes back.
    writer.pragma_update(None, "synchronous", "FULL")?;
    // Where a plain sync leaves the data in the disk's own cache (macOS), ask for more; elsewhere these do nothing.
    writer.pragma_update(None, "fullfsync", true)?;
    writer.pragma_update(None, "checkpoint_fullfsync", true)?;
    // A checkpoint that waited for a reader may leave a long log behind; cut it at the next one.
    writer.pragma_update(None, "journal_size_limit", 64 << 20)?;
    schema::migrate(&writer)?;
    // The lock says that no other host is at work, so what was claimed was claimed by one that is gone.
    // What is held back waits for its tenant.
    let sql = "UPDATE deliveries SET claimed_until = NULL WHERE claimed_until IS NOT NULL AND claimed_until <> ?1";
    writer.execute(sql, [HELD_UNTIL])?;

    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = || -> Result<_, OpenError> {
        let connection = Connection::open_with_flags(&path, flags)?;
        set_up(&connection)?;
        Ok(connection)
    };
    let readers = (0..readers).map(|_| reader()).collect::<Result<_, _>>()?;
    Ok(Opened { writer, readers, lock })
}

fn set_up(connection: &Connection) -> Result<(), OpenError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // About 20 statements are fixed; questions add one for each of their forms.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("tenon.lock");
    let mut file = private().read(true).truncate(false).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = file.read_to_string(&mut holder).is_ok() && !holder.is_empty();
            let holder = if known { holder } else { "unknown".to_owned() };
            return Err(OpenError::InUse { folder: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(io_error(&path))?;
    Ok(file)
}

/// Makes an empty file before SQLite does, which would give it the permissions that are usual in this process. Its
/// companions inherit from it.
fn create_private(path: &Path, folder: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    private().create_new(true).open(path)?.sync_all()?;
    // The name has to be durable too, else the first writes would be lost with it.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    fs::metadata(folder)?.is_dir().then_some(()).ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

/// Options for a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}
