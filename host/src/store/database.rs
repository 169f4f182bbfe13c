//! Opens the state database, and says what is wrong with it in words that help.

use super::{files, schema};
use crate::error::Error;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, FileControl, OpenFlags, Transaction, TransactionBehavior};
use schema::Problem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use whereby_authority::text;

/// How many pages the write-ahead log may have before it is moved into the database, also while
/// processes have it open. A process that finds a log that a killed one has left reads it whole, so it
/// is kept short.
const CHECKPOINT_PAGES: u64 = 250;

/// The same in bytes, and how large the log's file may stay when it was moved.
const LOG_BYTES: u64 = CHECKPOINT_PAGES * 4096;

/// Whether what was written outlasts a power failure, or only the end of the process.
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

/// Why a transaction was not carried through.
pub(super) enum Stopped {
    Sql(rusqlite::Error),
    /// What it needed besides the database failed.
    Told(Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

/// A connection, and which file it is to.
///
/// The last process that closes its connection leaves everything in that one file: SQLite then moves
/// the write-ahead log into it and deletes the log. That waits for a disk twice, and is the price of a
/// `state.db` that can be copied or moved by itself.
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    durability: Durability,
}

impl Database {
    /// Opens the database in a directory, and makes both where they are not there.
    pub(super) fn open(directory: &Path, patience: Duration) -> Result<Self, Error> {
        files::prepare_directory(directory)?;
        // What begins with `file:` would be read as a URI.
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

    /// Whether the file was moved or deleted meanwhile: what is written would be seen by nobody.
    pub(super) fn is_gone(&self) -> bool {
        let mut moved = 0;
        let asked = self.connection.file_control(Some("main"), FileControl::HasMoved(&mut moved));
        asked.is_ok() && moved != 0
    }

    /// Moves the write-ahead log into a file that was moved away, which closing does not do. Where
    /// another process has made a new database since, that one has the log's memory, and it is left.
    pub(super) fn complete(&self) {
        if !self.path.exists() {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// What digests are made with.
    pub(super) fn key(&self) -> Result<[u8; 32], Error> {
        let sql = "SELECT hmac_key FROM installation";
        let key = self.connection.query_row(sql, [], |row| row.get(0));
        key.map_err(|error| self.explain(error))
    }

    /// Writes in one step: whole where something is returned, else not at all. Whoever else writes is
    /// waited for.
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
            Stopped::Told(error) => error,
        })
    }

    /// What is wrong, and what mends it.
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

/// Switches to the write-ahead log where the database does not have it yet. Of several processes
/// that do so at once some are told at once that it is busy.
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
    let anew = format!(
        "keep it for whoever can read it, and begin a new one: mv '{directory}' '{directory}.old'"
    );
    let error = match problem {
        Problem::Newer(version) => {
            return Error::Configuration {
                message: format!(
                    "the state database {file} was made by a newer version of this program (its \
                     version is {version}, and the newest known here is {}); use that one",
                    schema::VERSION
                ),
            };
        }
        Problem::Foreign => {
            return Error::Configuration {
                message: format!(
                    "the state database {file} is another program's; move it away, and a new one is made"
                ),
            };
        }
        Problem::NoSharedMemory => {
            return Error::Configuration {
                message: format!(
                    "the file system of the state database {file} cannot be used by several \
                     processes at once; set XDG_STATE_HOME to a directory on a local disk"
                ),
            };
        }
        Problem::Random(message) => return Error::Internal { message },
        Problem::Sql(error) => error,
    };
    let message = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is in use by another process and did not become free; try again".into()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen)
            if path.parent().is_some_and(is_on_read_only_disk) =>
        {
            "cannot be written: its file system is mounted read-only; mount it for writing, or set \
             XDG_STATE_HOME to an absolute path on another one"
                .into()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => format!(
            "cannot be written: it or its directory is read-only; run: chmod u+rw '{file}'; chmod \
             u+rwx '{directory}'"
        ),
        Some(ErrorCode::DiskFull) => "cannot be written: the disk is full".into(),
        Some(ErrorCode::DatabaseCorrupt) => format!("is damaged; {anew}"),
        Some(ErrorCode::NotADatabase) => format!("is not a database; {anew}"),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => format!(
            "cannot be read or written ({error}); look whether the disk is full or failing, and \
             whether '{directory}' is writable"
        ),
        _ => format!("cannot be used: {error}"),
    };
    Error::Configuration { message: format!("the state database {file} {message}") }
}
/// Whether nothing can be written anywhere on the file system of a directory.
#[cfg(unix)]
fn is_on_read_only_disk(directory: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(directory).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(not(unix))]
fn is_on_read_only_disk(_: &Path) -> bool {
    false
}
