//! Reads files that somebody else may have put there, and makes folders and files that are the user's
//! alone.

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
    /// The contents as a text.
    pub(crate) fn text(self) -> Result<String, String> {
        String::from_utf8(self.bytes).map_err(|_| "is not UTF-8".into())
    }
}

/// Makes a folder and the parents that it lacks, each for its owner alone, whatever the umask.
///
/// A folder that is there already stays as it is.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_private_folder(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // A umask can only take permissions away, also the owner's.
        #[cfg(unix)]
        Ok(()) => std::fs::set_permissions(folder, mode(0o700)),
        // Another process may have been first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a file that is not there yet, for its owner alone, whatever the umask. It is opened as the
/// options say.
pub(crate) fn make_private_file(path: &Path, mut options: OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.create_new(true).open(path)?;
    #[cfg(unix)]
    file.set_permissions(mode(0o600))?;
    Ok(file)
}

#[cfg(unix)]
fn mode(mode: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
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
