//! The files of the state directory, which only the user can use: anyone who could write them could
//! approve calls, and anyone who could read them would see which calls were made.

use crate::error::Error;
use crate::system::file;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Checks the state directory. Creates it where missing.
pub(super) fn prepare_directory(directory: &Path) -> Result<(), Error> {
    let metadata = match std::fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            file::make_private_folder(directory).and_then(|()| std::fs::metadata(directory))
        }
        found => found,
    };
    let metadata = metadata.map_err(|error| failed("state directory", directory, &error))?;
    if !metadata.is_dir() {
        return Err(refused("state directory", directory, "is not a directory; move it away"));
    }
    check("state directory", directory, &metadata)
}

/// Checks the database's file. Creates it where missing.
///
/// This never opens a file that exists, because closing it would release all locks of the process on it,
/// including those of other connections.
///
/// A write-ahead log without a database belongs to a database that was moved away after a program was
/// killed. It is renamed, because SQLite would delete it when it creates a new database.
pub(super) fn prepare_file(path: &Path, log: &Path) -> Result<(), Error> {
    // Another thread must not open the file before this one has closed it.
    static MAKING: Mutex<()> = Mutex::new(());
    let what = "state database";
    let metadata = {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match make(path, log) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => std::fs::metadata(path),
            },
            found => found,
        }
    };
    let metadata = metadata.map_err(|error| failed(what, path, &error))?;
    if !metadata.is_file() {
        let problem = if metadata.is_dir() { "is a directory" } else { "is not a file" };
        let message = format!("{problem}; move it away, and whereby creates a database");
        return Err(refused(what, path, &message));
    }
    check(what, path, &metadata)
}

/// Creates the database's file, after renaming the write-ahead log of an earlier one.
fn make(path: &Path, log: &Path) -> io::Result<File> {
    // Another process may create both at the same time. Closing the directory releases the lock.
    let folder = path.parent().and_then(|folder| File::open(folder).ok());
    if let Some(folder) = &folder {
        let _ = folder.lock();
    }
    if !path.exists() && log.metadata().is_ok_and(|log| log.len() > 0) {
        keep(log)?;
    }
    file::make_private_file(path)
}

/// Renames a file to a free name that ends in `.old`.
fn keep(file: &Path) -> io::Result<()> {
    for number in 0_u32.. {
        let mut name = file.as_os_str().to_owned();
        name.push(if number == 0 { ".old".to_owned() } else { format!(".old{number}") });
        match std::fs::symlink_metadata(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return std::fs::rename(file, name);
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Returns an error for a file that belongs to another user, that others can use, or that is read-only.
#[cfg(unix)]
fn check(what: &str, path: &Path, metadata: &Metadata) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    let needed = if metadata.is_dir() { 0o700 } else { 0o600 };
    let shown = file::shown(path);
    let message = if metadata.uid() != own {
        format!(
            "belongs to the user {} and this program runs as {own}; run it as its owner, or set \
             XDG_STATE_HOME to a directory of your own",
            metadata.uid()
        )
    } else if metadata.mode() & 0o077 != 0 {
        format!("can be read or changed by others; run: chmod {needed:o} '{shown}'")
    } else if metadata.mode() & needed != needed {
        format!("is read-only; run: chmod {needed:o} '{shown}'")
    } else {
        return Ok(());
    };
    Err(refused(what, path, &message))
}

/// On other systems, the user's directories are closed to others by default.
#[cfg(not(unix))]
fn check(_: &str, _: &Path, _: &Metadata) -> Result<(), Error> {
    Ok(())
}

/// Returns whether an open file still has a name.
#[cfg(unix)]
pub(super) fn is_linked(file: &File, _: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

#[cfg(not(unix))]
pub(super) fn is_linked(_: &File, path: &Path) -> bool {
    path.exists()
}

fn refused(what: &str, path: &Path, message: &str) -> Error {
    let path = file::shown(path);
    Error::configuration(format!("the {what} {path} {message}"))
}

/// Returns the error for a failed operation on a file.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "cannot be written: the disk is full".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => {
            "cannot be written: its file system is read-only".to_owned()
        }
        _ => format!("cannot be used: {error}"),
    };
    refused(what, path, &message)
}
