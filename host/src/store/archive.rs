//! Moves the audit log to a file of its own.
//!
//! The file is a state database too, which `whereby audit --file` lists. It contains neither approvals nor
//! this installation's key. Its rows are the beginning of the log, so that its hashes can be checked
//! without the log (`chain.rs`).

use super::audit::{self, AuditRecord};
use super::chain::{self, Link, Start, Table};
use super::database::{Durability, Stopped};
use super::spool::SpoolFile;
use super::{Store, database, files, passkeys, schema};
use crate::error::Error;
use crate::system::digest::hex;
use crate::system::file::{self, make_private_file};
use rusqlite::{Connection, OpenFlags, Transaction};
use std::collections::BTreeSet;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The file in the state directory that names the archive in progress.
const INTENT: &str = "archiving";

/// The folder in the state directory with the automatic archives.
const FOLDER: &str = "archives";

/// A day in milliseconds: how long a call without an end counts as under way. Calls are much shorter, but a
/// machine can sleep during one.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The maximum number of rows of an automatic archive.
const MOST_ROWS: i64 = 50_000;

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
        let end = |connection: &Connection| Ok(Some(chain::end(connection)?.position));
        let calls = self.archive_rows(file, end)?;
        // Fails while other processes read. SQLite then uses the space for later rows.
        self.shared.with(|opened| {
            let _ = opened.database.connection.execute_batch("VACUUM");
            Ok(())
        })?;
        Ok(calls.unwrap_or_default())
    }

    /// Moves the rows of calls and decisions before a time to a new file in the state directory, if there
    /// are enough of them: those of a day. Returns the file.
    pub(crate) fn archive_old(&self, before: i64) -> Result<Option<PathBuf>, Error> {
        let is_due = |connection: &Connection, _| is_older(connection, before - DAY_MS);
        if self.shared.look(is_due)? != Some(true) {
            return Ok(None);
        }
        let folder = self.directory().join(FOLDER);
        files::prepare_directory(&folder)?;
        let now = self.shared.now();
        let found = self.shared.look(|connection, _| {
            let Some(last) = through(connection, before, now)? else { return Ok(None) };
            Ok(chain::hash_at(connection, last)?.map(|hash| Link { position: last, hash }))
        })?;
        let Some(Link { position: last, hash }) = found.flatten() else { return Ok(None) };
        // The hash tells it from an archive of a log that was restored from a backup since.
        let hash = hex(&hash);
        let file = folder.join(format!("audit-{last}-{}.db", hash.get(..8).unwrap_or_default()));
        // Another process may archive them meanwhile.
        let is_left = |connection: &Connection| {
            let start = Start::of(connection)?;
            Ok((start.after.position < last).then_some(last))
        };
        let archived = self.archive_rows(&file, is_left);
        match archived {
            Err(_)
                if self.shared.look(|connection, _| is_left(connection))?.flatten().is_none() =>
            {
                Ok(None)
            }
            archived => Ok(archived?.map(|_| file)),
        }
    }

    /// Moves the rows up to the position that a function returns, if it returns one.
    fn archive_rows(
        &self,
        file: &Path,
        through: impl FnOnce(&Connection) -> rusqlite::Result<Option<i64>>,
    ) -> Result<Option<u64>, Error> {
        let path = std::path::absolute(file).map_err(|error| failed(file, &error))?;
        if let Some((finished, calls)) = self.finish_archive()?
            && finished == path
        {
            return Ok(Some(calls));
        }
        if file.symlink_metadata().is_ok() {
            return Err(failed(file, &ErrorKind::AlreadyExists.into()));
        }
        // Other processes do not have to wait for these rows.
        self.gather()?;
        let now = self.shared.now();
        let calls = self.with_spooled(|transaction| {
            let Some(through) = through(transaction)? else { return Ok(None) };
            let archive = Archive::new(file)?;
            let beside = std::path::absolute(archive.beside.path());
            let beside = beside.map_err(|error| failed(file, &error))?;
            let intent = Intent { file: path, beside };
            // If the program is killed from here on, the next one finishes, or removes the unfinished file.
            intent.write(self.directory())?;
            let (calls, after) = archive.finish(transaction, through)?;
            remove_archived(transaction, now, after, calls, &intent.file)?;
            Ok(Some((calls, intent)))
        })?;
        let Some((calls, intent)) = calls else { return Ok(None) };
        intent.remove(self.directory())?;
        Ok(Some(calls))
    }

    /// Finishes an interrupted archive, if there is one: removes the rows in the file from the log.
    /// Returns the file, and how many calls it has.
    pub(super) fn finish_archive(&self) -> Result<Option<(PathBuf, u64)>, Error> {
        let Some(intent) = Intent::read(self.directory())? else {
            return Ok(None);
        };
        let now = self.shared.now();
        // If another process is creating the archive, this waits for it.
        let calls = self.with_spooled(|transaction| {
            // Without a file, the program was killed before it existed.
            let Some((calls, after)) = archived(&intent.file) else { return Ok(None) };
            let start = Start::of(transaction)?;
            if start.after.position < after.position {
                if chain::hash_at(transaction, after.position)? != Some(after.hash) {
                    // It is the archive of another log.
                    return Ok(None);
                }
                remove_archived(transaction, now, after, calls, &intent.file)?;
            }
            Ok(Some(calls))
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
            opened.database.transaction(Durability::Full, |transaction| {
                kept = self.shared.spool.others()?.collect();
                let spooled = add_spooled(transaction, &kept)?;
                let done = work(transaction)?;
                remember(transaction, &spooled)?;
                Ok(Some(done))
            })
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

/// Returns how many calls an archive has, and its last row; `None` if there is no such archive.
fn archived(file: &Path) -> Option<(u64, Link)> {
    let archive = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    schema::is_current(&archive).ok().filter(|is_current| *is_current)?;
    Some((calls(&archive).ok()?, chain::end(&archive).ok()?))
}

/// Returns how many rows are calls, and not decisions.
fn calls(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM calls WHERE decision IS NULL";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Returns whether the log has a call of before a time that was not archived.
fn is_older(connection: &Connection, time: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (
        SELECT 1 FROM calls WHERE time < ?1 AND seq > (SELECT through FROM log_start))";
    connection.query_row(sql, [time], |row| row.get(0))
}

/// Returns the position up to which all rows are of before a time, if there are any: at most [`MOST_ROWS`], so
/// that other programs don't wait long.
fn through(connection: &Connection, before: i64, now: i64) -> rusqlite::Result<Option<i64>> {
    let start = Start::of(connection)?.after.position;
    let first = |table: Table| {
        let name = table.name();
        // A row of a clock that ran ahead does not keep those before it.
        format!("SELECT min(seq) AS seq FROM {name} WHERE time BETWEEN ?1 AND ?3 AND seq > ?2")
    };
    let sql = format!("SELECT min(seq) FROM ({})", Table::ALL.map(first).join(" UNION ALL "));
    let later: Option<i64> = connection.query_row(&sql, [before, start, now], |row| row.get(0))?;
    let last = later.map_or(chain::end(connection)?.position, |later| later - 1);
    Ok((last > start).then(|| last.min(start + MOST_ROWS)))
}

/// Adds the rows of spool files. Returns the ids of their calls.
fn add_spooled(transaction: &Transaction<'_>, files: &[SpoolFile]) -> Result<Vec<String>, Stopped> {
    let mut writer = audit::Writer::new(transaction);
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

/// Removes the archived rows, and adds a row that says so. Keeps the rows of calls that may be in progress, of
/// calls whose other row stays, and about earlier archives, which can then be checked with the log.
fn remove_archived(
    transaction: &Transaction<'_>,
    now: i64,
    after: Link,
    calls: u64,
    file: &Path,
) -> rusqlite::Result<()> {
    let through = after.position;
    let kept = "SELECT seq FROM calls AS c WHERE seq <= ?1 AND decision IS NULL AND (
            EXISTS (SELECT 1 FROM outcomes WHERE call_id = c.id AND seq > ?1)
            OR time >= ?2 AND NOT EXISTS (SELECT 1 FROM outcomes WHERE call_id = c.id))
        UNION ALL SELECT seq FROM outcomes AS o WHERE seq <= ?1 AND (
            EXISTS (SELECT 1 FROM calls WHERE id = o.call_id AND seq > ?1)
            OR time >= ?2 AND NOT EXISTS (SELECT 1 FROM calls WHERE id = o.call_id))
        UNION ALL SELECT seq FROM archives WHERE seq <= ?1";
    let mut kept = transaction.prepare(kept)?;
    let kept = kept.query_map([through, now - DAY_MS], |row| row.get(0))?;
    let kept: BTreeSet<i64> = kept.collect::<rusqlite::Result<_>>()?;
    let carried = chain::digests(transaction, &kept)?;
    let start = Start { after, carried };
    start.store(transaction)?;
    for table in Table::ALL {
        let sql = format!(
            "DELETE FROM {} WHERE seq <= ?1 AND seq NOT IN (SELECT value FROM json_each(?2))",
            table.name()
        );
        let kept = serde_json::json!(kept).to_string();
        transaction.execute(&sql, rusqlite::params![through, kept])?;
    }
    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
    // A path that is not UTF-8 is left out.
    chain::record_start(transaction, &start, now, calls, file.to_str())
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

    /// Copies the rows up to a position, and gives the file its name. Returns how many calls it contains, and
    /// its last row.
    fn finish(self, from: &Connection, through: i64) -> Result<(u64, Link), Error> {
        let Self { file, beside, connection } = self;
        let explained = |error| database::explain(file, schema::Problem::Sql(error));
        let copied = connection.unchecked_transaction().and_then(|to| {
            Start::of(from)?.store(&to)?;
            chain::copy(from, &to, through)?;
            passkeys::copy(from, &to)?;
            let copied = (calls(&to)?, chain::end(&to)?);
            to.commit()?;
            Ok(copied)
        });
        let copied = copied.map_err(explained)?;
        connection.close().map_err(|(_, error)| explained(error))?;
        beside.as_file().sync_all().map_err(|error| failed(file, &error))?;
        beside.persist_noclobber(file).map_err(|error| failed(file, &error.error))?;
        sync_folder(folder_of(file)).map_err(|error| failed(file, &error))?;
        Ok(copied)
    }
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
