//! Keeps rows of the audit log in files until they are in the database.
//!
//! Each process appends to a file of its own and holds a lock on it, so that another process moves the
//! file's rows only after the first one has ended. A row is one `write`: it survives a `kill -9`, and
//! waits neither for the disk nor for another process.
//!
//! Inserting the rows of a read into the database directly was measured with the real schema and rows:
//! a release build, SQLite in WAL mode with `synchronous = NORMAL`, ext4, two cores. The times are for
//! both rows of a read, as the median and the 99th percentile. Each figure for the insert is the best of
//! two to four variants: statements cached or not, ways to wait for locks, checkpoints in a thread of
//! their own. The machine was busy with other work.
//!
//! | | spool | insert |
//! | --- | --- | --- |
//! | one thread without pauses | 4 µs, 10 µs | 42 µs, 4 ms |
//! | 8 threads, each with a read every 1.5 ms | 10 µs, 70 µs | 93 µs, 4 ms |
//! | 8 processes without pauses | 4 µs, 60 µs | 64 µs, 18 ms |
//! | 8 processes, each with a read every 1.5 ms | 14 µs, 140 µs | 306 µs, 8 ms |
//! | the same, while another process writes | 15 µs, 170 µs | 518 µs, 17 ms |
//! | the same on a disk that takes 50 ms to sync | 15 µs, 300 µs | 208 µs, 75 ms |
//! | the first read of a process | 170 µs, 4 ms | 16 ms, 27 ms |
//!
//! An insert waits while another process syncs a write or a checkpoint. A whole process with one read
//! takes as long either way (35 ms).

use super::{files, new_id};
use crate::error::Error;
use crate::system::file::make_private_file;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The maximum size of a file that the database does not take, in bytes.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The maximum size of the rows that could not be written and are kept in memory, in bytes.
const MOST_UNWRITTEN: usize = 16 * 1024 * 1024;

/// The extension of the files.
const EXTENSION: &str = "jsonl";

/// The spool's directory, and the file that this process appends to.
pub(super) struct Spool {
    directory: PathBuf,
    current: Mutex<Option<SpoolFile>>,
    /// The rows that could not be written yet, and whether each must survive a power failure.
    unwritten: Mutex<Vec<(Vec<u8>, bool)>>,
}

/// A file of this or another process.
pub(super) struct SpoolFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// Whether it contains a row that must survive a power failure.
    is_durable: bool,
    /// Whether this process holds the lock, and may delete the file.
    is_held: bool,
}

impl Spool {
    pub(super) fn new(state: &Path) -> Self {
        let directory = state.join("spool");
        Self { directory, current: Mutex::default(), unwritten: Mutex::default() }
    }

    fn current(&self) -> MutexGuard<'_, Option<SpoolFile>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the directory and the state directory, where missing.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if let Some(state) = self.directory.parent() {
            files::prepare_directory(state)?;
        }
        files::prepare_directory(&self.directory)
    }

    /// Appends a row. Returns whether it is the first of a new file.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if it cannot be written now. [`Self::write_unwritten`] tries again.
    pub(super) fn append(&self, row: &impl Serialize, is_durable: bool) -> Result<bool, Error> {
        // A row that a full disk cut short ends where the next one begins.
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, row).map_err(|error| {
            Error::internal(format!("cannot serialize a row of the audit log: {error}"))
        })?;
        line.push(b'\n');
        let mut current = self.current();
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = current.is_none();
        unwritten.push((line, is_durable));
        let written = self.write(&mut current, &mut unwritten);
        if unwritten.iter().map(|(line, _)| line.len()).sum::<usize>() > MOST_UNWRITTEN {
            unwritten.pop();
        }
        written.map(|()| is_first)
    }

    /// Appends the rows that could not be written before.
    pub(super) fn write_unwritten(&self) -> Result<(), Error> {
        let mut current = self.current();
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut current, &mut unwritten)
    }

    fn write(
        &self,
        current: &mut Option<SpoolFile>,
        unwritten: &mut Vec<(Vec<u8>, bool)>,
    ) -> Result<(), Error> {
        while let Some((line, is_durable)) = unwritten.first() {
            let own = match &mut *current {
                Some(own) => own,
                none => {
                    self.prepare()?;
                    none.insert(SpoolFile::create(&self.directory)?)
                }
            };
            own.append(line).map_err(|error| files::failed("spool file", &own.path, &error))?;
            own.is_durable |= is_durable;
            unwritten.remove(0);
        }
        Ok(())
    }

    /// Waits until the appended rows are on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.current().as_ref().map_or(Ok(()), SpoolFile::sync)
    }

    /// Takes the file with the appended rows. The next row starts a new file.
    pub(super) fn take(&self) -> Option<SpoolFile> {
        self.current().take()
    }

    /// Returns the files of other processes. Those of processes that have ended are held from then on.
    pub(super) fn others(&self) -> Result<impl Iterator<Item = SpoolFile>, Error> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => {
                Some(entries.map_err(|error| files::failed("spool", &self.directory, &error))?)
            }
        };
        let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|found| found == EXTENSION));
        Ok(files.filter_map(|path| SpoolFile::open(&path)))
    }
}

impl SpoolFile {
    fn create(directory: &Path) -> Result<Self, Error> {
        loop {
            let path = directory.join(format!("{}.{EXTENSION}", new_id()?));
            let failed = |error| files::failed("spool file", &path, &error);
            let file = make_private_file(&path).map_err(failed)?;
            match file.try_lock() {
                // Another process took it for the file of a process that has ended.
                Ok(()) if !files::is_linked(&file, &path) => {}
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    // No process deletes files that cannot be locked.
                    let _ = std::fs::remove_file(&path);
                    return Err(failed(error));
                }
                Ok(()) => {
                    return Ok(Self { file, path, length: 0, is_durable: false, is_held: true });
                }
            }
        }
    }

    /// Opens the file of another process, and holds it if that process has ended. Of several processes
    /// that try, one succeeds.
    fn open(path: &Path) -> Option<Self> {
        let file = File::options().read(true).append(true).open(path).ok()?;
        let is_held = match file.try_lock() {
            Ok(()) if files::is_linked(&file, path) => true,
            // Its process has moved the rows and deleted it.
            Ok(()) => return None,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => return None,
        };
        let length = file.metadata().ok()?.len();
        // It is not known whether a row must survive a power failure once the file is deleted.
        Some(Self { file, path: path.to_owned(), length, is_durable: is_held, is_held })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = self.length + line.len() as u64;
        if length > MOST_BYTES {
            return Err(io::Error::other(format!(
                "it has reached {MOST_BYTES} bytes, because the state database does not take its \
                 rows"
            )));
        }
        self.file.write_all(line)?;
        self.length = length;
        Ok(())
    }

    /// Waits until the rows are on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        synced.map_err(|error| files::failed("spool file", &self.path, &error))
    }

    pub(super) fn is_durable(&self) -> bool {
        self.is_durable
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Reads the rows. Skips lines that are cut short.
    pub(super) fn rows<T: DeserializeOwned>(
        &self,
    ) -> Result<impl Iterator<Item = Result<T, Error>>, Error> {
        let mut file = &self.file;
        let failed = |error| files::failed("spool file", &self.path, &error);
        file.rewind().map_err(failed)?;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let mut line = Vec::new();
        Ok(std::iter::from_fn(move || {
            loop {
                line.clear();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(Err(failed(error))),
                }
                if let Ok(row) = serde_json::from_slice(&line) {
                    return Some(Ok(row));
                }
            }
        }))
    }

    /// Deletes a file whose rows are in the database, if this process holds it. Reading the rows of a
    /// file that stays changes nothing.
    pub(super) fn delete(self) {
        if self.is_held {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let spool = Spool::new(&home.path().join("state"));
        (home, spool)
    }

    fn numbers(file: &SpoolFile) -> Vec<u32> {
        file.rows().expect("readable").collect::<Result<_, _>>().expect("numbers")
    }

    /// Writes bytes to the current file, as a process would that is killed or out of space.
    fn write(spool: &Spool, bytes: &[u8]) {
        let mut current = spool.current();
        current.as_mut().expect("a file").file.write_all(bytes).expect("written");
    }

    #[test]
    fn a_line_that_is_cut_short_is_skipped_and_costs_no_other_row() {
        let (_home, spool) = spool();
        assert!(spool.append(&1, false).expect("appended"), "the first of a file");
        for torn in ["[2", "nonsense\n", "\n", "\u{0}\u{0}\n", "\n[", "\n"] {
            write(&spool, torn.as_bytes());
            assert!(!spool.append(&3, true).expect("appended"));
        }
        write(&spool, b"\n[4");
        let file = spool.take().expect("a file");
        assert!(file.is_durable());
        assert_eq!(numbers(&file), [1, 3, 3, 3, 3, 3, 3]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_no_row_is_lost() {
        let (_home, spool) = spool();
        spool.append(&1, false).expect("appended");
        let full = File::options().append(true).open("/dev/full").expect("a device");
        let file = std::mem::replace(&mut spool.current().as_mut().expect("a file").file, full);
        let error = spool.append(&2, false).expect_err("full");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        spool.write_unwritten().expect_err("still full");
        spool.current().as_mut().expect("a file").file = file;
        spool.append(&3, false).expect("appended");
        assert_eq!(numbers(&spool.take().expect("a file")), [1, 2, 3]);
        spool.write_unwritten().expect("nothing to write");
        assert!(spool.take().is_none());
    }

    #[test]
    fn rows_that_cannot_be_written_take_a_bounded_amount_of_memory() {
        let (_home, spool) = spool();
        spool.append(&"1", true).expect("appended");
        spool.current().as_mut().expect("a file").length = MOST_BYTES;
        let long = "x".repeat(MOST_UNWRITTEN / 4);
        for _ in 0..8 {
            spool.append(&long, false).expect_err("full");
        }
        spool.current().as_mut().expect("a file").length = 0;
        spool.write_unwritten().expect("written");
        let file = spool.take().expect("a file");
        assert_eq!(file.rows::<String>().expect("readable").count(), 4);
    }

    #[test]
    fn a_file_that_the_database_does_not_take_is_bounded() {
        let (_home, spool) = spool();
        spool.append(&1, false).expect("appended");
        spool.current().as_mut().expect("a file").length = MOST_BYTES - 1;
        let error = spool.append(&2, false).expect_err("full");
        assert!(error.to_string().contains("does not take its rows"), "{error}");
    }

    #[test]
    fn one_process_gets_the_file_of_a_process_that_has_ended() {
        let (home, spool) = spool();
        spool.append(&1, false).expect("appended");
        let other = Spool::new(&home.path().join("state"));
        let held = |spool: &Spool| -> Vec<SpoolFile> {
            spool.others().expect("readable").filter(SpoolFile::is_held).collect()
        };
        assert_eq!(held(&other).len(), 0);
        // It can be read, and is not deleted.
        for file in other.others().expect("readable") {
            assert_eq!(numbers(&file), [1]);
            file.delete();
        }
        assert_eq!(other.others().expect("readable").count(), 1);
        // As if its process had ended.
        drop(spool.take());
        let found = held(&other);
        assert_eq!(found.len(), 1);
        assert_eq!(held(&spool).len(), 0);
        assert_eq!(numbers(&found[0]), [1]);
        for file in found {
            file.delete();
        }
        assert_eq!(held(&spool).len(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_use_its_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let (home, spool) = spool();
        spool.append(&1, false).expect("appended");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        let path = spool.take().expect("a file").path;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&home.path().join("state/spool")), 0o700);
        assert_eq!(mode(&home.path().join("state")), 0o700);
    }
}
