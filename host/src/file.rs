//! Reads files that somebody else may have put there.

use crate::text;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// A file's contents, and who besides the user may do what with it.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    pub(crate) readable_by_others: bool,
    /// Also where it is somebody else's, who can change its mode.
    pub(crate) writable_by_others: bool,
}

/// Reads a regular file of a bounded size: a pipe would make the program wait, and a device would
/// never end. The error says what is wrong with the file.
pub(crate) fn read(path: &Path, most: u64) -> Result<Contents, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    let file = open(path).map_err(failed)?;
    // What was opened is looked at, not what may have taken its place.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!("is larger than {most} bytes"));
    }
    let (readable_by_others, writable_by_others) = access(&metadata);
    Ok(Contents { bytes, readable_by_others, writable_by_others })
}

impl Contents {
    /// Returns the contents as a string, without a byte order mark.
    pub(crate) fn text(self) -> Result<String, String> {
        let text = String::from_utf8(self.bytes).map_err(|_| "is not UTF-8")?;
        Ok(text::without_bom(&text).to_owned())
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Opening a pipe would wait for somebody to write into it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(unix)]
fn access(metadata: &Metadata) -> (bool, bool) {
    use std::os::unix::fs::MetadataExt as _;
    let own = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    (!own || metadata.mode() & 0o044 != 0, !own || metadata.mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn access(_: &Metadata) -> (bool, bool) {
    (false, false)
}
