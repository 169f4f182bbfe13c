//! Reads the audit log, or the file of an archive.

use super::audit::{self, AuditFilter, AuditRow};
use super::chain::{self, Hash, Link, Start};
use super::verify::{self, Kind, Verified};
use super::{Store, database, schema};
use crate::error::Error;
use crate::system::file::shown;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The audit log of a store, or an archive of it.
pub(crate) enum AuditLog {
    Live(Arc<Store>),
    Archive { connection: Mutex<Connection>, path: PathBuf },
}

/// What an archive took out of the log.
pub(crate) struct Archived {
    /// The position of the last row that it took.
    pub(crate) through: i64,
    /// The file, as it was named then. Absent for archives of older versions.
    pub(crate) file: Option<String>,
}

impl AuditLog {
    /// Opens the file of an archive, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if there is no such file, it is no archive, or it was made by an older version,
    /// whose archives have no hashes.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let why = match path.metadata() {
            Ok(found) if found.len() == 0 && found.is_file() => "it is empty".to_owned(),
            Ok(found) if found.is_file() => String::new(),
            Ok(_) => "it is not a file".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => "there is no such file".to_owned(),
            Err(error) => error.to_string(),
        };
        if !why.is_empty() {
            return Err(Error::usage(format!("{}: {why}", shown(path))));
        }
        // SQLite reads a path that begins with `file:` as a URI.
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&full, flags).map_err(schema::Problem::Sql);
        let checked = opened.and_then(|connection| {
            for (setting, value) in [
                (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
                (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            ] {
                connection.set_db_config(setting, value)?;
            }
            let is_current = schema::is_current(&connection)?;
            // Views and other tables could run for ever, or show what is not there.
            let mut differences =
                if is_current { schema::differences(&connection)? } else { vec![] };
            differences.retain(|(kind, _)| kind != "trigger");
            Ok((connection, is_current, differences))
        });
        match checked {
            Ok((_, true, differences)) if !differences.is_empty() => Err(Error::usage(format!(
                "{} is not an archive of the audit log: its tables are not those of one",
                shown(path)
            ))),
            Ok((connection, true, _)) => {
                Ok(Self::Archive { connection: Mutex::new(connection), path: path.to_owned() })
            }
            Ok((_, false, _)) => Err(Error::usage(format!(
                "{} was made by an older version of this program, whose archives have no hashes; copy it \
                 to DIR/whereby/state.db, make DIR/whereby accessible to you alone (mode 700), and run: \
                 XDG_STATE_HOME=DIR whereby audit",
                shown(path)
            ))),
            Err(problem) => Err(Error::usage(format!(
                "{} is not an archive of the audit log: {}",
                shown(path),
                database::explain(&full, problem)
            ))),
        }
    }

    /// Reads from the database; `None` if there is none.
    fn look<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        match self {
            Self::Live(store) => store.shared.look(|connection, _| read(connection)),
            Self::Archive { connection, path } => {
                let problem = |error| database::explain(path, schema::Problem::Sql(error));
                read(&connection.lock()).map(Some).map_err(problem)
            }
        }
    }

    /// Returns the calls that match a filter, in the order of their time.
    pub(crate) fn list(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.look(|connection| audit::list(connection, filter)).map(Option::unwrap_or_default)
    }

    /// Returns how many calls match a filter, regardless of its limit.
    pub(crate) fn count(&self, filter: &AuditFilter) -> Result<u64, Error> {
        self.look(|connection| audit::count(connection, filter)).map(Option::unwrap_or_default)
    }

    /// Passes each call that matches a filter to a function, without collecting them in memory.
    pub(crate) fn each(
        &self,
        filter: &AuditFilter,
        each: impl FnMut(AuditRow),
    ) -> Result<(), Error> {
        self.look(|connection| audit::each(connection, filter, each)).map(Option::unwrap_or_default)
    }

    /// Returns the calls whose last row is among the next rows after a position, in the order of those rows, and
    /// the position of the last of these rows; `None` if there is none.
    pub(crate) fn next(
        &self,
        after: i64,
        rows: u32,
    ) -> Result<Option<(Vec<AuditRow>, i64)>, Error> {
        let found = self.look(|connection| {
            let Some(through) = chain::advanced(connection, after, rows)? else { return Ok(None) };
            Ok(Some((audit::between(connection, after, through)?, through)))
        })?;
        Ok(found.flatten())
    }

    /// Returns the last row.
    pub(crate) fn end(&self) -> Result<Link, Error> {
        let end = self.look(chain::end)?;
        Ok(end.unwrap_or(Start::first().after))
    }

    /// Returns the position after which the rows start.
    pub(crate) fn start(&self) -> Result<i64, Error> {
        let start = self.look(|connection| Ok(Start::of(connection)?.after.position))?;
        Ok(start.unwrap_or_default())
    }

    /// Returns what the last archive took out of the log.
    pub(crate) fn archived(&self) -> Result<Option<Archived>, Error> {
        let sql = "SELECT through, file FROM archives WHERE through > 0 ORDER BY seq DESC LIMIT 1";
        let found = self.look(|connection| {
            let read =
                |row: &rusqlite::Row<'_>| Ok(Archived { through: row.get(0)?, file: row.get(1)? });
            connection.query_row(sql, [], read).optional()
        })?;
        Ok(found.flatten())
    }

    /// Returns the position of the last row about the call with an id, or of its first row if it has not
    /// ended.
    pub(crate) fn position_of(&self, id: &str) -> Result<Option<i64>, Error> {
        self.look(|connection| audit::position_of(connection, id)).map(Option::flatten)
    }

    /// Verifies every row, and looks for one with the expected hash. `None` if there is no log yet.
    pub(crate) fn verify(&self, expected: Option<&Hash>) -> Result<Option<Verified>, Error> {
        let kind = match self {
            Self::Live(_) => Kind::Log,
            Self::Archive { .. } => Kind::Archive,
        };
        let verified = self.look(|connection| {
            // One snapshot, so that rows added meanwhile don't count.
            let transaction = connection.unchecked_transaction()?;
            Ok(verify::verify(&transaction, kind, expected))
        })?;
        let path = match self {
            Self::Live(store) => store.directory().join(database::FILE),
            Self::Archive { path, .. } => path.clone(),
        };
        verified.transpose().map_err(|problem| database::explain(&path, problem))
    }
}
