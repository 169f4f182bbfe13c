//! Opens the state database, and explains its errors.

use super::{files, schema};
use crate::error::Error;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, FileControl, OpenFlags, Transaction, TransactionBehavior};
use schema::Problem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use whereby_authority::text;

/// The number of pages of the write-ahead log that starts a checkpoint. It is small because a process
/// reads the whole log if the one before was killed.
const CHECKPOINT_PAGES: u64 = 250;

/// The maximum size of the log's file after a checkpoint, in bytes.
const LOG_BYTES: u64 = CHECKPOINT_PAGES * 4096;

/// Whether a transaction survives a power failure, or only the end of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Full,
    Normal,
}

impl Durability {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// Why a transaction was rolled back.
pub(super) enum Stopped {
    Sql(rusqlite::Error),
    /// The cause was not the database.
    Other(Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A connection to the state database.
///
/// When the last process closes its connection, SQLite moves the write-ahead log to the database and
/// deletes the log. This waits for the disk twice, but `state.db` can then be copied or moved alone.
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    durability: Durability,
}

impl Database {
    /// Opens the database in a directory. Creates both where missing.
    pub(super) fn open(directory: &Path, patience: Duration) -> Result<Self, Error> {
        files::prepare_directory(directory)?;
        // SQLite reads a path that begins with `file:` as a URI.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let path = directory.join(FILE);
        files::prepare_file(&path, &directory.join(LOG_FILE))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&path, flags).map_err(Problem::Sql);
        let opened = opened.and_then(|connection| set_up(connection, patience));
        match opened {
            Ok(connection) => Ok(Self { connection, path, durability: Durability::Full }),
            Err(problem) => Err(explain(&path, problem)),
        }
    }

    /// Returns whether the file was moved or deleted since it was opened.
    pub(super) fn is_gone(&self) -> bool {
        let mut moved = 0;
        let asked = self.connection.file_control(Some("main"), FileControl::HasMoved(&mut moved));
        asked.is_ok() && moved != 0
    }

    /// Moves the write-ahead log to a database that was moved away, because closing does not. If another
    /// process has created a new database, the shared memory belongs to that one, and this does nothing.
    pub(super) fn complete(&self) {
        if !self.path.exists() {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// Returns the installation's key.
    pub(super) fn key(&self) -> Result<[u8; 32], Error> {
        let sql = "SELECT hmac_key FROM installation";
        let key = self.connection.query_row(sql, [], |row| row.get(0));
        key.map_err(|error| self.explain(error))
    }

    /// Runs a transaction, and commits it if the function returns a value. Waits for other writers.
    pub(super) fn transaction<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<Option<T>, Stopped>,
    ) -> Result<Option<T>, Error> {
        if self.durability != durability {
            let set = self.connection.pragma_update(None, "synchronous", durability.as_str());
            set.map_err(|error| self.explain(error))?;
            self.durability = durability;
        }
        let behavior = TransactionBehavior::Immediate;
        let begun = self.connection.transaction_with_behavior(behavior).map_err(Stopped::Sql);
        let done = begun.and_then(|transaction| {
            let result = work(&transaction)?;
            if result.is_some() {
                transaction.commit()?;
            }
            Ok(result)
        });
        done.map_err(|stopped| match stopped {
            Stopped::Sql(error) => self.explain(error),
            Stopped::Other(error) => error,
        })
    }

    /// Returns an error that says what is wrong and what to do.
    pub(super) fn explain(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, Problem::Sql(error))
    }
}

/// The name of the database's file.
pub(super) const FILE: &str = "state.db";

/// The name of its write-ahead log's file.
const LOG_FILE: &str = "state.db-wal";

fn set_up(mut connection: Connection, patience: Duration) -> Result<Connection, Problem> {
    connection.busy_timeout(patience)?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    let is_current = schema::is_current(&connection)?;
    use_write_ahead_log(&connection, patience)?;
    if !is_current {
        schema::migrate(&mut connection)?;
    }
    Ok(connection)
}

/// Switches the database to WAL mode. SQLite does not wait here if another process does the same, so
/// this tries again.
fn use_write_ahead_log(connection: &Connection, patience: Duration) -> Result<(), Problem> {
    let until = Instant::now() + patience;
    loop {
        let mode: rusqlite::Result<String> =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(Problem::NoSharedMemory),
            Err(error) if is_busy(&error) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(super) fn explain(path: &Path, problem: Problem) -> Error {
    let file = text::printable(&path.display().to_string(), 300);
    let directory = path.parent().unwrap_or(path).display().to_string();
    let directory = text::printable(&directory, 300);
    let start_again =
        format!("to keep it and start a new one, run: mv '{directory}' '{directory}.old'");
    let error = match problem {
        Problem::Newer(version) => {
            return Error::Configuration {
                message: format!(
                    "the state database {file} was made by a newer version of this program (its \
                     format is {version}, and this version supports up to {}); use that version",
                    schema::VERSION
                ),
            };
        }
        Problem::Foreign => {
            return Error::Configuration {
                message: format!(
                    "the state database {file} belongs to another program; move it away, and whereby \
                     creates a new one"
                ),
            };
        }
        Problem::NoSharedMemory => {
            return Error::Configuration {
                message: format!(
                    "the state database {file} is on a file system that processes cannot share; set \
                     XDG_STATE_HOME to a directory on a local disk"
                ),
            };
        }
        Problem::Random(error) => return error,
        Problem::Sql(error) => error,
    };
    let message = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is in use by another process; try again later".into()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen)
            if path.parent().is_some_and(is_on_read_only_disk) =>
        {
            "cannot be written: its file system is mounted read-only; mount it read-write, or set \
             XDG_STATE_HOME to a directory on another one"
                .into()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => format!(
            "cannot be written: it or its directory is read-only; run: chmod u+rw '{file}'; chmod \
             u+rwx '{directory}'"
        ),
        Some(ErrorCode::DiskFull) => "cannot be written: the disk is full".into(),
        Some(ErrorCode::DatabaseCorrupt) => format!("is damaged; {start_again}"),
        Some(ErrorCode::NotADatabase) => format!("is not a database; {start_again}"),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => format!(
            "cannot be read or written ({error}); check that the disk is not full or failing, and \
             that '{directory}' is writable"
        ),
        _ => format!("cannot be used: {error}"),
    };
    Error::Configuration { message: format!("the state database {file} {message}") }
}

/// Returns whether the file system of a directory is read-only.
#[cfg(unix)]
fn is_on_read_only_disk(directory: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(directory).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(not(unix))]
fn is_on_read_only_disk(_: &Path) -> bool {
    false
}
