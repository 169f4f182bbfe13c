//! The spool: keeps rows of the audit log until they are in the database.
//!
//! Each process appends to a file of its own, and holds it locked for as long as it lives, so that
//! others see whose rows nobody else will move. A row is one write: it is there when the process is
//! killed, and costs what a write costs.

use super::files;
use super::new_id;
use crate::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much may wait to be moved, in bytes, where the database does not take it.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// How the files of processes end.
const ENDING: &str = "jsonl";

/// The files of the spool.
pub(super) struct Spool {
    folder: PathBuf,
    /// What is appended to.
    current: Mutex<Option<SpoolFile>>,
}

/// The file of a process, this or another.
pub(super) struct SpoolFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// Whether anything in it has to outlast a power failure.
    is_durable: bool,
    /// Whether it ends with a part of a line that could not be taken back.
    is_torn: bool,
    /// Whether this process holds it, and may delete it.
    is_held: bool,
}

impl Spool {
    pub(super) fn new(directory: &Path) -> Self {
        Self { folder: directory.join("spool"), current: Mutex::default() }
    }

    fn current(&self) -> MutexGuard<'_, Option<SpoolFile>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder, made where there is none.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if let Some(directory) = self.folder.parent() {
            files::prepare_directory(directory)?;
        }
        files::prepare_directory(&self.folder)
    }

    /// Appends a line, which ends with a line break. Says whether it is the first of a new file.
    pub(super) fn append(&self, line: &[u8], is_durable: bool) -> Result<bool, Error> {
        let mut current = self.current();
        let is_first = current.is_none();
        if is_first {
            self.prepare()?;
        }
        let own = match &mut *current {
            Some(own) => own,
            none => none.insert(SpoolFile::create(&self.folder)?),
        };
        own.append(line).map_err(|error| files::failed("spool file", &own.path, &error))?;
        own.is_durable |= is_durable;
        Ok(is_first)
    }

    /// Waits until what was appended is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.current().as_ref().map_or(Ok(()), SpoolFile::sync)
    }

    /// Takes away what was appended, so that the next line begins a new file.
    pub(super) fn take(&self) -> Option<SpoolFile> {
        self.current().take()
    }

    /// The files of processes that are no more, one after the other.
    pub(super) fn left_behind(&self) -> Result<impl Iterator<Item = SpoolFile>, Error> {
        Ok(self.others()?.filter(|file| file.is_held))
    }

    /// The files of processes that are no more, and, to be read only, those of others.
    pub(super) fn others(&self) -> Result<impl Iterator<Item = SpoolFile>, Error> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(|error| files::failed("spool", &self.folder, &error))?),
        };
        let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
        Ok(files.filter_map(|path| SpoolFile::of_another(&path)))
    }
}

impl SpoolFile {
    fn create(folder: &Path) -> Result<Self, Error> {
        loop {
            let path = folder.join(format!("{}.{ENDING}", new_id()?));
            let failed = |error| files::failed("spool file", &path, &error);
            let file = files::create(&path).map_err(failed)?;
            match file.try_lock() {
                // Before it was locked, it may have passed for one that was left behind.
                Ok(()) if !files::is_linked(&file, &path) => {}
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => {
                    // Nothing is in it, and nobody else cleans it up where nothing can be locked.
                    let _ = std::fs::remove_file(&path);
                    return Err(failed(error));
                }
                Ok(()) => {
                    return Ok(Self {
                        file,
                        path,
                        length: 0,
                        is_durable: false,
                        is_torn: false,
                        is_held: true,
                    });
                }
            }
        }
    }

    /// A file that was there before. Where no process holds it any more, this one does now; of several
    /// that look at once, one gets it.
    fn of_another(path: &Path) -> Option<Self> {
        let file = File::options().read(true).append(true).open(path).ok()?;
        let is_held = match file.try_lock() {
            // Its process may have moved it in the meantime.
            Ok(()) if files::is_linked(&file, path) => true,
            Ok(()) => return None,
            Err(std::fs::TryLockError::WouldBlock) => false,
            Err(std::fs::TryLockError::Error(_)) => return None,
        };
        let length = file.metadata().ok()?.len();
        // What was in a file that is deleted may have been promised to outlast anything.
        let (path, is_durable) = (path.to_owned(), is_held);
        Some(Self { file, path, length, is_durable, is_torn: false, is_held })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length + line.len() as u64 > MOST_BYTES {
            return Err(io::Error::other(format!(
                "{MOST_BYTES} bytes in it wait for the database to take them"
            )));
        }
        // A line that could not be taken back ends here, and is skipped when it is read.
        let torn;
        let line = match self.is_torn {
            false => line,
            true => {
                torn = [b"\n", line].concat();
                &torn
            }
        };
        let mut file = &self.file;
        match write_whole(line, |bytes| file.write(bytes), || self.file.set_len(self.length)) {
            Ok(()) => {
                self.length += line.len() as u64;
                self.is_torn = false;
                Ok(())
            }
            Err(Failed { error, is_torn }) => {
                self.is_torn |= is_torn;
                if is_torn {
                    self.length =
                        self.file.metadata().map_or(self.length, |metadata| metadata.len());
                }
                Err(error)
            }
        }
    }

    /// Waits until what is in it is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        synced.map_err(|error| files::failed("spool file", &self.path, &error))
    }

    pub(super) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Reads the lines, and leaves out what is none.
    pub(super) fn lines<T: serde::de::DeserializeOwned>(
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
                // The process may have ended in the middle of a line.
                if let Ok(value) = serde_json::from_slice(&line) {
                    return Some(Ok(value));
                }
            }
        }))
    }

    /// Deletes the file, whose lines are in the database, where nobody else holds it. While it is
    /// there, they are only read again.
    pub(super) fn delete(self) {
        if self.is_held {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Why a line was not written.
#[derive(Debug)]
struct Failed {
    error: io::Error,
    /// Whether a part of it was, and stands there.
    is_torn: bool,
}

/// Writes a line with one write, or not at all.
fn write_whole(
    line: &[u8],
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    undo: impl FnOnce() -> io::Result<()>,
) -> Result<(), Failed> {
    let written = loop {
        match write(line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => break written,
        }
    };
    match written {
        Ok(count) if count == line.len() => Ok(()),
        // A file takes less only where there is no room for more.
        Ok(count) => Err(Failed {
            error: io::ErrorKind::StorageFull.into(),
            is_torn: undo().is_err() && count > 0,
        }),
        Err(error) => Err(Failed { error, is_torn: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::ErrorKind;

    #[test]
    fn a_line_is_written_whole_or_taken_back() {
        let mut written = Vec::new();
        let mut tries = 0;
        let write = |bytes: &[u8]| {
            tries += 1;
            if tries == 1 {
                return Err(ErrorKind::Interrupted.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        write_whole(b"line\n", write, || panic!("nothing to undo")).expect("written");
        assert_eq!(written, b"line\n");

        let mut undone = false;
        let undo = || {
            undone = true;
            Ok(())
        };
        let failed = write_whole(b"line\n", |_| Ok(2), undo).expect_err("short");
        assert_eq!((failed.error.kind(), failed.is_torn), (ErrorKind::StorageFull, false));
        assert!(undone);

        let undo = || Err(ErrorKind::Other.into());
        assert!(write_whole(b"line\n", |_| Ok(2), undo).expect_err("short").is_torn);

        let full = |_: &[u8]| Err(ErrorKind::StorageFull.into());
        let failed = write_whole(b"line\n", full, || panic!("nothing to undo")).expect_err("full");
        assert_eq!((failed.error.kind(), failed.is_torn), (ErrorKind::StorageFull, false));
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let spool = Spool::new(&home.path().join("state"));
        (home, spool)
    }

    fn numbers(file: &SpoolFile) -> Vec<u32> {
        file.lines().expect("readable").collect::<Result<_, _>>().expect("numbers")
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        let (_home, spool) = spool();
        for line in ["1\n", "nonsense\n", "\n", "\u{0}\u{0}\n", "2\n", "[3"] {
            spool.append(line.as_bytes(), false).expect("appended");
        }
        assert_eq!(numbers(&spool.take().expect("a file")), [1, 2]);
    }

    #[test]
    fn after_a_line_that_could_not_be_taken_back_the_next_one_is_whole() {
        let (_home, spool) = spool();
        spool.append(b"1\n2", false).expect("appended");
        spool.current().as_mut().expect("a file").is_torn = true;
        spool.append(b"3\n", true).expect("appended");
        spool.append(b"4\n", false).expect("appended");
        let file = spool.take().expect("a file");
        assert!(file.is_durable());
        // What was torn is a number here, and cannot be told from a whole one.
        assert_eq!(numbers(&file), [1, 2, 3, 4]);
    }

    #[test]
    fn a_spool_that_is_not_emptied_is_bounded() {
        let (_home, spool) = spool();
        spool.append(b"1\n", false).expect("appended");
        spool.current().as_mut().expect("a file").length = MOST_BYTES - 1;
        let error = spool.append(b"2\n", false).expect_err("full");
        assert!(error.to_string().contains("wait for the database"), "{error}");
    }

    #[test]
    fn only_what_nobody_holds_is_left_behind_and_one_gets_it() {
        let (home, spool) = spool();
        spool.append(b"1\n", false).expect("appended");
        let other = Spool::new(&home.path().join("state"));
        assert_eq!(other.left_behind().expect("readable").count(), 0);
        // It can be read, and is not deleted by it.
        for file in other.others().expect("readable") {
            assert_eq!(numbers(&file), [1]);
            file.delete();
        }
        assert_eq!(other.others().expect("readable").count(), 1);
        // As if its process had ended.
        drop(spool.take());
        let found: Vec<SpoolFile> = other.left_behind().expect("readable").collect();
        assert_eq!(found.len(), 1);
        assert_eq!(spool.left_behind().expect("readable").count(), 0);
        assert_eq!(numbers(&found[0]), [1]);
        for file in found {
            file.delete();
        }
        assert_eq!(spool.left_behind().expect("readable").count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn its_files_are_the_user_s_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (home, spool) = spool();
        spool.append(b"1\n", false).expect("appended");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        let path = spool.take().expect("a file").path;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&home.path().join("state/spool")), 0o700);
        assert_eq!(mode(&home.path().join("state")), 0o700);
    }
}
