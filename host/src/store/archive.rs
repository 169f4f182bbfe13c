//! Moves the audit log to a file of its own.
//!
//! The file is a state database itself: put in a state directory as `state.db`, it is listed by
//! `whereby audit`. It has no approvals, and not this installation's key.

use super::audit::{self, Entry};
use super::database::Stopped;
use super::spool::SpoolFile;
use super::{Store, database, schema};
use crate::error::Error;
use crate::text;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Row, Statement, Transaction};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use tempfile::NamedTempFile;

/// How long after its beginning a call without an end may still be under way, in milliseconds. No
/// call takes nearly as long, but a machine can sleep in the middle of one.
const UNDER_WAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Store {
    /// Moves the audit log to a new file and begins it anew. Returns how many calls the file has.
    ///
    /// The file has every call so far, also those that other processes have just recorded. Calls that
    /// may still be under way stay in the log as well, so that their end is found beside them.
    /// Approvals stay. Other processes may go on meanwhile; their writes wait.
    ///
    /// The file is on the disk before anything is removed from the log. A program that is killed in
    /// between leaves the calls in both.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the file exists or cannot be written; [`Error::Configuration`] if the
    /// state directory cannot be used. The log is then unchanged.
    pub fn archive(&self, file: &Path) -> Result<u64, Error> {
        if file.symlink_metadata().is_ok() {
            return Err(failed(file, &ErrorKind::AlreadyExists.into()));
        }
        // Most of it is moved before others have to wait.
        self.gather()?;
        let archive = Archive::new(file)?;
        let now = self.shared.now();
        let mut kept = Vec::new();
        let calls = self.shared.with(|opened| {
            let durability = database::Durability::Full;
            let archived = opened.database.transaction(durability, |transaction| {
                kept = self.shared.spool.others()?.collect();
                let spooled = add_spooled(transaction, &kept)?;
                let calls = archive.finish(transaction)?;
                begin_anew(transaction, now, calls)?;
                remember(transaction, &spooled)?;
                Ok(Some(calls))
            })?;
            // Where others read, the room is used for what comes next.
            let _ = opened.database.connection.execute_batch("VACUUM");
            Ok(archived.unwrap_or_default())
        })?;
        kept.into_iter().for_each(SpoolFile::delete);
        Ok(calls)
    }
}

/// Adds what spool files have, and returns the ids of those calls.
fn add_spooled(transaction: &Transaction<'_>, files: &[SpoolFile]) -> Result<Vec<String>, Stopped> {
    let mut writer = audit::Writer::new(transaction)?;
    let mut ids = Vec::new();
    for file in files {
        for line in file.lines::<Entry>()? {
            let entry = line?;
            writer.add(&entry)?;
            ids.extend(entry.begin.map(|begin| begin.id));
            ids.extend(entry.end.map(|end| end.id));
        }
    }
    Ok(ids)
}

/// Removes what is archived, and leaves a row that says so.
fn begin_anew(transaction: &Transaction<'_>, now: i64, calls: u64) -> rusqlite::Result<()> {
    let last = audit::last(transaction)?;
    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
    transaction.execute("INSERT INTO archives VALUES (?1, ?2, ?3)", [last + 1, now, calls])?;
    transaction.execute(
        "DELETE FROM calls WHERE time < ?1 OR id IN (SELECT call_id FROM outcomes)",
        [now - UNDER_WAY_MS],
    )?;
    transaction.execute("DELETE FROM outcomes", []).map(drop)
}

/// Keeps calls from being added again by whoever still has them in a spool file.
fn remember(transaction: &Transaction<'_>, spooled: &[String]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM archived_calls", [])?;
    let mut add = transaction.prepare(
        "INSERT OR IGNORE INTO archived_calls
         SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM calls WHERE id = ?1)",
    )?;
    spooled.iter().try_for_each(|id| add.execute([id]).map(drop))
}

/// A file that is not there before it is whole.
struct Archive<'a> {
    file: &'a Path,
    /// Beside it, and deleted if it does not become it.
    beside: NamedTempFile,
    connection: Connection,
}

impl<'a> Archive<'a> {
    fn new(file: &'a Path) -> Result<Self, Error> {
        let make = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            crate::file::make_private_file(path, options)
        };
        let beside = tempfile::Builder::new().prefix(".whereby-").make_in(folder_of(file), make);
        let beside = beside.map_err(|error| failed(file, &error))?;
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let made = Connection::open_with_flags(beside.path(), flags).map_err(schema::Problem::Sql);
        let made = made.and_then(|mut connection| {
            // Nobody else has it, and it is synced as a whole before it gets its name.
            connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
            schema::migrate(&mut connection)?;
            Ok(connection)
        });
        let connection = made.map_err(|problem| database::explain(file, problem))?;
        Ok(Self { file, beside, connection })
    }

    /// Copies the log, and gives the file its name. Returns how many calls it has.
    fn finish(self, from: &Connection) -> Result<u64, Error> {
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
            count += 1;
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

/// Waits until the file's name is on the disk.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(file: &Path, error: &io::Error) -> Error {
    let shown = text::printable(&file.display().to_string(), 300);
    let message = match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("the archive {shown} exists already; name a file that does not")
        }
        ErrorKind::NotFound => {
            format!(
                "the archive {shown} cannot be written: its folder does not exist; make it first"
            )
        }
        _ => format!("the archive {shown} cannot be written: {error}; name another file"),
    };
    Error::Usage { message }
}
