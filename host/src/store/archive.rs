//! Moves the audit log to a file of its own.
//!
//! The file is a state database too: `whereby audit` lists it once it is `state.db` in a state directory.
//! It contains neither approvals nor this installation's key.

use super::audit::{self, AuditRecord};
use super::database::{Durability, Stopped};
use super::spool::SpoolFile;
use super::{Store, database, files, schema};
use crate::error::Error;
use crate::system::file::{self, make_private_file};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OpenFlags, Row, Statement, Transaction};
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The file in the state directory that names the archive in progress.
const INTENT: &str = "archiving";

/// How long a call without an end counts as under way, in milliseconds. Calls are much shorter, but a
/// machine can sleep during one.
const UNDER_WAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Store {
    /// Moves the audit log to a new file and empties it. Returns how many calls the file has.
    ///
    /// The file contains every call so far, including those that other processes have just recorded.
    /// Calls that may still be under way stay in the log too, so that it also gets their end. Approvals
    /// stay. Other processes can continue meanwhile; their writes wait.
    ///
    /// The file is on the disk before anything is removed from the log. If the program is killed in
    /// between, the calls are in both until the log is next read or archived, including to the same
    /// file.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the file exists or cannot be written; [`Error::Configuration`] if the
    /// state directory cannot be used. The log is then unchanged.
    pub fn archive(&self, file: &Path) -> Result<u64, Error> {
        let path = std::path::absolute(file).map_err(|error| failed(file, &error))?;
        if let Some((finished, calls)) = self.finish_archive()?
            && finished == path
        {
            return Ok(calls);
        }
        if file.symlink_metadata().is_ok() {
            return Err(failed(file, &ErrorKind::AlreadyExists.into()));
        }
        // Other processes do not have to wait for these rows.
        self.gather()?;
        let archive = Archive::new(file)?;
        let beside = std::path::absolute(archive.beside.path());
        let beside = beside.map_err(|error| failed(file, &error))?;
        let intent = Intent { file: path, beside };
        let now = self.shared.now();
        let calls = self.with_spooled(|transaction| {
            let calls = archive.finish(transaction, || intent.write(self.directory()))?;
            remove_archived(transaction, now, calls)?;
            Ok(calls)
        })?;
        intent.remove(self.directory())?;
        Ok(calls)
    }

    /// Finishes an interrupted archive, if there is one: removes the calls in the file from the log.
    /// Returns the file, and how many calls it has.
    pub(super) fn finish_archive(&self) -> Result<Option<(PathBuf, u64)>, Error> {
        let Some(intent) = Intent::read(self.directory())? else {
            return Ok(None);
        };
        let now = self.shared.now();
        // If another process is creating the archive, this waits for it.
        let calls = self.with_spooled(|transaction| match Archived::read(&intent.file) {
            Some(archived) => {
                archived.remove(transaction, now)?;
                Ok(Some(archived.count))
            }
            // The program was killed before the file existed.
            None => Ok(None),
        })?;
        if calls.is_none() {
            let _ = std::fs::remove_file(&intent.beside);
        }
        intent.remove(self.directory())?;
        Ok(calls.map(|calls| (intent.file, calls)))
    }

    /// Runs a transaction on the whole log, including the spool files of other processes. Calls that it
    /// removes are not added again.
    fn with_spooled<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Stopped>,
    ) -> Result<T, Error> {
        let mut kept = Vec::new();
        let done = self.shared.with(|opened| {
            let done = opened.database.transaction(Durability::Full, |transaction| {
                kept = self.shared.spool.others()?.collect();
                let spooled = add_spooled(transaction, &kept)?;
                let done = work(transaction)?;
                remember(transaction, &spooled)?;
                Ok(Some(done))
            })?;
            // Fails while other processes read. SQLite then uses the space for later rows.
            let _ = opened.database.connection.execute_batch("VACUUM");
            Ok(done)
        })?;
        kept.into_iter().for_each(SpoolFile::delete);
        done.ok_or_else(|| Error::internal("nothing was written"))
    }
}

/// Names the archive in progress. It is on the disk before the archive, and is removed after the log is
/// emptied.
#[derive(PartialEq)]
struct Intent {
    file: PathBuf,
    beside: PathBuf,
}

impl Intent {
    fn write(&self, directory: &Path) -> Result<(), Error> {
        // For a path that is not UTF-8, an interrupted archive is not finished.
        let Ok(text) = serde_json::to_vec(&[&self.file, &self.beside]) else { return Ok(()) };
        let path = directory.join(INTENT);
        file::replace(&path, &path.with_extension("new"), &text, true)
            .and_then(|()| sync_folder(directory))
            .map_err(|error| files::failed("file", &path, &error))
    }

    /// Returns the archive in progress; `None` if there is none, or the file is incomplete.
    fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(INTENT);
        match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files::failed("file", &path, &error)),
            Ok(bytes) => {
                let paths = serde_json::from_slice::<[PathBuf; 2]>(&bytes).ok();
                Ok(paths.map(|[file, beside]| Self { file, beside }))
            }
        }
    }

    /// Removes the file, unless it names another archive.
    fn remove(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(INTENT);
        if Self::read(directory)?.as_ref() != Some(self) {
            return Ok(());
        }
        file::remove(&path).map_err(|error| files::failed("file", &path, &error))
    }
}

/// The ids in an archive.
struct Archived {
    /// How many of the rows are calls, and not decisions.
    count: u64,
    calls: Vec<String>,
    outcomes: Vec<String>,
}

impl Archived {
    /// Reads the ids; `None` if there is no such archive.
    fn read(file: &Path) -> Option<Self> {
        let archive = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        schema::is_current(&archive).ok().filter(|is_current| *is_current)?;
        let ids = |sql: &str| -> rusqlite::Result<Vec<String>> {
            archive.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let calls = ids("SELECT id FROM calls").ok()?;
        let count = "SELECT count(*) FROM calls WHERE decision IS NULL";
        let count = archive.query_row(count, [], |row| row.get::<_, i64>(0)).ok()?.unsigned_abs();
        Some(Self { count, calls, outcomes: ids("SELECT call_id FROM outcomes").ok()? })
    }

    /// Removes the calls from the log, if they are still there.
    fn remove(&self, log: &Transaction<'_>, now: i64) -> rusqlite::Result<()> {
        let mut is_ended = log.prepare("SELECT 1 FROM outcomes WHERE call_id = ?1")?;
        let mut is_old = log
            .prepare("SELECT 1 FROM calls WHERE id = ?1 AND (time < ?2 OR decision IS NOT NULL)")?;
        let mut outcomes = Vec::new();
        for id in &self.outcomes {
            if is_ended.exists([id])? {
                outcomes.push(id);
            }
        }
        let mut calls = outcomes.clone();
        for id in &self.calls {
            if is_old.exists(rusqlite::params![id, now - UNDER_WAY_MS])? {
                calls.push(id);
            }
        }
        if calls.is_empty() {
            return Ok(());
        }
        add_archive(log, now, self.count)?;
        let mut delete = log.prepare("DELETE FROM calls WHERE id = ?1")?;
        calls.iter().try_for_each(|id| delete.execute([id]).map(drop))?;
        let mut delete = log.prepare("DELETE FROM outcomes WHERE call_id = ?1")?;
        outcomes.iter().try_for_each(|id| delete.execute([id]).map(drop))
    }
}

/// Adds the rows of spool files. Returns the ids of their calls.
fn add_spooled(transaction: &Transaction<'_>, files: &[SpoolFile]) -> Result<Vec<String>, Stopped> {
    let mut writer = audit::Writer::new(transaction)?;
    let mut ids = Vec::new();
    for file in files {
        for record in file.rows::<AuditRecord>()? {
            let record = record?;
            writer.add(&record)?;
            ids.extend(record.begin.map(|begin| begin.id));
            ids.extend(record.end.map(|end| end.id));
        }
    }
    Ok(ids)
}

/// Removes the archived calls, and adds a row that says so.
fn remove_archived(transaction: &Transaction<'_>, now: i64, calls: u64) -> rusqlite::Result<()> {
    add_archive(transaction, now, calls)?;
    transaction.execute(
        "DELETE FROM calls
         WHERE time < ?1 OR decision IS NOT NULL OR id IN (SELECT call_id FROM outcomes)",
        [now - UNDER_WAY_MS],
    )?;
    transaction.execute("DELETE FROM outcomes", []).map(drop)
}

fn add_archive(transaction: &Transaction<'_>, now: i64, calls: u64) -> rusqlite::Result<()> {
    let last = audit::last(transaction)?;
    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
    let sql = "INSERT INTO archives VALUES (?1, ?2, ?3)";
    transaction.execute(sql, [last + 1, now, calls]).map(drop)
}

/// Prevents other processes from adding archived calls again from their spool files.
fn remember(transaction: &Transaction<'_>, spooled: &[String]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM archived_calls", [])?;
    let mut add = transaction.prepare(
        "INSERT OR IGNORE INTO archived_calls
         SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM calls WHERE id = ?1)",
    )?;
    spooled.iter().try_for_each(|id| add.execute([id]).map(drop))
}

/// An archive under a temporary name, until it is complete.
struct Archive<'a> {
    file: &'a Path,
    /// The temporary file in the same directory.
    beside: NamedTempFile,
    connection: Connection,
}

impl<'a> Archive<'a> {
    fn new(file: &'a Path) -> Result<Self, Error> {
        let mut beside = tempfile::Builder::new();
        let beside = beside.prefix(".whereby-").make_in(folder_of(file), make_private_file);
        let beside = beside.map_err(|error| failed(file, &error))?;
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let made = Connection::open_with_flags(beside.path(), flags).map_err(schema::Problem::Sql);
        let made = made.and_then(|mut connection| {
            // No other process uses it, and it is synced before it gets its name.
            connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
            schema::migrate(&mut connection)?;
            Ok(connection)
        });
        let connection = made.map_err(|problem| database::explain(file, problem))?;
        Ok(Self { file, beside, connection })
    }

    /// Copies the log, calls a function, and gives the file its name. Returns how many calls it contains.
    fn finish(
        self,
        from: &Connection,
        before: impl FnOnce() -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let Self { file, beside, connection } = self;
        let explained = |error| database::explain(file, schema::Problem::Sql(error));
        let copied = connection.unchecked_transaction().and_then(|to| {
            let calls = copy(from, &to)?;
            to.commit()?;
            Ok(calls)
        });
        let calls = copied.map_err(explained)?;
        connection.close().map_err(|(_, error)| explained(error))?;
        beside.as_file().sync_all().map_err(|error| failed(file, &error))?;
        before()?;
        beside.persist_noclobber(file).map_err(|error| failed(file, &error.error))?;
        sync_folder(folder_of(file)).map_err(|error| failed(file, &error))?;
        Ok(calls)
    }
}

/// Copies both tables of the log in the order of their positions. Returns how many calls there are.
fn copy(from: &Connection, to: &Connection) -> rusqlite::Result<u64> {
    let mut calls = from.prepare("SELECT * FROM calls ORDER BY seq")?;
    let mut outcomes = from.prepare("SELECT * FROM outcomes ORDER BY seq")?;
    let mut add_call = insert(to, "calls", calls.column_count())?;
    let mut add_outcome = insert(to, "outcomes", outcomes.column_count())?;
    let (mut calls, mut outcomes) = (calls.query([])?, outcomes.query([])?);
    let (mut call, mut outcome) = (calls.next()?, outcomes.next()?);
    let mut count = 0;
    loop {
        let is_call = match (call, outcome) {
            (None, None) => return Ok(count),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(call), Some(outcome)) => call.get::<_, i64>("seq")? < outcome.get("seq")?,
        };
        if is_call {
            add(&mut add_call, call)?;
            let decision: Option<String> = call.map_or(Ok(None), |call| call.get("decision"))?;
            count += u64::from(decision.is_none());
            call = calls.next()?;
        } else {
            add(&mut add_outcome, outcome)?;
            outcome = outcomes.next()?;
        }
    }
}

fn insert<'a>(to: &'a Connection, table: &str, columns: usize) -> rusqlite::Result<Statement<'a>> {
    let places = vec!["?"; columns].join(", ");
    to.prepare(&format!("INSERT INTO {table} VALUES ({places})"))
}

fn add(insert: &mut Statement<'_>, row: Option<&Row<'_>>) -> rusqlite::Result<()> {
    let Some(row) = row else { return Ok(()) };
    for column in 0..insert.parameter_count() {
        insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
    }
    insert.raw_execute().map(drop)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Waits until names in a directory are on the disk.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(file: &Path, error: &io::Error) -> Error {
    let shown = crate::system::file::shown(file);
    let message = match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("the archive {shown} already exists; name a new file")
        }
        ErrorKind::NotFound => {
            format!(
                "the archive {shown} cannot be written: its folder does not exist; create it first"
            )
        }
        _ => format!("the archive {shown} cannot be written: {error}; name another file"),
    };
    Error::usage(message)
}
